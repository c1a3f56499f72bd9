"""Read data twice and refuse data that differ the second time: their rows belong to no sample."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import IterableDataset

from repsim_nb.inputs.batches import find_label_column, is_graph, is_option, slice_batch
from repsim_nb.inputs.randomness import (
    States,
    drew_only_seeds,
    find_used_generators,
    preserve_random_states,
    read_generator_states,
    seed_generators,
)
from repsim_nb.support.errors import warn_user
from repsim_nb.support.validation import to_numpy

from .inputs import fingerprint_batch, fingerprint_inputs
from .splitting import split_batch

SPREAD = 6  # samples of a data set with numbered samples
FEW = 16  # items of a stream, from its beginning
SEEDS = (20561, 77003)  # of the first reading and of the second
CONFIRMED = 3  # times
MORE_SEEDS = range(31, 39)  # if values agree, and a seed was drawn
_USELESS = "Row i would belong to another input for each model, and a recording could not be found again"
_ADVICE = (
    f"{_USELESS}. Remove the shuffling and the random transforms, or use one reading for all models: data ="
    " rs.Dataset(name, iter(...))."
)


# -- samples with numbers


def check_samples(
    name: str,
    numbers: Sequence[Any] | np.ndarray,
    read: Callable[[Any], Any],
    join: Callable[[list[Any], list[Any]], Any],
    *,
    own_collate: bool,
) -> int | None:
    """Read about six samples twice, with different random states; ValueError if data are random.

    Return the number of a sample of which only the label differs, or None: many models get no labels.

    Data are random if a sample differs, or if numbers were drawn from a global random generator. The second is found
    every time, also if both readings happened to agree. A data set with a generator of its own is found by its values.

    numbers: of all samples.  read(number): a sample.  join(samples, numbers): the inputs of a batch, by the collate
    function.  own_collate: whether that is the user's, which may change the order of samples: this is an error too.
    """
    if not len(numbers):
        return None
    chosen = [
        numbers[place] for place in np.linspace(0, len(numbers) - 1, min(SPREAD, len(numbers))).round().astype(int)
    ]
    alone, once, random_labels = [], 0, None
    with preserve_random_states():
        join([read(chosen[0])], chosen[:1])  # steps that happen only once, such as opening a file, happen here
        for number in chosen:
            try:
                batch, again, by_sample, by_batch = _read_twice(number, read, join)
            except ValueError:  # it may never be needed
                continue
            seen = by_sample, by_batch
            for _ in range(CONFIRMED):  # another thread may have drawn in between; the data draw each time
                if (by_sample or by_batch) and fingerprint_batch(batch) == fingerprint_batch(again):
                    batch, again, *drawn = _read_twice(number, read, join)
                    by_sample, by_batch = (_in_both(a, b) for a, b in zip((by_sample, by_batch), drawn, strict=True))
            once += any(seen) and not (by_sample or by_batch)
            if once > 1:  # several samples that drew when they were first read, and are cached since
                by_sample, by_batch = seen
            if (
                by_sample
                or by_batch
                or fingerprint_batch(batch, labels=False) != fingerprint_batch(again, labels=False)
            ):
                raise ValueError(_explain_random(name, number, by_sample, by_batch, own_collate))
            if find_label_column(batch) and fingerprint_batch(batch) != fingerprint_batch(again):
                random_labels = number
            alone.append(batch)
        if own_collate and 1 < len(chosen) == len(alone):
            _check_order(name, chosen, alone, lambda: join([read(number) for number in chosen], chosen))
    return random_labels


def _read_twice(
    number: Any, read: Callable[[Any], Any], join: Callable[[list[Any], list[Any]], Any]
) -> tuple[Any, Any, tuple[str, ...], tuple[str, ...]]:
    """Read a sample twice; return both batches, the generators that the sample used, and those that the batch used."""
    (batch, *first), (again, *second) = (_read(number, read, join, seed) for seed in SEEDS)
    by_sample, by_batch = (find_used_generators((first[k], first[k + 1]), (second[k], second[k + 1])) for k in (0, 1))
    return batch, again, by_sample, by_batch


def _in_both(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in a if name in b)


def _read(
    number: Any, read: Callable[[Any], Any], join: Callable[[list[Any], list[Any]], Any], seed: int
) -> tuple[Any, States, States, States]:
    """Read a sample; return a batch of one, the random states before, after the sample, and after the batch."""
    before = seed_generators(seed)
    sample = read(number)
    between = read_generator_states()
    return join([sample], [number]), before, between, read_generator_states()


def _explain_random(
    name: str, number: Any, by_sample: tuple[str, ...], by_batch: tuple[str, ...], own_collate: bool
) -> str:
    if by_batch and not by_sample:
        return (
            f"the collate_fn for {name} draws random numbers ({_generators(by_batch)}), as seen with sample {number}:"
            f" it pads, crops or mixes at random. {_USELESS}. Give the DataLoader a collate_fn without random steps."
        )
    how = (
        f"draws random numbers when it is read ({_generators(by_sample)})"
        if by_sample
        else "differs each time it is read"
    )
    who = "" if by_sample or not own_collate else ", or of a collate_fn with random steps"
    return (
        f"sample {number} of {name} {how}, most likely because of a random augmentation{who}. {_USELESS}. Remove the"
        " random transform, or use the transform of test time."
    )


def _generators(names: tuple[str, ...]) -> str:
    return " and ".join(f"{name}'s global generator" for name in names)


def _check_order(name: str, numbers: list[Any], alone: list[Any], together: Callable[[], Any]) -> None:
    """Raise a ValueError if a collate function sorts or permutes the samples of a batch.

    It may change their values.
    """
    try:
        batch = together()
    except ValueError:  # these samples do not fit into one batch
        return
    rows = _rows(batch, len(numbers))
    singles = [one for batch in alone for one in _rows(batch, 1) or ()]
    if rows is None or len(singles) < len(alone):
        return
    fits = np.array(
        [
            [one.keys() == row.keys() and all(_is_inside(one[key], row[key]) for key in one) for row in rows]
            for one in singles
        ]
    )
    moved = np.flatnonzero(~fits.diagonal())
    if len(moved) and fits.any(axis=1).all() and fits.any(axis=0).all():
        place = int(fits[moved[0]].argmax())
        raise ValueError(
            f"the collate_fn for {name} changes the order of the samples of a batch (sample {numbers[moved[0]]}, number"
            f" {moved[0]} of a batch, came out as number {place}), so rows would belong to other samples. Does it sort"
            " by length? Let it keep the order."
        )


def _rows(batch: Any, n: int) -> list[dict[str, Any]] | None:
    """Split a batch into one dict for each sample; None if it has another number of samples."""
    label = find_label_column(batch)
    columns = (
        {key: column for key, column in batch.items() if key != label and not is_option(column)}
        if isinstance(batch, dict)
        else {"": batch}
    )
    if not columns or any(len(column) != n for column in columns.values()):
        return None
    return [{key: column[row] for key, column in columns.items()} for row in range(n)]


def _is_inside(value: Any, padded: Any) -> bool:
    """Return whether one value is another without padding before or behind it."""
    if isinstance(value, str) or isinstance(padded, str):
        return value == padded
    if is_graph(value) or is_graph(padded):
        return fingerprint_batch(value) == fingerprint_batch(padded)
    value, padded = (to_numpy(part) for part in (value, padded))
    if value.ndim != padded.ndim or any(size > room for size, room in zip(value.shape, padded.shape, strict=True)):
        return False
    front, back = (
        tuple(slice(0, size) for size in value.shape),
        tuple(slice(room - size, room) for size, room in zip(value.shape, padded.shape, strict=True)),
    )
    return any(np.array_equal(value, padded[part], equal_nan=value.dtype.kind == "f") for part in (front, back))


def find_fixed_order(order: Callable[[], np.ndarray]) -> np.ndarray | None:
    """Return the order of a sampler; None if it differs the second time, or used a global random generator."""
    with preserve_random_states():
        readings = []
        for seed in SEEDS:
            before = seed_generators(seed)
            readings.append((order(), (before, read_generator_states())))
    (first, one), (second, other) = readings
    return first if np.array_equal(first, second) and not find_used_generators(one, other) else None


# -- streams


def read_twice(
    source: Iterable[Any], of_item: Callable[[Any], str | None], collect: Callable[[Iterator[Any]], Any]
) -> Any:
    """Return the result of `collect` on all items of a source, in their order; ValueError if data are random.

    Afterwards the first items are read again, with another random state. Data are random if they differ, or if numbers
    were drawn from a global random generator. A source that is its own iterator can be read only once, so its order is
    the only one. of_item: a hash of an item, or None.
    """
    with preserve_random_states():
        before = seed_generators(SEEDS[0])
        once = iter(source)
        if once is not source:
            hashes: list[str | None] = []
            after: list[States] = [before]
            collected = collect(_watch(once, of_item, hashes, after))
            if hashes:
                _compare(type(source).__name__, source, of_item, hashes, (before, after[-1]))
            return collected
    return collect(once)


def _watch(
    items: Iterator[Any], of_item: Callable[[Any], str | None], hashes: list[str | None], states: list[States]
) -> Iterator[Any]:
    """Yield the items; add hashes of the first ones and the random states after each of them to the lists."""
    for item in items:
        if len(hashes) < FEW:
            hashes.append(of_item(item))
            states.append(read_generator_states())
        yield item
    if len(hashes) < FEW:
        states.append(read_generator_states())


def _compare(
    name: str,
    source: Iterable[Any],
    of_item: Callable[[Any], str | None],
    hashes: list[str | None],
    first: tuple[States, States],
) -> None:
    again, before, after, error = _read_first_items(source, of_item, SEEDS[1])
    if not again or error is not None:
        why = f" ({type(error).__name__}: {error})" if error is not None else ""
        warn_user(
            f"{name} gave items when it was first read and {'failed' if why else 'gave none'} when it was read"
            f" again{why}, so it is not known whether it shuffles or augments at random. Its first reading is used. If"
            " it can be read only once, give the iterator itself: iter(...)."
        )
        return
    _check_same(name, hashes, again)
    drawn = find_used_generators(first, (before, after)) if after != before else ()
    # from a DataLoader inside, or from three permuted items: read more
    if drawn == ("torch",) and drew_only_seeds(SEEDS[1], after):
        for seed in MORE_SEEDS:
            _check_same(name, hashes, _read_first_items(source, of_item, seed)[0])
        return
    for seed in range(CONFIRMED if drawn else 0):  # another thread may have drawn in between; the data draw each time
        readings = [_read_first_items(source, of_item, other) for other in (SEEDS[0] + seed, SEEDS[1] + seed)]
        drawn = _in_both(drawn, find_used_generators(*((before, after) for _, before, after, _ in readings)))
    if drawn:
        raise ValueError(
            f"{name} draws random numbers when it is read ({_generators(drawn)}): it shuffles, or it augments at"
            f" random. {_ADVICE}"
        )


def _read_first_items(
    source: Iterable[Any], of_item: Callable[[Any], str | None], seed: int
) -> tuple[list[str | None], States, States, Exception | None]:
    """Read the first items; return their hashes, the random states before and after, and the error, if any."""
    before, hashes, error = seed_generators(seed), [], None
    try:
        hashes = [of_item(item) for item in itertools.islice(iter(source), FEW)]
    except Exception as problem:
        error = problem
    return hashes, before, read_generator_states(), error


def _check_same(name: str, first: list[str | None], again: list[str | None]) -> None:
    if first == again:
        return
    at = next(
        (k for k, (one, other) in enumerate(zip(first, again, strict=False)) if one != other),
        min(len(first), len(again)),
    )
    moved = sorted(map(str, first)) == sorted(map(str, again))
    how = "comes in another order" if moved else "gives other items"
    raise ValueError(
        f"{name} {how} each time it is read (item {at} differs): it shuffles, or it augments at random. {_ADVICE}"
    )


def hash_batch(batch: Any) -> str:
    """Compute a hash of the first samples of a batch of a stream, and of their targets if they are numbers."""
    inputs, targets = ([batch], None) if isinstance(batch, str) else split_batch(batch)
    few = slice_batch(inputs, slice(0, FEW))
    return f"{fingerprint_batch(few, labels=False)} {_hash_of_targets(targets)}"


def _hash_of_targets(targets: Any) -> str:
    try:
        array = targets.detach().cpu().numpy() if isinstance(targets, Tensor) else np.asarray(targets)
        return fingerprint_inputs(array[:FEW]) if array.ndim and array.dtype.kind in "biufc" else ""
    except (TypeError, ValueError):
        return ""


def make_sample_hash(collate: Callable[[Any], Any], *, in_batches: bool) -> Callable[[Any], str | None]:
    """Make a function that hashes a sample of an IterableDataset as the model gets it.

    collate: makes a batch of samples (in_batches), or prepares a sample that is a batch already.
    """

    def of_sample(sample: Any) -> str | None:
        try:
            return hash_batch(collate([sample] if in_batches else sample))
        except Exception:
            return None

    return of_sample


class Items(IterableDataset):
    """An iterator as an IterableDataset, which is read once."""

    def __init__(self, items: Iterator[Any]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return self.items
