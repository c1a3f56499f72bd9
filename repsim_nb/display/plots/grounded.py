"""Pictures of how far measures can be trusted: a benchmark, specificity, sensitivity."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim_nb.display.specs import LineSpec, PanelsSpec, spec
from repsim_nb.results.grounding import Benchmark, Sensitivity, Specificity

from .axes import drop_none, expect
from .drawing import draw
from .lines import draw_panels


def benchmark(
    result: Benchmark | LineSpec,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Draw measures ranked by Spearman's ρ, the highest on top, with their intervals over units.

    Kendall's τ is an open diamond, no correlation a dashed line.

    Parameters
    ----------
    result : Benchmark or LineSpec
        What `grounding.benchmark` or `grounding.rank_pairs` returns. Measures without a value are named below.
    ax : Axes, optional
        Where to draw.
    title : str, optional
        The first line of the title, such as the name of the subtask; how many models and pairs there are is on the
        second line.
    limits : (float, float), optional
        The ends of the horizontal axis, so that two figures share it.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If `result` is not a Benchmark.
    ValueError
        If an interval or a point is outside of `limits`.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> x = rs.from_arrays({f"m{i}/fc": rng.normal(size=(30, 4)) for i in range(5)})
    >>> found = rs.grounding.benchmark(x, {f"m{i}": i / 5 for i in range(5)}, measures=["cka"], n_bootstrap=20)
    >>> [text.get_text() for text in rs.plots.benchmark(found, title="mine").get_yticklabels()]
    ['cka']
    """
    expect(result, (Benchmark, LineSpec), "benchmark draws what grounding.benchmark returns")
    return draw(spec(result, **drop_none(title=title, limits=limits)), ax=ax)


def specificity(result: Specificity | LineSpec, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw how far the layers of a model are from each other, next to the same layer of another model.

    A bar is the mean dissimilarity to the same layer of another model. A number k is at the mean dissimilarity to the
    layers k away in the same model, bold if it is the first above the bar. If numbers are below the bar, the measure
    does not distinguish layers from seeds.

    Parameters
    ----------
    result : Specificity or LineSpec
        What `grounding.specificity` returns.
    ax : Axes, optional
        Where to draw.
    title : str, optional
        In place of how often the same layer was found.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If `result` is not a Specificity.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> x = rs.from_arrays({f"{m}/{layer}": rng.normal(size=(30, 4)) for m in "ab" for layer in ("one", "two")})
    >>> rs.plots.specificity(rs.grounding.specificity(x)).get_ylabel()
    'dissimilarity (cka)'
    """
    expect(result, (Specificity, LineSpec), "specificity draws what grounding.specificity returns")
    return draw(spec(result, **drop_none(title=title)), ax=ax)


def sensitivity(
    result: Sensitivity | PanelsSpec, *, figure: Figure | None = None, title: str | None = None
) -> list[Axes]:
    """Draw at which amount of damage measures notice it.

    The upper panel has the dissimilarity by amount, in thresholds: 1 is the mean difference of two models, where a
    measure notices. A closed form is dashed. The lower panel, if there was a probe, has its held-out accuracy.

    Parameters
    ----------
    result : Sensitivity or PanelsSpec
        What `grounding.sensitivity` returns.
    figure : Figure, optional
        Where to draw.
    title : str, optional
        The kind of damage and the number of models unless given.

    Returns
    -------
    list of Axes
        One or two, the upper one first.

    Raises
    ------
    TypeError
        If `result` is not a Sensitivity.

    Notes
    -----
    If parts are deleted, the horizontal axis is even in the logarithm of what is left. Otherwise the amounts that were
    tried are at equal distances. Curves leave the picture above four thresholds. Curves that coincide are drawn a
    little apart, so that each is seen.

    Examples
    --------
    >>> import numpy as np
    >>> from repsim_nb import grounding, plots
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 5))
    >>> noisy = {name: x + 0.1 * rng.normal(size=x.shape) for name in "abc"}
    >>> found = grounding.sensitivity(noisy, measures=["cka"], damage="noise", amounts=[0.1, 0.5], draws=1)
    >>> [ax.get_xlabel() for ax in plots.sensitivity(found)]
    ['standard deviation of noise, in that of the representation']
    """
    expect(result, (Sensitivity, PanelsSpec), "sensitivity draws what grounding.sensitivity returns")
    shown = spec(result, **drop_none(title=title))
    assert isinstance(shown, PanelsSpec)
    return draw_panels(shown, figure=figure)
