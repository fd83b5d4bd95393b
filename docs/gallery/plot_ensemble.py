"""
What an ensemble does not know
==============================

Twenty-four networks, trained at once from other initial weights, agree where there was
data and differ where there was none. One argument makes an ensemble of a network:
``members=24``.
"""

import matplotlib.pyplot as plt
import numpy as np

import xpnet as xn

rng = np.random.default_rng(0)
x = np.concatenate([rng.uniform(-3, -1, 40), rng.uniform(0.5, 3, 40)])[:, None]
y = np.sin(2 * x) + 0.1 * rng.normal(size=x.shape)

net = xn.Sequential(
    xn.Linear(1, 24), xn.Tanh(), xn.Linear(24, 24), xn.Tanh(), xn.Linear(24, 1)
)
many = xn.fit(
    net, x, y, loss=xn.MSE(), optimizer=xn.Adam(lr=1e-2), epochs=500, seed=0, members=24
)
print(
    f"theta {many.theta.shape}, losses from {many.history.loss[-1].min():.4f} "
    f"to {many.history.loss[-1].max():.4f}"
)

# %%
# ``predict`` gives an output of each member. Their mean is the ensemble's answer, and
# their spread says how much it is worth.

points = np.linspace(-4, 4, 300)[:, None]
outputs = many.predict(points)[..., 0]  # (members, points)
mean, spread = outputs.mean(axis=0), outputs.std(axis=0)

figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
axes.plot(points, outputs[:8].T, color="tab:blue", alpha=0.25, linewidth=0.8)
axes.fill_between(
    points[:, 0], mean - 2 * spread, mean + 2 * spread, alpha=0.2, linewidth=0
)
axes.plot(points, mean, color="tab:blue", label="mean of 24 members")
axes.scatter(x, y, s=12, color="tab:orange", label="data", zorder=3)
axes.set(ylim=(-3, 3), xlabel="x", ylabel="y")
axes.legend(loc="upper center")
plt.show()
