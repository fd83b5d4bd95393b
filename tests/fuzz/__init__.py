"""Random trainings, each computed three times: ``python -m tests.fuzz --help``.

`cases` draws them; `balls`, `expected`, `updates` and `truth` say what they must give, and to what
radius; `peers` is PyTorch's own training; `compare` runs all, and `check` holds them to the truth.
"""
