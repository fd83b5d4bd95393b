"""TabM as its own package has it (PyTorch), trained as xpnet's estimators train."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import rtdl_num_embeddings
import tabm
import torch
from sklearn.preprocessing import LabelEncoder, RobustScaler

from xpnet.estimators.tabular_samples import batch_of, dealt
from xpnet.tables import Preparation, read

WIDTH, DIM, MOST_BINS, PATIENCE, EPOCHS = 128, 8, 48, 16, 200


class TabM:
    """An estimator: sizes, batches and stopping as of `xpnet.estimators.TabularClassifier`."""

    def __init__(self, classes: bool, seed: int, k: int = 16, epochs: int = EPOCHS) -> None:
        self.classes, self.seed, self.k, self.epochs = classes, seed, k, epochs

    def fit(self, frame: Any, y: np.ndarray) -> TabM:
        """Fit it."""
        torch.manual_seed(self.seed)
        table = read(frame)
        if self.classes:
            self.encoder = LabelEncoder().fit(y)
            target = torch.tensor(self.encoder.transform(y))
        rng = np.random.RandomState(self.seed)
        train, held = dealt(np.asarray(y), None, 0.15, rng, self.classes)
        if not self.classes:
            self.mean, self.std = float(y[train].mean()), float(y[train].std())
            target = torch.tensor((y - self.mean) / self.std, dtype=torch.float32)
        self.preparation = Preparation.fit(table.take(train), numbers="keep")
        x = self.preparation.transform(table)
        self.scaler = RobustScaler().fit(x[train, : self.preparation.numeric])
        numbers, codes = self._split(x)
        self._make(numbers[train], len(target.unique()) if self.classes else 1)
        self._train(numbers, codes, target, torch.tensor(train), torch.tensor(held))
        return self

    def _split(self, x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        count = self.preparation.numeric
        z = self.scaler.transform(x[:, :count])
        z = z / np.sqrt(1 + (z / 3) ** 2)
        return torch.tensor(z, dtype=torch.float32), torch.tensor(x[:, count:], dtype=torch.long)

    def _make(self, numbers: torch.Tensor, outputs: int) -> None:
        bins = max(2, min(MOST_BINS, len(numbers) // 40))
        edges = rtdl_num_embeddings.compute_bins(numbers, n_bins=bins)
        embedding = rtdl_num_embeddings.PiecewiseLinearEmbeddings(
            edges, DIM, activation=False, version="B"
        )
        self.model = tabm.TabM.make(
            n_num_features=numbers.shape[1],
            cat_cardinalities=list(self.preparation.sizes),
            d_out=outputs,
            num_embeddings=embedding,
            d_block=WIDTH,
            k=self.k,
        )

    def _train(self, numbers: Any, codes: Any, target: Any, train: Any, held: Any) -> None:
        model, best, left = self.model, math.inf, PATIENCE
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=3e-4)
        size = batch_of("auto", len(train))
        for _ in range(self.epochs):
            model.train()
            for rows in train[torch.randperm(len(train))].split(size):
                optimizer.zero_grad()
                self._loss(self._out(numbers[rows], codes[rows]), target[rows]).backward()
                optimizer.step()
            model.eval()
            with torch.inference_mode():
                out = self._out(numbers[held], codes[held])
                mean = out.softmax(-1).mean(1).log() if self.classes else out.mean(1)
                found = self._loss(mean[:, None], target[held]).item()
            if found < best:
                best, left, kept = found, PATIENCE, copy.deepcopy(model.state_dict())
            else:
                left -= 1
                if not left:
                    break
        model.load_state_dict(kept)

    def _out(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.model(numbers, codes if codes.shape[1] else None)
        return out

    def _loss(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        k = out.shape[1]
        if self.classes:
            return torch.nn.functional.cross_entropy(out.flatten(0, 1), target.repeat_interleave(k))
        return torch.nn.functional.mse_loss(out[..., 0], target[:, None].expand(-1, k))

    def _predicted(self, frame: Any) -> np.ndarray:
        self.model.eval()
        with torch.inference_mode():
            out = self._out(*self._split(self.preparation.transform(frame)))
            mean = out.softmax(-1).mean(1) if self.classes else out.mean(1)
        found: np.ndarray = mean.double().numpy()
        return found

    def predict_proba(self, frame: Any) -> np.ndarray:
        """The probabilities of the classes."""
        return self._predicted(frame)

    def predict(self, frame: Any) -> np.ndarray:
        """The numbers."""
        return self._predicted(frame)[:, 0] * self.std + self.mean
