#!/usr/bin/env python3
"""Train the report's network: ``python scripts/train.py --dataset xor --optim adam``.

The same program as ``python -m xpnet train``; ``--help`` lists its flags.
"""

import start  # noqa: F401

# isort: split
import sys

from xpnet.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]], prog="scripts/train.py"))
