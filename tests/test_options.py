"""Options that are numbers or switches: what is none, or out of range, is an error that names the option."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import repsim_nb as rs
from repsim_nb import inference, reliability

ODD = {
    **{"huge": 10**400, "hugely negative": -(10**400), "-1": -1, "0": 0, "True": True, "1.5": 1.5, "text": "3"},
    **{"NumPy": np.int64(3), "array": np.array(3), "None": None, "nan": math.nan, "inf": math.inf},
}
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(2, 30, 4))
MEASURES = {type(one).__name__: one for one in {**rs.measures.ALL, **rs.measures.FURTHER}.values()}
FIELDS = [(name, field.name) for name, one in MEASURES.items() for field in dataclasses.fields(one)]


@pytest.mark.parametrize(("name", "option"), FIELDS, ids=[f"{name}.{option}" for name, option in FIELDS])
def test_an_option_of_a_measure_is_legal_or_refused_by_its_name(name, option):
    default = getattr(MEASURES[name], option)
    for value in ODD.values():
        try:
            changed = dataclasses.replace(MEASURES[name], **{option: value})
        except ValueError as error:
            assert option in str(error) and name in str(error)
        else:
            assert abs(value or 0) < 10**400
            if isinstance(default, bool):
                assert value in (0, 1), f"{option}={value!r} means nothing"
            rs.measures.short_name(changed), repr(changed), hash(changed)


TABLE = rs.compare("cka", rs.from_arrays({f"m{i}/l": X + i * Y for i in range(8)}))
FUNCTIONS = {
    "permutation_test": lambda **o: inference.permutation_test("cka", X, Y, **{"n_permutations": 20, **o}),
    "null_moments": lambda **o: inference.null_moments("cka", X, Y, **o),
    "null_table": lambda **o: inference.null_table("cka", {"x": X, "y": Y}, **o),
    "chance_corrected": lambda **o: inference.chance_corrected("cka", X, Y, **o),
    "interval": lambda **o: inference.interval("cka", X, Y, **o),
    "procrustes_interval": lambda **o: inference.procrustes_interval(X, Y, **o),
    "sample_size": lambda **o: inference.sample_size("cka", X, Y, **o),
    "best_match": lambda **o: inference.best_match("cka", {"a": X}, {"b": Y}, **{"n_permutations": 20, **o}),
    "anosim": lambda **o: inference.anosim(TABLE, [0, 0, 1, 1, 2, 2, 3, 3], **{"n_permutations": 20, **o}),
    "rank_correlation": lambda **o: inference.rank_correlation(TABLE, TABLE, **{"n_permutations": 20, **o}),
    "linear_probe": lambda **o: rs.probes.linear_probe(X, np.arange(30) % 3, **{"n_permutations": 20, **o}),
    "report": lambda **o: reliability.report(X, Y, **o),
    "clip_lengths": lambda **o: reliability.clip_lengths(X, **o),
    "translate": lambda **o: reliability.translate(X, X[:, 0] > 0, **o),
    "mds": lambda **o: rs.embedding.mds(TABLE, **o),
    "tsne": lambda **o: rs.embedding.tsne(TABLE, **{"perplexity": 2, **o}),
    "load_dataset": lambda **o: rs.load_dataset("mnist", **{"n": 20, **o}),
    "stream": lambda **o: rs.stream(torch.nn.Linear(4, 2), torch.nn.Linear(4, 2), X.astype("float32"), **o),
}
SEEDED = ("permutation_test", "null_moments", "null_table", "chance_corrected", "interval", "procrustes_interval")
SEEDED += ("sample_size", "best_match", "anosim", "rank_correlation", "linear_probe", "report", "mds", "tsne")
REFUSED = [
    (name, "seed", value) for name in (*SEEDED, "load_dataset") for value in ("-1", "1.5", "text", "nan", "array")
]
REFUSED += [
    (name, "n_permutations", value)
    for name in ("permutation_test", "best_match", "anosim", "rank_correlation", "linear_probe")
    for value in ("huge", "hugely negative", "0", "True", "1.5", "array", "inf")
]
REFUSED += [
    ("sample_size", "within", "huge"),
    ("linear_probe", "cost", "huge"),
    ("clip_lengths", "most", "huge"),
    *(("translate", "distance", value) for value in ("huge", "True", "text", "None", "nan")),
    *(("tsne", "perplexity", value) for value in ("huge", "text", "nan", "array", "True")),
    *(("tsne", "n_components", value) for value in ("huge", "True", "array", "None")),
    *(("mds", "n_components", value) for value in ("huge", "True", "array", "None")),
    *(("load_dataset", "n", value) for value in ("huge", "0", "1.5", "array")),
    *(("stream", "batch_size", value) for value in ("huge", "None", "True", "array")),
    ("tsne", "seed", "huge"),
]


@pytest.mark.parametrize(("name", "option", "value"), REFUSED, ids=["-".join(one) for one in REFUSED])
def test_an_option_of_a_function_is_refused_by_its_name(name, option, value):
    with pytest.raises(ValueError, match=option) as found:
        FUNCTIONS[name](**{option: ODD[value]})
    assert len(str(found.value)) < 400, "a number of 400 digits is described by its size"


def test_seeds_may_have_any_size_and_come_out_of_an_array():
    values = {seed: inference.permutation_test("cka", X, Y, n_permutations=20, seed=seed).null for seed in (3, 2**130)}
    assert list(values[3]) != list(values[2**130])
    again = inference.permutation_test("cka", X, Y, n_permutations=20, seed=np.int64(3))
    assert list(again.null) == list(values[3])
