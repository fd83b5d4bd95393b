"""One training over several processes, of which each has some of the samples.

`comm` is how they talk, by MPI or by PyTorch; `ranks` what they agree on; `runner` how a step is
done, in two halves with one sum over all ranks between them.
"""
