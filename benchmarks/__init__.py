"""Our speed, memory and values next to those of other packages, and how ours grow.

`make bench` runs it; RESULTS.md is what came out.
"""
