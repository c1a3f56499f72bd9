"""`embedding_map`: a map of models, layers or checkpoints, with the layers × layers of any two of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repsim_nb import measures
from repsim_nb.support.errors import join_names

from .base import Explorer
from .inputs import to_activations
from .map_choices import Attributes, has_aligned_models, known_attributes
from .map_explorer import EmbeddingMapExplorer


def embedding_map(
    xs: Mapping[Any, Any],
    *,
    measure: str | measures.Measure = "cka_debiased",
    layer: str | None = None,
    kind: str = "smacof",
    color: str | None = None,
    shape: str | None = None,
    attributes: Attributes | None = None,
    seed: int = 0,
) -> Explorer:
    """Explore a map of models, in which near models are similar.

    Controls select the measure, the layer, the method, and the meaning of color and shape. Click two points to compare
    their layers. Draw a line around points for their mean similarity.

    Parameters
    ----------
    xs : {Key or str: array (n, ...)}
        Activations of at least three models (or training steps) on the same n samples: what `rs.record` returns, a
        Store, or {"model/layer": array}.
    measure : str or Measure
        The measure that is selected first. A functional measure compares the outputs for any layer.
    layer : str, optional
        The layer that is selected first: a name that all models have, "last hidden" or "first hidden" if the names
        differ, or "all layers". None takes the last hidden layer.
    kind : "smacof", "classical" or "tsne"
        The method that is selected first; see `rs.embedding`.
    color, shape : str, optional
        What color and shape stand for at first: "model", "step", "layer", an attribute, or "none". None takes for the
        color the architecture, the step or the layer, whichever differs between points, and no meaning for the shape.
    attributes : DataFrame (models, attributes), Series (models,) or dict, optional
        The attributes of the models: one row or value for each model, {model: value} or {model: {attribute: value}}.
        None takes them from the model cards.
    seed : int
        The seed of the map and of the chance level.

    Returns
    -------
    Explorer
        The explorer. Its `result` is an Embedding.

    Raises
    ------
    TypeError
        If `xs` is not a mapping, or `attributes` is not a table.
    ValueError
        If there are fewer than three models, there are several data sets or pools, a choice is unknown, or `attributes`
        has not one row for each model.

    Notes
    -----
    The points of one model at several training steps are joined by a path. A slider selects the last step that is
    shown. The map is computed from all steps. On a map of all layers, the layers of a model are joined in order.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> x = rs.from_arrays({f"{model}/fc": rng.normal(size=(20, 3)) for model in "abc"})
    >>> explorer = rs.explorers.embedding_map(x, measure="cka", color="model").wait()
    >>> explorer.spec.labels
    ('a', 'b', 'c')
    """
    found = to_activations(xs)
    for field, what in (("dataset", "data sets, so that their samples do not correspond"), ("pool", "pools")):
        different = list(dict.fromkeys(getattr(key, field) for key in found))
        if len(different) > 1 and not (field == "dataset" and has_aligned_models(found)):
            raise ValueError(
                f"A map needs activations of one recording; these are of {len(different)} {what}:"
                f" {join_names(different)}. Choose one: x.where({field}={different[0]!r})."
            )
    points = list(dict.fromkeys(key._replace(layer="") for key in found))
    if len(points) < 3:
        raise ValueError(
            f"embedding_map needs at least 3 models (or steps of training); got"
            f" {join_names(dict.fromkeys(key.model for key in points)) or 'none'} (a plain name such as 'a' is a layer:"
            " arrays of several models are called 'model/layer'). explorers.comparison compares the layers of two"
            " models."
        )
    first = {"measure": measure, "layer": layer, "kind": kind, "color": color, "shape": shape}
    return EmbeddingMapExplorer(xs, found, first, known_attributes(found, attributes), attributes, seed)
