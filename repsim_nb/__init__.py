"""repsim_nb: compare neural networks by what they represent, and learn what the numbers are worth.

    import repsim_nb as rs
    data = rs.load_dataset("mnist")
    x = rs.record(["zoo:mnist-cnn-0", "zoo:mnist-cnn-1"], data)
    rs.plots.heatmap(rs.compare("cka", x.where(model="mnist-cnn-0"), x.where(model="mnist-cnn-1")))
"""

from . import embedding, explorers, grounding, inference, measures, models, plots, probes, reliability, reports
from .comparison import Comparison, compare
from .datasets import Dataset, load_dataset
from .models import Model, load_model
from .recording import record
from .store import Activations, Key, Store, align, from_arrays
from .streaming import stream

__version__ = "0.1.0"
__all__ = [
    "Activations", "Comparison", "Dataset", "Key", "Model", "Store", "align", "compare", "embedding", "explorers", "from_arrays", "grounding",
    "inference", "load_dataset", "load_model", "measures", "models", "plots", "probes", "record", "reliability", "reports", "stream",
]  # fmt: skip
