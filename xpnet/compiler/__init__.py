"""From a step to straight-line code: recorded, planned, written, kept.

`ir` has the nodes and the one table of operations, and `record` writes a step down. `passes/` make
of that a plan without arrays, `writers/` text of the plan, and `program` what runs; `replay` keeps
programs. `step_key` says which steps are the same; `pure` whether a step can be recorded at all.
"""
