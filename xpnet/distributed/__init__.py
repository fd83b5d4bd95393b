"""Trainings that go beyond one machine: members over a cluster, samples over processes.

`cluster` deals blocks of members out to the workers of Dask. `comm` is how processes talk that have
some of the samples each, by MPI or by PyTorch; `ranks` what they agree on; `runner` how a step is
done, in two halves with one sum over all ranks between them.
"""

from xpnet.distributed.dealt import Dealt
from xpnet.distributed.kept import BlockFailed, Recorded

__all__ = ["BlockFailed", "Dealt", "Recorded"]
