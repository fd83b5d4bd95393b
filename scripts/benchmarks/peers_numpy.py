"""Hand-written NumPy: what a person would write for this one network, and no other."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.problems import Contestant, Factory, Problem, Unavailable, whole_batch


def _check(problem: Problem) -> None:
    whole_batch(problem)
    fits = len(problem.sizes) == 4 and problem.loss == "bce" and problem.members is None
    if not fits or problem.activation != "leaky_relu":
        raise Unavailable("written for the report's network alone")


def way_of_the_report(problem: Problem) -> Contestant:
    """Six separate parameters, the formulas as they stand in a textbook."""
    _check(problem)
    x, y = problem.x(), problem.y()
    n, slope, eps = problem.samples, problem.slope, problem.bce_eps
    lr, (beta1, beta2), adam_eps = problem.lr, problem.betas, problem.eps
    initial = [a for W, b in problem.weights() for a in (W, b[None, :])]

    def run(steps: int) -> np.ndarray:
        params = list(initial)
        first = [np.zeros_like(p) for p in params]
        second = [np.zeros_like(p) for p in params]
        losses, accuracies = [], []
        for t in range(1, steps + 1):
            W1, b1, W2, b2, W3, b3 = params
            z1 = x @ W1.T + b1
            a1 = np.where(z1 >= 0, z1, slope * z1)
            z2 = a1 @ W2.T + b2
            a2 = np.where(z2 >= 0, z2, slope * z2)
            z3 = a2 @ W3.T + b3
            p = 1 / (1 + np.exp(-z3))
            losses.append(-np.mean(y * np.log(p + eps) + (1 - y) * np.log(1 - p + eps)))
            accuracies.append(np.mean((p > 0.5) == y))

            dp = -(y / (p + eps) - (1 - y) / (1 - p + eps)) / n
            dz3 = dp * p * (1 - p)
            dz2 = (dz3 @ W3) * np.where(z2 >= 0, 1, slope)
            dz1 = (dz2 @ W2) * np.where(z1 >= 0, 1, slope)
            grads = [
                dz1.T @ x,
                np.sum(dz1, axis=0, keepdims=True),
                dz2.T @ a1,
                np.sum(dz2, axis=0, keepdims=True),
                dz3.T @ a2,
                np.sum(dz3, axis=0, keepdims=True),
            ]
            for i, g in enumerate(grads):
                first[i] = beta1 * first[i] + (1 - beta1) * g
                second[i] = beta2 * second[i] + (1 - beta2) * g**2
                m_hat = first[i] / (1 - beta1**t)
                v_hat = second[i] / (1 - beta2**t)
                params[i] = params[i] - lr * m_hat / (np.sqrt(v_hat) + adam_eps)
        return np.array(losses)

    return Contestant(problem, lambda: run)


def _views(vector: np.ndarray, problem: Problem) -> list[np.ndarray]:
    """``W`` and ``b`` of every layer as views of a flat vector, in xpnet's order."""
    views, at = [], 0
    for n_in, n_out in zip(problem.sizes, problem.sizes[1:], strict=False):
        for shape in ((n_out, n_in), (1, n_out)):
            size = shape[0] * shape[1]
            views.append(vector[at : at + size].reshape(shape))
            at += size
    return views


def straight_line(problem: Problem) -> Contestant:
    """One flat vector, no calls but NumPy's, nothing computed twice.

    The loss reads its labels' probability as ``|p - (1 - y)|``, bias gradients are products with a
    row of ones, and Adam runs over the whole vector, its corrections folded into two numbers.
    """
    _check(problem)
    x, y = problem.x(), problem.y()
    n, slope, eps = problem.samples, problem.slope, problem.bce_eps
    lr, (beta1, beta2), adam_eps = problem.lr, problem.betas, problem.eps
    ones = np.ones((1, n))
    wrong, positive, sign = 1 - y, y > 0.5, (1 - 2 * y) / n
    initial = problem.theta()

    def run(steps: int) -> np.ndarray:
        theta = initial.copy()
        grad, m, v = np.empty_like(theta), np.zeros_like(theta), np.zeros_like(theta)
        W1, b1, W2, b2, W3, b3 = _views(theta, problem)
        dW1, db1, dW2, db2, dW3, db3 = _views(grad, problem)
        losses, accuracies = np.empty(steps), np.empty(steps)
        for k in range(steps):
            z1 = x @ W1.T
            z1 += b1
            a1 = np.maximum(z1, slope * z1)
            z2 = a1 @ W2.T
            z2 += b2
            a2 = np.maximum(z2, slope * z2)
            z3 = a2 @ W3.T
            z3 += b3
            p = 1 / (1 + np.exp(-z3))
            q = np.abs(p - wrong)
            q += eps
            losses[k] = np.log(q).sum()
            accuracies[k] = np.count_nonzero((p > 0.5) == positive)

            dz3 = sign / q
            dz3 *= p
            dz3 *= 1 - p
            dz2 = dz3 @ W3
            np.putmask(dz2, z2 < 0, slope * dz2)
            dz1 = dz2 @ W2
            np.putmask(dz1, z1 < 0, slope * dz1)
            dW1[:] = dz1.T @ x
            db1[:] = ones @ dz1
            dW2[:] = dz2.T @ a1
            db2[:] = ones @ dz2
            dW3[:] = dz3.T @ a2
            db3[:] = ones @ dz3

            root = math.sqrt((1 - beta2) / (1 - beta2 ** (k + 1)))
            rate = lr * (1 - beta1) / (1 - beta1 ** (k + 1)) / root
            m *= beta1
            m += grad
            v *= beta2
            v += grad * grad
            d = np.sqrt(v)
            d += adam_eps / root
            d = m / d
            d *= rate
            theta -= d
        losses *= -1 / n
        accuracies /= n
        return losses

    return Contestant(problem, lambda: run)


def straight_line_out(problem: Problem) -> Contestant:
    """`straight_line` with every result in an array made beforehand, transposes among them.

    Products are those of ``dot``, which is quicker to call than ``matmul`` for tiny matrices.
    Nothing is allocated within a step but the booleans. As far as plain NumPy goes.
    """
    _check(problem)
    x, y = problem.x(), problem.y()
    n, slope, eps = problem.samples, problem.slope, problem.bce_eps
    lr, (beta1, beta2), adam_eps = problem.lr, problem.betas, problem.eps
    ones = np.ones((1, n))
    wrong, positive, sign = 1 - y, y > 0.5, (1 - 2 * y) / n
    initial = problem.theta()
    exp, log, sqrt, maximum, putmask = np.exp, np.log, np.sqrt, np.maximum, np.putmask
    multiply, divide, subtract, absolute = np.multiply, np.divide, np.subtract, np.absolute
    less, greater, equal, count_nonzero = np.less, np.greater, np.equal, np.count_nonzero

    def run(steps: int) -> np.ndarray:
        theta = initial.copy()
        grad, m, v = np.empty_like(theta), np.zeros_like(theta), np.zeros_like(theta)
        d = np.empty_like(theta)
        W1, b1, W2, b2, W3, b3 = _views(theta, problem)
        dW1, db1, dW2, db2, dW3, db3 = _views(grad, problem)
        W1T, W2T, W3T = W1.T, W2.T, W3.T
        h1, h2 = W1.shape[0], W2.shape[0]
        z1, a1, dz1, s1 = (np.empty((n, h1)) for _ in range(4))
        z2, a2, dz2, s2 = (np.empty((n, h2)) for _ in range(4))
        z3, p, q, dz3, s3 = (np.empty((n, 1)) for _ in range(5))
        dz1T, dz2T, dz3T = dz1.T, dz2.T, dz3.T
        neg1, neg2, hit = (np.empty(s.shape, dtype=bool) for s in (z1, z2, z3))
        losses, accuracies = np.empty(steps), np.empty(steps)
        for k in range(steps):
            x.dot(W1T, z1)
            z1 += b1
            maximum(z1, multiply(z1, slope, s1), a1)
            a1.dot(W2T, z2)
            z2 += b2
            maximum(z2, multiply(z2, slope, s2), a2)
            a2.dot(W3T, z3)
            z3 += b3
            exp(np.negative(z3, p), p)
            p += 1
            divide(1, p, p)
            absolute(subtract(p, wrong, q), q)
            q += eps
            losses[k] = log(q, s3).sum()
            accuracies[k] = count_nonzero(equal(greater(p, 0.5, hit), positive, hit))

            divide(sign, q, dz3)
            dz3 *= p
            dz3 *= subtract(1, p, s3)
            dz3.dot(W3, dz2)
            putmask(dz2, less(z2, 0, neg2), multiply(dz2, slope, s2))
            dz2.dot(W2, dz1)
            putmask(dz1, less(z1, 0, neg1), multiply(dz1, slope, s1))
            dz1T.dot(x, dW1)
            ones.dot(dz1, db1)
            dz2T.dot(a1, dW2)
            ones.dot(dz2, db2)
            dz3T.dot(a2, dW3)
            ones.dot(dz3, db3)

            root = math.sqrt((1 - beta2) / (1 - beta2 ** (k + 1)))
            rate = lr * (1 - beta1) / (1 - beta1 ** (k + 1)) / root
            m *= beta1
            m += grad
            v *= beta2
            grad *= grad
            v += grad
            sqrt(v, d)
            d += adam_eps / root
            divide(m, d, d)
            d *= rate
            theta -= d
        losses *= -1 / n
        accuracies /= n
        return losses

    return Contestant(problem, lambda: run)


def products(problem: Problem) -> Contestant:
    """The eight matrix products of a step of three layers alone, into arrays made beforehand.

    What no implementation on this BLAS can be faster than. It trains nothing: no losses.
    """
    whole_batch(problem)
    if len(problem.sizes) != 4 or problem.members is not None:
        raise Unavailable("written for one network of three layers")
    x = problem.x()
    (W1, _), (W2, _), (W3, _) = problem.weights()
    dW1, dW2, dW3 = np.empty_like(W1), np.empty_like(W2), np.empty_like(W3)
    h1, h2, h3 = (np.empty((problem.samples, size), x.dtype) for size in problem.sizes[1:])
    dh1, dh2 = np.empty_like(h1), np.empty_like(h2)

    def run(steps: int) -> np.ndarray:
        for _ in range(steps):
            np.matmul(x, W1.T, out=h1)
            np.matmul(h1, W2.T, out=h2)
            np.matmul(h2, W3.T, out=h3)
            np.matmul(h3.T, h2, out=dW3)
            np.matmul(h3, W3, out=dh2)
            np.matmul(dh2.T, h1, out=dW2)
            np.matmul(dh2, W2, out=dh1)
            np.matmul(dh1.T, x, out=dW1)
        return np.empty(0)

    return Contestant(problem, lambda: run)


PEERS: dict[str, Factory] = {
    "NumPy, the way of the report": way_of_the_report,
    "NumPy, straight line": straight_line,
    "NumPy, straight line, out= everywhere": straight_line_out,
    "the matrix products alone, NumPy": products,
}
