"""Every recorded row belongs to its sample: kinds of models × kinds of data × pools.

Each value is compared with a forward pass of that sample alone. Hooks and pools of the reference are those of this
file.
"""

import contextlib
import copy
import hashlib
import itertools
import os
import random
import re
import tempfile
import warnings

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from networks import NETWORKS, Form, N, built, normal, real_of, strings, texts_of_strings
from torch.utils.data import DataLoader, Dataset, TensorDataset

import repsim_nb as rs

hypothesis.configuration.set_hypothesis_home_dir(os.path.join(tempfile.gettempdir(), "hypothesis"))
pytestmark = pytest.mark.usefixtures("one_thread")
BATCH_SIZES = 1, 3, 7, 64


# -- the reference


def first_tensor(out):
    """The tensor of an output: itself, the first of a tuple, or the last_hidden_state of a mapping."""
    return out["last_hidden_state"] if isinstance(out, dict) else out[0] if isinstance(out, tuple) else out


def alone(module, columns, layers):
    """Layer -> list of its outputs (1, ...) for each sample alone.

    The samples run in a copy of the module, one after the other.
    """
    module, outs = copy.deepcopy(module), {layer: [] for layer in layers}
    calls, parts = {}, dict(module.named_modules(remove_duplicate=False))
    names = {layer.partition("#")[0] for layer in layers} - {"output"}

    def hook(name):
        def see(_module, _inputs, out):
            calls[name] = calls.get(name, 0) + 1
            for layer in (name, f"{name}#{calls[name]}"):
                if layer in outs:
                    outs[layer].append(first_tensor(out).detach().clone())

        return see

    handles = [parts[name].register_forward_hook(hook(name)) for name in names]
    precision = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for i in range(len(next(iter(columns.values())))):
            calls.clear()
            one = {name: column[i : i + 1].clone() for name, column in columns.items()}
            one = {name: column.to(precision) if column.is_floating_point() else column for name, column in one.items()}
            with (
                torch.no_grad(),
                contextlib.suppress(*([] if "output" in outs else [ValueError])),
            ):  # a later layer may need a batch
                out = module(**one)
            if "output" in outs:
                outs["output"].append(first_tensor(out).clone())
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()
    assert all(len(outs[layer]) == len(outs[layers[0]]) > 0 for layer in layers), "a layer of the test did not run"
    return outs


def places(out, form):
    """One sample's output (1, ...) as a matrix (tokens or places, features)."""
    as_matrix = {
        "tokens": lambda x: x,
        "channels": lambda x: x.flatten(1).mT,
        "picture": lambda x: x.flatten(1).mT,
        "heads": lambda x: x.transpose(0, 1).flatten(1),
    }
    return as_matrix[form.kind](out[0])


def corner(x):
    """A user's pool: the first number of the first token, which padding on the right does not reach."""
    return x if x.ndim == 2 else x[(slice(None), *[0] * (x.ndim - 1))][:, None]


POOLS = {
    "flatten": lambda out, at, real: out.flatten()[None],
    "mean": lambda out, at, real: at[real].mean(0, keepdim=True),
    "first": lambda out, at, real: at[real][:1],
    "last": lambda out, at, real: at[real][-1:],
    "tokens": lambda out, at, real: at[real],
    corner: lambda out, at, real: out.flatten()[:1][None],
}


def rows(outs, pool, form, real=None):
    """The expected rows of a layer.  real: (n, t) booleans; None if every token is real."""
    found = []
    for i, out in enumerate(outs):
        out = out.double() if out.dtype is torch.float64 else out.float()
        if form.kind == "row":
            found.append(out.flatten()[None])
            continue
        at = places(out, form)
        found.append(POOLS[pool](out, at, torch.ones(len(at), dtype=torch.bool) if real is None else real[i]))
    return torch.cat(found).numpy()


def close(got, want, network):
    return got.shape == want.shape and bool(
        np.abs(np.asarray(got, np.float64) - want).max() <= network.close * max(1e-3, np.abs(want).max())
    )


# -- kinds of data


class Rows(Dataset):
    """A torch Dataset that gives dicts."""

    def __init__(self, columns):
        self.columns = columns

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, i):
        return {name: column[i] for name, column in self.columns.items()}


def only(columns):
    (column,) = columns.values()
    return column


def uneven(columns):
    edges = [0, 5, 6, 15, N]
    for first, last in itertools.pairwise(edges):
        yield {name: column[first:last] for name, column in columns.items()}


def ragged(columns):
    """As tokenizers do: each batch is as long as its longest text."""
    for batch in uneven(columns):
        cut = {"": batch["attention_mask"], "decoder_": batch.get("decoder_attention_mask")}
        longest = {side: int(mask.sum(1).max()) for side, mask in cut.items() if mask is not None}
        yield {
            name: column[:, : longest["decoder_" if name.startswith("decoder_") else ""]]
            for name, column in batch.items()
        }


def collating(columns):
    """A DataLoader of row numbers; its collate_fn creates the batch."""

    def collate(numbers):
        batch = {name: column[numbers] for name, column in columns.items()}
        return batch if len(batch) > 1 else only(batch)

    return DataLoader(range(N), batch_size=4, num_workers=0, collate_fn=collate)


ONE = {  # an input alone
    "array": lambda columns: only(columns).numpy(),
    "tensor": only,
    "TensorDataset": lambda columns: TensorDataset(only(columns)),
    "generator": lambda columns: (only(batch) for batch in uneven(columns)),
    "DataLoader": lambda columns: DataLoader(TensorDataset(only(columns), torch.arange(N)), batch_size=5),
}
SEVERAL = {  # inputs by their names
    "dict": dict,
    "dict of arrays": lambda columns: {name: column.numpy() for name, column in columns.items()},
    "Dataset of dicts": Rows,
    "generator of dicts": uneven,
    "DataLoader of dicts": lambda columns: DataLoader(Rows(columns), batch_size=5, num_workers=0),
    "DataLoader with collate": collating,
}


def kinds_of(network, columns):
    kinds = {**(ONE if len(columns) == 1 else {}), **SEVERAL}
    if "attention_mask" in columns and "pixel_values" not in columns:
        kinds["ragged generator"] = ragged
    if network.prepare is not None:
        kinds["strings"] = None
    return kinds


def cells(network):
    """Kind of data, function that creates it from columns (None for strings), pool, and the layers to which the pool
    applies.
    """
    columns = network.columns(N)
    for (kind, make), (pool, layers) in itertools.product(kinds_of(network, columns).items(), network_pools(network)):
        yield kind, make, pool, layers


def network_pools(network):
    """Each pool with the layers to which it applies.

    Pictures have no first token; a layer with one row a sample has no tokens.
    """
    for pool in POOLS:
        unfit = {"tokens": ("row",), "first": ("picture",), "last": ("picture",)}.get(pool, ())
        layers = [layer for layer, form in network.layers.items() if form.kind not in unfit]
        if layers:
            yield pool, layers


# -- what must not change


def frozen(value):
    """A comparable copy of data; None for anything else."""
    if isinstance(value, torch.Tensor):
        if value.is_quantized:
            return None
        numbers = value.detach().clone().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
        return str(value.dtype), tuple(value.shape), numbers
    if isinstance(value, (bool, int, float, str, bytes, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [frozen(item) for item in value]
    return {key: frozen(item) for key, item in value.items()} if isinstance(value, dict) else None


def state_of(module):
    """Parameters, buffers, attributes, training flags and numbers of hooks of a module and its parts."""
    registries = "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"
    parts = {}
    for name, part in module.named_modules():
        own = {key: value for key, value in vars(part).items() if key not in registries}
        hooks = {key: len(value) for key, value in own.items() if "hooks" in key and hasattr(value, "__len__")}
        parts[name] = (
            hooks,
            {key: frozen(value) for key, value in own.items() if key not in hooks},
            frozen(dict(part._buffers)),
            frozen(dict(part._parameters)),
        )
    return parts


def random_states():
    return hashlib.sha256(
        repr((torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate())).encode()
    ).hexdigest()


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


def inference_tensors(module):
    """The names of the parts of a module with an inference tensor, which cannot be used in training."""
    return [name for name, part in module.named_modules() for tensor in tensors_in(vars(part)) if tensor.is_inference()]


# -- the matrix


def recorded(module, data, layers, **options):
    """-> recording, warnings about padding"""
    model = data[1] if isinstance(data, tuple) else rs.load_model(module, name="m")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        got = rs.record(model, data[0] if isinstance(data, tuple) else data, layers, progress=False, **options)
    return got, [
        str(warning.message)
        for warning in warned
        if re.search("padding|mask", str(warning.message)) and "left out" not in str(warning.message)
    ]


class Expected:
    """A model's outputs for each sample alone, from the padded columns and from the strings."""

    def __init__(self, name):
        self.network = NETWORKS[name]
        self.module, self.columns = built(name), self.network.columns(N)
        self.layers = list(self.network.layers)
        self.outs = alone(self.module, self.columns, self.layers)
        self.real = {layer: form.real and form.real(self.columns) for layer, form in self.network.layers.items()}
        if self.network.prepare is not None:
            self.texts = strings(N)
            each = [self.network.prepare([text]) for text in self.texts]
            by_text = [alone(self.module, one, self.layers) for one in each]
            self.text_outs = {layer: [outs[layer][0] for outs in by_text] for layer in self.layers}

    def of(self, kind, pool, layer, *, masked=True):
        form = self.network.layers[layer]
        if kind == "strings":  # a text alone has no padding
            return rows(self.text_outs[layer], pool, form)
        return rows(self.outs[layer], pool, form, self.real[layer] if masked else None)


def require(true, what):
    """An assertion with this message only: many are listed together."""
    if not true:
        raise AssertionError(what)


def check_known(expected, kind, data, pool, layers, size):
    """Layers without padding, or with a mask of a usual name."""
    network, module = expected.network, expected.module
    refused = [layer for layer in layers if network.layers[layer].real is not None] if pool == "flatten" else []
    for layer in refused:
        try:
            recorded(module, data(), layer, pool=pool, batch_size=size)
        except ValueError as error:
            require(
                repr(layer) in str(error) and re.search("padding|pool='mean'", str(error)),
                f"layer '{layer}' was refused with '{error}'",
            )
        else:
            raise AssertionError(f"layer '{layer}' was flattened with its padding")
    asked = [layer for layer in layers if layer not in refused]
    if not asked:
        return
    got, _ = recorded(module, data(), asked, pool=pool, batch_size=size)
    require({key.layer for key in got} == set(asked), f"asked for {asked}, got {list(got)}")
    for layer in asked:
        want = expected.of(kind, pool, layer)
        require(
            close(got[layer], want, network),
            f"layer '{layer}': {np.shape(got[layer])} {np.asarray(got[layer])[0, :3]} ..., and alone {want.shape}"
            f" {want[0, :3]} ...",
        )


def check_unknown(expected, kind, data, pool, layers, size):
    """Layers whose padding has no usual mask: it is left out, announced or refused, but never recorded silently."""
    for layer in layers:
        try:
            got, warned = recorded(expected.module, data(), layer, pool=pool, batch_size=size)
        except ValueError as error:
            require(
                re.search("padding|length|mixes samples|pool='mean'", str(error)),
                f"layer '{layer}' was refused with '{error}'",
            )
            continue
        right = [expected.of(kind, pool, layer)]
        if pool in ("flatten", "first", corner) or warned:  # padding is on the right, and part of the sample in columns
            right.append(expected.of(kind, pool, layer, masked=False))
        announced = kind == "strings" and warned
        require(
            announced or any(close(got[layer], want, expected.network) for want in right),
            f"layer '{layer}': its rows hold padding, without a warning",
        )


def check_cell(expected, kind, make, pool, layers, size):
    network, module = expected.network, expected.module
    columns, states, before = (
        {key: column.clone() for key, column in expected.columns.items()},
        random_states(),
        state_of(module),
    )

    def data():
        return (
            make(columns)
            if make is not None
            else (expected.texts, rs.load_model(module, name="m", preprocess=network.prepare))
        )

    check_known(expected, kind, data, pool, [layer for layer in layers if network.layers[layer].known], size)
    check_unknown(expected, kind, data, pool, [layer for layer in layers if not network.layers[layer].known], size)
    require(all(torch.equal(column, expected.columns[key]) for key, column in columns.items()), "the data were changed")
    require(state_of(module) == before, "the model was changed")
    require(random_states() == states, "the random states were changed")
    require(inference_tensors(module) == [], "the model holds an inference tensor")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_row_equals_a_pass_of_that_sample_alone(name):
    """The matrix for one model: all kinds of data that fit its inputs × all pools, in batches of 1, 3, 7 and 64."""
    expected, trouble = Expected(name), []
    for (kind, make, pool, layers), size in zip(cells(expected.network), itertools.cycle(BATCH_SIZES), strict=False):
        where = f"{name}, {kind}, pool {getattr(pool, '__name__', pool)}, batches of {size}"
        try:
            check_cell(expected, kind, make, pool, layers, size)
        except Exception as error:  # one run lists all cells that fail
            trouble.append(f"{where}: {type(error).__name__}: {error}")
    if trouble:
        pytest.fail(f"{len(trouble)} cells fail:\n" + "\n".join(trouble), pytrace=False)


def test_the_matrix_is_large_enough():
    number, kinds, pools = 0, set(), set()
    for network in NETWORKS.values():
        for kind, _, pool, layers in cells(network):
            number += bool(layers)
            kinds.add(kind)
            pools.add(pool)
    assert len(NETWORKS) >= 12 and len(kinds) >= 6 and len(pools) >= 3 and number >= 12 * 6 * 3


@pytest.mark.parametrize("name", NETWORKS)
def test_default_layers_are_right(name):
    """Every default layer whose rows are samples is recorded, and no other, in batches of any size."""
    expected = Expected(name)
    network, module = expected.network, expected.module
    model, before, pool = rs.load_model(module, name="m"), state_of(module), "mean"
    for size in BATCH_SIZES:
        columns = {key: column.clone() for key, column in expected.columns.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = rs.record(model, columns, pool=pool, batch_size=size, progress=False)
        layers = {key.layer for key in got}
        assert size == 1 or layers <= set(network.layers), (
            f"the rows of {layers - set(network.layers)} are not samples"
        )  # one sample cannot be mixed
        for layer in layers & set(network.layers):
            if network.layers[layer].known:
                assert close(got[layer], expected.of("dict", pool, layer), network), (
                    f"{name}, layer {layer}, batches of {size}"
                )
        for layer in (
            layer for layer in network.layers if layer.partition("#")[0] in model.layers and layer not in layers
        ):
            twin = layer != "output" and np.array_equal(
                expected.of("dict", pool, layer), expected.of("dict", pool, "output")
            )
            assert twin or not network.layers[layer].known, f"{name}: {layer} could be recorded, and was left out"
        assert (
            all(torch.equal(column, expected.columns[key]) for key, column in columns.items())
            and state_of(module) == before
        )


@pytest.mark.parametrize("name", [name for name, network in NETWORKS.items() if network.trained])
def test_a_recorded_model_can_be_trained(name):
    network, module = NETWORKS[name], built(name)
    columns = network.columns(N)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rs.record(rs.load_model(module, name="m"), columns, pool="mean", progress=False)
    assert inference_tensors(module) == [] and not module.training
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    weights = [p.detach().clone() for p in module.parameters()]
    module(
        **{
            key: column.to(network.precision) if column.is_floating_point() else column
            for key, column in columns.items()
        }
    ).sum().backward()
    optimizer.step()
    assert any(not torch.equal(p, before) for p, before in zip(module.parameters(), weights, strict=True))


# -- any lengths, positions and batch sizes

SETTINGS = hypothesis.settings(derandomize=True, deadline=None, max_examples=15, database=None)


@st.composite
def samples(draw, longest=7):
    """-> lengths, an order of the samples, a batch size, a pool"""
    lengths = draw(st.lists(st.integers(1, longest), min_size=2, max_size=12))
    return (
        lengths,
        draw(st.permutations(range(len(lengths)))),
        draw(st.integers(1, len(lengths) + 1)),
        draw(st.sampled_from(["mean", "first", "last"])),
    )


TEXT_LAYERS = "embed", "attend.value", "attend", "norm", "conv", "head", "output"


@SETTINGS
@hypothesis.given(samples())
def test_texts_of_any_lengths_in_any_order(drawn):
    lengths, order, size, pool = drawn
    letters = torch.randint(0, 20, (len(lengths), 7), generator=torch.Generator().manual_seed(len(lengths)))
    texts = [
        " ".join(chr(97 + letter) for letter in row[:length].tolist())
        for row, length in zip(letters, lengths, strict=True)
    ]
    network, module = NETWORKS["text"], built("text")
    model = rs.load_model(module, name="m", preprocess=texts_of_strings)
    columns = texts_of_strings(texts)
    outs = alone(module, columns, list(TEXT_LAYERS))
    want = {
        layer: rows(outs[layer], pool, network.layers[layer], columns["attention_mask"].bool()) for layer in TEXT_LAYERS
    }
    got = rs.record(model, texts, list(TEXT_LAYERS), pool=pool, batch_size=size, progress=False)
    permuted = rs.record(
        model, [texts[i] for i in order], list(TEXT_LAYERS), pool=pool, batch_size=size, progress=False
    )
    for layer in TEXT_LAYERS:
        assert close(got[layer], want[layer], network) and close(permuted[layer], want[layer][order], network), (
            layer,
            pool,
        )


@SETTINGS
@hypothesis.given(samples())
def test_packed_sequences_of_any_lengths_in_any_order(drawn):
    lengths, order, size = torch.tensor(drawn[0]), torch.tensor(drawn[1]), drawn[2]
    columns = {"x": normal(len(lengths), 7, 5, seed=len(lengths)) * real_of(lengths, 7)[..., None], "lengths": lengths}
    network, module = NETWORKS["packed gru"], built("packed gru")
    layers = ["norm", "head", "output"]
    outs = alone(module, columns, layers)
    model = rs.load_model(module, name="m")
    got = rs.record(model, columns, layers, batch_size=size, progress=False)
    permuted = rs.record(
        model, {name: column[order] for name, column in columns.items()}, layers, batch_size=size, progress=False
    )
    for layer in layers:
        want = rows(outs[layer], "flatten", Form("row"))
        assert close(got[layer], want, network) and close(permuted[layer], want[order.numpy()], network), layer
