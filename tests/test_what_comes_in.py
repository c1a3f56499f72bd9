"""What users pass: containers of numbers by containers x public functions, and labels.

The right value is that of the plain array; else a sentence with the type.
"""

import sys

import h5py
import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
import xarray as xr
import zarr

import repsim_nb as rs
from repsim_nb.support.containers import to_array
from repsim_nb.support.dimensions import sample_dimension
from repsim_nb.support.labels import values_per_item
from repsim_nb.support.validation import check_labels, check_representation

rng = np.random.default_rng(3)
N = 24
LABELS = np.repeat([0, 1], N // 2)
SQUARE = rng.integers(-8, 9, size=(N, N)).astype(float)  # integers below 16: exact in every dtype down to bfloat16
OTHER = np.round(0.6 * SQUARE + rng.integers(-8, 9, size=(N, N)))
PAIRS = {"square": (SQUARE, OTHER), "narrow": (SQUARE[:, :7], OTHER[:, :5])}


def hdf5(a, folder):
    file = h5py.File(folder / f"{a.shape[1]}-{int(a.sum())}.h5", "a")
    return file.require_dataset("a", a.shape, a.dtype, data=a) if "a" not in file else file["a"]


def mapped(a, folder):
    path = folder / f"{a.shape[1]}-{int(a.sum())}.npy"
    np.save(path, a)
    return np.load(path, mmap_mode="r")


def zarr_array(a, folder):
    return zarr.array(a)


CONTAINERS = {
    "list": lambda a, _: a.tolist(),
    "list of tensors": lambda a, _: [torch.tensor(row) for row in a],
    "tuple of arrays": lambda a, _: tuple(a),
    "memory map": mapped,
    "matrix": lambda a, _: np.asmatrix(a),
    "masked without holes": lambda a, _: np.ma.array(a),
    "big endian": lambda a, _: a.astype(">f8"),
    "Fortran order": lambda a, _: np.asfortranarray(a),
    "long double": lambda a, _: a.astype(np.longdouble),
    "int64": lambda a, _: a.astype(np.int64),
    "int8": lambda a, _: a.astype(np.int8),
    "DataFrame": lambda a, _: pd.DataFrame(a),
    "DataFrame with names": lambda a, _: pd.DataFrame(
        a, index=[f"s{i}" for i in range(len(a))], columns=[f"c{i}" for i in range(a.shape[1])]
    ),
    "DataFrame of mixed numbers": lambda a, _: pd.DataFrame(a).astype({0: "int64", 1: "float32", 2: "int8"}),
    "nullable DataFrame": lambda a, _: pd.DataFrame(a).astype("Int64"),
    "sparse DataFrame": lambda a, _: pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(a)),
    "polars": lambda a, _: pl.DataFrame(a, schema=[f"c{i}" for i in range(a.shape[1])]),
    "DataArray": lambda a, _: xr.DataArray(a, dims=("stimulus", "neuroid")),
    "DataArray the other way": lambda a, _: xr.DataArray(a.T, dims=("neuroid", "stimulus")),
    "DataArray without names, turned": lambda a, _: xr.DataArray(a).transpose("dim_1", "dim_0"),
    "csr_matrix": lambda a, _: sp.csr_matrix(a),
    "coo_array": lambda a, _: sp.coo_array(a),
    "dok_array": lambda a, _: sp.dok_array(a),
    "torch": lambda a, _: torch.tensor(a),
    "torch with gradient": lambda a, _: torch.tensor(a, requires_grad=True),
    "torch coo": lambda a, _: torch.tensor(a).to_sparse(),
    "torch csr": lambda a, _: torch.tensor(a).to_sparse_csr(),
    "h5py": hdf5,
    "zarr": zarr_array,
}

FUNCTIONS = {
    **{
        name: lambda x, y, name=name: rs.measures.get(name)(x, y)
        for name in (
            "cka",
            "cka_rbf",
            "procrustes",
            "rsa",
            "mutual_knn",
            "linear_predictivity",
            "gulp",
            "soft_matching",
        )
    },
    "table": lambda x, y: rs.measures.get("cka").table([x, y]).values,
    "compare": lambda x, y: rs.compare("cka", {"a": x}, {"b": y}).values.to_numpy(),
    "compare on a device": lambda x, y: rs.compare("cka", {"a": x}, {"b": y}, device="cpu").values.to_numpy(),
    "from_arrays": lambda x, y: rs.compare("cka", rs.from_arrays({"m/x": x, "n/y": y})).values.to_numpy(),
    "first_order": lambda x, y: [rs.measures.first_order(side).sum() for side in (x, y)],
    "interval": lambda x, y: (lambda found: (found.low, found.high))(rs.inference.interval("cka", x, y, parts=5)),
    "influence": lambda x, y: rs.inference.influence("procrustes", x, y),
    "permutation_test": lambda x, y: rs.inference.permutation_test("linear_predictivity", x, y, n_permutations=9).null,
    "null_moments": lambda x, y: rs.inference.null_moments("cka", x, y).mean,
    "null_table": lambda x, y: rs.inference.null_table("cka", {"a": x}, {"b": y}).sd.to_numpy(),
    "unrelated": lambda x, y: rs.inference.chance_values("cka", {"a": x, "b": y}, n_pairs=3),
    "block_means": (
        lambda x, y: rs.inference.block_means("cka", {"a": x, "b": y}, groups=["g", "g"], parts=4)[
            ["mean", "low", "high"]
        ].to_numpy()
    ),
    "sample_sets": (
        lambda x, y: rs.inference.sample_sets("cka", {"a": x, "b": y, "c": SQUARE}, REFERENCE, [12], n_sets=3)[
            "mean"
        ].to_numpy()
    ),
    "diagnose": lambda x, y: [float(v) for v in rs.reliability.diagnose(x, y).facts.loc["participation ratio"]],
    "tsne": lambda x, y: rs.embedding.tsne(x).points.to_numpy(),
    "linear_probe": lambda x, y: (
        rs.probes.linear_probe(x, LABELS, n_permutations=3).predictions["predicted"].to_numpy()
    ),
    "dataset_bias": lambda x, y: (
        rs.probes.dataset_bias({"a": x, "b": x}, n_permutations=3).predictions["predicted"].to_numpy()
    ),
    "sensitivity": (
        lambda x, y: rs.grounding.sensitivity(
            {"a": x, "b": y}, LABELS, measures=["cka"], amounts=(0.5,)
        ).curves.to_numpy()
    ),
    "specificity": (
        lambda x, y: rs.grounding.specificity(
            {"a": x, "b": y, "c": y, "d": x}, model=[*"mmnn"], per=[*"abab"], n_bootstrap=20
        ).across.to_numpy()
    ),
    "benchmark": lambda x, y: (
        rs.grounding.benchmark(
            {"a": x, "b": y, "c": SQUARE, "d": OTHER},
            {"a": 1, "b": 2, "c": 3, "d": 5},
            model=[*"mnop"],
            per=None,
            measures=["cka"],
            n_bootstrap=20,
        )
        .pairs["cka"]
        .to_numpy()
    ),
}
REFERENCE = rs.compare("cka", {"a": SQUARE, "b": OTHER, "c": SQUARE[:, :3]})
NEEDS_DTYPE = {
    "tsne": (
        "list",
        "list of tensors",
        "tuple of arrays",
        "DataFrame",
        "DataFrame with names",
        "DataFrame of mixed numbers",
        "nullable DataFrame",
        "sparse DataFrame",
        "polars",
    )
}
RIGHT: dict = {}


def right(function, shape):
    if (function, shape) not in RIGHT:
        RIGHT[function, shape] = np.asarray(FUNCTIONS[function](*PAIRS[shape]), dtype=float)
    return RIGHT[function, shape]


ALWAYS = (
    "list",
    "memory map",
    "matrix",
    "DataFrame with names",
    "DataArray the other way",
    "csr_matrix",
    "torch csr",
    "polars",
    "h5py",
    "zarr",
)  # the others run with 'make full', but for cka


@pytest.mark.parametrize(
    ("function", "container"),
    [
        pytest.param(function, container, marks=[] if function == "cka" or container in ALWAYS else [pytest.mark.full])
        for function in FUNCTIONS
        for container in CONTAINERS
    ],
)
def test_every_function_reads_every_container_by_rows(function, container, tmp_path):
    for shape in PAIRS:
        x, y = (CONTAINERS[container](side, tmp_path) for side in PAIRS[shape])
        if container in NEEDS_DTYPE.get(function, ()):  # a frame is a table of dissimilarities there
            with pytest.raises((TypeError, ValueError), match="DataFrame|square|list|tuple|dissimilarit"):
                FUNCTIONS[function](x, y)
            continue
        np.testing.assert_allclose(
            np.asarray(FUNCTIONS[function](x, y), dtype=float),
            right(function, shape),
            rtol=1e-12,
            atol=1e-12,
            err_msg=shape,
        )


@pytest.mark.parametrize(
    "container",
    ["DataFrame", "DataArray", "DataArray the other way", "csr_matrix", "matrix", "zarr", "h5py", "torch csr"],
)
@pytest.mark.parametrize("function", ["cka", "interval", "linear_predictivity"])
def test_one_side_alone_may_be_a_container(function, container, tmp_path):
    x = CONTAINERS[container](SQUARE, tmp_path)
    np.testing.assert_allclose(FUNCTIONS[function](x, OTHER), right(function, "square"), rtol=1e-12)
    np.testing.assert_allclose(FUNCTIONS[function](OTHER, x), FUNCTIONS[function](OTHER, SQUARE), rtol=1e-12)


@pytest.mark.parametrize(
    "dtype",
    [
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e5m2,
        ml_dtypes.int4,
        np.float16,
        np.float32,
        np.uint8,
        np.int16,
        np.uint64,
        bool,
    ],
)
@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame, torch.as_tensor])
def test_narrow_numbers_are_the_numbers_that_they_are(dtype, container):
    given = np.abs(SQUARE[:, :7]).astype(dtype)
    if given.dtype.type.__module__ == "ml_dtypes" and container is not np.asarray:
        return  # neither pandas nor torch takes these
    wide = check_representation(container(given))
    np.testing.assert_array_equal(np.asarray(wide, dtype=float), given.astype(float))
    y = OTHER.astype(np.float32) if "float32" in str(wide.dtype) else OTHER
    assert rs.measures.get("cka")(container(given), y) == pytest.approx(
        rs.measures.get("cka")(given.astype(float), OTHER), rel=1e-6
    )


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bfloat16,
        torch.float16,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
        torch.int8,
        torch.bool,
    ],
)
def test_narrow_tensors_are_the_numbers_that_they_are(dtype):
    given = torch.tensor(np.abs(SQUARE[:, :7])).to(dtype)
    wide = given.to(torch.float64).numpy()
    for y in (OTHER, torch.tensor(OTHER)):
        assert rs.measures.get("cka")(given, y) == pytest.approx(rs.measures.get("cka")(wide, OTHER), rel=1e-6)


def test_unsigned_columns_do_not_wrap_around():
    x, y = (np.abs(side).astype(np.uint8)[:, :1] * np.uint8(25) for side in (SQUARE, OTHER))
    for name in ("distance_correlation", "procrustes", "cka"):
        measure = rs.measures.get(name)
        assert measure(x, y) == pytest.approx(measure(x.astype(float), y.astype(float)), rel=1e-12)


def holes():
    return np.ma.array(SQUARE, mask=SQUARE > 7)


WRONG = {
    "text column": (
        lambda: pd.DataFrame({"a": [1.0] * N, "name": ["u"] * N}),
        f"column 'name' of this frame is of type {pd.Series(['u']).dtype}.*set_index",
    ),
    "object column": (
        lambda: pd.DataFrame({"a": [1.0] * N, "who": pd.Series(["u", 1] * (N // 2), dtype=object)}),
        "column 'who' .* object",
    ),
    "categorical column": (
        lambda: pd.DataFrame({"a": [1.0] * N, "kind": pd.Categorical([1, 2] * (N // 2))}),
        "column 'kind' .* category",
    ),
    "dates": (lambda: pd.DataFrame({"t": pd.date_range("2020", periods=N)}), "column 't' .* datetime64"),
    "polars text": (lambda: pl.DataFrame({"a": [1.0] * N, "b": ["x"] * N}), "column 'b' .* String"),
    "lazy polars": (
        lambda: pl.DataFrame(SQUARE, schema=[f"c{i}" for i in range(N)]).lazy(),
        r"polars.LazyFrame.*x.collect\(\)",
    ),
    "missing value": (lambda: pd.DataFrame(SQUARE).astype("Int64").mask(SQUARE > 7), "NaN or infinite"),
    "Dataset": (
        lambda: xr.Dataset({"a": (("stimulus", "unit"), SQUARE)}),
        r"xarray.Dataset, which holds several arrays \('a'\): .*x\['name'\]",
    ),
    "unclear dimensions": (
        lambda: xr.DataArray(SQUARE, dims=("s", "t")),
        r"\('s', 't'\) it is not clear.*x.transpose\('s', 't'\)",
    ),
    "two of samples": (lambda: xr.DataArray(SQUARE, dims=("stimulus", "trial")), "not clear which are the samples"),
    "holes": (holes, "masked array"),
    "structured": (lambda: np.zeros(N, dtype=[("a", float), ("b", int)]), "structured array with the fields 'a', 'b'"),
    "complex": (lambda: SQUARE + 1j, "dtype complex128"),
    "complex tensor": (lambda: torch.tensor(SQUARE + 1j), r"dtype (torch\.)?complex128"),
    "datetime": (lambda: SQUARE.astype("M8[s]"), "dtype datetime64"),
    "timedelta": (lambda: SQUARE.astype("m8[s]"), "dtype timedelta64"),
    "text": (lambda: SQUARE.astype(str), "dtype <U"),
    "objects": (lambda: SQUARE.astype(object), "dtype object"),
    "large integers": (lambda: (SQUARE * 2.0**55).astype(np.int64), r"int64.*beyond 2\*\*53"),
    "large unsigned tensors": (lambda: torch.tensor(np.full((N, 3), 2**64 - 1, dtype=np.uint64)), r"torch.uint64.*"),
    "large integers in a mixed frame": (
        lambda: pd.DataFrame({"a": [0.5] * N, "id": np.arange(N) + 2**60}),
        r"column 'id' .*beyond 2\*\*53",
    ),
    "ragged": (lambda: [[1.0, 2.0], [3.0]] * (N // 2), "a list, whose rows are no array"),
    "list of text": (lambda: [["a", "b"]] * N, "dtype <U1"),
    "None in a list": (lambda: [[1.0, None]] * N, "a list, with a NoneType in it"),
    "None": (lambda: None, "a NoneType"),
    "path": (lambda: "file.npy", "a str"),
    "generator": (lambda: (row for row in SQUARE), "a generator"),
    "mapping": (lambda: {"a": SQUARE}, r"a dict.*x\['name'\]"),
    "meta": (lambda: torch.empty(N, 3, device="meta"), "device 'meta'"),
    "one feature flat": (lambda: SQUARE[:, 0], r"it has shape \(24,\): use x\[:, None\]"),
    "Series": (lambda: pd.Series(SQUARE[:, 0]), r"it has shape \(24,\)"),
    "0-d": (lambda: np.float64(3), r"it has shape \(\)"),
}


@pytest.mark.parametrize(
    "function",
    ["cka", "compare", "interval", "permutation_test", "diagnose", "block_means", "linear_probe", "first_order"],
)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_representation_is_refused_with_its_type(wrong, function):
    make, sentence = WRONG[wrong]
    with pytest.raises(ValueError, match=sentence):
        FUNCTIONS[function](make(), OTHER)


def test_a_sparse_array_that_does_not_fit_into_memory_says_so():
    with pytest.raises(MemoryError, match=r"scipy.csr_matrix of shape \(10000000, 10000000\).*8e\+05 GB"):
        rs.measures.get("cka")(sp.csr_matrix((10**7, 10**7)), SQUARE)


def test_arrays_maps_and_tensors_pass_without_a_copy(tmp_path):
    for x in (SQUARE, mapped(SQUARE, tmp_path), torch.tensor(SQUARE)):
        assert to_array(x) is x
    assert np.shares_memory(to_array(pd.DataFrame(SQUARE, copy=False)), SQUARE)


def test_no_library_is_imported_for_the_sake_of_recognising_it():
    import subprocess

    code = (
        "import sys, repsim_nb; print([m for m in ('xarray', 'h5py', 'zarr', 'ml_dtypes', 'polars', 'dask') if m in"
        " sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


# -- named dimensions


@pytest.mark.parametrize(
    ("dims", "which"),
    [
        (("stimulus", "neuroid"), "stimulus"),
        (("neuroid", "stimulus"), "stimulus"),
        (("unit", "Samples"), "Samples"),
        (("dim_1", "dim_0"), "dim_0"),
        (("feature", "time"), "time"),
        (("image_id", "height", "width"), "image_id"),
        (("trial", "sample"), "sample"),
        (("channel", "presentation", "time_bin"), "presentation"),
        (("class", "stimuli"), "stimuli"),
    ],
)
def test_the_samples_of_xarray_are_read_by_name(dims, which):
    assert sample_dimension(xr.DataArray(np.zeros((2,) * len(dims)), dims=dims)) == which


def test_dimensions_of_two_sides_agree():
    x = xr.DataArray(SQUARE, dims=("time", "unit"))
    assert rs.measures.get("cka")(x, xr.DataArray(OTHER, dims=("time", "neuron"))) == pytest.approx(
        rs.measures.get("cka")(SQUARE, OTHER)
    )
    assert rs.measures.get("cka")(x.transpose(), xr.DataArray(OTHER, dims=("time", "neuron"))) == pytest.approx(
        rs.measures.get("cka")(SQUARE, OTHER)
    )
    with pytest.raises(
        ValueError, match="samples of 'x' are its dimension 'time', those of 'y' its dimension 'stimulus'.*transpose"
    ):
        rs.measures.get("cka")(x, xr.DataArray(OTHER, dims=("stimulus", "unit")))
    cube = SQUARE.reshape(N, 4, 6)
    a, b = (xr.DataArray(cube, dims=("stimulus", "channel", "time")) for _ in "ab")
    with pytest.raises(ValueError, match=r"in another order.*y.transpose\('stimulus', 'channel', 'time'\)"):
        rs.compare("cka", {"a": a, "b": b.transpose("stimulus", "time", "channel")})


def test_classes_stand_in_one_order_where_outputs_are_compared():
    x = pd.DataFrame(SQUARE[:, :3], columns=[*"abc"])
    for call in (rs.measures.get("jsd"), lambda a, b: rs.compare("jsd", {"output": a}, {"output": b})):
        with pytest.raises(ValueError, match="same columns in another order"):
            call(x, x[[*"cab"]])
    assert rs.measures.get("cka")(x, x[[*"cab"]]) == pytest.approx(1)


# -- labels

GROUPS = np.array([0, 0, 1, 1, 2, 2])
AS_LABELS = {
    "list": lambda g: g.tolist(),
    "tuple": lambda g: tuple(g.tolist()),
    "tensor": torch.tensor,
    "bfloat16 tensor": lambda g: torch.tensor(g).bfloat16(),
    "list of tensors": lambda g: list(torch.tensor(g)),
    "Series": pd.Series,
    "Categorical": pd.Categorical,
    "nullable": lambda g: pd.array(g, dtype="Int64"),
    "Index": pd.Index,
    "column": lambda g: g[:, None],
    "column tensor": lambda g: torch.tensor(g)[:, None],
    "frame": lambda g: pd.DataFrame({"g": g}),
    "polars": pl.Series,
    "objects": lambda g: g.astype(object),
    "NumPy scalars": list,
    "text": lambda g: g.astype(str),
    "DataArray": lambda g: xr.DataArray(g, dims="sample"),
    "zarr": zarr.array,
    "tuples": lambda g: [("g", int(k)) for k in g],
    "bytes": lambda g: g.astype("S"),
    "dates": lambda g: pd.to_datetime(g, unit="D"),
    "floats": lambda g: g.astype(np.float16),
}


@pytest.mark.parametrize("kind", AS_LABELS)
def test_equal_labels_are_equal_in_every_container(kind):
    labels = check_labels(AS_LABELS[kind](GROUPS), 6, "groups")
    assert isinstance(labels, np.ndarray) and labels.shape == (6,)
    assert pd.factorize(labels)[0].tolist() == GROUPS.tolist()
    axis = pd.Index([*"abcdef"], name="label")
    assert pd.factorize(values_per_item(axis, AS_LABELS[kind](GROUPS), "groups"))[0].tolist() == GROUPS.tolist()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["a", None] * 3, "3 of 6 groups are undefined .*row 1"),
        ([0, np.nan, 1, 1, 1, 1], "1 of 6 groups .*row 1"),
        (pd.array([None, 1, 1, 1, 1, 1], dtype="Int64"), "row 0"),
        (np.ma.array(GROUPS, mask=[0, 0, 0, 1, 0, 0]), "row 3"),
        (torch.tensor([0.0, 0, 0, 0, 0, float("nan")]), "row 5"),
        (pd.to_datetime([None, *["2020"] * 5]), "row 0"),
        ([0, 1], "one label for each of 6; there are 2"),
        (np.eye(6), r"shape \(6, 6\): .*argmax"),
        ("abcdef", "got str 'abcdef'"),
        (None, "NoneType"),
        ({0, 1}, "got set"),
        (3, "got int 3"),
        (torch.tensor(3), "got torch.Tensor"),
        ([[1], [1], [1], [1], [1], [1]], "that of row 0 is a list"),
        ([np.zeros(2)] * 6, "that of row 0 is a numpy.ndarray"),
    ],
)
def test_what_labels_no_samples_is_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_labels(values, 6, "groups")


def test_one_and_the_text_1_are_two_labels():
    assert len(set(check_labels([1, "1", 1], 3, "groups"))) == 2
    assert check_labels([True, False], 2, "groups").dtype == bool
    assert check_labels([2**70, 1], 2, "groups").tolist() == [2**70, 1]


@pytest.mark.parametrize("kind", sorted(set(AS_LABELS) - {"dates"}))
def test_groups_targets_and_strata_are_read_alike(kind):
    made = AS_LABELS[kind]
    xs = {name: SQUARE[:, k : k + 6] for k, name in enumerate("abcdef")}
    table = rs.compare("cka", xs)
    anosim = rs.inference.anosim(table, made(GROUPS), n_permutations=9)
    assert anosim.statistic == rs.inference.anosim(table, GROUPS, n_permutations=9).statistic
    layers = np.array([0, 1, 0, 1, 0, 1])
    two = np.array([0, 0, 0, 1, 1, 1])
    strata = rs.inference.anosim(table, two, strata=made(layers), n_permutations=9)
    assert strata.statistic == rs.inference.anosim(table, two, strata=layers, n_permutations=9).statistic
    blocks = rs.inference.block_means("cka", xs, groups=made(GROUPS), parts=4)
    assert len(blocks) == 6 and blocks["pairs"].tolist() == [1, 4, 4, 1, 4, 1]
    images = np.arange(N) // 2
    probe = rs.probes.linear_probe(SQUARE, made(LABELS), groups=made(images), n_permutations=3)
    usual = rs.probes.linear_probe(SQUARE, LABELS, groups=images, n_permutations=3)
    assert probe.predictions[["true", "predicted"]].equals(usual.predictions[["true", "predicted"]])
    bias = rs.probes.dataset_bias({"a": SQUARE, "b": OTHER}, groups=made(images), n_permutations=3)
    assert bias.predictions["image"].equals(
        rs.probes.dataset_bias({"a": SQUARE, "b": OTHER}, groups=images, n_permutations=3).predictions["image"]
    )
    drawn = rs.grounding.sensitivity({"a": SQUARE, "b": OTHER}, made(LABELS), measures=["cka"], amounts=(0.5,))
    assert drawn.accuracy.equals(
        rs.grounding.sensitivity({"a": SQUARE, "b": OTHER}, LABELS, measures=["cka"], amounts=(0.5,)).accuracy
    )


@pytest.mark.parametrize(
    "made", [list, torch.tensor, pd.Series, pd.Categorical, lambda g: g[:, None], lambda g: torch.tensor(g)[:, None]]
)
def test_targets_of_an_accuracy_gap(made):
    wanted = rs.measures.AccuracyGap(targets=LABELS)
    assert rs.measures.AccuracyGap(targets=made(LABELS)) == wanted
    assert wanted(SQUARE[:, :2], OTHER[:, :2]) == abs(
        np.mean(SQUARE[:, :2].argmax(1) == LABELS) - np.mean(OTHER[:, :2].argmax(1) == LABELS)
    )


@pytest.mark.parametrize(
    "made", [list, torch.tensor, pd.Series, pd.Categorical, lambda g: g[:, None], lambda g: g.astype(str)]
)
def test_pictures_of_samples_sort_by_class_whatever_holds_the_classes(made):
    matrix = rs.measures.first_order(SQUARE)
    mixed = np.tile([1, 0], N // 2)
    (ax,) = rs.plots.samples({"x": matrix}, targets=made(mixed))
    order = np.argsort(mixed, kind="stable")
    np.testing.assert_array_equal(ax.images[0].get_array(), matrix[np.ix_(order, order)])


def test_a_frame_of_one_column_is_read_by_its_index_as_a_series_is():
    axis = pd.MultiIndex.from_tuples([("a", "fc"), ("b", "fc")], names=["model", "layer"])
    assert list(values_per_item(axis, pd.DataFrame({"kind": [1, 2]}, index=["b", "a"]), "groups")) == [2, 1]
