"""The result of `watch`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from repsim_nb.support.errors import check_name
from repsim_nb.support.summaries import count_of, first_few, summarize

START, PREVIOUS, REFERENCE = "start", "previous", "reference"


@dataclass(frozen=True, eq=False, repr=False)
class TrainingRecord:
    """The result of `watch`: how similar each layer was to the start, to the recording before, and to a reference.

    Attributes
    ----------
    values : DataFrame
        One row for each recording, layer and comparison. Columns: step; layer; compared_to ("start", "previous",
        "reference"); value, NaN if the measure is undefined.
    measure : str
        The name of the measure.
    model, reference : str
        The names of the models; reference is "" if there is none.
    data : str
        The name of the samples.
    n : int
        The number of samples.
    seconds : float
        The time that recordings, comparisons and pictures took after the first recording.
    undefined : {(step, layer, compared_to): str}
        Why the measure has no value there.
    notes : tuple of str
        Layers that the reference does not have.

    See Also
    --------
    watch : Makes one in a training loop.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> samples = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    >>> with rs.watch(model, samples, live=False) as watch:
    ...     watch.step()
    >>> watch.result.to_frame("start").round(2).loc[1].to_dict()
    {'1': 1.0, 'output': 1.0}
    """

    values: pd.DataFrame
    measure: str
    model: str
    reference: str
    data: str
    n: int
    seconds: float
    undefined: Mapping[tuple[Any, str, str], str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[Any, ...]:
        """The steps that were recorded, the start first (tuple)."""
        return tuple(dict.fromkeys(self.values["step"]))

    @property
    def compared(self) -> tuple[str, ...]:
        """What the layers were compared with (tuple of str)."""
        return (START, PREVIOUS) + ((REFERENCE,) if self.reference else ())

    def to_frame(self, compared_to: str = START) -> pd.DataFrame:
        """Return the values of one comparison, with a column for each layer.

        Parameters
        ----------
        compared_to : {"start", "previous", "reference"}
            With what the layers were compared.

        Returns
        -------
        DataFrame (steps, layers)
            As `plots.curves` draws it. NaN if the measure is undefined.

        Raises
        ------
        ValueError
            If nothing was compared with it.

        Examples
        --------
        >>> values = pd.DataFrame([[1, "fc", "start", 0.9]], columns=["step", "layer", "compared_to", "value"])
        >>> rs.TrainingRecord(values, "cka", "mlp", "", "mnist", 100, 0.1).to_frame("start").loc[1, "fc"].item()
        0.9
        """
        check_name("comparison", compared_to, self.compared)
        own = self.values[self.values["compared_to"] == compared_to]
        frame = own.pivot(index="step", columns="layer", values="value")
        frame = frame.loc[list(dict.fromkeys(own["step"])), list(dict.fromkeys(own["layer"]))]
        return frame.rename_axis(columns=None)

    def _facts(self) -> list[str]:
        against = f"reference {self.reference}" if self.reference else ""
        return [self.measure, f"n = {self.n:,}", self.data, against, f"{self.seconds:.1f} s in all"]

    def __repr__(self) -> str:
        """Return the model, the number of recordings and the last values as text."""
        head = f"TrainingRecord of {self.model}: {count_of(len(self.steps), 'recording')}"
        facts = ", ".join(filter(None, self._facts()))
        return f"{head} ({facts})\n{self._last().to_string(float_format='{:.3f}'.format, na_rep='–')}"

    def _last(self) -> pd.DataFrame:
        """Return the values of the last step: a row for each layer, a column for each comparison."""
        last = self.values[self.values["step"] == self.steps[-1]]
        frame = last.pivot(index="layer", columns="compared_to", values="value")
        return frame.reindex(list(dict.fromkeys(last["layer"])), columns=list(self.compared)).rename_axis(
            index=None, columns=f"step {self.steps[-1]}"
        )

    def _repr_html_(self) -> str:
        return summarize(
            "TrainingRecord",
            f"{self.model}, {count_of(len(self.steps), 'recording')}",
            self._facts(),
            table=self._last(),
            notes=first_few([*self.notes, *self.undefined.values()]),
            page="TrainingRecord",
        )
