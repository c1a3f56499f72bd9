"""Linear probes: what a classifier reads from representations.

`dataset_bias` asks which network, and which data, they came from; `linear_probe` reads any targets.
"""

from __future__ import annotations

import html
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from repsim_nb.measures.base import check_sides, to_arrays
from repsim_nb.results.inference.results import compare_with_null
from repsim_nb.support.errors import UndefinedError, format_label, join_names, unknown_name
from repsim_nb.support.escaping import without_formulas
from repsim_nb.support.ids import check_order
from repsim_nb.support.labels import Labels, short_labels, to_axis, varying_fields
from repsim_nb.support.progress import Tick
from repsim_nb.support.validation import (
    check_fraction,
    check_integer,
    check_labels,
    check_positive,
    check_representation,
    to_numpy,
)
from repsim_nb.support.workers import map_with_progress

SCALINGS = ("pooled", "per_set", None)
PROBES = ("linear", "rbf")
LEAST = 2  # rows of a class on either side
LANDMARKS = 600  # of the kernel probe


@dataclass(frozen=True, eq=False, repr=False)
class Probe:
    """What a classifier made of rows that it was not fitted to.

    confusion: DataFrame (classes, classes), of each true class (row) the share of its held-out rows that was named so
    (column); rows sum to 1.
    balanced_accuracy: the mean of the diagonal, held-out.  chance: what naming at random gives.
    p_value: how often the balanced accuracy is as high when labels are exchanged between images and within them, (1 +
    #) / (permutations + 1).  null: those values.
    predictions: a row a held-out row: `true` and `predicted` (numbers of classes), `sample` (its row number, or the id
    that was given), `image` (one number an image).
    fitted: `true` and `predicted` of the rows that it was fitted to.  n_train, n_test: how many rows those are.
    """

    confusion: pd.DataFrame
    balanced_accuracy: float
    chance: float
    p_value: float
    null: np.ndarray
    predictions: pd.DataFrame
    fitted: pd.DataFrame
    probe: str
    scaling: str | None
    seed: int = 0

    @property
    def accuracy(self) -> float:
        """The share of held-out rows named rightly; other than the balanced one where classes differ in size."""
        return float((self.predictions["true"] == self.predictions["predicted"]).mean())

    @property
    def in_sample_balanced_accuracy(self) -> float:
        """On the rows that it was fitted to: how far above the held-out one it is says how much was learned by
        heart.
        """
        return _balanced(self.fitted["true"].to_numpy(), self.fitted["predicted"].to_numpy())

    @property
    def n_train(self) -> int:
        return len(self.fitted)

    @property
    def n_test(self) -> int:
        return len(self.predictions)

    def labels(self) -> Labels:
        """The names of the classes."""
        return short_labels(self.confusion.index)

    def confused(self, row: int, column: int) -> np.ndarray:
        """Which samples of class number `row` were taken for class number `column`: their ids, without repetition."""
        for number in (row, column):
            check_integer(number, "a class", minimum=0, maximum=len(self.confusion) - 1, hint="its place in labels()")
        of = self.predictions
        return of.loc[(of["true"] == row) & (of["predicted"] == column), "sample"].drop_duplicates().to_numpy()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self.confusion)} classes, held-out balanced"
            f" accuracy={self.balanced_accuracy:.3f}, chance={self.chance:.3f}, p_value={self.p_value:.2g},"
            f" n_train={self.n_train}, n_test={self.n_test})"
        )

    def _repr_html_(self) -> str:
        table = self.confusion.set_axis(self.labels(), axis=0).set_axis(self.labels(), axis=1)
        return without_formulas(
            f"<p>{html.escape(repr(self))}</p>" + table.to_html(float_format="{:.2f}".format, max_rows=30, max_cols=30)
        )


@dataclass(frozen=True, eq=False, repr=False)
class DatasetProbe(Probe):
    """A probe whose classes are sets of representations: of which network, on which data.

    The levels of the confusion's index are the fields of the keys.

    ordered_by: the field by which `order_by` put its rows together; None is the order in which sets came.
    """

    ordered_by: str | None = None

    def labels(self) -> Labels:
        """Short labels, the data first where it varies: "[test set]_[network]"."""
        fields = sorted(varying_fields(self.confusion.index), key=lambda name: name != "dataset")
        frame = self.confusion.index.to_frame(index=False).astype(str)
        if "dataset" not in fields or len(fields) < 2:
            return super().labels()
        data = frame["dataset"].str.replace(r"/test(\[.*\])?$", "", regex=True)
        frame["dataset"] = data if data.nunique() == frame["dataset"].nunique() else frame["dataset"]
        return tuple("_".join(map(str, row)) for row in frame[fields].itertuples(index=False))

    def by_field(self, field: str) -> DatasetProbe:
        """The same predictions, asked for one field only, with a chance level and a p-value of their own.

        `by_field("model")` names the model, `by_field("dataset")` the data.
        """
        values = self._values(field)
        numbers, names = pd.factorize(values)
        if len(names) < 2:
            raise ValueError(f"naming '{field}' needs two values of it; here all {len(values)} sets have '{names[0]}'")
        found = _scored(_renumbered(self.predictions, numbers), pd.Index(names, name=field), len(self.null), self.seed)
        return replace(self, **found, fitted=_renumbered(self.fitted, numbers), chance=1 / len(names), ordered_by=None)

    def order_by(self, field: str) -> DatasetProbe:
        """The same with rows and columns grouped by a field, values and sets in the order of their first appearance."""
        order = np.argsort(pd.factorize(self._values(field))[0], kind="stable")
        place = np.argsort(order)
        return replace(
            self,
            confusion=self.confusion.iloc[order, order],
            predictions=_renumbered(self.predictions, place),
            fitted=_renumbered(self.fitted, place),
            ordered_by=field,
        )

    def breaks(self, field: str) -> list[int]:
        """Before which rows another value of the field begins; none where values have one row each, or come back
        further down.
        """
        return group_breaks(self._values(field))

    def _values(self, field: str) -> pd.Index:
        names = list(self.confusion.index.names)
        if field not in names:
            raise unknown_name(
                "field",
                field,
                names,
                (
                    "Sets whose labels are plain text have no fields: rs.Key(model, layer, dataset) has."
                    if names == ["label"]
                    else ""
                ),
            )
        return self.confusion.index.get_level_values(field)


def group_breaks(values: Any) -> list[int]:
    """Before which places another value begins; none where values have one place each, or come back further down."""
    codes = pd.factorize(values)[0]
    begins = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    return begins.tolist() if len(begins) == codes.max() < len(codes) - 1 else []


def _renumbered(rows: pd.DataFrame, numbers: np.ndarray) -> pd.DataFrame:
    return rows.assign(true=numbers[rows["true"]], predicted=numbers[rows["predicted"]])


def dataset_bias(
    sets: Mapping[Any, Any],
    *,
    groups: Mapping[Any, Any] | Sequence[Any] | None = None,
    n: int | None = None,
    test_fraction: float = 0.3,
    scaling: str | None = "pooled",
    probe: str = "linear",
    cost: float = 0.01,
    n_permutations: int = 999,
    seed: int = 0,
    progress: bool | Tick = False,
) -> DatasetProbe:
    """Can a linear SVM tell from which network, and on which data, a representation was recorded? -> DatasetProbe,
    on held-out images.

    sets: {label: array (n, ...)}, all of one width; a set is a class. Labels that are keys (a recording's) have fields,
    so that `bias.by_field("model")` names the network alone.
    groups: which image a row is, {label: ids (n,)}, or the ids alone where all sets have the same images. None: with
    keys, row i of all sets of one data set is image i; with plain labels row i is image i in every set. No image is on
    both sides, for any set; test_fraction of the images are held out.
    n: at most so many images of each data set, drawn by seed; None takes all.
    scaling: features to mean 0 and variance 1, fitted on the training rows, "pooled" over all sets; "per_set" for each
    set by itself, which hides what only shifts or stretches a set, and needs to know the set of a held-out row (so its
    p-value is not exact, and a little small); None leaves them as they are.
    probe: "linear", one SVM (squared hinge loss) a set against the rest, the highest score is named; "rbf", the same on
    600 features of a Gaussian kernel (Nyström), to see what a linear one misses.  cost: of a row on the wrong side, C
    of scikit-learn; of the kernel's features, which are shorter, as many times that as there are features. The p-value
    takes rows of one image as one: a label that is the same for all rows of an image moves with it, others are
    exchanged between images that occur as often, and within.
    Errors: ValueError naming the set for another width, too few rows, NaN; for a single set.  [Torralba and Efros 2011;
    Yellapragada 2020, 3.1]
    """
    if not isinstance(sets, Mapping):
        raise TypeError(f"sets come by label, {{'a': x, 'b': y}}, or as a recording; got {type(sets).__name__}")
    if scaling not in SCALINGS:
        raise unknown_name("scaling", scaling, SCALINGS)
    if probe not in PROBES:
        raise unknown_name("probe", probe, PROBES)
    _check_numbers(test_fraction, cost, n_permutations, seed, **({} if n is None else {"n": n}))
    if len(sets) < 2:
        raise ValueError(
            "sets are told from one another, so there must be two or more; here is"
            f" {join_names(map(format_label, sets)) or 'none'}"
        )
    index = to_axis(sets)
    if groups is None:  # row i is image i, of all sets of one data set
        for data in dict.fromkeys(getattr(label, "dataset", "") for label in sets):
            check_sides({"sets": sets}, labels=[label for label in sets if getattr(label, "dataset", "") == data])
    given = to_arrays(sets)
    labels, sizes = (
        [format_label(label) for label in given],
        {label: len(x) if x.ndim else 0 for label, x in given.items()},
    )
    true = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    image, sample, data = _images(index, _ids(sizes, groups), groups)
    drawn = np.ones(len(true), bool) if n is None else _some_of_each(true, image, data, n, np.random.default_rng(seed))
    xs = {label: entered(label, x if n is None else x[drawn[true == k]]) for k, (label, x) in enumerate(given.items())}
    _check_widths(xs)
    true, image, sample = true[drawn], image[drawn], sample[drawn]
    held = _held_out(true, image, test_fraction, labels, np.random.default_rng(seed))
    x = (
        np.concatenate([_scaled(part, held[true == k]) for k, part in enumerate(xs.values())])
        if scaling == "per_set"
        else np.concatenate(list(xs.values()))
    )
    x = _scaled(x, held) if scaling == "pooled" else x
    fit, test = _expanded(x[~held], x[held], seed) if probe == "rbf" else _reduced(x[~held], x[held])
    cost = (
        cost * x.shape[1] if probe == "rbf" else cost
    )  # a row of p features of variance 1 is √p long, of the kernel's 1
    scores = _against_the_rest(fit, true[~held], test, labels, cost, progress)
    predictions = pd.DataFrame(
        {"true": true[held], "predicted": scores[1].argmax(1), "sample": sample[held], "image": image[held]}
    )
    return DatasetProbe(
        **_scored(predictions, index, n_permutations, seed),
        fitted=pd.DataFrame({"true": true[~held], "predicted": scores[0].argmax(1)}),
        chance=1 / len(xs),
        probe=probe,
        scaling=scaling,
        seed=seed,
    )


def linear_probe(
    x: Any,
    targets: Any,
    *,
    test: tuple[Any, Any] | None = None,
    groups: Sequence[Any] | None = None,
    classes: Sequence[str] | None = None,
    test_fraction: float = 0.3,
    scaling: bool = True,
    cost: float = 1.0,
    n_permutations: int = 999,
    seed: int = 0,
) -> Probe:
    """How well a logistic regression reads targets from a representation -> Probe, on held-out rows.

    x: array (n, ...).  targets: (n,), any labels.  test: (x, targets) to be tested on instead of a share of the rows,
    which are drawn within each class.
    groups: (n,) ids of rows that must stay on one side.  classes: names of the targets 0, 1, ....  scaling: features to
    mean 0 and variance 1, fitted on the training rows.
    cost: the inverse of the L2 penalty, C of scikit-learn.
    Errors: ValueError for a single class, one with too few rows (by its name), other widths or lengths.  [Alain and
    Bengio 2016]
    """
    _check_numbers(test_fraction, cost, n_permutations, seed)
    sides = [(x, targets)] if test is None else [(x, targets), test]
    for part, target in [*sides, (x, groups)]:
        check_order(part, target)
    parts = [entered("x" if k == 0 else "test", side[0]) for k, side in enumerate(sides)]
    wanted = [check_labels(side[1], len(part), "targets") for side, part in zip(sides, parts, strict=True)]
    if test is not None and parts[1].shape[1] != parts[0].shape[1]:
        raise ValueError(
            f"the rows to be tested on have {parts[1].shape[1]} features, those to be fitted to {parts[0].shape[1]}"
        )
    targets = (
        wanted[0]
        if test is None
        else check_labels([label for target in wanted for label in target], sum(map(len, wanted)), "targets")
    )
    true, values = pd.factorize(targets, sort=True)
    if len(values) < 2:
        raise ValueError(
            f"a probe tells classes from one another, and all {len(true)} targets are '{values[0]}'"
            if len(values)
            else "a probe needs targets; there are none"
        )
    names = [str(value) for value in values] if classes is None else _class_names(values, classes)
    rows = np.concatenate([np.arange(len(part)) for part in parts])
    if groups is not None and test is not None:
        raise ValueError("groups are for drawing held-out rows; here test= gives them")
    image = np.arange(len(true)) if groups is None else pd.factorize(check_labels(groups, len(true), "groups"))[0]
    if test is None:
        held = _held_out(true, image, test_fraction, names, np.random.default_rng(seed))
    else:
        held = np.arange(len(true)) >= len(parts[0])
        _check_counts(true, held, names)
    x = _scaled(np.concatenate(parts), held) if scaling else np.concatenate(parts)
    fit, tested = _reduced(x[~held], x[held])
    model = LogisticRegression(C=cost, max_iter=2000)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(fit, true[~held])
        except ConvergenceWarning as error:
            raise UndefinedError(
                f"the probe did not come to its optimum within {model.max_iter} steps: a smaller cost than {cost:g}"
                " helps, or scaling=True"
            ) from error
    predictions = pd.DataFrame(
        {"true": true[held], "predicted": model.predict(tested), "sample": rows[held], "image": image[held]}
    )
    return Probe(
        **_scored(predictions, pd.Index(names, name="class"), n_permutations, seed),
        fitted=pd.DataFrame({"true": true[~held], "predicted": model.predict(fit)}),
        chance=1 / len(names),
        probe="logistic",
        scaling="pooled" if scaling else None,
        seed=seed,
    )


# -- what enters
# -----------------------------------------------------------------------------------------------------------


def _class_names(values: np.ndarray, classes: Sequence[str]) -> list[str]:
    whole = (
        values.dtype.kind in "iufb"
        and (values == np.floor(values)).all()
        and values.min() >= 0
        and values.max() < len(classes)
    )
    if not whole:
        raise ValueError(f"classes name the targets 0 to {len(classes) - 1}; these targets are {join_names(values, 6)}")
    return [str(classes[int(value)]) for value in values]


def _check_numbers(test_fraction: float, cost: float, n_permutations: int, seed: int, **more: int) -> None:
    check_fraction(test_fraction, "test_fraction", hint="the fraction of images held out")
    check_positive(cost, "cost")
    for what, number, least in (
        ("n_permutations", n_permutations, 1),
        ("seed", seed, 0),
        *((what, number, 2 * LEAST) for what, number in more.items()),
    ):
        check_integer(number, what, minimum=least)


def entered(label: Any, x: Any, *, constant: bool = True) -> np.ndarray:
    """One representation, checked by the door -> float64 (n, p); an error names it.  constant: whether all rows may be
    alike.
    """
    try:
        return to_numpy(check_representation(x, constant=constant)).astype(float)
    except (ValueError, MemoryError) as error:
        raise type(error)(f"'{format_label(label)}': {error}") from error


def _check_widths(xs: Mapping[Any, np.ndarray]) -> None:
    widths = {label: x.shape[1] for label, x in xs.items()}
    usual = max(set(widths.values()), key=list(widths.values()).count)
    others = [f"{format_label(label)}: {width}" for label, width in widths.items() if width != usual]
    if others:
        same = next(label for label, width in widths.items() if width == usual)
        raise ValueError(
            f"one SVM reads all sets, so they need one width; '{format_label(same)}' has {usual} features, but"
            f" {join_names(others, 4)}. Take layers of one width, or reduce them first"
        )


def _ids(sizes: Mapping[Any, int], groups: Any) -> list[np.ndarray]:
    """Of each set the id of the image of each row."""
    if groups is None:
        return [np.arange(size) for size in sizes.values()]
    if isinstance(groups, Mapping):
        lacking = [format_label(label) for label in sizes if label not in groups]
        if lacking:
            raise ValueError(f"groups hold the image ids of every set; there are none for {join_names(lacking, 3)}")
    return [
        check_labels(
            groups[label] if isinstance(groups, Mapping) else groups, size, f"groups of '{format_label(label)}'"
        )
        for label, size in sizes.items()
    ]


def _images(index: pd.Index, ids: list[np.ndarray], groups: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each row -> (one number an image, wherever it occurs; its id; the number of its data set)"""
    data = index.get_level_values("dataset") if groups is None and "dataset" in index.names else [""] * len(ids)
    sizes: dict[str, int] = {}
    for name, own in zip(data, ids, strict=True):
        if name and sizes.setdefault(name, len(own)) != len(own):
            raise ValueError(
                f"sets of one data set hold the same images row by row; of '{name}' there are sets of {sizes[name]} and"
                f" of {len(own)} rows. Say which image each row is, groups={{label: ids}}"
            )
    alike = len({own.dtype.kind for own in ids}) == 1  # else 1 would become "1"
    sample = (
        np.concatenate(ids)
        if alike
        else check_labels([one for own in ids for one in own], sum(map(len, ids)), "groups")
    )
    where = np.repeat(pd.factorize(np.asarray(data, dtype=object))[0], list(map(len, ids)))
    number = pd.factorize(sample)[0]
    return pd.factorize(where.astype(np.int64) * (number.max(initial=0) + 1) + number)[0], sample, where


def _held_out(
    true: np.ndarray, image: np.ndarray, share: float, names: Sequence[str], rng: np.random.Generator
) -> np.ndarray:
    """Which rows are held out: a share of the images, whole ones, and as evenly as can be of those that occur in the
    same classes.
    """
    held = _drawn(true, image, round(share * len(np.unique(image))), rng)
    _check_counts(true, held, names)
    return held


def _some_of_each(
    true: np.ndarray, image: np.ndarray, data: np.ndarray, n: int, rng: np.random.Generator
) -> np.ndarray:
    """The rows of at most n images of each data set."""
    taken = np.zeros(len(true), bool)
    for one in np.unique(data):
        rows = np.flatnonzero(data == one)
        taken[rows[_drawn(true[rows], image[rows], min(n, len(np.unique(image[rows]))), rng)]] = True
    return taken


def _drawn(true: np.ndarray, image: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """The rows of so many images, drawn at random; of images that occur in the same classes each sort gives its share,
    what is left over goes by lot.
    """
    occurs = pd.Series(true).groupby(image).agg(lambda own: tuple(sorted(set(own))))
    sorts = [occurs.index.get_indexer(alike.index) for _, alike in occurs.groupby(occurs, sort=False)]
    due = np.array([len(places) for places in sorts]) * number / len(occurs)
    many = np.floor(due + 1e-9).astype(int)
    many[np.lexsort((rng.random(len(due)), many - due))[: number - many.sum()]] += 1
    taken = np.zeros(len(occurs), bool)
    for places, count in zip(sorts, many, strict=True):
        taken[rng.permutation(places)[:count]] = True
    return taken[occurs.index.get_indexer(image)]


def _check_counts(true: np.ndarray, held: np.ndarray, names: Sequence[str]) -> None:
    for side, what in ((~held, "to be fitted to"), (held, "to be held out")):
        many = np.bincount(true[side], minlength=len(names))
        if many.min() < LEAST:
            k = int(many.argmin())
            raise ValueError(
                f"'{names[k]}' has too few samples: of its {(true == k).sum()} rows {many[k]} would be left {what}, and"
                f" {LEAST} are the least"
            )


# -- features
# --------------------------------------------------------------------------------------------------------------


def _scaled(x: np.ndarray, held: np.ndarray) -> np.ndarray:
    """By mean and standard deviation of the rows that are not held out; a feature that is constant there is only
    centred.
    """
    x = x / max(np.abs(x).max(), np.finfo(float).tiny)  # no square of it can overflow or vanish
    mean, spread = x[~held].mean(axis=0), x[~held].std(axis=0)
    return (x - mean) / np.where(spread > 1e-12 * np.abs(mean).clip(min=1e-300), spread, 1)


def _reduced(fit: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """More features than rows: the rows' own directions, which hold all that a linear probe can use."""
    if fit.shape[1] <= fit.shape[0]:
        return fit, test
    basis = np.linalg.qr(fit.T)[0]
    return fit @ basis, test @ basis


def _expanded(fit: np.ndarray, test: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    variance = fit.var()
    kernel = Nystroem(
        gamma=1 / (fit.shape[1] * (variance if variance > 0 else 1)),
        n_components=min(LANDMARKS, len(fit)),
        random_state=seed,
    )
    return kernel.fit_transform(fit), kernel.transform(test)


# -- classes
# ---------------------------------------------------------------------------------------------------------------


def _against_the_rest(
    fit: np.ndarray, true: np.ndarray, test: np.ndarray, names: Sequence[str], cost: float, progress: bool | Tick
) -> tuple[np.ndarray, np.ndarray]:
    """-> scores of the rows fitted to and of the others (rows, classes), each class against all others."""

    def one(k: int) -> tuple[np.ndarray, np.ndarray]:
        svm = LinearSVC(C=cost, dual=False).fit(fit, true == k)  # the primal: as many rows as features, or more
        return svm.decision_function(fit), svm.decision_function(test)

    done = map_with_progress(
        one, range(len(names)), progress=progress, what=f"an SVM for each of {len(names)} sets", unit="set"
    )
    return np.column_stack([fitted for fitted, _ in done]), np.column_stack([tested for _, tested in done])


def _scored(predictions: pd.DataFrame, index: pd.Index, n_permutations: int, seed: int) -> dict[str, Any]:
    """Confusion, accuracy and test of these predictions of the classes in `index`."""
    true, predicted = (predictions[column].to_numpy() for column in ("true", "predicted"))
    counts = np.zeros((len(index), len(index)))
    np.add.at(counts, (true, predicted), 1)
    seen = _balanced(true, predicted)
    null = np.array(
        [
            _balanced(other, predicted)
            for other in _exchanged(true, predictions["image"].to_numpy(), n_permutations, np.random.default_rng(seed))
        ]
    )
    confusion = pd.DataFrame(counts / counts.sum(axis=1, keepdims=True), index=index, columns=index)
    return {
        "confusion": confusion,
        "balanced_accuracy": seen,
        "p_value": compare_with_null(seen, null, "greater").p_value,
        "null": null,
        "predictions": predictions,
    }


def _balanced(true: np.ndarray, predicted: np.ndarray) -> float:
    many = np.bincount(true)
    return float(np.mean(np.bincount(true[true == predicted], minlength=len(many))[many > 0] / many[many > 0]))


def _exchanged(true: np.ndarray, image: np.ndarray, times: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Labels as they might as well be if rows told nothing of them: rows of one image are no independent rows, so an
    image takes the label of another; where it has several, those of one
    that occurs as often, in any order."""
    number = pd.factorize(image)[0]
    own = np.zeros(number.max() + 1, dtype=true.dtype)
    own[number] = true
    if (own[number] == true).all():  # one label an image, however often it occurs
        for _ in range(times):
            yield rng.permutation(own)[number]
        return
    order = np.argsort(image, kind="stable")
    many = np.unique(image, return_counts=True)[1]
    ends = np.cumsum(many)
    blocks = [order[(ends[many == size] - size)[:, None] + np.arange(size)] for size in np.unique(many)]
    for _ in range(times):
        other = np.empty_like(true)
        for rows in blocks:
            other[rows] = rng.permuted(true[rows][rng.permutation(len(rows))], axis=1)
        yield other
