"""Whether rows and columns of a comparison are the same representations, as labels and values show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from repsim_nb.measures import CCA, CKA, KL, Measure, Procrustes

if TYPE_CHECKING:
    from .table import Comparison

SELF_BEST = CKA, CCA, Procrustes, KL  # a representation with itself has the best value
FAR = 1e-3, 1e-2  # of the largest value: by how much both directions, and an item and itself, may differ by rounding


def explain_other_items(values: pd.DataFrame, measure: Measure) -> str:
    """Return what a table has if rows and columns are other representations, as labels or values show; else "".

    The layers of two models can have the same names. Both directions of a symmetric measure then differ, and the value
    of a label with itself is not the best one.
    """
    if not values.index.equals(values.columns):
        return f"has {values.shape[0]} rows and {values.shape[1]} columns with other labels"
    found = values.to_numpy(float, na_value=np.nan)
    sizes = np.abs(found[np.isfinite(found)])
    scale = float(sizes.max()) if sizes.size else 0.0
    labels = ["/".join(map(str, label)) if isinstance(label, tuple) else str(label) for label in values.index]
    with np.errstate(invalid="ignore"):
        differ = np.argwhere(np.abs(found - found.T) > FAR[0] * scale) if measure.symmetric else np.empty((0, 2), int)
        own = np.diag(found)
        worse = np.abs(own - measure.range[1 if measure.kind == "similarity" else 0]) > FAR[1] * max(scale, 1.0)
    if len(differ):
        i, j = differ[0].tolist()
        both = f"{found[i, j]:.3g} in one direction and {found[j, i]:.3g} in the other"
        why = f"'{labels[i]}' and '{labels[j]}' have {both}"
    elif isinstance(measure, SELF_BEST) and worse.any():
        k = int(np.argmax(worse))
        why = f"'{labels[k]}' and '{labels[k]}' have {own[k]:.3g}"
    else:
        return ""
    return (
        f"has the same labels of other representations in rows and columns ({why}). Give them labels that"
        " differ, such as 'model/layer'"
    )


def check_same_items(table: Comparison, what: str, hint: str = "", name: str = "this one") -> None:
    """Raise ValueError if rows and columns of a comparison are not the same representations in the same order."""
    if why := explain_other_items(table.values, table.measure):
        raise ValueError(
            f"{what} needs a square comparison, the same items in rows and columns; {name} {why}."
            f"{' ' * bool(hint)}{hint}"
        )
