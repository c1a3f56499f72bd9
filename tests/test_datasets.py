import gzip
import pickle

import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb import datasets
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
        raise datasets.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(datasets.importlib.metadata, "distribution", absent)
    for name in ("mnist-full", "animals-full"):
        with pytest.raises(FileNotFoundError, match="make carriers"):
            rs.load_dataset(name)


def test_full_fashion_is_read_from_where_make_carriers_puts_it(monkeypatch, tmp_path):
    folder = tmp_path / "carriers/usr/share/datasets/fashion-mnist"
    folder.mkdir(parents=True)
    images, labels = np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28), np.array([3, 9], np.uint8)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes()))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels.tobytes()))
    monkeypatch.setenv("REPSIM_NB_CACHE", str(tmp_path))
    monkeypatch.setattr(datasets, "Path", lambda p: tmp_path / "absent" if str(p).startswith("/usr") else datasets.cache().__class__(p))
    full = rs.load_dataset("fashion-full")
    assert np.array_equal(full.inputs, images) and full.targets.tolist() == [3, 9]


def test_a_carrier_may_hold_arrays_and_nothing_else(tmp_path):
    good, bad = tmp_path / "good.gz", tmp_path / "bad.gz"
    good.write_bytes(gzip.compress(pickle.dumps(np.arange(6).reshape(2, 3))))
    bad.write_bytes(gzip.compress(pickle.dumps(print)))
    assert datasets._unpickle(good).tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(pickle.UnpicklingError, match="refused: .*print"):
        datasets._unpickle(bad)


def test_a_damaged_data_file_is_named(monkeypatch, tmp_path):
    whole = (shipped("data") / "mnist.npz").read_bytes()
    (tmp_path / "mnist.npz").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(datasets, "shipped", lambda folder: tmp_path)
    with pytest.raises(ValueError, match="mnist.npz is damaged"):
        rs.load_dataset("mnist")
    with pytest.raises(FileNotFoundError, match="fashion.npz is missing"):
        rs.load_dataset("fashion")
