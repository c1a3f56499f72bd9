"""The training procedures of the zoo and the studies. Notebooks, scripts and tests import them; the package itself never does."""
