import numpy as np

from repsim_nb.recipes.published import CONFUSION, TABLE_3_1, TABLE_4_1


def test_the_published_confusion_has_the_published_shares():
    assert CONFUSION.shape == (18, 18) and list(CONFUSION.index) == list(CONFUSION.columns)
    assert np.diag(CONFUSION).mean().round(3) == 0.593
    assert (abs(CONFUSION.sum(axis="columns") - 1) < 0.0201).all()
    test_set, network = zip(*(name.split("_", 1) for name in CONFUSION.index), strict=True)
    shares = CONFUSION.div(CONFUSION.sum(axis="columns"), axis="index").to_numpy()
    right = {what: sum(shares[i, j] for i in range(18) for j in range(18) if names[i] == names[j]) / 18 for what, names in (("network", network), ("test set", test_set))}
    assert {what: round(share, 3) for what, share in right.items()} == {"network": 0.989, "test set": 0.600}


def test_the_published_tables():
    assert (TABLE_3_1["CKA and JSD"] < 0).all() and (TABLE_3_1["CKA and rank coefficient"] > 0).all()
    assert TABLE_4_1["accuracy"].is_monotonic_decreasing, "d is the masked share"
    assert (TABLE_4_1["JSD"] < np.log(2)).all(), "nats"
