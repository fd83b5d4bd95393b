"""
A sweep is one training
=======================

Any number of an optimizer may be an array with one value a member. So forty learning
rates, all from the same initial weights, are trained at once, and four optimizers take
four trainings.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import xpnet as xn

x, y = xn.datasets.linear(100, seed=0)
net = xn.Sequential(xn.Linear(2, 8), xn.ReLU(), xn.Linear(8, 1))
lrs = np.geomspace(1e-4, 10, 40)
rates = lrs[:, None]  # (members, 1)
optimizers = {
    "SGD": xn.SGD(lr=rates),
    "Momentum": xn.Momentum(lr=rates),
    "RMSprop": xn.RMSprop(lr=rates),
    "Adam": xn.Adam(lr=rates),
}

figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for name, optimizer in optimizers.items():
    with warnings.catch_warnings():
        # Some rates are too high, and diverge.
        warnings.simplefilter("ignore", RuntimeWarning)
        sweep = xn.fit(
            net,
            x,
            y,
            loss=xn.BCEWithLogits(),
            optimizer=optimizer,
            epochs=300,
            members=40,
            seed=[0] * 40,
        )
    loss = sweep.history.loss[-1]
    axes.loglog(lrs, np.where(sweep.history.diverged > 0, np.nan, loss), label=name)
    print(f"{name}: best at {lrs[sweep.best(by='loss').history.member]:.3g}")
axes.set(xlabel="learning rate", ylabel="loss after 300 epochs", ylim=(None, 2))
axes.legend()
plt.show()
