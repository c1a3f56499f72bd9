"""Pictures of how far measures can be trusted: a benchmark, specificity, sensitivity."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim_nb.display.specs import LineSpec, PanelsSpec, spec
from repsim_nb.results.grounding import Benchmark, Sensitivity, Specificity

from .axes import drop_none, expect
from .drawing import draw
from .line_painter import draw_panels


def benchmark(
    result: Benchmark | LineSpec,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Draw a ranking of measures by Spearman's ρ, with intervals over units.

    The measure with the highest ρ is on top. Kendall's τ is an open diamond. A dashed line marks no correlation.

    Parameters
    ----------
    result : Benchmark or LineSpec
        What `grounding.benchmark` or `grounding.rank_pairs` returns. Measures without a value are listed below the
        axis.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    title : str, optional
        The first line of the title, such as the name of the subtask. The second line has the number of models and
        pairs.
    limits : (float, float), optional
        The ends of the horizontal axis, for two figures with the same axis.

    Returns
    -------
    Axes
        The axes with one row for each measure.

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
    """Draw the dissimilarity of layers within a model, compared with the same layer of other models.

    Parameters
    ----------
    result : Specificity or LineSpec
        What `grounding.specificity` returns.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    title : str, optional
        The title. None shows the fraction of layers for which the same layer of another model was found.

    Returns
    -------
    Axes
        The axes with one bar for each layer.

    Raises
    ------
    TypeError
        If `result` is not a Specificity.

    Notes
    -----
    The bar of a layer is its mean dissimilarity to the same layer of other models. A number k in the bar's column is at
    the mean dissimilarity to the layers of the same model that are k layers away. It is bold if it is the first number
    above the bar. If numbers are below the bar, the measure does not distinguish layers from seeds.

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
    """Draw the amount of damage at which each measure detects it.

    The upper panel has the dissimilarity to the intact representation for each amount of damage. The unit is the
    threshold, which is the mean dissimilarity of two models: a measure detects damage above 1. The lower panel has the
    held-out accuracy of the probe, if there was one.

    Parameters
    ----------
    result : Sensitivity or PanelsSpec
        What `grounding.sensitivity` returns.
    figure : Figure, optional
        The figure to draw in; None creates one. Its size is set to fit the panels.
    title : str, optional
        The title. None shows the kind of damage and the number of models.

    Returns
    -------
    list of Axes
        The upper panel, then the lower panel if there is one.

    Raises
    ------
    TypeError
        If `result` is not a Sensitivity.

    Notes
    -----
    If parts are deleted, the horizontal axis is the logarithm of what is left. Otherwise the amounts of damage are at
    equal distances. The vertical axis ends at four thresholds. Curves that coincide are drawn a little apart. A dashed
    curve is a closed form.

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
