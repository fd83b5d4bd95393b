"""What every program shares: how a user's mistake is told, and what its exit status says."""

from __future__ import annotations

FAILED, MISTAKE, BROKEN_PIPE, INTERRUPTED = 1, 2, 141, 130


class Mistake(ValueError):
    """What the user typed cannot be done; one sentence says why, and what would be right."""
