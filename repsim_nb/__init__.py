"""repsim_nb: compare neural networks by what they represent, and learn how far the numbers can be trusted.

    import repsim_nb as rs
    data = rs.load_dataset("mnist")
    x = rs.record(["zoo:mnist-cnn-0", "zoo:mnist-cnn-1"], data)
    rs.plots.heatmap(rs.compare("cka", x.where(model="mnist-cnn-0"), x.where(model="mnist-cnn-1")))

The names below are the public ones, wherever they live in the house. Each is imported when it is first used.
"""

import lazy_loader

__version__ = "0.1.0"

_load, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["course", "measures"],
    submod_attrs={
        "measures": ["testing"],
        "inputs": ["datasets", "models", "store"],
        "inputs.datasets": ["Dataset", "load_dataset"],
        "inputs.models": ["Model", "load_model"],
        "inputs.recording": ["record"],
        "inputs.store": ["Activations", "Store", "align", "average_conditions", "from_arrays"],
        "support.labels": ["Key"],
        "support.rdms": ["RDM"],
        "results": ["comparison", "embedding", "grounding", "inference", "probes", "reliability", "trajectories"],
        "results.comparison": ["Comparison", "compare"],
        "results.streaming": ["stream"],
        "results.watching": ["TrainingRecord"],
        "results.releases": ["Drift", "drift"],
        "display": ["explorers", "plots", "reports", "specs"],
        "display.specs": ["spec"],
        "display.training": ["TrainingWatch", "watch"],
    },
)


def __getattr__(name: str) -> object:
    # at call time, since the import of it would call `__getattr__`
    from repsim_nb.support.errors import explain_missing, show_public_names, unknown_attribute

    if name not in __all__:
        raise unknown_attribute("rs", name, __all__)
    with explain_missing(name):
        return show_public_names(_load(name), f"rs.{name}")
