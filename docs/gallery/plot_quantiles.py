"""
Quantiles instead of a mean
===========================

A loss may have a number of its own for each output. With `Quantile` and three outputs,
one network learns the median and the band in which eight of ten values lie: it is as
wide as the noise.
"""

import matplotlib.pyplot as plt
import numpy as np

import xpnet as xn

rng = np.random.default_rng(1)
x = rng.uniform(0, 4, (500, 1))
y = np.sin(2 * x) + (0.05 + 0.2 * x) * rng.normal(size=x.shape)

net = xn.Sequential(
    xn.Linear(1, 32), xn.SiLU(), xn.Linear(32, 32), xn.SiLU(), xn.Linear(32, 3)
)
model = xn.fit(
    net,
    x,
    np.repeat(y, 3, axis=1),  # the same target for each of the outputs
    loss=xn.Quantile((0.1, 0.5, 0.9)),
    optimizer=xn.Adam(lr=xn.CosineDecay(1e-2, steps=1500)),
    epochs=1500,
    seed=0,
)
low, _, high = model.predict(x).T
print(
    f"{np.mean((low < y[:, 0]) & (y[:, 0] < high)):.0%} of the values lie in the band"
)

points = np.linspace(0, 4, 200)[:, None]
low, middle, high = model.predict(points).T
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
axes.scatter(x, y, s=6, color="tab:orange", alpha=0.6, label="data")
axes.fill_between(points[:, 0], low, high, alpha=0.25, linewidth=0, label="0.1 to 0.9")
axes.plot(points, middle, label="median")
axes.set(xlabel="x", ylabel="y")
axes.legend()
plt.show()
