"""`Activations`: a mapping from keys to arrays, in memory or on disk."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.errors import MissingRecording, join_names
from repsim_nb.support.ids import check_ids, how_ids_differ, same_ids
from repsim_nb.support.labels import Key, resolve, select
from repsim_nb.support.row_groups import attach_groups, groups_of, how_groups_differ, same_groups, stored_groups
from repsim_nb.support.summaries import summarize
from repsim_nb.support.validation import check_labels, to_numpy

from .arrayfile import ArrayFile


class Activations(Mapping[Key, Any]):
    """Recorded activations: a mapping from Key to array (n, p), in the order in which they were recorded.

    x["conv1"] or x["mnist-cnn-0/conv1"] works if exactly one key fits; `a | b` joins two.

    Parameters
    ----------
    arrays : {Key: array (n, p)}
    facts : {model: {field: value}}, optional
        What else is known of the models; `table` shows it. For a model that was recorded at several steps, the fields
        that are equal at all of them.
    ids : {Key: array of str or int (n,)}, optional
        The names of the samples. If every token is a row there are none.
    no_logits : {Key: str}, optional
        For outputs of models that are not (samples, classes): why they cannot be compared as logits.
    groups : {Key: array of str or int (n,)}, optional
        The group of each row, if rows depend on each other: of a token, the sample that it is from. The arrays have
        them too, as x[key].groups.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> x = rs.Activations({rs.Key("a", "fc"): np.ones((5, 3)), rs.Key("b", "fc"): np.ones((5, 2))})
    >>> x.where(model="b")
    Activations(1 recordings of 1 models: 'b')
    >>> x.table()[["model", "layer", "n", "p"]].to_numpy().tolist()
    [['a', 'fc', 5, 3], ['b', 'fc', 5, 2]]
    """

    _ids: Mapping[Key, np.ndarray] = MappingProxyType({})  # a store's are in its files
    _groups: Mapping[Key, np.ndarray] = MappingProxyType({})
    _no_logits: Mapping[Key, str] = MappingProxyType({})

    def __init__(
        self,
        arrays: Mapping[Key, Any],
        facts: Mapping[str, Mapping[str, Any]] | None = None,
        ids: Mapping[Key, Any] | None = None,
        no_logits: Mapping[Key, str] | None = None,
        groups: Mapping[Key, Any] | None = None,
    ) -> None:
        self._arrays = dict(arrays)  # an array, or an ArrayFile that is opened when it is asked for
        self.facts = {model: dict(known) for model, known in (facts or {}).items()}
        of_samples = {key: its for key, its in (ids or {}).items() if not Key(*key).by_token}
        self._ids = _check_each(self._arrays, of_samples, check_ids)
        self._groups = _check_each(self._arrays, groups or {}, _make_group_check())
        self._no_logits = {key: why for key, why in (no_logits or {}).items() if why}

    def _entries(self) -> dict[Key, Any]:
        return self._arrays

    def __iter__(self) -> Iterator[Key]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())

    def __contains__(self, key: object) -> bool:
        try:
            return bool(resolve(key, self._entries()))
        except KeyError:
            return False

    def __getitem__(self, key: Key | str) -> Any:
        entries = self._entries()
        if not entries:
            raise MissingRecording(f"there is no recording '{key}': {self._emptiness()}")
        key = resolve(key, entries)
        array = entries[key].open() if isinstance(entries[key], ArrayFile) else entries[key]
        return attach_groups(array, self._groups.get(key))

    __eq__ = object.__eq__  # a mapping's would compare arrays
    __hash__ = object.__hash__

    def _emptiness(self) -> str:
        return "nothing was recorded"

    @property
    def ids(self) -> dict[Key, np.ndarray]:
        """The ids of the samples, for every key for which they are known."""
        return {key: ids for key, entry in self._entries().items() if (ids := self._ids_of(key, entry)) is not None}

    def _ids_of(self, key: Key, entry: Any) -> np.ndarray | None:
        return self._ids[key] if key in self._ids else entry.ids() if isinstance(entry, ArrayFile) else None

    @property
    def groups(self) -> dict[Key, np.ndarray]:
        """The group of each row, for every key whose rows have groups."""
        found = {key: self._groups_of(key, entry) for key, entry in self._entries().items()}
        return {key: groups for key, groups in found.items() if groups is not None}

    def _groups_of(self, key: Key, entry: Any) -> np.ndarray | None:
        if key in self._groups:
            return self._groups[key]
        return entry.groups() if isinstance(entry, ArrayFile) else groups_of(entry)

    @property
    def no_logits(self) -> dict[Key, str]:
        """Why an output cannot be compared as logits, for every key for which that is known."""
        of_files = {
            key: entry.record.get("check", {}).get("no_logits", "")
            for key, entry in self._entries().items()
            if isinstance(entry, ArrayFile)
        }
        return {key: why for key, why in {**of_files, **self._no_logits}.items() if why}

    def where(self, **fields: Any) -> Activations:
        """Select the recordings whose key has the given fields.

        Parameters
        ----------
        **fields
            A value, a pattern with * and ?, or a list of either; layer=-2 is the last but one layer of each model.

        Raises
        ------
        ValueError
            Names the nearest values if nothing fits.
        """
        entries = self._entries()
        if not entries:
            raise ValueError(f"there is nothing to choose from: {self._emptiness()}")
        keep = select(list(entries), Key._fields, fields)
        return self.only(key for key, good in zip(entries, keep, strict=True) if good)

    def only(self, keys: Iterable[Key]) -> Activations:
        """The recordings with these keys, in this order."""
        entries = self._entries()
        chosen = {key: entries[key] for key in (resolve(key, entries) for key in keys)}
        facts = {model: known for model, known in self.facts.items() if any(key.model == model for key in chosen)}
        selected = Activations(
            chosen, facts, no_logits={key: why for key, why in self._no_logits.items() if key in chosen}
        )
        selected._ids = {key: self._ids[key] for key in chosen if key in self._ids}  # checked before
        selected._groups = {key: self._groups[key] for key in chosen if key in self._groups}
        return selected

    def table(self) -> pd.DataFrame:
        """List the recordings, one row each.

        Columns are the fields of the key, samples n, features p, dtype, megabytes, and what is known of the model.
        """
        rows, facts = [], self.facts
        for key, entry in self._entries().items():
            shape, dtype = tuple(entry.shape), str(entry.dtype).removeprefix("torch.")
            size = math.prod(shape) * (2 if dtype == "bfloat16" else np.dtype(dtype).itemsize) / 1e6
            known = {
                fact: value
                for fact, value in facts.get(key.model, {}).items()
                if fact not in key._fields and not isinstance(value, (list, dict))
            }
            about = {"n": shape[0], "p": math.prod(shape[1:]), "dtype": dtype, "MB": round(size, 3)}
            rows.append({**key._asdict(), **about, **known})
        return pd.DataFrame(rows)

    def __or__(self, other: Mapping[Key, Any]) -> Activations:
        """Both together; ValueError where they hold different arrays under one key."""
        its = other if isinstance(other, Activations) else Activations(dict(other.items()))
        ours, more = self._entries(), its._entries()
        ids, groups = {**its._ids, **self._ids}, {**its._groups, **self._groups}
        for key in ours.keys() & more.keys():
            if not _is_same(ours[key], more[key]):
                raise ValueError(
                    f"both hold '{Key(*key)}', and not the same arrays, so that joined one would be lost: record one of"
                    " them under another name or step"
                )
            one, two = self._ids_of(key, ours[key]), its._ids_of(key, more[key])
            if one is not None and two is not None and not same_ids(one, two):
                raise _conflict(key, "ids", how_ids_differ(one, two)[0])
            if (either := two if one is None else one) is not None:
                ids[key] = either
            one, two = self._groups_of(key, ours[key]), its._groups_of(key, more[key])
            if one is not None and two is not None and not same_groups(one, two):
                raise _conflict(key, "groups", how_groups_differ(one, two))
            if (either := two if one is None else one) is not None:
                groups[key] = either
        facts = merge_facts([*self.facts.items(), *its.facts.items()])
        both = Activations({**ours, **more}, facts, no_logits={**its._no_logits, **self._no_logits})
        both._ids, both._groups = ids, groups
        return both

    def __repr__(self) -> str:
        keys = list(self)
        models = dict.fromkeys(key.model for key in keys)
        return f"{type(self).__name__}({len(keys)} recordings of {len(models)} models: {join_names(models, 4)})"

    def _repr_html_(self) -> str:
        models = dict.fromkeys(key.model for key in self)
        return summarize(
            type(self).__name__,
            f"{len(self)} recordings of {len(models)} models",
            [f"{', '.join(list(models)[:6])}{' …' * (len(models) > 6)}"],
            table=self.table().iloc[:, :9],
            index=False,
            page=f"store.{type(self).__name__}",
        )


def _conflict(key: Key, what: str, how: str) -> ValueError:
    return ValueError(
        f"both hold '{Key(*key)}', with other {what}: {how}. Record one of them under another name or step"
    )


def _check_each(
    arrays: Mapping[Key, Any], given: Mapping[Key, Any], check: Callable[[Any, int], np.ndarray]
) -> dict[Key, np.ndarray]:
    """Labels of the rows of those arrays that are there. What is the same object for several is checked once."""
    done: dict[tuple[int, int], np.ndarray] = {}
    found = {}
    for key, its in given.items():
        if its is None or key not in arrays:
            continue
        which = id(its), arrays[key].shape[0]
        if which not in done:
            try:
                done[which] = check(its, which[1])
            except ValueError as error:
                raise ValueError(f"'{Key(*key)}': {error}") from error
        found[key] = done[which]
    return found


def _make_group_check() -> Callable[[Any, int], np.ndarray]:
    """A check of groups that gives one object for equal ones, so that those of many layers are compared at once."""
    seen: list[np.ndarray] = []

    def check(given: Any, n: int) -> np.ndarray:
        labels = stored_groups(check_labels(given, n, "groups"))
        seen.append(labels)
        return next(one for one in seen if one.dtype.kind == labels.dtype.kind and np.array_equal(one, labels))

    return check


def merge_facts(known: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """(model, facts), several times for a model -> its facts, without those that differ, as the accuracy does from step
    to step.
    """
    found: dict[str, dict[str, Any]] = {}
    for model, facts in known:
        before = found.get(model, facts)
        found[model] = {fact: value for fact, value in before.items() if fact in facts and _equal(value, facts[fact])}
    return found


def _equal(a: Any, b: Any) -> bool:
    same = a == b
    return same if isinstance(same, bool) else bool(np.array_equal(a, b))


def _is_same(a: Any, b: Any) -> bool:
    """One array, one file, or equal values."""
    if a is b or (_find_file(a) is not None and _find_file(a) == _find_file(b)):
        return True
    if tuple(a.shape) != tuple(b.shape) or str(a.dtype).removeprefix("torch.") != str(b.dtype).removeprefix("torch."):
        return False
    a, b = (array.open() if isinstance(array, ArrayFile) else array for array in (a, b))
    some = max(1, 2**22 // max(1, math.prod(a.shape[1:])))
    return all(
        np.array_equal(
            to_numpy(a[row : row + some]), to_numpy(b[row : row + some]), equal_nan="int" not in str(a.dtype)
        )
        for row in range(0, len(a), some)
    )


def _find_file(array: Any) -> Path | None:
    """Where all of an array lies, if it does in a file."""
    if (
        isinstance(array, np.memmap)
        and isinstance(array.base, np.memmap)
        and (array.shape, array.strides) == (array.base.shape, array.base.strides)
    ):
        array = array.base  # all of it, as a view that carries groups
    if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and array.filename:
        return Path(array.filename).resolve()
    return array.path.resolve() if isinstance(array, ArrayFile) else None
