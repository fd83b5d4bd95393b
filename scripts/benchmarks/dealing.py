"""Members dealt out to a Dask cluster of two workers of one core, against one process on one."""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

import numpy as np

import xpnet as xn

MEMBERS, EPOCHS, WORKERS, ROUNDS = 20_000, 300, 2, 5


def measure(rounds: int, quick: bool) -> dict[str, Any]:
    """Times and their ratio, medians of turns; nothing where Dask, or a second core, is missing.

    The cluster is up, and has imported what it needs; to scatter and to gather counts.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    try:
        import distributed
    except ImportError:
        return {}
    if len(cores) < WORKERS:
        return {}
    members, epochs = (400, 5) if quick else (MEMBERS, EPOCHS)
    with (
        distributed.LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        for worker, core in zip(client.nthreads(), cores, strict=False):
            client.run(os.sched_setaffinity, 0, {core}, workers=[worker])

        def many() -> tuple[float, Any]:
            return _seconds(members, epochs, client=client)

        def alone() -> tuple[float, Any]:
            os.sched_setaffinity(0, cores[:1])
            try:
                return _seconds(members, epochs, threads=1)
            finally:
                os.sched_setaffinity(0, cores)

        def spent() -> float:
            return time.process_time() + sum(client.run(time.process_time).values())

        _seconds(4 * WORKERS, 2, client=client, block=1)
        turns = []
        for _ in range(min(rounds, ROUNDS)):
            begin = spent()
            one, whole = alone()
            between = spent()
            two, found = many()
            assert np.array_equal(whole.theta, found.theta)
            turns.append((one, two, (spent() - between) / (between - begin)))
    ones, twos, shares = zip(*turns, strict=True)
    ratios = [one / two for one, two, _ in turns]
    return {
        "ratio": statistics.median(ratios),
        "quartiles": np.quantile(ratios, (0.25, 0.75)).tolist(),
        "one": statistics.median(ones),
        "workers": statistics.median(twos),
        "processor": statistics.median(shares),
        "members": members,
        "epochs": epochs,
    }


def _seconds(members: int, epochs: int, **options: Any) -> tuple[float, Any]:
    x, y = xn.datasets.xor()
    body = [xn.Linear(2, 4), xn.LeakyReLU(), xn.Linear(4, 4), xn.LeakyReLU(), xn.Linear(4, 1)]
    net, adam = xn.Sequential(*body, xn.Sigmoid()), xn.Adam(lr=1e-2)
    begin = time.perf_counter()
    model = xn.fit(net, x, y, loss=xn.BCE(), optimizer=adam, epochs=epochs, seed=42,
                   members=members, every_epoch=False, native=False, **options)  # fmt: skip
    return time.perf_counter() - begin, model
