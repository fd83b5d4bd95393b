"""From recording to recording, and from there to a plan: nothing here has arrays or changes a node.

Rewriting passes (`masks`, `fusion`, `two_values`, `sums`) make another recording, whose nodes are
nearer to the calls of a library. `lifetimes` says who reads what until when, `chains` which
operations run block by block, and `placement` where everything lies.
"""
