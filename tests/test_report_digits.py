"""The five xor runs of the report, digit for digit, on every library (float64)."""

import json
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import report_network, xor

FACTS = Path(__file__).parents[1] / "scripts" / "report" / "facts.json"
COMMON = json.loads(FACTS.read_text(encoding="utf-8"))["common"]
RUNS = [r for r in json.loads(FACTS.read_text(encoding="utf-8"))["runs"] if r["dataset"] == "xor"]
SECTIONS = {  # the name of a run, and whether it is long where steps are slow
    "base": (RUNS[0], False),
    "sgd": (RUNS[1], True),
    "relu": (RUNS[2], True),
    "small_learning_rate": (RUNS[3], True),
    "wide": (RUNS[4], False),
}
SLOW = ("strict", "strict:device1")


def check(backend, facts):
    x, y = xor(backend)
    activation = {"leaky_relu": xn.LeakyReLU(), "relu": xn.ReLU()}[facts["activation"]]
    optimizer = {"adam": xn.Adam, "vanilla": xn.SGD}[facts["optim"]](lr=facts["lr"])
    history = xn.fit(
        report_network(facts["dim_hidden"], activation, COMMON["num_hidden"]),
        x,
        y,
        loss=xn.BCE(),
        optimizer=optimizer,
        epochs=COMMON["num_epochs"],
        seed=np.random.RandomState(COMMON["seed"]),
        acc_goal=COMMON["acc_goal"],
        check_every=COMMON["epoch_checking"],
    ).history
    assert history.stop == facts["stop"]
    assert history.epochs == facts["stop"]
    for epoch, loss, accuracy in facts["log"]:
        assert f"{history.loss[epoch - 1]:.6f}" == f"{loss:.6f}"
        assert f"{history.accuracy[epoch - 1]:.6f}" == f"{accuracy:.6f}"


@pytest.mark.parametrize("name", [name for name, (_, slow) in SECTIONS.items() if not slow])
def test_a_short_xor_run_of_the_report_is_reproduced_digit_for_digit(backend, name):
    check(backend, SECTIONS[name][0])


@pytest.mark.slow_on(*SLOW)
@pytest.mark.parametrize("name", [name for name, (_, slow) in SECTIONS.items() if slow])
def test_a_long_xor_run_of_the_report_is_reproduced_digit_for_digit(backend, name):
    check(backend, SECTIONS[name][0])


def test_the_facts_are_the_reports():
    assert [run["stop"] for run in RUNS] == [100, 5800, 200, 8700, 100]
    assert [len(run["log"]) for run in RUNS] == [0, 11, 0, 4, 0]
    # The misprint: of 21 points, no share is 0.984762; 19 of them are 0.904762.
    assert RUNS[1]["misprints"]["5500"] == {"printed_acc": 0.984762, "true_acc": 0.904762}
