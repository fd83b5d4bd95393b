"""The step at report scale in straight-line C: what machine code of it can be."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.problems import Contestant, Factory, Problem, Unavailable

SOURCE = r"""
#include <math.h>

#define N %(samples)d
#define I %(inputs)d
#define H %(first)d
#define G %(second)d
#define SIZE (H * I + H + G * H + G + G + 1)

void train(int steps, const double *x, const double *y, double *theta, double *losses,
           double *accuracies, double lr, double beta1, double beta2, double eps)
{
    static double a1[N][H], s1[N][H], a2[N][G], s2[N][G], p[N], d2[N][G], d1[N][H];
    double grad[SIZE], m[SIZE] = {0}, v[SIZE] = {0};
    double *W1 = theta, *b1 = W1 + H * I, *W2 = b1 + H, *b2 = W2 + G * H, *W3 = b2 + G,
           *b3 = W3 + G;
    double *gW1 = grad, *gb1 = gW1 + H * I, *gW2 = gb1 + H, *gb2 = gW2 + G * H, *gW3 = gb2 + G,
           *gb3 = gW3 + G;
    double power1 = 1, power2 = 1;
    for (int k = 0; k < steps; k++) {
        double loss = 0;
        int right = 0;
        for (int i = 0; i < SIZE; i++) grad[i] = 0;
        for (int n = 0; n < N; n++) {
            for (int j = 0; j < H; j++) {
                double z = b1[j];
                for (int i = 0; i < I; i++) z += x[n * I + i] * W1[j * I + i];
                s1[n][j] = z >= 0 ? 1 : 0.01;
                a1[n][j] = s1[n][j] * z;
            }
            for (int j = 0; j < G; j++) {
                double z = b2[j];
                for (int i = 0; i < H; i++) z += a1[n][i] * W2[j * H + i];
                s2[n][j] = z >= 0 ? 1 : 0.01;
                a2[n][j] = s2[n][j] * z;
            }
            double z = b3[0];
            for (int i = 0; i < G; i++) z += a2[n][i] * W3[i];
            p[n] = 1 / (1 + exp(-z));
        }
        for (int n = 0; n < N; n++) {
            double one = y[n], other = 1 - one;
            double q = one * p[n] + other * (1 - p[n]) + %(bce_eps)r;
            loss -= log(q);
            right += (p[n] > 0.5) == (one > 0.5);
            double d3 = (other - one) / q / N * p[n] * (1 - p[n]);
            gb3[0] += d3;
            for (int i = 0; i < G; i++) {
                gW3[i] += d3 * a2[n][i];
                d2[n][i] = d3 * W3[i] * s2[n][i];
                gb2[i] += d2[n][i];
            }
            for (int i = 0; i < H; i++) {
                double sum = 0;
                for (int j = 0; j < G; j++) {
                    sum += d2[n][j] * W2[j * H + i];
                    gW2[j * H + i] += d2[n][j] * a1[n][i];
                }
                d1[n][i] = sum * s1[n][i];
                gb1[i] += d1[n][i];
                for (int j = 0; j < I; j++) gW1[i * I + j] += d1[n][i] * x[n * I + j];
            }
        }
        losses[k] = loss / N;
        accuracies[k] = (double) right / N;
        power1 *= beta1;
        power2 *= beta2;
        double rate = lr / (1 - power1) * sqrt(1 - power2), small = eps * sqrt(1 - power2);
        for (int i = 0; i < SIZE; i++) {
            m[i] = beta1 * m[i] + (1 - beta1) * grad[i];
            v[i] = beta2 * v[i] + (1 - beta2) * grad[i] * grad[i];
            theta[i] -= rate * m[i] / (sqrt(v[i]) + small);
        }
    }
}
"""


@lru_cache(maxsize=2)
def _library(samples: int, inputs: int, first: int, second: int, bce_eps: float) -> ctypes.CDLL:
    if shutil.which("gcc") is None:
        raise Unavailable("gcc is not installed (no C compiler)")
    folder = Path(tempfile.mkdtemp(prefix="xpnet-"))
    said = {
        "samples": samples,
        "inputs": inputs,
        "first": first,
        "second": second,
        "bce_eps": bce_eps,
    }
    (folder / "step.c").write_text(SOURCE % said)
    shared = folder / "step.so"
    command = [
        "gcc",
        "-O3",
        "-march=native",
        "-shared",
        "-fPIC",
        "-o",
        shared,
        folder / "step.c",
        "-lm",
    ]
    subprocess.run(command, check=True, capture_output=True)
    library = ctypes.CDLL(str(shared))
    shutil.rmtree(folder)
    return library


def straight_line(problem: Problem) -> Contestant:
    """Loops of constant bounds, compiled by ``gcc -O3``, all steps in one call."""
    if problem.loss != "bce" or len(problem.sizes) != 4 or problem.members is not None:
        raise Unavailable("written for one network at report scale")
    if problem.dtype != "float64" or problem.sizes[-1] != 1 or problem.batch is not None:
        raise Unavailable("written for one network at report scale")
    x, y = (np.ascontiguousarray(array) for array in problem.parts()[:2])
    library = _library(len(x), *problem.sizes[:3], problem.bce_eps)

    def start() -> Callable[[int], np.ndarray]:
        theta = problem.theta()

        def run(steps: int) -> np.ndarray:
            losses, accuracies = np.empty(steps), np.empty(steps)
            arrays = [ctypes.c_void_p(a.ctypes.data) for a in (x, y, theta, losses, accuracies)]
            numbers = map(ctypes.c_double, (problem.lr, *problem.betas, problem.eps))
            library.train(ctypes.c_int(steps), *arrays, *numbers)
            return losses

        return run

    return Contestant(problem, start)


PEERS: dict[str, Factory] = {"straight-line C, gcc -O3": straight_line}
