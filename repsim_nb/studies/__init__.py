"""The training procedures of the zoo, the studies and the lessons.

Notebooks, scripts and tests import them; the package itself never does.
"""
