"""
Activations, and their slopes
=============================

A layer's ``forward`` returns its output and the function that propagates a gradient
back. Of an activation, given a gradient of ones, that is its slope.
"""

import matplotlib.pyplot as plt
import numpy as np

import xpnet as xn

layers = [
    xn.ReLU(), xn.LeakyReLU(0.1), xn.ELU(), xn.SELU(), xn.Softplus(),
    xn.SiLU(), xn.GELU(), xn.Sigmoid(), xn.Tanh(), xn.HardTanh(),
]  # fmt: skip
x = np.linspace(-4, 4, 401)[:, None]

figure, panels = plt.subplots(
    2, 5, figsize=(11, 4.6), sharex=True, layout="constrained"
)
for layer, axes in zip(layers, panels.flat, strict=True):
    y, backprop = layer.forward(np, (), x)
    slope, _ = backprop(np.ones_like(y))
    axes.plot(x, y, label="value")
    axes.plot(x, slope, label="slope")
    axes.set(title=type(layer).__name__, ylim=(-2, 2.5))
    axes.grid(alpha=0.3)
panels[0, 0].legend()
plt.show()
