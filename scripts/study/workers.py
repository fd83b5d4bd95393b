"""All pieces of the study, trained by the workers of a Dask cluster."""

from __future__ import annotations

import queue
import signal
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from report.facts import Facts
from report.target import Target
from study.plan import Piece
from study.training import Result, train
from xpnet.distributed.worker import end, is_ended

AHEAD = 2
"""How many pieces a thread are under way."""


def train_over(
    client: Any,
    pieces: Sequence[Piece],
    facts: Facts,
    target: Target,
    tell: Callable[[int, float], None],
    done: Callable[[Result], None],
) -> bool:
    """Train every piece; return whether Ctrl-C kept it from that; as `processes.train_all`.

    Args:
        client: of the cluster.
    """
    _bring_code(client)
    name = f"seed-study-{uuid.uuid4().hex[:8]}"
    waiting, flying = list(range(len(pieces)))[::-1], {}
    finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
    pressed: list[int] = []
    old = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        while (waiting or flying) and not pressed:
            room = AHEAD * max(1, sum(client.nthreads().values())) if waiting else 0
            while waiting and len(flying) < room:
                i = waiting.pop()
                future = client.submit(
                    _work, name, pieces[i], facts, target, pure=False, retries=1, key=(name, i)
                )
                flying[future] = i
                future.add_done_callback(finished.put)
            try:
                future = finished.get(timeout=0.5)
            except queue.Empty:
                continue
            i, found = flying.pop(future), future.result()
            tell(i, 1.0)
            if found is not None:
                done(Result(pieces[i], *found))
    finally:
        signal.signal(signal.SIGINT, old)
        if flying:
            client.run(end, name, on_error="ignore")
            client.cancel(list(flying))
    return bool(pressed)


def _work(name: str, piece: Piece, facts: Facts, target: Target) -> Any:
    found = train(piece, facts, target, unwanted=lambda: is_ended(name), threads=1)
    return None if found is None else (found.stop, found.diverged, found.log)


def _bring_code(client: Any) -> None:
    """Give the workers the packages of this program, which are nowhere installed."""
    scripts = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed_study_code.zip"
        with zipfile.ZipFile(path, "w") as file:
            for package in ("report", "study"):
                for one in sorted((scripts / package).rglob("*.py")):
                    file.write(one, one.relative_to(scripts).as_posix())
        client.upload_file(str(path))
