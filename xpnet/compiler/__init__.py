"""From a step to straight-line code: it is recorded (`record`), kept (`replay`) and written.

`ir` has the nodes and the one table of operations; `writers/` turns a recording into calls of a
library; `step_key` says which steps are the same; `pure` whether a step can be recorded at all.
"""
