"""Layers whose rows are not samples are found every time; data and models do not change; unusual parts do not hide the
other layers.
"""

import copy
import functools
import re
import warnings

import numpy as np
import pytest
import torch
from networks import FAULTS, NETWORKS, WIDTH, Steps, built, encoder, ids_and_mask, mlp, normal, real_of, strings
from sizes import sized
from test_rows import Rows, alone, inference_tensors, recorded, state_of
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import repsim_nb as rs

pytestmark = pytest.mark.usefixtures("one_thread")
SEEDS = range(sized(8, 20))


def rec(model, data, layers=None, **options):
    return rs.record(model, data, layers, progress=False, **options)


def each_alone(module, columns, layers, *, state=False):
    """Layer -> rows (n, p), each sample alone. state: each sample runs in a copy of the model in its first state."""
    if not state:
        return {
            layer: torch.cat(outs).flatten(1).numpy() for layer, outs in alone(module, columns, list(layers)).items()
        }
    found = [
        alone(module, {name: column[i : i + 1] for name, column in columns.items()}, list(layers))
        for i in range(len(next(iter(columns.values()))))
    ]
    return {layer: np.stack([outs[layer][0].flatten().numpy() for outs in found]) for layer in layers}


def near(got, want):
    return got.shape == want.shape and np.allclose(got, want, rtol=1e-4, atol=1e-5 * max(1, np.abs(want).max()))


def with_warnings(function, *args, **options):
    """-> result of the function, warnings about layers that are left out"""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        result = function(*args, **options)
    return result, [
        str(warning.message)
        for warning in warned
        if issubclass(warning.category, UserWarning) and "left out" in str(warning.message)
    ]


def build(fault, seed):
    torch.manual_seed(seed)
    return fault.make().eval(), fault.columns(seed)


# -- layers whose rows are not
# samples-------------------------------------------------------------------------------------------

CAUSES = (
    "batch_first|batch norm|running statistics|over the batch|statistic|capacity|expert|sort|order|along another axis"
)


@pytest.mark.parametrize("name", FAULTS)
def test_a_layer_whose_rows_are_not_samples_raises_if_named(name):
    fault, trouble = FAULTS[name], []
    for seed in SEEDS:
        module, columns = build(fault, seed)
        layer = list(fault.bad)[seed % len(fault.bad)]
        try:
            got = rec(rs.load_model(module, name="m"), columns, [*fault.good, layer], batch_size=fault.batch_size)
        except ValueError as error:
            right = re.search(rf"(?s)(?=.*'{re.escape(layer)}')(?=.*({fault.bad[layer]}))", str(error))
            if not right or ("mixes samples" in str(error) and not re.search(CAUSES, str(error))):
                trouble.append(f"seed {seed}, layer '{layer}': {error}")
            continue
        want = each_alone(module, columns, [layer], state=fault.reset)[layer]
        if not (fault.reset and near(got[layer], want)):
            rows = [i for i in range(len(want)) if got[layer].shape != want.shape or not near(got[layer][i], want[i])]
            trouble.append(f"seed {seed}, layer '{layer}': no error, and rows {rows} are wrong")
    if trouble:
        pytest.fail("\n".join(trouble), pytrace=False)


@pytest.mark.parametrize("name", FAULTS)
def test_default_layers_whose_rows_are_not_samples_are_left_out_with_one_warning(name):
    fault, trouble = FAULTS[name], []
    for seed in SEEDS[::2]:
        module, columns = build(fault, seed)
        model = rs.load_model(
            module, name="m", layers=[layer for layer in (*fault.good, *fault.bad) if layer != "output"]
        )
        try:
            got, warned = with_warnings(rec, model, columns, batch_size=fault.batch_size)
        except Exception as error:
            trouble.append(f"seed {seed}: no layer was named, but {type(error).__name__}: {error}")
            continue
        layers, missing = (
            [key.layer for key in got],
            [layer for layer in fault.bad if layer not in {key.layer for key in got}],
        )
        want = each_alone(module, columns, layers, state=fault.reset)
        wrong = [layer for layer in layers if not near(got[layer], want[layer])]
        if wrong:
            trouble.append(f"seed {seed}: the rows of {wrong} are wrong")
        lost = [
            layer
            for layer in fault.good
            if layer not in layers and not (layer != "output" and "output" in layers and layer == "fc")
        ]
        if lost:
            trouble.append(f"seed {seed}: {lost} could be recorded, and were left out")
        named = [layer for layer in missing if layer != "fc" or "output" not in missing]  # fc and the output are one
        if missing and not fault.quiet and (len(warned) != 1 or not all(f"'{layer}'" in warned[0] for layer in named)):
            trouble.append(f"seed {seed}: {missing} left out, with the warnings {warned}")
        if len(warned) > 1 or (warned and not missing):
            trouble.append(f"seed {seed}: {len(warned)} warnings, {warned}, and missing is {missing}")
    if trouble:
        pytest.fail("\n".join(trouble), pytrace=False)


def test_good_layers_before_a_bad_one_can_be_named():
    for name, fault in FAULTS.items():
        module, columns = build(fault, 0)
        model = rs.load_model(module, name="m")
        got, warned = with_warnings(rec, model, columns, list(fault.good), batch_size=fault.batch_size)
        want = each_alone(module, columns, fault.good)
        assert warned == [] and all(near(got[layer], want[layer]) for layer in fault.good), name


@pytest.mark.parametrize("name", FAULTS)
def test_stream_finds_the_same_layers(name):
    fault = FAULTS[name]
    module, columns = build(fault, 0)
    right = each_alone(module, columns, [*fault.good, *fault.bad], state=True) if fault.reset else {}
    layers = [layer for layer in (*fault.good, *fault.bad) if layer != "output"]
    a, b = (rs.load_model(copy.deepcopy(module), name=side, layers=layers) for side in "ab")
    for layer, words in fault.bad.items():
        try:
            got = rs.stream(a, b, columns, ([fault.good[0]], [layer]), progress=False)
        except ValueError as error:
            assert re.search(rf"(?s)(?=.*'{re.escape(layer)}')(?=.*({words}))", str(error)), error
            continue
        assert fault.reset, f"no error for '{layer}'"
        want = rs.compare(
            rs.measures.CKA(batch_size=256), {"a": right[fault.good[0]]}, {"b": right[layer]}, progress=False
        )
        assert np.allclose(got.values, want.values, atol=1e-4), layer
    if len(next(iter(columns.values()))) < 4:
        return
    table, warned = with_warnings(rs.stream, a, b, columns, progress=False)
    layers = set(table.values.index.get_level_values("layer"))
    assert (set(fault.good) - {"fc"}) <= layers
    if not fault.reset:
        assert layers.isdisjoint(fault.bad) and (fault.quiet or len(warned) in (1, 2)), warned  # one warning a model


def test_a_layer_that_mixes_in_large_batches_is_right_in_small_ones():
    """The rows are reversed in batches of more than 8, not in batches of 4."""
    module, columns = build(FAULTS["reversed in large batches"], 0)
    layers = ["embed", "mix", "fc"]
    got, want = rec(rs.load_model(module, name="m"), columns, layers, batch_size=4), each_alone(module, columns, layers)
    assert all(near(got[layer], want[layer]) for layer in layers)


def test_a_model_whose_default_layers_all_mix_raises():
    torch.manual_seed(0)
    module = Steps(mix=nn.Softmax(0), fc=nn.Linear(WIDTH, 3))
    with pytest.raises(ValueError, match="mixes samples"):
        rec(rs.load_model(module, name="m"), normal(30, WIDTH))


# -- data that differ each time they are read


class Augmented(Dataset):
    """Each time a sample is read, it changes with a probability."""

    def __init__(self, seed, n, probability):
        self.x, self.probability = normal(n, WIDTH, seed=seed), probability

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return -self.x[i] if torch.rand(()) < self.probability else self.x[i]


class Generating(Augmented):
    """Random numbers come from its own generator, not from the global ones."""

    def __init__(self, seed, n, probability):
        super().__init__(seed, n, probability)
        self.generator = np.random.default_rng(seed)

    def __getitem__(self, i):
        return -self.x[i] if self.generator.random() < self.probability else self.x[i]


class Seeded(Augmented):
    """The random numbers depend on the sample only, so a sample is the same each time."""

    def __getitem__(self, i):
        return self.x[i] + torch.rand((), generator=torch.Generator().manual_seed(i))


class Shuffled(IterableDataset):
    """Another order each time."""

    def __init__(self, seed, n=60, buffer=None):
        self.x, self.buffer = normal(n, WIDTH, seed=seed), buffer or n

    def __iter__(self):
        order = torch.cat([part[torch.randperm(len(part))] for part in torch.arange(len(self.x)).split(self.buffer)])
        yield from self.x[order]


class Noisy(Augmented):
    """Only samples in the middle change, never the first and the last."""

    def __getitem__(self, i):
        return self.x[i] + torch.rand(()) if len(self) // 4 < i < len(self) // 2 else self.x[i]


RANDOM_DATA = {
    "half of the samples": lambda seed: Augmented(seed, 60, 0.5),
    "one in ten": lambda seed: Augmented(seed, 200, 0.1),
    "a generator of its own": lambda seed: Generating(seed, 60, 0.5),
    "some in the middle": lambda seed: Noisy(seed, 60, 1.0),
    "a loader of them": lambda seed: DataLoader(Augmented(seed, 60, 0.5), batch_size=16),
    "a shuffling stream": lambda seed: Shuffled(seed),
    "a stream with a buffer": lambda seed: Shuffled(seed, buffer=8),
    "a loader of a shuffling stream": lambda seed: DataLoader(Shuffled(seed), batch_size=16),
}


@pytest.mark.parametrize("kind", RANDOM_DATA)
def test_random_data_are_refused_every_time(kind):
    model, missed = rs.load_model(mlp(), name="m"), []
    for seed in SEEDS:
        torch.manual_seed(seed)
        try:
            rec(model, RANDOM_DATA[kind](seed), "head")
        except ValueError as error:
            assert re.search("random|each time|shuffl|another order|augment", str(error)), error
            continue
        missed.append(seed)
    assert missed == [], f"{kind}: no error with seeds {missed}"


def test_data_that_do_not_change_are_recorded():
    class Plain(IterableDataset):
        def __init__(self):
            self.x = normal(60, WIDTH)

        def __iter__(self):
            yield from self.x

    module, x, shifted = mlp().eval(), normal(60, WIDTH), Seeded(0, 60, 1.0)
    for data, want in (
        (Plain(), x),
        (DataLoader(Plain(), batch_size=16), x),
        (shifted, torch.stack(list(shifted))),
        (DataLoader(TensorDataset(x), batch_size=16), x),
    ):
        got = rec(rs.load_model(module, name="m"), data, "output")["output"]
        assert near(got, module(want).detach().numpy()), type(data)


# -- data do not change


class Masks(nn.Module):
    def forward(self, x):
        x[x < 0] = 0
        return x


class Adds(nn.Module):
    def forward(self, x):
        x += 1
        return x


WRITING = {
    "relu": lambda: nn.ReLU(inplace=True),
    "hardtanh": lambda: nn.Hardtanh(inplace=True),
    "a mask": Masks,
    "an addition": Adds,
    "a view": lambda: nn.Sequential(nn.Unflatten(1, (1, WIDTH)), nn.ReLU(inplace=True), nn.Flatten()),
}


class Arrays(Rows):
    """A torch Dataset whose samples are its own tensors."""

    def __getitem__(self, i):
        return self.columns["x"][i]


CONTAINERS = {
    "tensor": lambda x: x,
    "array": lambda x: x.numpy(),
    "dict": lambda x: {"x": x},
    "dict of arrays": lambda x: {"x": x.numpy()},
    "TensorDataset": TensorDataset,
    "TensorDataset with targets": lambda x: TensorDataset(x, torch.arange(len(x))),
    "Dataset": lambda x: Arrays({"x": x}),
    "Dataset of dicts": lambda x: Rows({"x": x}),
    "one batch from a generator": lambda x: (batch for batch in [x]),
    "generator": lambda x: (batch for batch in x.split(7)),
    "generator of dicts": lambda x: ({"x": batch} for batch in x.split(7)),
    "DataLoader": lambda x: DataLoader(TensorDataset(x), batch_size=9),
    "DataLoader that hands on views": lambda x: DataLoader(
        range(len(x)),
        batch_size=9,
        collate_fn=lambda numbers: (
            x[numbers[0] : numbers[-1] + 1] if len(numbers) == numbers[-1] + 1 - numbers[0] else x[numbers]
        ),
    ),
    "our Dataset": lambda x: rs.Dataset("d", x),
    "list of tensors": list,
}


@pytest.mark.parametrize("writing", WRITING)
def test_a_first_layer_that_writes_in_place_changes_nothing(writing):
    """In any container; and the next model gets the same data."""
    torch.manual_seed(0)
    x = normal(60, WIDTH)
    a = Steps(write=WRITING[writing](), fc=nn.Linear(WIDTH, 4)).eval()
    b = Steps(fc=nn.Linear(WIDTH, 4)).eval()
    with torch.no_grad():
        want = {"a/write": a.write(x.clone()).numpy(), "a/output": a(x.clone()).numpy(), "b/output": b(x).numpy()}
    for kind, make in CONTAINERS.items():
        mine = x.clone()
        got = rec([rs.load_model(a, name="a", layers=["write"]), rs.load_model(b, name="b")], make(mine), batch_size=16)
        assert torch.equal(mine, x), kind
        assert all(near(got[key], value) for key, value in want.items()), kind


@pytest.mark.parametrize("kind", CONTAINERS)
def test_stream_changes_no_data(kind):
    torch.manual_seed(0)
    x = normal(60, WIDTH)
    a, b = Steps(write=nn.ReLU(inplace=True), fc=nn.Linear(WIDTH, 4)).eval(), Steps(fc=nn.Linear(WIDTH, 4)).eval()
    mine = x.clone()
    got = rs.stream(
        rs.load_model(a, name="a"),
        rs.load_model(b, name="b"),
        CONTAINERS[kind](mine),
        "output",
        batch_size=30,
        progress=False,
    )
    assert torch.equal(mine, x)
    with torch.no_grad():
        want = rs.compare(
            rs.measures.CKA(batch_size=30),
            {"a/output": a(x.clone()).numpy()},
            {"b/output": b(x).numpy()},
            progress=False,
        )
    assert np.allclose(got.values, want.values, atol=1e-4)


@pytest.mark.parametrize("writing", WRITING)
def test_describe_changes_no_data(writing):
    model = rs.load_model(Steps(write=WRITING[writing](), fc=nn.Linear(WIDTH, 4)), name="m")
    for kind in ("tensor", "array", "dict", "dict of arrays"):
        mine = normal(4, WIDTH)
        table = model.describe(CONTAINERS[kind](mine), "**")
        assert torch.equal(mine, normal(4, WIDTH)) and table["shape"]["fc"] == (4,), kind


def test_a_model_that_replaces_tokens_changes_no_data():
    class Replaces(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(30, 4)

        def forward(self, input_ids, attention_mask):
            input_ids[input_ids == 3] = 4
            attention_mask.mul_(2)
            return self.embed(input_ids).mean(1)

    ids, real = ids_and_mask(strings(23))
    columns = {"input_ids": ids.clone(), "attention_mask": real.long()}
    rec(rs.load_model(Replaces(), name="m"), columns)
    assert torch.equal(columns["input_ids"], ids) and torch.equal(columns["attention_mask"], real.long())


@pytest.mark.parametrize("kind", ["tensor", "array", "our Dataset"])
def test_preprocessing_that_writes_in_place_changes_no_data(kind):
    def halved(batch):
        batch *= 0.5
        return torch.as_tensor(batch)

    mine, module = normal(60, WIDTH), mlp().eval()
    got = rec(rs.load_model(module, name="m", preprocess=halved), CONTAINERS[kind](mine), "output")["output"]
    assert torch.equal(mine, normal(60, WIDTH)) and near(got, module(mine * 0.5).detach().numpy())


# -- models do not change


class Caching(nn.Module):
    """The forward pass stores something in an attribute."""

    def __init__(self, kind):
        super().__init__()
        self.a, self.b, self.kind = nn.Linear(WIDTH, 4), nn.Linear(4, 2), kind
        self.cos, self.by_size, self.seen, self.calls, self.late = None, {}, [], 0, None
        self.register_buffer("table", torch.zeros(0), persistent=False)

    def forward(self, x):
        h = self.a(x)
        if self.kind == "tensor":
            self.cos = torch.cos(torch.arange(4.0)) if self.cos is None else self.cos
            h = h * self.cos
        elif self.kind == "dict":
            h = h * self.by_size.setdefault(h.shape[1], torch.cos(torch.arange(4.0)))
        elif self.kind == "list":
            self.seen.append(h)
        elif self.kind == "counter":
            self.calls += 1
        elif self.kind == "activation":
            self.cos = h
        elif self.kind == "rotary":  # a table that grows with its inputs
            if len(self.table) < h.shape[1]:
                self.register_buffer("table", torch.cos(torch.arange(float(h.shape[1]))), persistent=False)
            h = h * self.table[: h.shape[1]]
        elif self.kind == "lazily created":
            self.late = nn.Linear(4, 4) if self.late is None else self.late
            h = self.late(h)
        elif self.kind == "lazily created in a dict":
            layer = self.by_size.setdefault("late", nn.Linear(4, 4))
            h = layer(h)
        return self.b(h)


@pytest.mark.parametrize("kind", ["tensor", "dict", "list", "counter", "activation", "rotary"])
def test_attributes_that_a_forward_pass_sets_are_restored(kind):
    torch.manual_seed(0)
    module = Caching(kind)
    before = state_of(module)
    got = rec(rs.load_model(module, name="m"), normal(30, WIDTH), ["a", "output"], batch_size=8)
    assert state_of(module) == before and inference_tensors(module) == []
    assert near(got["output"], module(normal(30, WIDTH)).detach().numpy())
    module(normal(30, WIDTH)).sum().backward()
    module.eval()
    module.zero_grad()
    before = state_of(module)  # now the attribute is set
    rec(rs.load_model(module, name="m"), normal(30, WIDTH), "output")
    assert state_of(module) == before
    (module(normal(30, WIDTH)) * torch.ones(2, requires_grad=True)).sum().backward()


LAZY = {
    "linear": (lambda: nn.Sequential(nn.LazyLinear(3)), (WIDTH,)),
    "chain": (lambda: nn.Sequential(nn.LazyLinear(6), nn.ReLU(), nn.LazyLinear(3)), (WIDTH,)),
    "convolution": (
        lambda: nn.Sequential(nn.LazyConv2d(3, 2), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2)),
        (2, 6, 6),
    ),
    "created in forward": (lambda: Caching("lazily created"), (WIDTH,)),
    "created in forward, in a dict": (lambda: Caching("lazily created in a dict"), (WIDTH,)),
}


@pytest.mark.parametrize("kind", LAZY)
def test_parameters_that_the_first_pass_creates_are_kept_and_can_be_trained(kind):
    make, shape = LAZY[kind]
    torch.manual_seed(0)
    module, x = make().eval(), normal(30, *shape)
    got = rec(rs.load_model(module, name="m"), x, "output")["output"]
    out = module(x)
    assert near(got, out.detach().numpy()) and inference_tensors(module) == []
    out.sum().backward()
    parameters = [p for p in module.parameters() if p.grad is not None]
    assert parameters and all(p.requires_grad for p in module.parameters())


@pytest.mark.parametrize(
    "name",
    [
        "lstm over samples",
        "mean of the batch",
        "noise",
        "reversed in large batches",
        "batch norm without running statistics",
        "experts for samples",
    ],
)
def test_the_model_is_restored_if_recording_fails(name):
    module, columns = build(FAULTS[name], 0)
    module.train()
    before = state_of(module)
    for layer in FAULTS[name].bad:
        with pytest.raises(ValueError, match=f"'{layer}'|batch norm"):
            rec(rs.load_model(module, name="m"), columns, layer)
        assert state_of(module) == before, layer


# -- preprocessing in a store


def bag():
    torch.manual_seed(0)
    return nn.Sequential(nn.EmbeddingBag(30, 8, padding_idx=0), nn.Linear(8, 4)).eval()


def ids_of(text, most=20):
    return ([ord(word) - 96 for word in text.split()] + [0] * 20)[:most] + [0] * (20 - most)


TEXTS = ["a b", "c d"] + ["e f g h i j k"[: 2 * (i % 6) + 1] for i in range(30)]


def other_for(which):
    """Preprocessing that treats one text differently."""

    def prepare(batch):
        return torch.tensor([ids_of(text + " z" if text == which else text) for text in batch])

    return prepare


def plain(batch):
    return torch.tensor([ids_of(text) for text in batch])


def distinct(n, longest, shortest):
    """Different texts, with the longest and the shortest at these places."""
    texts = [
        " ".join("abcdefghijklm"[(i + k * (1 + i % 5)) % 13] for k in range(3 + i % 3))
        + f" {chr(97 + i % 26)} {chr(97 + i // 26)}"
        for i in range(n)
    ]
    texts[longest], texts[shortest] = "q r s t u v w x y q r s", "q"
    return texts


def found_or_recorded(tmp_path, texts, first, second):
    """Record with one preprocessing, then with another: the second is right, or refused."""
    module = bag()
    old = rec(rs.load_model(module, preprocess=first, name="m"), texts, ["output"], into=tmp_path / "s")["output"]
    want = module(second(texts)).detach().numpy()
    assert not np.allclose(old, want)
    try:
        got = rec(rs.load_model(module, preprocess=second, name="m"), texts, ["output"], into=tmp_path / "s")["output"]
    except ValueError as error:
        assert "preprocess" in str(error)
        return
    assert near(np.asarray(got), want), "the old recording was returned"


def test_truncation_at_another_length_is_another_recording(tmp_path):
    for number, (first, second) in enumerate([(3, 9), (9, 3), (5, 6), (1, 2)]):
        found_or_recorded(tmp_path / f"{number}", TEXTS, cutting(first), cutting(second))


@pytest.mark.parametrize(
    "n, place",
    [
        (32, 0),
        (32, 1),
        (32, 2),
        (32, 13),
        (32, 30),
        (32, 31),
        (60, 7),
        (60, 50),
        (60, 0),
        (60, 59),
        (400, 7),
        (400, 50),
    ],
)
def test_preprocessing_that_changes_one_sample_is_noticed(tmp_path, n, place):
    """The longest (7), the shortest (50), or any sample of a set of 32."""
    texts = distinct(n, 7, 50 if n > 50 else 20)
    found_or_recorded(tmp_path, texts, plain, other_for(texts[place]))


def test_preprocessing_that_changes_one_row_of_an_array_is_noticed(tmp_path):
    x, module = normal(32, WIDTH), mlp().eval()
    for place in (0, 3, 17, 31):

        def prepare(batch, place=place):
            batch = torch.as_tensor(batch).clone()
            batch[(batch == x[place]).all(1)] *= 2
            return batch

        into = tmp_path / f"{place}"
        rec(rs.load_model(module, name="m"), x, ["head", "output"], into=into)
        try:
            got = rec(rs.load_model(module, name="m", preprocess=prepare), x, ["head", "output"], into=into)
        except ValueError as error:
            assert "preprocess" in str(error)
            continue
        assert near(np.asarray(got["output"]), module(prepare(x)).detach().numpy()), place


def cutting(most):
    return lambda batch: torch.tensor([ids_of(text, most) for text in batch])


@pytest.mark.parametrize(
    "again",
    [(lambda: plain), (lambda: cutting(9)), (lambda: functools.partial(ids_of_all, most=9))],
    ids=["function", "closure", "partial"],
)
def test_the_same_preprocessing_is_found_again(tmp_path, again):
    """Two samples run, though the function is another object."""
    module, passes = bag(), []
    texts = distinct(60, 7, 50)
    rec(rs.load_model(module, preprocess=again(), name="m"), texts, ["output"], into=tmp_path / "s")
    module.register_forward_hook(lambda _m, inputs, _o: passes.append(len(inputs[0])))
    rec(rs.load_model(module, preprocess=again(), name="m"), texts, ["output"], into=tmp_path / "s")
    assert passes == [1, 1]


def ids_of_all(batch, most):
    return torch.tensor([ids_of(text, most) for text in batch])


# -- parts that cannot be hooked


def chain():
    torch.manual_seed(0)
    return [nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, 4)]


@pytest.mark.parametrize("kind", ["scripted", "traced", "scripted block", "traced block"])
@pytest.mark.filterwarnings("ignore")
def test_a_scripted_part_is_recorded_or_named_and_the_rest_is_recorded(kind):
    parts, x = chain(), normal(30, WIDTH)
    with torch.no_grad():
        want = {"0": parts[0](x).numpy(), "1": parts[1](parts[0](x)).numpy(), "2": nn.Sequential(*parts)(x).numpy()}
    whole = nn.Sequential(parts[1], nn.Sequential(nn.Identity())) if "block" in kind else parts[1]
    parts[1] = torch.jit.script(whole) if "scripted" in kind else torch.jit.trace(whole, torch.randn(3, 8))
    model = rs.load_model(nn.Sequential(*parts), name="m")
    for layers in (["0"], ["0", "2"], ["0", "2", "output"], None, "**"):
        got = rec(model, x, layers)
        assert len(got) and all(near(got[key], want[key.layer.replace("output", "2")]) for key in got)
    assert set(want) >= {key.layer for key in rec(model, x, ["0", "2"])} == {"0", "2"}
    try:
        assert near(rec(model, x, ["1"])["1"], want["1"])
    except ValueError as error:
        assert re.search("script|trace|jit", str(error))
    table = rs.stream(
        model, rs.load_model(nn.Sequential(*chain()), name="b"), x, (["0", "2"], ["0", "2"]), progress=False
    ).values
    assert np.allclose(np.diag(table), 1, atol=1e-4)


@pytest.mark.parametrize("kind", ["script", "trace"])
@pytest.mark.filterwarnings("ignore")
def test_a_scripted_model_gives_its_output_or_an_error_that_says_why(kind):
    x, module = normal(30, WIDTH), nn.Sequential(*chain()).eval()
    want = module(x).detach().numpy()
    whole = torch.jit.script(module) if kind == "script" else torch.jit.trace(module, x[:2])
    for layers in (None, "output", "0"):
        try:
            got = rec(rs.load_model(whole, name="m"), x, layers)
        except (TypeError, ValueError) as error:
            assert re.search("script|trace|jit", str(error))
            continue
        assert all(near(got[key], want) for key in got if key.layer == "output") and (
            layers != "0" or near(got["0"], module[0](x).detach().numpy())
        )


def exported(module, x):
    return torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},))


def test_an_exported_program_is_refused_and_the_advice_works():
    x, module = normal(30, WIDTH), nn.Sequential(*chain()).eval()
    program = exported(module, x)
    for given in (program.module(), program):
        for layers in (None, "output", "0"):
            with pytest.raises((TypeError, ValueError), match=r"(?s)export.*unflatten"):
                rec(given, x, layers)
    unflattened = rs.load_model(torch.export.unflatten(program), name="m")
    for size in (1, 7, 64):
        got = rec(unflattened, x, ["0", "output"], batch_size=size)
        assert near(got["0"], module[0](x).detach().numpy()) and near(got["output"], module(x).detach().numpy())


def compiled(kind):
    """Compiled with a backend that needs no C++ compiler."""
    module = nn.Sequential(*chain()).eval()
    if kind == "in place":
        module.compile(backend="eager")
    elif kind == "a part in place":
        module[0].compile(backend="eager")
    elif kind == "a wrapped part":
        return nn.Sequential(torch.compile(module[0], backend="eager"), *module[1:])
    return torch.compile(module, backend="eager") if kind == "wrapped" else module


@pytest.mark.parametrize("kind", ["in place", "a part in place", "wrapped", "a wrapped part"])
def test_compiled_models_are_recorded(kind):
    x, module, plain = normal(30, WIDTH), compiled(kind), nn.Sequential(*chain()).eval()
    model = rs.load_model(module, name="m")
    for layers in (None, ["0", "2", "output"], ["0"], "output"):
        got = rec(model, x, layers, batch_size=16)
        with torch.no_grad():
            want = {"0": plain[0](x), "1": plain[:2](x), "2": plain(x), "output": plain(x)}
        names = {key.layer: key.layer.removesuffix("._orig_mod") for key in got}
        assert (
            names
            and all(near(got[key], want[name].numpy()) for key, name in names.items())
            and (layers is None or len(names) == len([layers] if isinstance(layers, str) else layers))
        )
    if "in place" in kind:
        assert (module if kind == "in place" else module[0])._compiled_call_impl is not None
    assert near(module(x).detach().numpy(), plain(x).detach().numpy())
    table = rs.stream(model, rs.load_model(plain, name="b"), x, ["0", "output"], progress=False).values
    assert np.allclose(np.diag(table), 1, atol=1e-4)


# -- torch's own encoder


class Reads(nn.Module):
    """Creates the mask itself from the padding id 0."""

    def __init__(self):
        super().__init__()
        self.embed, self.enc = nn.Embedding(30, 8), encoder()

    def forward(self, ids):
        return self.enc(self.embed(ids), src_key_padding_mask=ids == 0)


def encoder_case(root, side, first_are_full, seed=0):
    """-> module, columns, real (n, t)"""
    torch.manual_seed(seed)
    lengths = torch.randint(1, 7, (20,))
    lengths[:2] = 6 if first_are_full else torch.tensor([3, 2])
    real = real_of(lengths) if side == "right" else real_of(lengths).flip(1)
    if root:
        return encoder().eval(), {"src": torch.randn(20, 6, 8), "src_key_padding_mask": ~real}, real
    return Reads().eval(), {"ids": torch.randint(1, 30, (20, 6)) * real}, real


def of_tokens(outs, real, pool):
    """Expected rows, from real tokens only."""
    take = {
        "mean": lambda h: h.mean(0, keepdim=True),
        "first": lambda h: h[:1],
        "last": lambda h: h[-1:],
        "tokens": lambda h: h,
    }[pool]
    return torch.cat([take(out[0][one]) for out, one in zip(outs, real, strict=True)]).numpy()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("first_are_full", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_a_torch_encoder_with_padding_is_recorded_as_the_root(side, first_are_full):
    module, columns, real = encoder_case(True, side, first_are_full)
    outs = alone(module, columns, ["layers.0", "layers.1", "layers.1.linear2", "output"])
    for pool in ("mean", "first", "last", "tokens"):
        for layers in (["output"], ["layers.0"], ["layers.1.linear2", "output"], ["layers.0", "layers.1", "output"]):
            for size in (3, None):
                got = rec(rs.load_model(module, name="m"), columns, layers, pool=pool, batch_size=size)
                assert all(near(got[layer], of_tokens(outs[layer], real, pool)) for layer in layers), (
                    pool,
                    layers,
                    size,
                )
        assert torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(ValueError, match="padding"):
        rec(rs.load_model(module, name="m"), columns, "output")
    assert len(rec(rs.load_model(module, name="m"), columns, pool="mean"))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("first_are_full", [True, False])
@pytest.mark.filterwarnings("ignore:.*nested")
def test_a_torch_encoder_gives_the_same_output_whichever_other_layers_are_named(side, first_are_full):
    """The mask is created inside: the padding is left out, announced or refused, and `output` never depends on the
    other layers.
    """
    module, columns, real = encoder_case(False, side, first_are_full)
    outs = alone(module, columns, ["embed", "enc", "enc.layers.0", "output"])
    for pool in ("mean", "first", "last", "tokens", "flatten"):
        seen = []
        for layers in (
            ["output"],
            ["enc"],
            ["enc", "output"],
            ["enc.layers.0", "output"],
            ["enc.layers.0.linear1", "enc.layers.1", "output"],
        ):
            try:
                got, warned = recorded(module, columns, layers, pool=pool)
            except ValueError as error:
                assert re.search("padding|mask", str(error)), error
                continue
            last = np.asarray(got["output" if "output" in layers else "enc"])
            seen.append(last)
            assert warned or near(last, of_tokens(outs["output"], real, pool)), (pool, layers)
        assert all(near(one, seen[0]) for one in seen), pool


# -- kinds of layers


class Codes(nn.Module):
    """Integer layers: a class (n,), nearest codes (n, t), codes of several books (n, t, k); and a boolean layer (n, t,
    p).
    """

    def __init__(self):
        super().__init__()
        self.embed, self.nearest, self.books, self.above, self.choose = (
            nn.Linear(WIDTH, 8),
            Nearest(),
            Books(),
            Above(),
            Choose(),
        )
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = self.embed(x)
        self.nearest(h), self.books(h), self.above(h)
        return self.choose(self.head(h.mean(1)))


class Nearest(nn.Module):
    def forward(self, h):
        return h.argmax(-1)


class Books(nn.Module):
    def forward(self, h):
        return h.unflatten(-1, (2, 4)).argmax(-1)


class Above(nn.Module):
    def forward(self, h):
        return h > 0


class Choose(nn.Module):
    def forward(self, h):
        return h.argmax(-1)


@pytest.mark.parametrize("pool", ["flatten", "mean"])
def test_integer_layers_are_recorded(pool):
    torch.manual_seed(0)
    module, x = Codes().eval(), normal(30, 6, WIDTH)
    with torch.no_grad():
        h = module.embed(x)
        want = {
            "nearest": h.argmax(-1),
            "books": module.books(h),
            "above": h > 0,
            "choose": module(x)[:, None],
            "output": module(x)[:, None],
            "head": module.head(h.mean(1)),
        }
        want = {
            name: value.double().mean(1) if pool == "mean" and value.ndim > 2 else value.flatten(1)
            for name, value in want.items()
        }
    for size in (1, 7, None):
        got = rec(rs.load_model(module, name="m"), x, list(want), pool=pool, batch_size=size, axis={"books": -1})
        for name, value in want.items():
            assert near(np.asarray(got[name], np.float64), value.double().numpy()), name
    assert {"nearest", "books", "above", "choose"} <= {
        key.layer for key in rec(rs.load_model(module, name="m"), x, "*", pool=pool, axis={"books": -1})
    }
    if pool == "mean":
        with pytest.raises(
            ValueError, match="layer 'books' of 'm' gave .* not certain which axis contains its features"
        ):
            rec(rs.load_model(module, name="m"), x, "books", pool=pool)


class NamedOutput(nn.Module):
    """A part has the name that recordings use for the whole model."""

    def __init__(self, wide):
        super().__init__()
        self.first = nn.Linear(WIDTH, 8)
        self.output = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)) if wide else nn.Linear(8, 3)

    def forward(self, x):
        return self.output(self.first(x)) + 100


@pytest.mark.parametrize("wide", [False, True])
def test_a_part_named_output_is_not_the_output(wide):
    torch.manual_seed(0)
    module, x = NamedOutput(wide).eval(), normal(30, WIDTH)
    with torch.no_grad():
        whole, first = module(x).numpy(), module.first(x).numpy()
        inner = module.output[0](module.first(x)).numpy() if wide else None
    model = rs.load_model(module, name="m")
    for layers in (None, "output", ["first", "output"], "**", "*", "auto"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = rec(model, x, layers, batch_size=7)
        assert near(got["output"], whole), layers
        if "first" in {key.layer for key in got}:
            assert near(got["first"], first)
    if wide:
        assert near(rec(model, x, ["output.0", "output"])["output.0"], inner)
    assert model.describe(x[:2])["shape"]["output"] == (3,)
    for pool in ("mean", "first"):
        assert near(rec(model, x, "output", pool=pool)["output"], whole)


# -- streaming


@pytest.mark.parametrize("name", NETWORKS)
def test_stream_gives_the_table_of_two_recordings(name):
    """For every kind of model."""
    network, module = NETWORKS[name], built(name)
    rows = [layer for layer, form in network.layers.items() if form.kind == "row" and "#" not in layer] or list(
        network.layers
    )[:1]
    a, b = rs.load_model(module, name="a"), rs.load_model(built(name, 1), name="b")
    columns = network.columns(23)
    before = {key: column.clone() for key, column in columns.items()}
    got = rs.stream(a, b, columns, rows, batch_size=8, pool="mean", progress=False)
    want = rs.compare(
        rs.measures.CKA(batch_size=8),
        rec(a, columns, rows, pool="mean"),
        rec(b, columns, rows, pool="mean"),
        progress=False,
    )
    assert np.allclose(got.values, want.values, atol=0.05 if name in ("int8", "bfloat16") else 1e-3)
    assert all(torch.equal(column, before[key]) for key, column in columns.items())
