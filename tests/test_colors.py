"""One color for each family of measures and of models, in every figure."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy.spatial.distance import pdist

import repsim_nb as rs
from repsim_nb import plots
from repsim_nb.display.specs.colors import (
    CLASS_COLORS,
    COLORS,
    LINE_COLORS,
    MEASURE_COLORS,
    MODEL_COLORS,
    family_of,
    fixed_color,
    group_colors,
    line_colors,
)
from tests.test_plots import lab

FRAME = pd.DataFrame({"mean": [0.1, 0.2], "low": [0.0, 0.1], "high": [0.2, 0.3]}, index=[1, 2])


def test_families_differ_for_every_kind_of_color_vision():
    """The palette is that of `CLASS_COLORS`, which test_plots measures for each kind; here for the usual one, without
    a pair that is alike.
    """
    for colors in (MEASURE_COLORS, MODEL_COLORS):
        assert set(colors.values()) <= set(CLASS_COLORS) and len(set(colors.values())) == len(colors)
        assert pdist(lab(list(colors.values()))).min() > 26
    assert pdist(lab(CLASS_COLORS[8:])).min() > 33, "two of the added colors differ more than two purples did (32)"
    assert not {"#F0E442", "#AAEE99"} & set(MEASURE_COLORS.values()), "a thin pale line is not seen on white"


def test_every_measure_has_a_color():
    bare = [name for name in rs.measures.REPRESENTATIONAL if fixed_color(name) is None]
    assert bare == []


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("CKA", "cka"),
        ("cka_debiased", "cka"),
        ("debiased CKA", "cka"),
        ("CKA, permuted", "cka"),
        ("mean CCA", "cca"),
        ("mean_cca", "cca"),
        ("svcca", "cca"),
        ("PWCCA", "pwcca"),
        ("pwcca_all_other", "pwcca"),
        ("Procrustes", "procrustes"),
        ("rsa_cosine", "rsa"),
        ("mutual_knn", "neighbours"),
        ("MLP", "mlp"),
        ("mlp", "mlp"),
        ("CNNs", "cnn"),
        ("ResNet", "residual"),
        ("CKA and PWCCA", None),
        ("corrected", None),
        ("mnist-cnn-0", None),
        ("CNN and MLP", None),
        ("cnn wide", None),
        ("a1", None),
        (3, None),
        (None, None),
        (("cka", "b"), None),
        ("", None),
    ],
)
def test_names_find_their_family_whatever_their_case(name, family):
    assert family_of(name) == family
    assert (fixed_color(name) is None) == (family is None)


def colors_of(ax):
    found = {
        line.get_label(): to_hex(line.get_color()).upper() for line in ax.lines if not line.get_label().startswith("_")
    }
    return found | {
        points.get_label(): to_hex(points.get_facecolors()[0]).upper()
        for points in ax.collections
        if not points.get_label().startswith("_")
    }


@pytest.mark.parametrize("order", [1, -1])
def test_a_measure_has_one_color_whatever_stands_next_to_it(order):
    names = ["CKA", "PWCCA", "mean CCA", "Procrustes"][::order]
    drawn = [
        colors_of(plots.curves(pd.DataFrame({name: [1, 2] for name in names}))),
        colors_of(plots.band(dict.fromkeys(names, FRAME))),
        colors_of(plots.intervals(dict.fromkeys(names, FRAME))),
    ]
    wanted = {
        "CKA": MEASURE_COLORS["cka"],
        "PWCCA": MEASURE_COLORS["pwcca"],
        "mean CCA": MEASURE_COLORS["cca"],
        "Procrustes": MEASURE_COLORS["procrustes"],
    }
    assert drawn == [wanted] * 3


def test_rows_that_are_measures_have_their_colors():
    ax = plots.intervals({"ρ": FRAME.set_axis(["procrustes", "cka"])})
    lines, points = ax.collections
    wanted = [MEASURE_COLORS["procrustes"], MEASURE_COLORS["cka"]]
    assert (
        [to_hex(color).upper() for color in lines.get_colors()]
        == [to_hex(color).upper() for color in points.get_facecolors()]
        == wanted
    )
    assert points.get_offsets().tolist() == [[0.1, 0], [0.2, 1]] and not len(ax.lines)


def colors_of_rows(ax):
    lines, points = ax.collections
    found = [to_hex(color).upper() for color in points.get_facecolors()]
    assert (
        len({tuple(color) for color in lines.get_colors()} ^ {tuple(color) for color in points.get_facecolors()}) == 0
    )
    return found * (2 // len(found))


def test_rows_of_no_family_have_the_color_of_their_frame():
    """Layers have no color of their own: they are not CKA."""
    assert colors_of_rows(plots.intervals({"PWCCA": FRAME})) == [MEASURE_COLORS["pwcca"]] * 2
    assert colors_of_rows(plots.intervals({"some measure": FRAME})) == [LINE_COLORS[0].upper()] * 2


def test_a_row_of_no_family_next_to_a_measure_is_gray():
    assert colors_of_rows(plots.intervals({"ρ": FRAME.set_axis(["my own", "PWCCA"])})) == [
        to_hex("0.35").upper(),
        MEASURE_COLORS["pwcca"],
    ]
    assert colors_of_rows(plots.intervals({"CKA": FRAME.set_axis(["my own", "PWCCA"])}))[0] == to_hex("0.35").upper(), (
        "the rows decide"
    )


def test_points_keep_their_entry_in_the_legend_whatever_their_name():
    ax = plots.intervals({"_a": FRAME, "b": FRAME})
    plots.intervals({"c": FRAME, "d": FRAME}, ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["b", "_a", "c", "d"]


def test_lines_of_one_family_share_its_color_and_are_told_apart_by_dashes():
    ax = plots.curves(
        pd.DataFrame({name: [1, 2] for name in ("CKA", "corrected", "debiased", "CKA, permuted", "Procrustes")})
    )
    found = colors_of(ax)
    assert found["CKA"] == found["CKA, permuted"] == MEASURE_COLORS["cka"] and len(set(found.values())) == 4
    assert [line.get_linestyle() for line in ax.lines] == ["-", "-", "-", "--", "-"]
    assert found["corrected"] not in (MEASURE_COLORS["cka"], MEASURE_COLORS["procrustes"])


def test_a_picture_of_one_family_keeps_the_palette():
    names = ["procrustes", "procrustes_distance", "angular_shape"]
    assert line_colors(names) == [(MEASURE_COLORS["procrustes"], 0), (LINE_COLORS[0], 0), (LINE_COLORS[2], 0)]


def test_names_of_no_family_have_the_palette_as_it_is():
    names = [f"run {k}" for k in range(16)]
    assert line_colors(names) == [(LINE_COLORS[k % 7], k // 7) for k in range(16)]
    assert group_colors(names[:8], COLORS) == list(COLORS)
    assert line_colors([]) == [] == group_colors([], COLORS)


def test_groups_have_different_colors_always():
    for names in itertools.permutations(["MLP", "cnn", "other", "ResNet", "mlp"], 4):
        colors = group_colors(names, COLORS)
        assert len(set(colors)) == 4
        for name, color in zip(names, colors, strict=True):
            alone = sum(family_of(other) == family_of(name) for other in names) == 1
            assert color == fixed_color(name) or name == "other" or not alone
    assert len(set(group_colors([*MODEL_COLORS], CLASS_COLORS))) == len(MODEL_COLORS)


def test_maps_and_points_have_the_colors_of_families(recorded):
    points = rs.embedding.mds(rs.compare("cka", recorded))
    models = list(dict.fromkeys(points.points.index.get_level_values("model")))
    for kinds in (("MLP", "CNN"), ("cnn", "mlp")):
        drawn = rs.spec(points, color={model: kinds[k % 2] for k, model in enumerate(models)})
        assert {label.lower(): color for label, color, _ in drawn.legend[0][1]} == {
            "mlp": MODEL_COLORS["mlp"],
            "cnn": MODEL_COLORS["cnn"],
        }
    frame = pd.DataFrame({"x": [1, 2, 3], "y": [1, 2, 3], "kind": ["MLP", "both", "CNN"]})
    ax = plots.scatter(frame, "x", "y", color="kind")
    assert [to_hex(c.get_facecolors()[0]).upper() for c in ax.collections] == [
        MODEL_COLORS["mlp"],
        COLORS[2],
        MODEL_COLORS["cnn"],
    ]
    runs, alike = ["a", "b"], pd.DataFrame({"a": [0.5, 0.8, 1], "b": [0.4, 0.7, 1]})
    axes = plots.to_final(alike, 1 - alike, color=dict(zip(runs, ("mlp", "cnn"), strict=True)))
    assert [to_hex(line.get_color()).upper() for line in axes[0].lines[:2]] == [
        MODEL_COLORS["mlp"],
        MODEL_COLORS["cnn"],
    ]


def test_curves_on_each_other_are_seen(rng):
    from repsim_nb.display.specs.grounding import find_offsets

    flat = pd.DataFrame({"a": [0, 0, 0.01], "b": [0, 0.5, 2], "c": [0, 0, 0], "d": [0, 0.01, 0]})
    assert find_offsets(flat) == [0, 0, 4, 8] and np.unique(find_offsets(flat[["a", "b"]])).tolist() == [0]


@pytest.fixture
def ranked():
    table = pd.DataFrame(
        {
            "spearman": [0.6, 0.4, 0.1],
            "low": [0.3, 0.1, -0.2],
            "high": [0.8, 0.6, 0.3],
            "kendall": [0.5, 0.3, 0.05],
            "n": [190, 190, 190],
        },
        index=["procrustes", "cka", "mine"],
    )
    return rs.grounding.Benchmark(table, pd.DataFrame(), pd.DataFrame(), models=20, pairing="all", units=5)


def test_two_benchmarks_share_an_axis_and_say_their_subtask(ranked):
    ax = plots.benchmark(ranked, title="deletion", limits=(-0.5, 1))
    assert ax.get_title() == "deletion\n20 models, all 190 pairs" and ax.get_xlim() == (-0.5, 1)
    lines, *points = ax.collections
    wanted = [MEASURE_COLORS["procrustes"], MEASURE_COLORS["cka"]]
    for found in (lines.get_colors(), points[0].get_facecolors(), points[1].get_edgecolors()):
        assert [to_hex(color).upper() for color in found[:2]] == wanted and to_hex(
            found[2]
        ).upper() not in MEASURE_COLORS.values()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "Spearman's ρ, 95 % interval over 5 units",
        "Kendall's τ",
    ]
    assert plots.benchmark(ranked).get_title().startswith("Which measures see what models can do\n")


@pytest.mark.parametrize("limits", [(0, 1), (-0.5, 0.7), (1, -1), 3, (0,)])
def test_limits_hold_all_that_is_drawn(ranked, limits):
    with pytest.raises(ValueError, match="include all values, -0.20 to 0.80"):
        plots.benchmark(ranked, limits=limits)
