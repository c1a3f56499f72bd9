"""`Model`: a module with its name, its preprocess and its layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from repsim_nb.inputs.batches import count_samples, slice_batch
from repsim_nb.support.errors import join_names, unknown_name
from repsim_nb.support.summaries import summarize

from .arguments import prepare_batch
from .channels import is_bytes, is_picture, to_floats
from .layers import find_blocks, is_pattern, match_layers
from .running import OUTPUT, capture, evaluation_mode, find_tensor, forward, name_layer, parse_layer

AUTO = "auto"


def images(batch: Any) -> Any:
    """Convert uint8 pictures to float32 in [0, 1], channels first, and other arrays to tensors of their type.

    This is the default `preprocess` of a model.

    Parameters
    ----------
    batch : array, tensor, list, or dict of these
        uint8 (n, h, w), (n, h, w, c) or (n, c, h, w) are pictures; uint8 (n,) and (n, p) are features.

    Returns
    -------
    tensor, list or dict
        Pictures as float32 (n, c, h, w), uint8 features as floats of the same value. Other tensors, and lists, pass
        unchanged.

    Raises
    ------
    ValueError
        For uint8 pictures whose channels can be either axis, such as (n, 3, 8, 3), and for uint8 with more axes.

    Notes
    -----
    The axis of the channels is the one of length 1, 3 or 4; if neither has such a length, the one that is shorter than
    both other axes. In a dict, uint8 columns of four axes are pictures, and "pixel_values" also with three; masks and
    other columns keep their type. Floats take the precision of the weights when they enter the model.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> rs.Model.preprocess(np.zeros((2, 8, 6, 3), np.uint8)).shape
    torch.Size([2, 3, 8, 6])
    """
    if isinstance(batch, Mapping):
        columns = {name: to_floats(column) if is_picture(name, column) else column for name, column in batch.items()}
        return {
            name: torch.as_tensor(column) if isinstance(column, np.ndarray) else column
            for name, column in columns.items()
        }
    if isinstance(batch, list) or (isinstance(batch, Tensor) and batch.dtype != torch.uint8):
        return batch
    array = batch if isinstance(batch, Tensor) else np.asarray(batch)
    return to_floats(array) if is_bytes(array) else torch.tensor(array)


@dataclass(frozen=True)
class Model:
    """A named model, ready to record.

    `load_model` creates it; the class is rarely called by hand.

    Parameters
    ----------
    name : str
        The name of the model in recordings.
    module : nn.Module
        The torch module that runs.
    preprocess : callable, optional
        Function from a batch of raw inputs to the inputs of the module. By default uint8 pictures become floats in
        [0, 1], channels first, and other arrays become tensors of their type.
    layers : tuple of str
        The layers that `record` takes by default (one a block). The last is "output", the value that the model returns.
        Any other module can be recorded too, by its name.
    card : dict
        Facts about the model: architecture, data, seed, accuracy, ...

    See Also
    --------
    load_model : Create a Model from a spec or a module.
    record : Record its activations.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> from torch import nn
    >>> model = rs.load_model(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), name="mine")
    >>> model
    Model(name='mine', layers=('1', '2', 'output'))
    >>> model.describe(np.zeros((2, 4), "float32"))["shape"].tolist()
    [(3,), (2,), (2,)]
    """

    name: str
    module: nn.Module = field(repr=False)
    preprocess: Callable[[Any], Any] = field(default=images, repr=False)
    layers: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def check_layers(self, layers: str | int | Sequence[str | int] | None) -> tuple[str, ...]:
        """Return the names of the selected layers.

        Parameters
        ----------
        layers : str, int, or sequence of these, optional
            Layers to select; None is `self.layers`. Each is one of these:

            - the name of a module, "blocks.0"; "output" is the value that the whole model returns, and a part of the
              model with the name "output" is "output#1"
            - an int that counts in `self.layers`: -2 is the layer before the output
            - "auto": one layer a block
            - a pattern, "blocks.*.mlp": * stands for any characters within one part of the name, ** for any number of
              parts, ? for one character
            - "act#2": the second call of act in one forward pass
            - "block[1]": an item of the tuple that block returns
            - "output.logits": a field of the value that the model returns

        Returns
        -------
        tuple of str
            The names, each once, in the order of the selection.

        Raises
        ------
        ValueError
            If a name is unknown (the message has the nearest names), is given twice, or if a pattern matches nothing.
        TypeError
            If a layer is neither a str nor an int.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> model = rs.load_model("zoo:mnist-cnn-0")
        >>> model.check_layers(["conv*", -1])
        ('conv1', 'conv2', 'conv3', 'output')
        """
        if layers is None:
            return self.layers
        layers = list_layers(layers)
        modules = dict(self.module.named_modules(remove_duplicate=False))
        known = [name_layer(name) for name, _ in self.module.named_modules() if name]
        found: list[str] = []
        for layer in layers:
            if isinstance(layer, int):
                if not -len(self.layers) <= layer < len(self.layers):
                    raise ValueError(
                        f"'{self.name}' has {len(self.layers)} layers, so there is no layer number {layer}."
                    )
                names = [self.layers[layer]]
            elif layer == AUTO and AUTO not in modules:
                names = [*map(name_layer, find_blocks(self.module)), OUTPUT]
            elif is_pattern(layer):
                names = match_layers(layer, [*known, OUTPUT])
                if not names:
                    raise ValueError(
                        f"no layer of '{self.name}' matches the pattern '{layer}' (* stands for one part of a name, **"
                        f" for any number). The layers are {join_names(known, 20)}."
                    )
            else:
                if not layer or ((base := parse_layer(layer, modules).module) != OUTPUT and base not in modules):
                    raise unknown_name(
                        "layer", layer, dict.fromkeys([*self.layers, *known]), f"These are the layers of '{self.name}'."
                    )
                names = [layer]
            if not is_pattern(str(layer)) and any(name in found for name in names):
                raise ValueError(f"layers of '{self.name}' must be all different; got {list(layers)}.")
            found += [name for name in names if name not in found]
        if not found:
            raise ValueError(f"layers of '{self.name}' must be at least one; got {list(layers)}.")
        return tuple(found)

    def by_name(self, layers: str | int | Sequence[str | int] | None) -> frozenset[str]:
        """Return the layers that were selected by name or by number, not by a pattern or "auto".

        `record` raises an error if one of these cannot be recorded, and leaves out other layers that cannot.

        Parameters
        ----------
        layers : str, int, or sequence of these, optional
            As for `check_layers`.

        Returns
        -------
        frozenset of str
            The names of these layers.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> rs.load_model("zoo:mnist-cnn-0").by_name(["conv*", "fc"])
        frozenset({'fc'})
        """
        one = [
            layer
            for layer in list_layers(layers or ())
            if isinstance(layer, int) or not (is_pattern(layer) or layer == AUTO)
        ]
        return frozenset(self.check_layers(one)) if one else frozenset()

    def describe(self, inputs: Any = None, layers: str | int | Sequence[str | int] | None = None) -> pd.DataFrame:
        """List the layers with their type, parameters and shape, one row each.

        If several layers return the output unchanged, `record` keeps only "output" of them, unless they are named.

        Parameters
        ----------
        inputs : array, tensor, list of str, or dict of arrays, optional
            A small batch as `record` takes it, to find the shapes. By default `example()`, if the model has one.
        layers : str, int, or sequence of these, optional
            Layers to list, as for `check_layers`; "**" is every module. By default `self.layers`.

        Returns
        -------
        DataFrame
            Indexed by layer, in forward order if a batch was run. Columns: type (the class of the module), parameters
            (their number) and, if a batch was run, shape (of one sample's activation; None if the layer has no row for
            each sample).

        Examples
        --------
        >>> import repsim_nb as rs
        >>> rs.load_model("zoo:mnist-cnn-0").describe(layers=["conv1", "output"])
                        type  parameters         shape
        layer
        conv1     Sequential         176  (16, 14, 14)
        output   CNN (whole)       47130         (10,)
        """
        wanted = self.check_layers(layers)
        seen: dict[str, tuple[int, ...] | None] = {}
        if inputs is not None:
            seen = _find_shapes(self, inputs, wanted)
        elif (example := self.example()) is not None:
            with suppress(Exception):  # the card may not be enough, and a model can raise anything
                seen = _find_shapes(self, example, wanted)
        order = {name: place for place, name in enumerate(seen)}
        modules = dict(self.module.named_modules(remove_duplicate=False))
        rows: dict[str, dict[str, Any]] = {}
        for name in sorted(wanted, key=lambda name: order.get(name, len(order))):
            base, call, _ = parse_layer(name, modules)
            whole = base == OUTPUT and call is None
            module = self.module if whole else modules[base]
            rows[name] = {
                "type": type(module).__name__ + (" (whole)" if whole else ""),
                "parameters": sum(p.numel() for p in module.parameters()),
            }
            if inputs is not None or seen:
                rows[name]["shape"] = seen.get(name)
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")

    def example(self) -> Any:
        """Return two inputs of the form that the model takes, or None if the form is not known.

        Returns
        -------
        array, list of str, or None
            A batch as `record` takes it: from `preprocess.example()` if it has this method, else zeros of the card's
            input_shape.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> rs.load_model("zoo:mnist-cnn-0").example().shape
        (2, 28, 28)
        """
        if hasattr(self.preprocess, "example"):
            return self.preprocess.example()
        return np.zeros((2, *self.card["input_shape"]), np.uint8) if "input_shape" in self.card else None

    def _repr_html_(self) -> str:
        plain = {name: value for name, value in self.card.items() if isinstance(value, (str, int, float))}
        facts = [f"{name.replace('_', ' ')} {value}" for name, value in plain.items() if name != "name"]
        return summarize(
            "Model",
            self.name,
            facts or [type(self.module).__name__],
            notes=[f"layers: {_shorten(self.layers)}"],
            page="Model",
        )


def _shorten(layers: Sequence[str]) -> str:
    """List the layers: the first eight, the last two and the number, if there are more than twelve."""
    if len(layers) <= 12:
        return ", ".join(layers)
    return f"{', '.join(layers[:8])}, …, {', '.join(layers[-2:])} ({len(layers)} layers)"


def tabulate_cards(cards: Iterable[tuple[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """Tabulate (name, card) pairs, one row each: the fields of the cards except lists and dicts; indexed by name."""
    pairs = list(cards)
    rows = [
        {key: value for key, value in card.items() if key != "name" and not isinstance(value, (list, tuple, Mapping))}
        for _, card in pairs
    ]
    return pd.DataFrame(rows, index=pd.Index([name for name, _ in pairs], name="model"))


def list_layers(layers: Any) -> tuple[str | int, ...]:
    """Return the given layers as a tuple; TypeError if one is neither a name nor a number."""
    found = tuple(layers) if isinstance(layers, Iterable) and not isinstance(layers, str) else (layers,)
    for layer in found:
        if not isinstance(layer, (str, int)) or isinstance(layer, bool):
            raise TypeError(f"layers must be names, patterns or integers; got {layer!r}.")
    return found


def _find_shapes(model: Model, inputs: Any, layers: Sequence[str]) -> dict[str, tuple[int, ...] | None]:
    """Return the shape of one sample's activation at each layer, in forward order; None if there is no row a sample."""
    found: list[dict[str, tuple[int, ...] | None]] = []
    modules = dict(model.module.named_modules(remove_duplicate=False))

    def note(name: str, out: Any) -> None:
        try:
            found[-1].setdefault(name, tuple(find_tensor(out, parse_layer(name, modules).part).shape))
        except ValueError:
            found[-1].setdefault(name, None)

    def run(batch: Any) -> int:
        found.append({})
        forward(model.module, prepare_batch(model.module, model.preprocess, copy.deepcopy(batch)), place)
        return count_samples(batch)

    with evaluation_mode(model.module) as (place, _), capture(model.module, layers, note):
        n = run(inputs)
        with suppress(Exception):  # some models take no sample alone
            run(slice_batch(inputs, slice(0, 1)))
    many, one = found[0], found[-1]

    def of_sample(name: str) -> tuple[int, ...] | None:
        shape, alone = many[name], one.get(name)
        rows = shape is not None and shape[:1] == (n,) and (one is many or alone is None or alone[:1] == (1,))
        return shape[1:] if rows and shape is not None else None

    return {name: of_sample(name) for name in many}


def is_model(thing: object) -> bool:
    """Return whether `load_model` takes an object as a loaded model: a Model, or a module of torch.

    Parameters
    ----------
    thing : object
        Anything.

    Returns
    -------
    bool
        True for a Model or a module of torch, False for specs and everything else.

    Examples
    --------
    >>> from torch import nn
    >>> from repsim_nb import models
    >>> models.is_model(nn.ReLU()), models.is_model("zoo:mnist-cnn-0")
    (True, False)
    """
    return isinstance(thing, (nn.Module, Model))
