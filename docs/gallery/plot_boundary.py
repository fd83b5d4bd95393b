"""
Two diagonals
=============

Twenty-one points on two diagonals, and a network of two hidden layers that tells them
apart. Where the data lies is where it is trained: ``x`` and ``y`` are NumPy's, and so
is the result.
"""

import matplotlib.pyplot as plt
import numpy as np

import xpnet as xn

x, y = xn.datasets.xor()
net = xn.Sequential(
    xn.Linear(2, 8), xn.LeakyReLU(), xn.Linear(8, 8), xn.LeakyReLU(), xn.Linear(8, 1)
)
bce, adam = xn.BCEWithLogits(), xn.Adam(lr=1e-2)
model = xn.fit(net, x, y, loss=bce, optimizer=adam, epochs=2000, seed=42)
print(f"loss {model.history.loss[-1]:.6f}, accuracy {model.history.accuracy[-1]}")

# %%
# The probability of class 1 between the points. The network gives logits, ``model(x)``;
# ``predict_proba`` makes probabilities of them, as its loss says.

side = np.linspace(-0.1, 1.1, 121)
grid = np.stack(np.meshgrid(side, side), axis=-1)
p = model.predict_proba(grid.reshape(-1, 2)).reshape(121, 121)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
shade = left.contourf(
    side, side, p, levels=np.linspace(0, 1, 11), cmap="coolwarm", alpha=0.6
)
left.scatter(*x.T, c=np.where(y[:, 0] > 0, "tab:red", "tab:blue"), edgecolors="white")
left.set(title="probability of class 1", xlabel="$x_0$", ylabel="$x_1$", aspect="equal")
figure.colorbar(shade, ax=left)
right.semilogy(model.history.loss)
right.set(title="loss", xlabel="epoch")
plt.show()
