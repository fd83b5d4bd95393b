"""
A network, and what it learnt
=============================

Twenty-one points on two diagonals, and the network of the report that tells them apart. The picture
shows the truth, what is predicted, and the probability between the points.
"""

import matplotlib.pyplot as plt

import xpnet as xn
from xpnet import pictures

x, y = xn.datasets.xor()
net = xn.Sequential(
    xn.Linear(2, 8), xn.LeakyReLU(), xn.Linear(8, 8), xn.LeakyReLU(), xn.Linear(8, 1)
)
model = xn.fit(net, x, y, loss=xn.BCEWithLogits(), optimizer=xn.Adam(lr=1e-2), epochs=2000, seed=42)
print(f"loss {model.history.loss[-1]:.6f}, accuracy {model.history.accuracy[-1]}")

figure = plt.figure(figsize=(9.4, 4.6), layout="constrained")
pictures.prediction(x, y[:, 0], lambda points: model.predict_proba(points)[:, 0], figure=figure)
