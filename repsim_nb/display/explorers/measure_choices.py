"""The drop-down of measures: by families, with the reason of those that do not apply."""

from __future__ import annotations

from collections.abc import Mapping

from repsim_nb.display.views import GroupedDropdown
from repsim_nb.measures import Measure
from repsim_nb.measures.confounds import takes_rdms

NONE = "none"
_FAMILIES = {
    "kernels": ("cka", "confounds"),
    "correlations (CCA)": ("cca",),
    "shapes": ("alignment", "uncentred"),
    "distances of samples": ("rsa", "rsm_norm", "spanning_trees"),
    "neighbors": ("neighbours", "cknna", "ranked_neighbours"),
    "prediction": ("prediction",),
    "one number a side": ("summary_differences",),
    "outputs of models": ("functional", "decisions"),
}
_OWN = "others"


def _measure_groups(known: Mapping[str, Measure]) -> dict[str, list[str]]:
    """Return the names of measures by family."""
    family = {room: title for title, rooms in _FAMILIES.items() for room in rooms}
    groups: dict[str, list[str]] = {title: [] for title in (*_FAMILIES, _OWN)}
    for name, measure in known.items():
        title = family.get(type(measure).__module__.rpartition(".")[2], _OWN)
        groups["outputs of models" if measure.compares == "outputs" else title].append(name)
    return groups


def measure_control(known: Mapping[str, Measure], value: str, description: str, *first: str) -> GroupedDropdown:
    """Return a drop-down of measures; `first`: choices in front of them."""
    return GroupedDropdown({"": first, **_measure_groups(known)}, value, description)


def why_not(known: Mapping[str, Measure], n: int | None, *, outputs: str = "", rdms: bool = False) -> dict[str, str]:
    """Return why measures do not apply, by name.

    n: the number of samples, if it is known; outputs: why functional measures do not apply, "" if they do; rdms:
    whether some representations are RDMs.
    """
    found = {}
    for name, measure in known.items():
        if measure.compares == "outputs" and outputs:
            found[name] = outputs
        elif n is not None and n < measure.min_samples:
            found[name] = f"needs {measure.min_samples} samples"
        elif rdms and not takes_rdms(measure):
            found[name] = "needs features, and there are RDMs"
    return found
