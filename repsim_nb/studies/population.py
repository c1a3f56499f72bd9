"""The recipes of the lessons' models, which `training.train_or_load` trains.

POPULATION varies one thing at a time, RUNS are seen at many epochs of their training, KINDS differ in what they were
trained on, FAMILIES in architecture. POPULATION and RUNS are trained on MNIST, on rows 0 to 2,000 of its training split
at most; `load_held_out()` are the rows after them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repsim_nb.inputs.datasets import Dataset, load_dataset

IMAGES = 2000  # the rows of the training split that any of these models may see
Recipe = dict[str, Any]

_WIDTHS: dict[str, tuple[int, ...]] = {"mlp": (128, 96, 64), "cnn": (16, 32, 48)}
_BASE: dict[str, Recipe] = {
    "mlp": {"architecture": "mlp", "epochs": 12, "learning_rate": 3e-3},
    "cnn": {"architecture": "cnn", "epochs": 6, "learning_rate": 4e-3},
    "vit": {"architecture": "vit", "epochs": 20, "learning_rate": 1.5e-3},
}
_MEMORISED: dict[str, Recipe] = {"mlp": {"epochs": 80, "learning_rate": 2e-3}, "cnn": {"epochs": 50}}
_DEEPER = {"mlp": (128, 128, 96, 96, 64), "cnn": (16, 32, 48, 48)}
_SHALLOWER = {"mlp": (128, 64), "cnn": (16, 48)}


def _recipe(
    architecture: str,
    seed: int,
    varied: str,
    variant: str,
    *,
    rows: tuple[int, int] = (0, IMAGES),
    widths: tuple[int, ...] | None = None,
    **changes: Any,
) -> Recipe:
    """Return a recipe; the fewer the images, the more the epochs, so that all models take the same number of steps."""
    base = _BASE[architecture]
    its = widths if widths is not None else _WIDTHS.get(architecture, (64,) * 4)
    depth = len(its) + (architecture == "cnn")  # the fully connected layer after the convolutions
    options = {"options": {"widths": list(widths)}} if widths else {}
    about = {"varied": varied, "variant": variant, "depth": depth, "width": max(its)}
    return {
        **base,
        "data": "mnist",
        "rows": rows,
        "seed": seed,
        "epochs": base["epochs"] * IMAGES // (rows[1] - rows[0]),
        **options,
        **changes,
        "about": about,
    }


def _variants(architecture: str) -> dict[str, Recipe]:
    """Return the variants, with the seeds 0 and 1.

    Each begins with the weights of the base model of its seed if the shapes are the same.
    """
    widths = _WIDTHS[architecture]
    changes: dict[str, tuple[str, Recipe]] = {
        "half-a": ("data", {"rows": (0, 1000)}),
        "half-b": ("data", {"rows": (1000, 2000)}),
        "500": ("data", {"rows": (0, 500)}),
        "coarse": ("labels", {"labels": "coarse"}),
        "shuffled": ("labels", {"labels": "shuffled", **_MEMORISED[architecture]}),
        "deeper": ("depth", {"widths": _DEEPER[architecture]}),
        "shallower": ("depth", {"widths": _SHALLOWER[architecture]}),
        "wider": ("width", {"widths": tuple(2 * width for width in widths)}),
        "narrower": ("width", {"widths": tuple(width // 2 for width in widths)}),
        "untrained": ("training", {"epochs": 0}),
    }
    return {
        f"{architecture}-{variant}-{seed}": _recipe(architecture, seed, varied, variant, **change)
        for variant, (varied, change) in changes.items()
        for seed in range(2)
    }


def _base(architecture: str, seeds: int) -> dict[str, Recipe]:
    return {f"{architecture}-{seed}": _recipe(architecture, seed, "initialisation", "base") for seed in range(seeds)}


POPULATION: dict[str, Recipe] = {
    **_base("mlp", 5),
    **_base("cnn", 5),
    **_base("vit", 3),
    **_variants("mlp"),
    **_variants("cnn"),
}
"""53 models: five seeds of an MLP and of a CNN, three of a transformer, and MLPs and CNNs that differ from those in
one thing.

Their cards say `varied` (initialisation, data, labels, depth, width, training), `variant`, `depth` (hidden layers) and
`width` (units or channels of the widest).
"""

GRID = (*range(11), *range(15, 41, 5), *range(50, 101, 10))
"""The 23 epochs at which a run is seen, dense first; those of the thesis."""

RATES = {"slow": 1e-4, "medium": 1e-3, "fast": 1e-2}

RUNS: dict[str, Recipe] = {
    f"{architecture}-{rate}-{seed}": {
        "architecture": architecture,
        "data": "mnist",
        "rows": (0, 1000),
        "seed": seed,
        "epochs": GRID[-1],
        "checkpoints": GRID,
        "learning_rate": RATES[rate],
        "schedule": "constant",
        "about": {"rate": rate},
    }
    for architecture in ("mlp", "cnn")
    for rate in RATES
    for seed in range(2)
}
"""12 runs of 23 checkpoints: two architectures, three constant learning rates, two seeds."""

_KINDS: dict[str, Recipe] = {
    "mnist": {"data": "mnist", "epochs": 5},
    "fashion": {"data": "fashion", "epochs": 8},
    "untrained": {"data": "mnist", "epochs": 0},
}

KINDS: dict[str, Recipe] = {
    f"{kind}-cnn-{seed}": {"architecture": "cnn", "learning_rate": 4e-3, "seed": seed, **its, "about": {"kind": kind}}
    for place, (kind, its) in enumerate(_KINDS.items())
    for seed in range(6 * place, 6 * place + 6)
}
"""18 CNNs, the recipe of the zoo's: six trained on MNIST, six on Fashion-MNIST, six before their first step.

No two start from the same weights, so that models are independent of each other.

Their cards say `kind`."""

_FAMILIES: dict[str, tuple[str, dict[str, Any], int, float]] = {  # architecture, options, epochs, learning rate
    "mlp": ("mlp", {}, 8, 3e-3),
    "mlp-deep": ("mlp", {"widths": [128, 128, 96, 96, 64]}, 8, 3e-3),
    "plain-2": ("cnn", {"widths": [16, 48]}, 8, 4e-3),
    "plain-3": ("cnn", {}, 8, 4e-3),
    "plain-4": ("cnn", {"widths": [16, 32, 48, 48]}, 8, 4e-3),
    "residual": ("resnet", {}, 6, 4e-3),
    "residual-wide": ("resnet", {"widths": [24, 48, 96]}, 6, 4e-3),
    "depthwise": ("depthwise", {}, 8, 8e-3),
    "attention": ("vit", {}, 14, 1.5e-3),
    "attention-narrow": ("vit", {"width": 32}, 14, 2e-3),
}

FAMILIES: dict[str, Recipe] = {
    f"{family}-{seed}{'-untrained' if not trained else ''}": {
        "architecture": architecture,
        "data": "fashion",
        "options": options,
        "seed": seed,
        "epochs": epochs * trained,
        "learning_rate": rate,
        "about": {"family": family, "trained": trained},
    }
    for trained in (True, False)
    for family, (architecture, options, epochs, rate) in _FAMILIES.items()
    for seed in range(2)
}
"""Two seeds of ten architectures (plain, residual, depthwise, attention, fully connected), trained on Fashion-MNIST,
and each before its first step: 40 models.

Their cards say `family` and `trained`."""

_SHORTENED = (
    "mlp-0",
    "mlp-1",
    "mlp-2",
    "mlp-shuffled-0",
    "mlp-shuffled-1",
    "mlp-coarse-0",
    "mlp-untrained-0",
    "cnn-0",
    "cnn-1",
    "cnn-2",
    "cnn-shuffled-0",
    "cnn-untrained-0",
    "vit-0",
    "mlp-slow-0",
    "mlp-fast-0",
    "cnn-slow-0",
    "cnn-fast-0",
    "plain-2-0",
    "plain-3-0",
    "plain-3-1",
    "plain-4-0",
    "residual-0",
    "depthwise-0",
    "attention-0",
    "attention-narrow-0",
    "mlp-0-untrained",
    "plain-3-0-untrained",
    "residual-0-untrained",
)


def shorten(recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """Select about a dozen of POPULATION or FAMILIES, or four of RUNS, trained for a moment: for tests."""
    return {name: _shorten_recipe(recipe) for name, recipe in recipes.items() if name in _SHORTENED}


def _shorten_recipe(recipe: Recipe) -> Recipe:
    if "checkpoints" in recipe:
        return {**recipe, "epochs": 4, "checkpoints": (0, 1, 2, 3, 4), "rows": (0, 400)}
    return {**recipe, "epochs": min(recipe["epochs"], 20 if recipe["architecture"] == "mlp" else 6), "rows": (0, 300)}


def load_held_out() -> Dataset:
    """Load the 2,000 MNIST images of the training split that no model of POPULATION or RUNS was trained on."""
    whole = load_dataset("mnist", "train")
    return whole.take(range(IMAGES, len(whole)), "mnist/held-out")
