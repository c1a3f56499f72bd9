"""The two sides of a comparison, as arrays of one library with the same samples in one order."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array, is_array, to_array
from repsim_nb.support.dimensions import check_dimensions, feature_names
from repsim_nb.support.errors import add_context, as_clause, format_label, join_names
from repsim_nb.support.ids import Names, compare_names, ids_of, names_of
from repsim_nb.support.rdms import RDM
from repsim_nb.support.row_groups import check_groups
from repsim_nb.support.validation import check_shape

from .names import name_of

if TYPE_CHECKING:
    from .base import Measure


def check_compares_layers(measure: Measure, what: str) -> None:
    """Raise ValueError for a measure of outputs; what: the function that compares layers, such as "drift"."""
    if measure.compares != "activations":
        raise ValueError(f"{what} compares layers, and {name_of(measure)} compares outputs. Use 'cka_debiased'.")


def label_arrays(xs: Mapping[Any, Array] | Sequence[Array]) -> Mapping[Any, Array]:
    """Return representations as {label: array}; the labels of a list are 0, 1, ..."""
    if not isinstance(xs, (Mapping, list, tuple)):
        raise TypeError(f"a table needs arrays by label, {{'a': x}}, or a list of arrays; got {type(xs).__name__}.")
    named_arrays = to_arrays(dict(xs.items() if isinstance(xs, Mapping) else enumerate(xs)))
    if not named_arrays:
        raise ValueError("there is nothing to compare: no representation was given.")
    return named_arrays


def to_arrays(xs: Mapping[Any, Any]) -> dict[Any, Array]:
    """Return representations as arrays whose rows are samples; an error names the label."""
    found = {}
    for label in xs:
        with add_context(f"'{format_label(label)}'", ValueError, MemoryError):
            found[label] = to_array(xs[label])
            if found[label].ndim == 1 and not is_array(xs[label]):
                check_shape(xs[label], 0)  # refuses it, with the code for its type
    return found


def check_sides(
    sides: Mapping[str, Mapping[Any, Any] | Sequence[Any]],
    measure: Measure | None = None,
    labels: Collection[Any] | None = None,
) -> None:
    """Check that row i is the same sample in all representations, as far as ids, groups and dimensions show.

    Parameters
    ----------
    sides : {name: {label: representation} or list}
        The representations, by the names that the sides have in the error.
    measure : Measure, optional
        For outputs the classes that containers name must be in one order, too. `sample_data` of the measure is one
        more side.
    labels : collection, optional
        Check only these labels.

    Raises
    ------
    ValueError
        If the samples differ, are in another order, or belong to other groups; or named dimensions do not agree.
    """
    sides = {**sides, **(measure.sample_data if measure is not None else {})}
    check_groups(sides, labels)
    call = f"rs.align({', '.join(sides)})"
    firsts: dict[str, tuple[Any, Names]] = {}
    plain: tuple[Any, Any] | None = None
    classes: tuple[Any, list[Any]] | None = None
    arrays = False  # whether an array of a recording has ids
    for side in sides.values():
        ids = getattr(side, "ids", None)
        known = ids if isinstance(side, Mapping) and isinstance(ids, Mapping) else None
        for label in side if isinstance(side, Mapping) else range(len(side) if isinstance(side, (list, tuple)) else 0):
            if labels is not None and label not in labels:
                continue
            if known is None:
                x = side[label]
                if is_array(x):
                    own = ids_of(x)
                    arrays = arrays or own is not None
                    names = None if own is None else Names(own, "ids")  # rows may be drawn twice: the order matters
                else:
                    names = names_of(x)
                if plain is not None:
                    check_dimensions(plain[1], x, (format_label(plain[0]), format_label(label)))
                elif type(x).__name__ == "DataArray" or hasattr(x, "dims"):
                    plain = label, x
                if (
                    measure is not None
                    and measure.compares == "outputs"
                    and (names_of_classes := feature_names(x)) is not None
                ):
                    classes = classes or (label, names_of_classes)
                    _check_classes(classes, (label, names_of_classes))
            else:
                names = Names(known[label], "ids") if label in known else None
            if names is None:
                continue
            for other, its in firsts.values():
                if found := compare_names(its, names):
                    how, common = found
                    todo = "takes the common samples in one order" if common else "takes the common samples"
                    raise ValueError(
                        "every representation needs the same samples, in one order, and of"
                        f" '{format_label(other)}' and '{format_label(label)}' {how}."
                        f" {'' if common else 'Give both the same ids; then '}{call} {todo}."
                        f"{' To compare the rows as they are, pass np.asarray(x).' if arrays else ''}"
                    )
            firsts.setdefault(names.kind, (label, names))


def _check_classes(first: tuple[Any, list[Any]], other: tuple[Any, list[Any]]) -> None:
    """Raise ValueError if the names of the classes of two outputs show that others are compared.

    They do if both have a name at different places, or if only some of the names are the same.
    """
    (one, mine), (two, its) = ((format_label(label), names) for label, names in (first, other))
    if mine == its or not set(mine) & set(its):
        return
    known = "a measure of outputs compares class with class, and"
    if len(mine) == len(its) and set(mine) == set(its):
        i = next(i for i, (a, b) in enumerate(zip(mine, its, strict=True)) if a != b)
        raise ValueError(
            f"{known} '{one}' and '{two}' have the same columns in another order (column {i} is {mine[i]!r} and"
            f" {its[i]!r}). Use y[x.columns] for the other side, or y.sel(...) for a DataArray."
        )
    alone = [name for name in [*mine, *its] if name not in mine or name not in its]
    raise ValueError(
        f"{known} only some columns of '{one}' and '{two}' are the same; {join_names(alone, 4)} have no partner. Select"
        " the common classes on both sides, or give both the same names."
    )


def check_same_samples(*sides: Mapping[Any, Array]) -> int:
    """Return the number of samples of all representations.

    Parameters
    ----------
    *sides : {label: array}
        The representations of each side.

    Returns
    -------
    int
        0 if there is no representation.

    Raises
    ------
    ValueError
        If two representations have different numbers of rows; the error names them.

    Examples
    --------
    >>> rs.measures.check_same_samples({"a": np.zeros((5, 2))}, {"b": np.zeros((5, 3))})
    5
    """
    # what has no axis is refused by `check_representation`
    counts = [(label, x.shape[0]) for side in sides for label, x in side.items() if x.ndim]
    if not counts:
        return 0
    (first, n), *rest = counts
    for label, m in rest:
        if m != n:
            raise ValueError(
                f"compare needs the same samples in every representation; '{format_label(first)}' has {n} rows,"
                f" '{format_label(label)}' has {m}."
            )
    return n


def to_one_library(*sides: Mapping[Any, Array]) -> list[Mapping[Any, Array]]:
    """Return the same arrays, all of one library: if some are NumPy arrays, torch tensors are converted to NumPy."""
    tensors = [array_api_compat.is_torch_array(x) for side in sides for x in side.values()]
    if all(tensors) or not any(tensors):
        return list(sides)

    def move(x: Array) -> Array:
        if not array_api_compat.is_torch_array(x):
            return x
        x = x.detach().cpu()
        return (x.float() if x.element_size() < 4 and x.is_floating_point() else x).numpy()

    return [{label: move(x) for label, x in side.items()} for side in sides]


def to_device(x: Any, device: Any) -> Any:
    """Return an array as a torch tensor on a device.

    Parameters
    ----------
    x : array or tensor
        The array.
    device : str, torch.device or None
        None returns x as it is.

    Returns
    -------
    tensor or array
        The same numbers on the device.

    Raises
    ------
    ValueError
        If there is no such device.

    Examples
    --------
    >>> rs.measures.to_device(np.zeros((2, 3)), "cpu").shape
    torch.Size([2, 3])
    """
    if device is None:
        return x
    if isinstance(x, RDM):
        raise ValueError(f"an RDM is compared with NumPy; got device={str(device)!r}. Leave device out.")
    import torch

    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device must be available; got {str(device)!r} ({as_clause(str(error).splitlines()[0])}). Use 'cpu', or"
            " None for arrays as they are."
        ) from error
    if isinstance(x, np.ndarray):
        x = np.ascontiguousarray(
            x, dtype=np.float64 if x.dtype.kind == "f" and x.itemsize > 8 else x.dtype.newbyteorder("=")
        )
    with warnings.catch_warnings():  # a mapped or shared array is read only, and so is what is done with the tensor
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.as_tensor(x).to(device)
