"""Machine code of a recorded step: loops in Python's syntax, compiled by numba and kept on disk."""
