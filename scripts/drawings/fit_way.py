"""The data's way through fit: one walk down, and one way back."""

from __future__ import annotations

from matplotlib.figure import Figure

from drawings.canvas import DOWN, UP, Canvas

FLOORS = [
    (
        "training/fit.py",
        ["what is asked for; interval after interval, until", "all are done or somebody says stop"],
        "x, y, weights, theta, state …",
    ),
    (
        "training/asked.py, prepare.py",
        [
            "arguments are checked, the library is found, data are",
            "put in form, the carry is begun",
        ],
        "carry, data",
    ),
    (
        "training/loop.py",
        ["an interval: begun, trained, recorded, settled"],
        "epochs",
    ),
    (
        "training/epochs.py, batches.py",
        ["an epoch out of steps; the rows of each batch"],
        "steps, rows",
    ),
    (
        "training/ensemble.py",
        ["who is trained, and who has left: advance"],
        "steps, rows",
    ),
    (
        "training/blocks.py",
        ["members in blocks that suit the cache, over threads"],
        "carry, data, steps, rows of a block",
    ),
    (
        "backends/",
        ["the runner of the library: recorded and replayed,", "compiled, or plain"],
        "carry, batch of a step",
    ),
    (
        "training/step.py",
        ["network.py and layers/, losses/, optimizers/:", "forward, loss, backward, update"],
        "",
    ),
]
"""What stands on each floor, and what goes down from it."""

BACK = {
    "training/fit.py": ["model.py: network, theta, state, history"],
    "training/loop.py": [
        "history.py; who reached the goal, who diverged:",
        "settle (recent.py, rows.py)",
    ],
    "training/epochs.py, batches.py": [
        "means over the batches of an epoch; to the host,",
        "once an interval",
    ],
    "training/ensemble.py": [
        "settle: whoever is done is set aside;",
        "at the end gather puts all together",
    ],
    "training/blocks.py": ["metrics of all members, the carries stay"],
    "training/step.py": ["the next carry, loss and accuracy"],
}
"""What becomes, on some floors, of what comes back."""


def files() -> list[str]:
    """The files and folders that the drawing names, as they lie in the package."""
    named = []
    for title, *_ in FLOORS:
        first, *others = title.split(", ")
        folder = first.rpartition("/")[0]
        named += [first, *(f"{folder}/{other}" for other in others)]
    return named


def draw() -> Figure:
    """Draw it."""
    canvas = Canvas(9.4, 8.6)
    canvas.text(0.3, 8.35, "down: what is trained", DOWN, weight="bold")
    canvas.text(5.2, 8.35, "back: what became of it", UP, weight="bold")
    top, last = 8.1, None
    for title, lines, down in FLOORS:
        bottom = canvas.box(0.3, top, 4.0, title, lines)
        if title in BACK:
            low = canvas.box(5.2, top, 3.9, title, BACK[title], UP)
            if last is not None:
                canvas.arrow((7.1, top), (7.1, last), UP)
            last = low
        if down:
            canvas.arrow((2.3, bottom), (2.3, bottom - 0.36), DOWN, down)
        top = bottom - 0.36
    middle = top + 0.36 + 0.35
    canvas.arrow((4.3, middle), (5.2, middle), UP)
    return canvas.figure
