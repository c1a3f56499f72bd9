"""`Activations`: a mapping from keys to arrays, in memory or on disk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.inputs.formats import OnDisk
from repsim_nb.support.errors import MissingRecording, join_names
from repsim_nb.support.ids import check_ids, ids_of
from repsim_nb.support.labels import Key, resolve, select
from repsim_nb.support.row_groups import groups_of
from repsim_nb.support.row_labels import attach_labels
from repsim_nb.support.summaries import summarize

from .arrayfile import ArrayFile
from .entries import check_each, count_recordings, is_same, join_labels, make_group_check, merge_facts
from .exporting import Exported
from .named_arrays import read_named_arrays

_EQUAL_TO_OUTPUT = "A layer that returns the output unchanged is recorded once, as 'output', unless its name is given."


class Activations(Exported):
    """Recorded activations: a mapping from Key to array (n, p), in the order in which they were recorded.

    `rs.record` and `rs.from_arrays` return it. ``x["conv1"]`` or ``x["mnist-cnn-0/conv1"]`` finds a recording by a
    short name that fits only one key; ``a | b`` joins two.

    An array of a recording keeps the names of its rows: ``x[key].ids`` and ``x[key].groups``, also in a selection of
    rows such as ``x[key][:100]``. A measure refuses two arrays whose ids differ in order. ``np.asarray(x[key])`` has no
    ids: use it to permute the rows of one side on purpose.

    Parameters
    ----------
    arrays : {Key: array (n, p)}
        The representations: n samples in rows, p features.
    facts : {model: {field: value}}, optional
        What else is known about the models; `table` shows it. For a model that was recorded at several steps, only the
        fields that are equal at all of them.
    ids : {Key: array of str or int (n,)}, optional
        The unique names of the samples. Ignored for a recording in which each token is a row.
    no_logits : {Key: str}, optional
        For outputs of models that are not logits (samples, classes): the reason.
    groups : {Key: array of str or int (n,)}, optional
        The group of each row, if rows depend on each other: for a token, the sample that it is from.

    Attributes
    ----------
    facts : dict
        {model: {field: value}}, as given.

    Raises
    ------
    ValueError
        If ids are not unique or there is not one id, or one group, for each row.

    See Also
    --------
    from_arrays : Make Activations from named arrays.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> x = rs.Activations({rs.Key("a", "fc"): np.ones((5, 3)), rs.Key("b", "fc"): np.ones((5, 2))})
    >>> x["b/fc"].shape
    (5, 2)
    >>> x.where(model="b")
    Activations(1 recording of 1 model: 'b')
    >>> x.table()[["model", "layer", "n", "p"]].to_numpy().tolist()
    [['a', 'fc', 5, 3], ['b', 'fc', 5, 2]]
    """

    _ids: Mapping[Key, np.ndarray] = MappingProxyType({})  # the ids of a store are in its files
    _groups: Mapping[Key, np.ndarray] = MappingProxyType({})
    _no_logits: Mapping[Key, str] = MappingProxyType({})
    _aligned: Mapping[Key, str] = MappingProxyType({})

    def __init__(
        self,
        arrays: Mapping[Key, Any],
        facts: Mapping[str, Mapping[str, Any]] | None = None,
        ids: Mapping[Key, Any] | None = None,
        no_logits: Mapping[Key, str] | None = None,
        groups: Mapping[Key, Any] | None = None,
    ) -> None:
        self._arrays = dict(arrays)  # an array, or a file that is opened when it is first read
        self.facts = {model: dict(known) for model, known in (facts or {}).items()}
        of_samples = {key: its for key, its in (ids or {}).items() if not Key(*key).by_token}
        self._ids = check_each(self._arrays, of_samples, check_ids)
        self._groups = check_each(self._arrays, groups or {}, make_group_check())
        self._no_logits = {key: why for key, why in (no_logits or {}).items() if why}

    @staticmethod
    def _from_checked(
        arrays: Mapping[Key, Any],
        facts: Mapping[str, Mapping[str, Any]],
        *,
        ids: Mapping[Key, np.ndarray],
        groups: Mapping[Key, np.ndarray],
        no_logits: Mapping[Key, str],
        aligned: Mapping[Key, str],
    ) -> Activations:
        """Make Activations from ids and groups that were checked before; labels of other keys are left out."""
        checked = Activations(arrays, facts, no_logits={key: no_logits[key] for key in arrays if key in no_logits})
        checked._ids = {key: ids[key] for key in arrays if key in ids}
        checked._groups = {key: groups[key] for key in arrays if key in groups}
        checked._aligned = {key: aligned[key] for key in arrays if key in aligned}
        return checked

    def _entries(self) -> dict[Key, Any]:
        """Return {key: array, or file that is not opened yet}."""
        return self._arrays

    def __iter__(self) -> Iterator[Key]:
        """Iterate over the keys."""
        return iter(self._entries())

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self._entries())

    def __contains__(self, key: object) -> bool:
        """Whether a key, or a name that fits only one, is there."""
        try:
            return bool(resolve(key, self._entries()))
        except KeyError:
            return False

    def __getitem__(self, key: Key | str) -> Any:
        """Return the array of a recording, by its key or a name that fits only one."""
        entries = self._entries()
        if not entries:
            raise MissingRecording(f"There is no recording '{key}': {self._emptiness()}.")
        key = resolve(key, entries)
        return self._labeled(key, entries[key])

    def _labeled(self, key: Key, entry: Any) -> Any:
        """Return the array of a recording with the ids and groups of its rows."""
        array = entry.open() if isinstance(entry, OnDisk) else entry
        return attach_labels(array, self._ids_of(key, entry), self._groups_of(key, entry))

    __eq__ = object.__eq__  # the comparison of mappings would compare arrays
    __hash__ = object.__hash__

    def _emptiness(self) -> str:
        """Return why there is no recording, for errors."""
        return "there are no recordings"

    @property
    def ids(self) -> dict[Key, np.ndarray]:
        """The ids of the samples, {key: array (n,)}, for each recording whose ids are known.

        Examples
        --------
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> x = rs.from_arrays({"net/fc": np.eye(3)}, ids=["cat", "dog", "owl"])
        >>> x.ids[rs.Key("net", "fc")].tolist()
        ['cat', 'dog', 'owl']
        """
        return {key: ids for key, entry in self._entries().items() if (ids := self._ids_of(key, entry)) is not None}

    def _ids_of(self, key: Key, entry: Any) -> np.ndarray | None:
        """Return the ids of one recording, or None."""
        if key in self._ids:
            return self._ids[key]
        return entry.ids() if isinstance(entry, OnDisk) else None if Key(*key).by_token else ids_of(entry)

    @property
    def groups(self) -> dict[Key, np.ndarray]:
        """The group of each row, {key: array (n,)}, for each recording whose rows have groups.

        Rows of one group depend on each other: tokens of a text, frames of a film, repeats of a stimulus.

        Examples
        --------
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> x = rs.from_arrays({"net/fc": np.eye(4)}, groups=["film 1", "film 1", "film 2", "film 2"])
        >>> x.groups[rs.Key("net", "fc")].tolist()
        ['film 1', 'film 1', 'film 2', 'film 2']
        """
        found = {key: self._groups_of(key, entry) for key, entry in self._entries().items()}
        return {key: groups for key, groups in found.items() if groups is not None}

    def _groups_of(self, key: Key, entry: Any) -> np.ndarray | None:
        """Return the groups of one recording, or None."""
        if key in self._groups:
            return self._groups[key]
        return entry.groups() if isinstance(entry, OnDisk) else groups_of(entry)

    @property
    def no_logits(self) -> dict[Key, str]:
        """Why an output cannot be compared as logits, {key: reason}, for each recording for which that is known.

        Measures of outputs, such as "jsd", refuse these recordings with the reason.
        """
        of_files = {
            key: entry.record.get("check", {}).get("no_logits", "")
            for key, entry in self._entries().items()
            if isinstance(entry, ArrayFile)
        }
        return {key: why for key, why in {**of_files, **self._no_logits}.items() if why}

    @property
    def aligned(self) -> dict[Key, str]:
        """The samples that `rs.align` chose, {key: label}, for each recording that it returned.

        The label has the names of all data sets that were aligned with each other, and a hash of the common ids in
        their order. Recordings with the same label have the same samples in the same order, so `rs.compare` takes them
        together although they were recorded on different data sets.
        """
        return dict(self._aligned)

    def where(self, **fields: Any) -> Activations:
        """Select the recordings whose key has the given fields.

        Parameters
        ----------
        **fields
            The fields model, layer, dataset, step and pool: a value, a pattern with * and ?, or a list of either. An
            integer for layer counts the layers of each model: layer=-2 is the last but one.

        Returns
        -------
        Activations
            The selected recordings, in the same order. Arrays are not copied.

        Raises
        ------
        ValueError
            If nothing fits; the message names the nearest values.

        Examples
        --------
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> x = rs.from_arrays({"a/conv1": np.eye(3), "a/conv2": np.eye(3), "a/fc": np.eye(3), "b/fc": np.eye(3)})
        >>> [str(key) for key in x.where(model="a", layer="conv*")]
        ['a/conv1', 'a/conv2']
        >>> [str(key) for key in x.where(layer=-1)]
        ['a/fc', 'b/fc']
        """
        entries = self._entries()
        if not entries:
            raise ValueError(f"There is nothing to select from: {self._emptiness()}.")
        hint = _EQUAL_TO_OUTPUT if any(key.layer == "output" for key in entries) else ""
        keep = select(list(entries), Key._fields, fields, layer_hint=hint)
        return self.only(key for key, good in zip(entries, keep, strict=True) if good)

    def only(self, keys: Iterable[Key]) -> Activations:
        """Return the recordings with these keys, in this order.

        Parameters
        ----------
        keys : iterable of Key or str
            Whole keys, or names that fit only one.

        Returns
        -------
        Activations
            The chosen recordings. Arrays are not copied.

        Raises
        ------
        MissingRecording
            A KeyError: if a key is unknown, or a name fits several recordings.

        Examples
        --------
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> x = rs.from_arrays({"a/fc": np.eye(3), "b/fc": np.eye(3)})
        >>> [str(key) for key in x.only(["b/fc", "a/fc"])]
        ['b/fc', 'a/fc']
        """
        entries = self._entries()
        chosen = {key: entries[key] for key in (resolve(key, entries) for key in keys)}
        facts = {model: known for model, known in self.facts.items() if any(key.model == model for key in chosen)}
        return Activations._from_checked(
            chosen, facts, ids=self._ids, groups=self._groups, no_logits=self._no_logits, aligned=self._aligned
        )

    def table(self) -> pd.DataFrame:
        """List the recordings in a table.

        Returns
        -------
        DataFrame
            A row for each recording. Columns are the fields of the key (model, layer, dataset, step, pool), n
            (samples), p (features), dtype, MB (megabytes), and one for each known fact about the models.

        Examples
        --------
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> x = rs.from_arrays({"net/fc": np.ones((100, 50))}, net={"accuracy": 0.9})
        >>> x.table()[["layer", "n", "p", "dtype", "MB", "accuracy"]]
          layer    n   p    dtype    MB  accuracy
        0    fc  100  50  float64  0.04       0.9
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

    def __or__(self, other: Mapping[Any, Any]) -> Activations:
        """Join two sets of recordings.

        Parameters
        ----------
        other : Activations, or {name: array}
            Names are keys, or text "model/layer", as `rs.from_arrays` takes them.

        Returns
        -------
        Activations
            The recordings of both; those of `self` come first.

        Raises
        ------
        ValueError
            If the same key has different arrays, ids or groups in the two.

        Examples
        --------
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> x = rs.from_arrays({"a/fc": np.eye(3)})
        >>> [str(key) for key in x | {"b/fc": np.ones((3, 2))}]
        ['a/fc', 'b/fc']
        """
        if not isinstance(other, Mapping):
            return NotImplemented
        its = other if isinstance(other, Activations) else _name_arrays(other)
        ours, more = self._entries(), its._entries()
        ids, groups = {**its._ids, **self._ids}, {**its._groups, **self._groups}
        for key in ours.keys() & more.keys():
            if not is_same(ours[key], more[key]):
                raise ValueError(
                    f"Both sides of | have a recording '{Key(*key)}', with different arrays, so one would be lost."
                    " Record one of them with another model name or step."
                )
            shared = join_labels(key, "ids", self._ids_of(key, ours[key]), its._ids_of(key, more[key]))
            ids |= {} if shared is None else {key: shared}
            shared = join_labels(key, "groups", self._groups_of(key, ours[key]), its._groups_of(key, more[key]))
            groups |= {} if shared is None else {key: shared}
        facts = merge_facts([*self.facts.items(), *its.facts.items()])
        return Activations._from_checked(
            {**ours, **more},
            facts,
            ids=ids,
            groups=groups,
            no_logits={**its._no_logits, **self._no_logits},
            aligned={**its._aligned, **self._aligned},
        )

    def __ror__(self, other: Any) -> Activations:
        """Join {name: array} and recordings; the arrays come first."""
        return _name_arrays(other) | self if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        """Show the number of recordings and the models."""
        keys = list(self)
        models = dict.fromkeys(key.model for key in keys)
        return f"{type(self).__name__}({count_recordings(keys, models)}: {join_names(models, 4)})"

    def _repr_html_(self) -> str:
        models = dict.fromkeys(key.model for key in self)
        return summarize(
            type(self).__name__,
            count_recordings(self, models),
            [f"{', '.join(list(models)[:6])}{' …' * (len(models) > 6)}"],
            table=self.table().iloc[:, :9],
            index=False,
            page=type(self).__name__,
        )


def _name_arrays(arrays: Mapping[Any, Any]) -> Activations:
    """Return arrays under keys or names as Activations."""
    if not arrays:
        return Activations({})
    found = read_named_arrays(arrays)
    return Activations(found.arrays, found.facts, found.ids, groups=found.groups)
