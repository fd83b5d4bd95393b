"""Machine code of a recorded step: loops in Python's syntax, compiled by LLVM and kept on disk."""
