"""The result of `drift`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from repsim_nb.results.comparison import Comparison
from repsim_nb.results.comparison.files import comparison_to_json, parse_comparison
from repsim_nb.support.errors import join_names
from repsim_nb.support.files import replace_atomically
from repsim_nb.support.summaries import count_of, first_few, percent, summarize

from .layer_pairs import LayerPair

SAME, CHANGED, UNDECIDED = "same", "changed", "undecided"
IDENTICAL = "identical"  # how the note on a layer begins whose activations are equal, bit for bit
EXIT_CODES = {SAME: 0, CHANGED: 1, UNDECIDED: 3}  # 2 is that of a call that could not be carried out
COLUMNS = {
    **{"measure": str, "layer": str, "new_layer": str, "width": int, "new_width": int, "value": float},
    **{"estimate": float, "low": float, "high": float, "chance": float, "p_value": float, "verdict": str, "note": str},
}
FORMAT = "repsim_nb.Drift/1"


@dataclass(frozen=True, eq=False, repr=False)
class Drift:
    """The result of `drift`: a verdict on each layer of a new release, and on the release.

    Attributes
    ----------
    layers : DataFrame
        One row for each measure and layer. Columns: measure; layer (of the old model) and new_layer, None if only the
        other model has it; width and new_width; value; estimate, low and high (the bias-corrected value with its
        interval); chance (the mean under permuted samples) and p_value (adjusted by the method of Holm); verdict
        ("same", "changed", "undecided", "only in old", "only in new"); note.
    old, new : str
        The names of the models.
    data : str
        The name of the data set.
    n : int
        The number of rows, which are samples unless they are in groups.
    groups : int or None
        The number of groups of rows that depend on each other, such as the sentences of tokens; None if there are none.
    at_least : float
        The threshold of the similarity.
    level : float
        The level of all intervals together.
    number : int
        How many intervals hold together at that level.
    comparisons : {measure: Comparison}
        The similarity of all layers of the old model (rows) with all layers of the new one (columns).
    notes : tuple of str
        What recording warned of, such as layers that were left out.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> found = rs.drift({"conv": x, "fc": x}, {"conv": x, "fc": x[:, :1]})
    >>> found.verdict, found.exit_code, found.changed
    ('changed', 1, ('fc',))
    """

    layers: pd.DataFrame
    old: str
    new: str
    data: str
    n: int
    groups: int | None
    at_least: float
    level: float
    number: int
    comparisons: Mapping[str, Comparison]
    notes: tuple[str, ...] = field(default=())

    @property
    def changed(self) -> tuple[str, ...]:
        """The layers that changed, in forward order (tuple of str).

        They are below the threshold by one measure or more, or constant, or NaN, in one release only.
        """
        return self._labels(CHANGED)

    @property
    def undecided(self) -> tuple[str, ...]:
        """The layers that are neither the same nor changed, with those of one model alone (tuple of str)."""
        changed = self.changed
        return tuple(label for label in self._labels(UNDECIDED, "only in old", "only in new") if label not in changed)

    @property
    def verdict(self) -> str:
        """The verdict on the release (str).

        "changed" if a layer is, else "undecided" if a layer is or only one model has it, else "same".
        """
        return CHANGED if self.changed else UNDECIDED if self.undecided else SAME

    @property
    def exit_code(self) -> int:
        """The exit code of the command line: 0 same, 1 changed, 3 undecided (int)."""
        return EXIT_CODES[self.verdict]

    @property
    def summary(self) -> str:
        """The verdict in one or two sentences (str)."""
        rows = f"{self.n:,} samples" if self.groups is None else f"{self.n:,} rows in {self.groups:,} groups"
        on = f"on {rows}" + (f" of {self.data}" if self.data else "")
        table = self.layers[self.layers["measure"] != ""]
        many = self.layers[["layer", "new_layer"]].drop_duplicates().shape[0]
        every = f"all {many} layers of {self.new}" if many > 1 else f"the layer of {self.new}"
        verb, gives = ("are", "give") if many > 1 else ("is", "gives")
        threshold = f"{self.at_least:g}"
        doubt = self._doubt()
        if self.verdict == CHANGED:
            return " ".join(filter(None, [self._what_changed(many, on), doubt]))
        if self.verdict == UNDECIDED:
            return f"Undecided: no layer of {self.new} is found to differ from {self.old} {on}, but {doubt}"
        identical = table["note"].str.startswith(IDENTICAL)
        if identical.all():
            equal = f"{every} {gives} the same activations as {self.old}"
            return f"No change: {equal} {on}, bit for bit."
        rest = table[~identical]
        return (
            f"No change: {every} {verb} at least {threshold} similar to {self.old} {on}. The least"
            f" similar is {self._worst(rest)}."
        )

    def _what_changed(self, many: int, on: str) -> str:
        """Return the sentences on the layers that changed; many: of how many layers."""
        rows = self.layers[self.layers["verdict"] == CHANGED]
        below = rows[rows["value"].notna()]  # the others have no similarity, since one side has no information
        labels = tuple(dict.fromkeys(_label(row) for _, row in below.iterrows()))
        lost = tuple(label for label in self.changed if label not in labels)
        one_side = "constant, or NaN, in one release only"
        verb = "is" if len(lost) == 1 else "are"
        if not labels:
            few = f"{count_of(len(lost), 'layer')} of {many}"
            return f"Changed: {few} {verb} {one_side}, {on}: {join_names(lost, 6)}."
        few, which = count_of(len(labels), "layer"), "is" if len(labels) == 1 else "are"
        text = (
            f"Changed: {few} of {many} of {self.new} {which} less than {self.at_least:g} similar to {self.old} {on}:"
            f" {join_names(labels, 6)}."
        )
        if len(labels) > 1:
            text += f" The least similar is {self._worst(below)}."
        else:
            text += f" Its similarity is {self._number(below.loc[below['estimate'].idxmin()])}."
        return text + (f" {count_of(len(lost), 'layer')} {verb} {one_side}: {join_names(lost, 6)}." if lost else "")

    def _doubt(self) -> str:
        """Return a sentence on the layers without a verdict; "" if there are none."""
        changed = self.changed
        open_ones = tuple(label for label in self._labels(UNDECIDED) if label not in changed)
        alone = self._labels("only in old", "only in new")
        parts = []
        if open_ones:
            verb = "is" if len(open_ones) == 1 else "are"
            parts.append(f"{count_of(len(open_ones), 'layer')} {verb} undecided ({join_names(open_ones, 6)})")
        if alone:
            verb = "has" if len(alone) == 1 else "have"
            parts.append(f"{count_of(len(alone), 'layer')} {verb} no partner ({join_names(alone, 6)})")
        return f"{' and '.join(parts)}." if parts else ""

    def _worst(self, rows: pd.DataFrame) -> str:
        row = rows.loc[rows["estimate"].idxmin()]
        return f"'{_label(row)}', {self._number(row)}"

    def _number(self, row: pd.Series) -> str:
        """Return the similarity of a row with its interval and measure."""
        return f"{row['estimate']:.3f} ({row['low']:.3f} to {row['high']:.3f}) by {row['measure']}"

    def _labels(self, *verdicts: str) -> tuple[str, ...]:
        rows = self.layers[self.layers["verdict"].isin(verdicts)]
        return tuple(dict.fromkeys(_label(row) for _, row in rows.iterrows()))

    def table(self) -> pd.DataFrame:
        """Return the table of layers for people: one row for each measure and layer.

        Returns
        -------
        DataFrame
            Columns: measure, layer ("fc → head" if it was renamed), verdict, width ("64 → 128" if it differs), value,
            low, high, chance, p_value, note. `layers` has all numbers in columns of their own.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 4))
        >>> found = rs.drift({"fc": x}, {"head": x}, rename={"fc": "head"})
        >>> found.table()[["layer", "width", "low", "verdict"]].to_numpy().tolist()
        [['fc → head', '4', 1.0, 'same']]
        """
        shown = pd.DataFrame({"measure": self.layers["measure"]})
        shown["layer"] = [_label(row) for _, row in self.layers.iterrows()]
        shown["verdict"] = self.layers["verdict"]
        widths = self.layers[["width", "new_width"]].itertuples(index=False)
        shown["width"] = [" → ".join(dict.fromkeys(f"{w:.0f}" for w in pair if pd.notna(w))) for pair in widths]
        return shown.join(self.layers[["value", "low", "high", "chance", "p_value", "note"]])

    def save(self, path: str | Path) -> Path:
        """Write the result to one JSON file; an existing file is replaced in one step.

        Parameters
        ----------
        path : str or Path
            The file, such as "drift.json".

        Returns
        -------
        Path
            The path.

        Examples
        --------
        >>> import tempfile
        >>> x = np.random.default_rng(0).normal(size=(50, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rs.Drift.load(rs.drift({"fc": x}, {"fc": x}).save(folder + "/drift.json")).verdict
        'same'
        """
        path = Path(path)
        rows = [[None if pd.isna(cell) else cell for cell in row] for row in self.layers.astype(object).to_numpy()]
        content: dict[str, Any] = {
            "format": FORMAT,
            **{"verdict": self.verdict, "exit_code": self.exit_code, "summary": self.summary},
            **{name: getattr(self, name) for name in _PLAIN},
            "notes": list(self.notes),
            "columns": list(self.layers),
            "layers": rows,
            "comparisons": {
                name: comparison_to_json(one.values, one.measure, one.n, one.undefined)
                for name, one in self.comparisons.items()
            },
        }
        with replace_atomically(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Drift:
        """Read a result that `save` wrote.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        Drift
            The result.

        Raises
        ------
        ValueError
            If the file contains no such result.
        FileNotFoundError
            If there is no file.

        Examples
        --------
        >>> import tempfile
        >>> x = np.random.default_rng(0).normal(size=(50, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rs.Drift.load(rs.drift({"fc": x}, {"fc": -x}).save(folder + "/drift.json")).changed
        ()
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise KeyError("format")
            layers = pd.DataFrame(content["layers"], columns=content["columns"])
            plain = {name: content[name] for name in _PLAIN}
            comparisons = {
                name: Comparison(*parse_comparison(one, path, None)) for name, one in content["comparisons"].items()
            }
            notes = tuple(content["notes"])
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} contains no result of drift, or is damaged ({repr(error)[:200]}).") from error
        return cls(with_types(layers), comparisons=comparisons, notes=notes, **plain)

    def __repr__(self) -> str:
        """Return the summary and the table as text."""
        shown, footnotes = self._with_footnotes(72)
        numbers = shown.to_string(index=False, float_format="{:z.3f}".format, na_rep="–", formatters=_FORMATS)
        return "\n".join([self.summary, "", numbers, "", *footnotes, *self._facts(), *self.notes])

    def _with_footnotes(self, longest: int) -> tuple[pd.DataFrame, list[str]]:
        """Return the table for display, and its notes of more characters, which have numbers in it."""
        shown = self.table().drop(columns=["measure"] if len(self.comparisons) == 1 else [])
        long = list(dict.fromkeys(note for note in shown["note"] if len(note) > longest))
        numbers = {note: f"[{number}]" for number, note in enumerate(long, 1)}
        shown["note"] = [numbers.get(note, note) for note in shown["note"]]
        return shown, [f"{number} {note}." for note, number in numbers.items()]

    def _facts(self) -> list[str]:
        """Return what the table rests on."""
        what = f"{', '.join(self.comparisons)}, n = {self.n:,}, threshold {self.at_least:g}"
        together = (
            f"the {self.number} intervals hold together at {percent(self.level)}"
            if self.number > 1
            else f"interval at {percent(self.level)}" * bool(self.number)
        )
        return [", ".join(filter(None, [what, together]))]

    def _repr_html_(self) -> str:
        shown, footnotes = self._with_footnotes(24)
        return summarize(
            "Drift",
            f"{self.old} → {self.new}: {self.verdict}",
            [self.summary, *self._facts()],
            table=shown,
            notes=first_few([*footnotes, *self.notes]),
            max_rows=None,
            page="Drift",
            index=False,
            float_format="{:z.3f}".format,
            formatters=_FORMATS,
        )


_PLAIN = ("old", "new", "data", "n", "groups", "at_least", "level", "number")
SMALLEST_P = 1e-6  # smaller ones are shown as this bound
_FORMATS = {"p_value": lambda p: "–" if pd.isna(p) else f"< {SMALLEST_P:.0e}" if p < SMALLEST_P else f"{p:.2g}"}


def with_types(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the table of layers with the types of its columns; integers with gaps are nullable."""
    kinds = {str: object, int: "Int64", float: float}
    return layers.astype({name: kinds[kind] for name, kind in COLUMNS.items()})


def _label(row: pd.Series) -> str:
    """Return the layer of a row as text."""
    old, new = (None if pd.isna(row[name]) else str(row[name]) for name in ("layer", "new_layer"))
    return LayerPair(old, new).label
