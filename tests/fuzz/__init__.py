"""Random trainings, each computed three times: ``python -m tests.fuzz --help``.

`cases` draws them, `balls`, `expected` and `updates` say what they must give and to what radius,
`peers` is PyTorch's own training, `compare` holds all to one another.
"""
