"""Where two representations differ: samples that were planted to differ come first; ties, undefined sides, classes."""

import json

import numpy as np
import pandas as pd
import pytest

import repsim_nb as rs
from repsim_nb.measures import MutualKNN
from repsim_nb.results.inference import SampleDifferences, influence, locate_differences
from repsim_nb.support.errors import UndefinedError

MANY, PLANTED = 400, 10


def hits(x, y, planted, by="displacement", **options):
    """How many of the planted samples are among the first twenty."""
    found = locate_differences(x, y, groups=range(len(x)), **options)
    return len(set(found.top(20, by=by).index) & set(planted))


@pytest.fixture(scope="module")
def swapped():
    """400 images; the same with ten exchanged for images of other classes; and which ten."""
    rng, data = np.random.default_rng(0), rs.load_dataset("mnist")
    base, pool = data.take(range(MANY), "base"), data.take(range(600, 1000), "pool")
    planted = rng.choice(MANY, PLANTED, replace=False)
    inputs = np.array(base.inputs[:])
    inputs[planted] = [pool.inputs[rng.choice(np.flatnonzero(pool.targets != base.targets[i]))] for i in planted]
    return base, rs.Dataset("swapped", inputs), planted


def recorded_pair(swapped, a, b, layer):
    base, other, _ = swapped
    return (
        next(iter(rs.record(f"zoo:{name}", data, layer, progress=False).values()))
        for name, data in ((a, base), (b, other))
    )


# -- planted samples


@pytest.mark.parametrize(
    ("a", "b", "layer", "least"),
    [
        ("mnist-cnn-0", "mnist-cnn-1", "conv2", 10),
        ("mnist-cnn-0", "mnist-cnn-1", -2, 10),
        ("mnist-vit-0", "mnist-vit-1", 1, 10),
        ("mnist-vit-0", "mnist-vit-1", -2, 9),
        ("mnist-cnn-0", "mnist-vit-0", -2, 9),
        ("mnist-mlp-0", "mnist-resnet-0", -2, 9),
    ],
)
def test_planted_images_are_among_the_first_twenty(swapped, a, b, layer, least):
    assert hits(*recorded_pair(swapped, a, b, layer), swapped[2]) >= least


def test_planted_sentences_are_among_the_first_twenty_of_two_transformers(tmp_path):
    torch, tf = pytest.importorskip("torch"), pytest.importorskip("transformers")
    tf.utils.logging.disable_progress_bar()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(60))]
    size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    rng, models = np.random.default_rng(0), []
    for seed in range(2):
        torch.manual_seed(seed)
        folder = tmp_path / f"bert{seed}"
        tf.BertModel(tf.BertConfig(**size, vocab_size=len(words))).save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(words))
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 32})
        )
        models.append(rs.load_model(f"transformers:{folder}"))

    def sentence():
        return " ".join(rng.choice(words[5:], rng.integers(5, 12)))

    texts = [sentence() for _ in range(MANY)]
    planted = rng.choice(MANY, PLANTED, replace=False)
    other = [sentence() if i in planted else text for i, text in enumerate(texts)]
    x, y = (
        rs.record(model, rs.Dataset("texts", given), "encoder.layer.1", pool="mean", progress=False)
        for model, given in zip(models, (texts, other), strict=True)
    )
    assert hits(next(iter(x.values())), next(iter(y.values())), planted) >= 9  # two seeds share 3 of 10 neighbours


@pytest.mark.parametrize("seed", range(3))
def test_planted_rows_are_among_the_first_twenty_of_random_features(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(MANY, 20))
    z, planted = x.copy(), rng.choice(MANY, PLANTED, replace=False)
    z[planted] = rng.normal(size=(PLANTED, 20))
    y = np.maximum(z @ rng.normal(size=(20, 64)), 0)
    for metric in ("cosine", "euclidean"):
        assert hits(x, y, planted, metric=metric) == PLANTED
    assert hits(x, y + 2 * rng.normal(size=y.shape), planted) >= 9


def test_the_ranking_is_not_moved_by_the_size_of_samples(swapped):
    """Ten other samples are much larger: they hide the planted ones from the influence, not from the ranking."""
    x, y = (np.array(side, float) for side in recorded_pair(swapped, "untrained-cnn-0", "untrained-cnn-1", -2))
    planted = swapped[2]
    large = np.random.default_rng(1).choice(np.setdiff1d(np.arange(MANY), planted), PLANTED, replace=False)
    before = locate_differences(x, y, groups=range(MANY))
    x[large], y[large] = 5 * x[large], 3 * y[large]
    found = locate_differences(x, y, groups=range(MANY))
    np.testing.assert_allclose(found.table["displacement"], before.table["displacement"], atol=1e-9)
    assert len(set(found.top(20).index) & set(planted)) >= 8
    assert len(set(found.top(20, by="influence").index) & set(planted)) <= 5
    largest = found.table["influence"].abs().nlargest(10).index
    assert len(set(largest) & set(large)) >= 8


# -- its numbers


def one_by_one(x, y, k):
    """Displacement and number of kept neighbours by Euclidean distances without ties, from all pairs."""
    ranks = []
    for side in (x, y):
        d = np.linalg.norm(side[:, None] - side[None], axis=2)
        np.fill_diagonal(d, np.inf)
        ranks.append(d.argsort(axis=1).argsort(axis=1) + 1)
    near = [rank <= k for rank in ranks]
    logs = sum((np.log(ranks[1 - i]) * near[i]).sum(axis=1) for i in range(2)) / (2 * k)
    low, chance = np.log(np.arange(1, k + 1)).mean(), np.log(np.arange(1, len(x))).mean()
    return (logs - low) / (chance - low), (near[0] & near[1]).sum(axis=1)


@pytest.mark.parametrize("precision", [np.float64, np.float32])
def test_numbers_are_those_of_all_pairs(rng, precision):
    x, y = rng.normal(size=(60, 4)), rng.normal(size=(60, 3))
    y[:, 0] += x[:, 0]
    found = locate_differences(x.astype(precision), y.astype(precision), k=7, metric="euclidean", groups=range(60))
    displacement, kept = one_by_one(x, y, 7)
    np.testing.assert_allclose(found.table["displacement"], displacement, atol=1e-6)
    assert found.table["kept"].tolist() == kept.tolist()
    assert (found.table["kept"] + found.table["lost"] == 7).all() and (
        found.table["lost"] == found.table["gained"]
    ).all()
    np.testing.assert_allclose(found.table["influence"], influence("cka_debiased", x, y, groups=range(60)), atol=1e-6)
    assert found.top(60)["displacement"].is_monotonic_decreasing
    assert found.top(60)["rank"].tolist() == list(range(1, 61))
    assert found.top(60, by="influence")["influence"].is_monotonic_increasing
    assert found.value == pytest.approx(rs.measures.get("cka_debiased")(x, y), abs=1e-6)


def test_a_dissimilarity_is_sorted_the_other_way(rng):
    x, y = rng.normal(size=(2, 30, 4))
    found = locate_differences(x, y, measure="procrustes", groups=range(30))
    assert found.top(30, by="influence")["influence"].is_monotonic_decreasing
    assert found.kind == "dissimilarity" and found.measure == "procrustes"
    without = locate_differences(x, y, measure=None)
    assert "influence" not in without.table and without.value is None
    with pytest.raises(ValueError, match="no influence to sort by"):
        without.top(by="influence")


def test_neighbours_agree_with_the_table_and_with_the_measure(rng):
    x, y = rng.normal(size=(2, 80, 3))
    found = locate_differences(x, x + y, k=5, groups=range(80))
    assert found.table["kept"].mean() / 5 == pytest.approx(MutualKNN(k=5)(x, x + y))
    for sample in (0, 17, 79):
        near = found.neighbours(sample)
        counts = near["change"].value_counts()
        assert [counts.get(change, 0) for change in ("kept", "lost", "gained")] == found.table.loc[
            sample, ["kept", "lost", "gained"]
        ].tolist()
        assert (near.loc[near["change"] != "gained", "rank_x"] <= 5).all()
        assert (near.loc[near["change"] == "gained", "rank_x"] > 5).all()
        assert (near.loc[near["change"] != "lost", "rank_y"] <= 5).all() and sample not in near.index
    with pytest.raises(ValueError, match="unknown sample"):
        found.neighbours(80)


def test_unrelated_sides_have_a_mean_displacement_of_1_with_and_without_ties(rng):
    x, y = rng.normal(size=(2, 80, 3))
    for one, other in ((x, y), (np.round(x), np.round(y))):
        means = [
            locate_differences(one, other[rng.permutation(80)], metric="euclidean", measure=None).table["displacement"]
            for _ in range(30)
        ]
        assert np.mean(means) == pytest.approx(1, abs=0.02)


def test_ids_of_frames_name_the_samples(rng):
    ids = [f"image{i}" for i in range(30)]
    x, y = (pd.DataFrame(values, index=ids) for values in rng.normal(size=(2, 30, 4)))
    found = locate_differences(x, y, targets=pd.Series(["a", "b"] * 15, index=ids), names=("left", "right"))
    assert list(found.table.index) == ids and set(found.pairs["neighbour"]) <= set(ids)
    assert found.neighbours("image3").index.isin(ids).all()
    assert repr(found).startswith("SampleDifferences(left × right: n = 30; cka_debiased")
    assert "left × right" in found._repr_html_() and "image" in found._repr_html_()
    first, influence = found.top(1)[["lost", "influence"]].iloc[0]
    page = found._repr_html_()
    assert f"<td>{first:.3g}</td>" in page and f"<td>{influence:.1e}</td>" in page, (
        "10 and not 10.000; 2e-04 and not 0.000"
    )
    with pytest.raises(ValueError, match="same samples"):
        locate_differences(x, y.iloc[::-1])


# -- ties, and what is undefined


def test_ties_are_shared_and_the_order_of_samples_does_not_matter(rng):
    x = rng.integers(0, 3, size=(60, 2)) + 1.0
    y = rng.normal(size=(60, 4))
    order = rng.permutation(60)
    found = locate_differences(x, y, k=4, metric="euclidean", groups=range(60))
    again = locate_differences(x[order], y[order], k=4, metric="euclidean", groups=range(60))
    for column in ("displacement", "kept", "rank"):
        np.testing.assert_allclose(found.table[column].to_numpy()[order], again.table[column], atol=1e-9)
    assert np.isfinite(found.table.to_numpy(float)).all()
    assert (found.table["kept"] % 1 != 0).any(), "neighbours that are tied have fractions"
    sums = found.pairs.groupby("sample")[["weight_x", "weight_y"]].sum()
    np.testing.assert_allclose(sums, 4)


def test_equal_displacements_share_a_rank(rng):
    x = rng.normal(size=(30, 4))
    found = locate_differences(x, -2 * x @ np.linalg.qr(rng.normal(size=(4, 4)))[0])
    assert set(found.table["rank"]) == {1} and found.table["displacement"].abs().max() < 1e-9
    assert found.top(3).index.tolist() == [0, 1, 2]


def test_samples_at_one_distance_from_all_others_are_at_the_chance_level(rng):
    """All distances are tied on one side, so nothing is known of the neighbours."""
    found = locate_differences(np.eye(20), rng.normal(size=(20, 4)), k=3, measure=None)
    np.testing.assert_allclose(found.table["displacement"], 1)
    np.testing.assert_allclose(found.table["kept"], 9 / 19)


def test_copies_of_a_sample_are_each_others_neighbours(rng):
    x = rng.normal(size=(40, 4))
    x[20:] = x[:20]
    found = locate_differences(x, x + 1, k=1, metric="euclidean", groups=range(40))
    assert (found.table["kept"] == 1).all() and found.table["displacement"].abs().max() < 1e-12


def test_what_is_undefined_is_an_error_and_never_nan(rng):
    x = rng.normal(size=(30, 4))
    for sides, says in (
        ((np.ones((30, 4)), x), "of 'x': it is constant"),
        ((x, np.full((30, 4), np.nan)), "of 'y'"),
        ((x, np.arange(1, 31)[:, None] * np.ones(4)), "of 'y': all samples have the same direction"),
        ((x[:11], x[:11]), "needs at least 12 samples"),
    ):
        with pytest.raises(UndefinedError, match=says):
            locate_differences(*sides)
    spike = np.zeros((30, 3)) + 1e-3 * rng.normal(size=3)
    spike[7] = 5.0
    with pytest.raises(UndefinedError, match="without sample 7"):
        locate_differences(spike, x, metric="euclidean", measure="cka", groups=range(30))
    with pytest.raises(ValueError, match="same samples"):
        locate_differences(x, x[:20])
    with pytest.raises(ValueError, match="two different names"):
        locate_differences(x, x, names=("a", "a"))
    with pytest.raises(ValueError, match="metric"):
        locate_differences(x, x, metric="manhattan")


def test_rows_in_groups_have_the_influence_of_their_group(rng):
    x, y, groups = rng.normal(size=(40, 4)), rng.normal(size=(40, 4)), np.repeat(np.arange(10), 4)
    found = locate_differences(x, y, groups=groups)
    np.testing.assert_allclose(found.table["influence"].to_numpy()[::4], influence("cka_debiased", x, y, groups=groups))


# -- classes


def test_the_confusion_of_neighbourhoods_by_hand():
    """Two groups on x; on y the last sample of the first has moved to the second."""
    x = np.array([0.0, 0.1, 0.3, 10.0, 10.1, 10.3])[:, None]
    y = np.array([0.0, 0.1, 10.2, 10.0, 10.1, 10.5])[:, None]
    found = locate_differences(x, y, k=2, metric="euclidean", measure=None, targets=[0, 0, 0, 1, 1, 1], classes="ab")
    confusion = found.confusion()
    assert confusion.x.to_numpy().tolist() == [[1, 0], [0, 1]]
    # of the first two, one neighbour is the other, and one of the second group; the third has two of the second
    np.testing.assert_allclose(confusion.y.to_numpy(), [[2 / 6, 4 / 6], [3 / 6, 3 / 6]])
    np.testing.assert_allclose(confusion.difference, confusion.y - confusion.x)
    assert confusion.table.iloc[0][["class", "neighbours"]].tolist() == ["a", "a"]
    assert found.by_class().loc["a", "samples"] == 3 and found.top(1).index[0] == 2
    assert found.by_class().index[0] == "a"
    assert "a → a 1.00 in x, 0.33 in y" in repr(confusion) and "<table" in confusion._repr_html_()


def test_classes_are_needed_for_the_confusion(rng):
    x, y = rng.normal(size=(2, 30, 4))
    for method in (SampleDifferences.confusion, SampleDifferences.by_class):
        with pytest.raises(ValueError, match="needs the class of each sample"):
            method(locate_differences(x, y))
    with pytest.raises(ValueError, match="classes must have a name for each target"):
        locate_differences(x, y, targets=np.arange(30) % 3, classes=["a", "b"])


def test_real_classes(mnist, recorded):
    x, y = (recorded.where(model=f"mnist-cnn-{k}")["fc"] for k in (0, 1))
    found = locate_differences(x, y, targets=mnist.targets, classes=mnist.classes, groups=range(200))
    confusion = found.confusion()
    assert list(confusion.x) == list(mnist.classes)
    np.testing.assert_allclose(confusion.x.sum(axis=1), 1)
    assert np.diag(confusion.x).min() > 0.4 and np.diag(confusion.y).min() > 0.4


# -- pictures


def test_the_picture_of_all_samples_and_of_the_classes(mnist, recorded):
    x, y = (recorded.where(model=f"mnist-cnn-{k}")["fc"] for k in (0, 1))
    plain = locate_differences(x, y, groups=range(200), measure=None)
    found = locate_differences(x, y, targets=mnist.targets, classes=mnist.classes, groups=range(200), names=("a", "b"))
    for result, layers in ((plain, 2), (found, 11)):
        shown = rs.spec(result)
        assert len(shown.layers) == layers and type(shown).from_json(shown.to_json()) == shown
        points = [place for layer in shown.layers[:-1] for place in zip(layer.x, layer.y, strict=True)]
        assert [value for _, value in sorted(points)] == sorted(result.table["displacement"], reverse=True)
    assert rs.plots.differences(found).get_title().startswith("a × b\n") and rs.plots.differences(shown)
    confusion = found.confusion()
    for side, low in (("difference", -0.1), ("x", 0.0), ("y", 0.0)):
        shown = rs.spec(confusion, side=side)
        assert type(shown).from_json(shown.to_json()) == shown
        np.testing.assert_allclose(np.array(shown.values), getattr(confusion, side))
        assert low <= shown.low <= 0 < shown.high and (shown.low == -shown.high) == (side == "difference")
        assert rs.plots.neighbour_confusion(confusion, side=side).get_title() == f"{shown.title}\n{shown.subtitle}"
    with pytest.raises(ValueError, match="side"):
        rs.plots.neighbour_confusion(confusion, side="z")
    with pytest.raises(TypeError, match="draws what SampleDifferences.confusion returns; got DataFrame"):
        rs.plots.neighbour_confusion(confusion.x)


def test_images_next_to_their_neighbours(mnist, recorded):
    x, y = (recorded.where(model=f"mnist-cnn-{k}")["fc"] for k in (0, 1))
    found = locate_differences(x, y, targets=mnist.targets, classes=mnist.classes, groups=range(200))
    ax = rs.plots.neighbours(mnist, found, most=4)
    pixels = ax.images[0].get_array()
    top = found.top(6)
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        f"{row['class']} ({sample})\n{row['displacement']:.2f}" for sample, row in top.iterrows()
    ]
    tile = pixels[4:60:2, 4:60:2, 0]
    np.testing.assert_array_equal(tile, mnist.inputs[found.order()[0]])
    green = (np.abs(pixels.astype(int) - [0, 158, 115]).sum(axis=2) <= 3).sum()
    near = [found.neighbours(sample) for sample in top.index]
    frames = 64**2 - 56**2
    kept = sum(
        (one[one["change"] != other].nsmallest(4, rank)["change"] == "kept").sum()
        for one in near
        for other, rank in (("gained", "rank_x"), ("lost", "rank_y"))
    )
    assert green == kept * frames
    wide = rs.Dataset("wide", np.zeros((200, 10, 30, 3), np.uint8))
    assert len(rs.plots.neighbours(wide, found, [found.table.index[3]]).get_yticklabels()) == 1
    texts = rs.Dataset("texts", ["a"] * 200)
    for data, options, says in (
        (texts, {}, "the inputs of 'texts' are not images. The samples that differ most are"),
        (mnist.take(range(9), "few"), {}, "one image for each sample; 'few' has 9"),
        (mnist, {"samples": []}, "at least one sample"),
        (mnist, {"samples": ["nobody"]}, "unknown sample"),
        (mnist, {"most": 0}, "must be an integer >= 1"),
    ):
        with pytest.raises(ValueError, match=says):
            rs.plots.neighbours(data, found, **options)
    with pytest.raises(TypeError, match="needs the images as a Dataset; got ndarray"):
        rs.plots.neighbours(mnist.inputs, found)


# -- rows in groups


@pytest.fixture(scope="module")
def tokens():
    """Two unrelated models of 30 sentences with 3 to 8 tokens, which are near each other; and their groups."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), rng.integers(3, 9, 30))
    return *(20 * rng.normal(size=(30, 6))[groups] + rng.normal(size=(len(groups), 6)) for _ in "ab"), groups


def test_rows_of_one_group_are_not_neighbours_of_each_other(tokens):
    x, y, groups = tokens
    found = locate_differences(x, y, k=5, metric="euclidean", groups=groups)
    assert not (groups[found.pairs["sample"]] == groups[found.pairs["neighbour"]]).any()
    many = len(groups) - np.bincount(groups)[groups]
    assert found.candidates == pytest.approx(1 / np.mean(1 / many)) and found.chance == pytest.approx(
        np.mean(25 / many)
    )
    ranks, near = [], []
    for side in (x, y):
        far = np.linalg.norm(side[:, None] - side, axis=2)
        far[groups[:, None] == groups] = np.inf
        order = np.argsort(far, axis=1)
        near.append(order[:, :5])
        ranks.append(np.argsort(order, axis=1) + 1)
    rows = np.arange(len(groups))[:, None]
    scores = (np.log(ranks[0][rows, near[1]]).mean(1) + np.log(ranks[1][rows, near[0]]).mean(1)) / 2
    lowest, chance = np.log(np.arange(1, 6)).mean(), np.array([np.log(np.arange(1, m + 1)).mean() for m in many])
    np.testing.assert_allclose(found.table["displacement"], (scores - lowest) / (chance - lowest))
    kept = [len(set(a) & set(b)) for a, b in zip(*near, strict=True)]
    assert found.table["kept"].tolist() == kept


def test_groups_are_not_counted_as_agreement(tokens):
    x, y, groups = tokens
    apart = locate_differences(x, y, k=5, groups=groups).table["displacement"].mean()
    together = locate_differences(x, y, k=5, groups=range(len(groups))).table["displacement"].mean()
    assert 0.9 < apart < 1.1 and together < 0.6, "unrelated, but for the sentences"
    with pytest.raises(UndefinedError, match="needs at least 6 samples outside the group of each; one has 5 of 20"):
        locate_differences(x[:20], y[:20], k=5, groups=[0] * 15 + [1, 2, 3, 4, 5])
