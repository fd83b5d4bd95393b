"""
Digits, from split to confusion matrix
======================================

The samples are dealt out, a layer that is the first of the network scales them, and
training stops where validation gets no better.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import xpnet as xn

x, y = load_digits(return_X_y=True)
rest, x_test, y_rest, y_test = xn.split(x, y, seed=0, stratify=True)
x_train, x_val, y_train, y_val = xn.split(rest, y_rest, seed=0, stratify=True)

net = xn.Sequential(
    xn.Standardize(64), xn.Linear(64, 64), xn.ReLU(), xn.Dropout(0.2), xn.Linear(64, 10)
)
model = xn.fit(
    net,
    x_train,
    y_train,
    loss=xn.CrossEntropy(),
    optimizer=xn.AdamW(lr=2e-3, weight_decay=1e-2, decayed="weights"),
    epochs=100,
    batch_size=32,
    validation=(x_val, y_val),
    patience=10,
    seed=0,
)
print(f"accuracy of the test samples: {model.evaluate(x_test, y_test)['accuracy']:.3f}")

# %%
# What comes back is the network of the best check, and the history of all epochs.

history = model.history
matrix = xn.metrics.confusion_matrix(y_test, model.predict(x_test))

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.semilogy(history.loss, label="training")
left.semilogy(history.val_loss, label="validation")
left.axvline(history.best_epoch - 1, color="gray", linestyle="--", label="best")
left.set(title="loss", xlabel="epoch")
left.legend()
right.imshow(matrix, cmap="Blues")
for i, row in enumerate(matrix):
    for j, count in enumerate(row):
        if count:
            right.text(
                j,
                i,
                count,
                ha="center",
                va="center",
                color="white" if count > 18 else "k",
            )
right.set(
    title="test samples",
    xlabel="predicted",
    ylabel="true",
    xticks=range(10),
    yticks=range(10),
)
plt.show()
