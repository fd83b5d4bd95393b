#!/usr/bin/env python3
"""Train the report's network: ``python scripts/train.py --dataset xor --optim adam``.

The same program as ``python -m xpnet train``; ``--help`` lists its flags.
"""

import sys
from pathlib import Path

# A clone is enough: xpnet need not be installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from xpnet.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]], prog="scripts/train.py"))
