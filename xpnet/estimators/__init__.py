"""Estimators of scikit-learn on xpnet's networks: change the import, and keep the rest.

`MLPClassifier` and `MLPRegressor` take what those of ``sklearn.neural_network`` take, and train the
same networks; see docs/estimators.md. `TabularClassifier` and `TabularRegressor` take a table as it
is, by settings that serve most; see docs/tabular.md. They need scikit-learn, which ``import xpnet``
does not.
"""

from __future__ import annotations

from xpnet._optional import optional

optional("sklearn", "xpnet.estimators")

from xpnet.estimators.classifier import MLPClassifier  # noqa: E402
from xpnet.estimators.regressor import MLPRegressor  # noqa: E402
from xpnet.estimators.tabular import TabularClassifier, TabularRegressor  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor"]
