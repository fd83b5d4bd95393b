"""xpnet and its peers, side by side: what `scripts/benchmark.py` runs.

Reading order: `problems` (what is trained), `peers_*` (who trains it, each as its own documentation
would), `works` (who is set against whom, and the targets), `timing`, `memory`, `growth` (how it is
measured), `table` and `plot` (how it is shown).
"""
