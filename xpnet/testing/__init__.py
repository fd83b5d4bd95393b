"""Checks of a layer, a loss or an optimizer of one's own: what xpnet's tests ask of its own.

>>> from xpnet.testing import check_layer
>>> check_layer(MyLayer())

Each asks its questions one by one, on every array library that is installed, and raises an
``AssertionError`` of one sentence at the first answer that is not right: which part it was, what
was expected, and what was found. They import every library, and compile: seconds, for tests.
"""

from xpnet.testing.layers import check_layer
from xpnet.testing.losses import check_loss
from xpnet.testing.optimizers import check_optimizer

__all__ = ["check_layer", "check_loss", "check_optimizer"]
