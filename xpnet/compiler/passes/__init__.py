"""From recording to recording, and from there to a plan; nothing here changes a node.

Rules (`views`, `masks`, `fusion`, `two_values`, `sums`) find nodes that are nearer to the calls of
a library; `rewriting` makes another recording of them, in one walk. `lifetimes` says who reads what
until when, `pieces` what a concatenation is computed in, `chains` which operations run block by
block, and `placement` where everything lies.
"""
