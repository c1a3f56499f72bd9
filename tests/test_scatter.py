"""plots.scatter: points where they belong, colors and lines as the legend says."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

import repsim_nb as rs
from repsim_nb import plots
from repsim_nb.display.specs.colors import COLORS


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def frame():
    """Three points of each of two kinds on lines of slopes 2 and -1, and one of no kind."""
    return pd.DataFrame(
        {
            "cka": [0.0, 1, 2, 0, 1, 2, 5],
            "jsd": [1.0, 3, 5, 0, -1, -2, 7],
            "kind": [*["trained"] * 3, *["mixed"] * 3, None],
        }
    )


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def points_of(ax):
    return [np.asarray(found.get_offsets()) for found in ax.collections]


def colors_of(ax):
    return [to_hex(found.get_facecolor()[0]).upper() for found in ax.collections]


def nothing_is_cut(figure):
    figure.canvas.draw()
    box, whole = figure.get_tightbbox(), figure.get_size_inches()
    return box.x0 >= -0.02 and box.y0 >= -0.02 and box.x1 <= whole[0] + 0.02 and box.y1 <= whole[1] + 0.02


def test_a_row_is_a_point(frame):
    ax = plots.scatter(frame, "cka", "jsd")
    (points,) = points_of(ax)
    assert np.allclose(points, frame[["cka", "jsd"]]) and ax.get_legend() is None and not ax.lines
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("cka", "jsd", "") and list(
        ax.figure.get_size_inches()
    ) == [6.4, 4.2]
    own = plt.figure().add_subplot()
    assert plots.scatter(frame, "cka", "jsd", ax=own, xlabel="CKA", ylabel="JSD (nats)", title="mnist") is own
    assert (own.get_xlabel(), own.get_ylabel(), own.get_title()) == ("CKA", "JSD (nats)", "mnist")


def test_colors_and_the_legend_agree(frame):
    ax = plots.scatter(frame, "cka", "jsd", color="kind")
    assert legend_of(ax) == ["kind", "trained (3)", "mixed (3)", "no kind (1)"]
    assert colors_of(ax) == [*COLORS[:2], "#C8C8C8"] and [len(points) for points in points_of(ax)] == [3, 3, 1]
    assert np.allclose(points_of(ax)[1], frame.loc[frame["kind"] == "mixed", ["cka", "jsd"]])
    assert [to_hex(handle.get_color()).upper() for handle in ax.get_legend().legend_handles][1:] == colors_of(ax)
    assert [text.get_fontweight() for text in ax.get_legend().get_texts()] == [
        "bold",
        "normal",
        "normal",
        "normal",
    ] and nothing_is_cut(ax.figure)


def test_lines_are_least_squares(frame):
    ax = plots.scatter(frame, "cka", "jsd", color="kind", fit=["mixed", "trained"])
    assert legend_of(ax)[4:] == ["least squares", "mixed: slope \N{MINUS SIGN}1.00", "trained: slope 2.00"]
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[0, 0], [2, -2]], [[0, 1], [2, 5]]]
    assert [to_hex(line.get_color()).upper() for line in ax.lines] == [COLORS[1], COLORS[0]]
    assert (
        legend_of(plots.scatter(frame, "cka", "jsd", color="kind", fit="mixed"))[-1]
        == "mixed: slope \N{MINUS SIGN}1.00"
    )
    slope, start = np.polyfit(frame["cka"], frame["jsd"], 1)
    for color in (None, "kind"):
        (line,) = plots.scatter(frame, "cka", "jsd", color=color, fit=True).lines
        assert (
            np.allclose(line.get_xydata(), [[0, start], [5, start + 5 * slope]])
            and line.get_label() == ("" if color is None else "all: ") + f"slope {slope:.3g}"
        )
    assert legend_of(plots.scatter(frame, "cka", "jsd", fit=True)) == [f"slope {slope:.3g}"]
    (line,) = plots.scatter(frame.assign(cka=frame["cka"] + 3), "cka", "jsd", color="kind", fit="trained").lines
    assert line.get_xydata().tolist() == [[3, 1], [5, 5]], "from its first point to its last, not from 0"
    assert not plots.scatter(frame, "cka", "jsd", color="kind", fit=False).lines


def test_a_line_over_large_numbers_keeps_its_slope():
    """A slope from sums of raw squares would drown in rounding."""
    x = 1e9 + np.arange(20.0)
    (line,) = plots.scatter(pd.DataFrame({"x": x, "y": 3 * (x - 1e9)}), "x", "y", fit=True).lines
    assert line.get_label() == "slope 3.00"


def test_undefined_points_are_left_out_and_counted(frame):
    frame.loc[1, "jsd"], frame.loc[3, "cka"] = np.nan, np.inf
    ax = plots.scatter(frame, "cka", "jsd", color="kind", fit="trained", title="mnist")
    assert ax.get_title() == "mnist\n2 of 7 points are undefined and left out" and legend_of(ax)[1:3] == [
        "trained (2)",
        "mixed (2)",
    ]
    assert legend_of(ax)[-1] == "trained: slope 2.00" and np.isfinite(np.concatenate(points_of(ax))).all()
    assert plots.scatter(frame.iloc[:2], "cka", "jsd").get_title() == "1 of 2 points is undefined and left out"
    missing = pd.DataFrame({"x": pd.array([1, None, 3], dtype="Int64"), "y": [1.0, 2, 3]})
    assert points_of(plots.scatter(missing, "x", "y"))[0].tolist() == [[1, 1], [3, 3]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2.0, 0.5, 1.0, 2.0], ["0.5 (1)", "1 (1)", "2 (2)"]),
        ([10, 9, 9, 10], ["9 (2)", "10 (2)"]),
        ([True, False, True, True], ["True (3)", "False (1)"]),
        (pd.Categorical(["b", "a", "b", "b"], categories=["c", "b", "a"]), ["b (3)", "a (1)"]),
        (["b", "a", "b", "b"], ["b (3)", "a (1)"]),
    ],
)
def test_numbers_and_categories_stand_in_their_order(values, expected):
    frame = pd.DataFrame({"x": range(4), "y": range(4), "of": values})
    assert legend_of(plots.scatter(frame, "x", "y", color="of"))[1:] == expected


def test_true_and_false_can_be_fitted_apart():
    frame = pd.DataFrame({"x": [0.0, 1, 0, 1], "y": [0.0, 1, 0, 5], "same": [True, True, False, False]})
    assert legend_of(plots.scatter(frame, "x", "y", color="same", fit=[True]))[-1] == "True: slope 1.00"
    assert legend_of(plots.scatter(frame, "x", "y", color="same", fit=True))[-1] == "all: slope 3.00"


def test_it_draws_what_pairs_makes(recorded):
    last = recorded.where(layer=-2)
    pairs = rs.comparison.pairs({"CKA": rs.compare("cka", last), "RSA": rs.compare("rsa", last)})
    pairs["kind"] = ["two CNNs", "CNN, MLP", "CNN, MLP"]
    ax = plots.scatter(pairs, "CKA", "RSA", color="kind", fit=True)
    assert (
        np.allclose(np.concatenate(points_of(ax)), pairs[["CKA", "RSA"]])
        and legend_of(ax)[:3] == ["kind", "two CNNs (1)", "CNN, MLP (2)"]
        and nothing_is_cut(ax.figure)
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"x": "ckaa"}, "unknown column for x 'ckaa'. Did you mean 'cka'"),
        ({"y": "JSD"}, "unknown column for y 'JSD'. Did you mean 'jsd'"),
        ({"color": "kinds"}, "unknown column for color 'kinds'. Did you mean 'kind'"),
        ({"x": "kind"}, "scatter places points by numbers; the column 'kind' has other values"),
        (
            {"fit": "trained"},
            "given as color; got fit='trained' without a color. For one line through all points use fit=True",
        ),
        ({"color": "kind", "fit": "train"}, "unknown value of 'kind' for fit 'train'. Did you mean 'trained'"),
        ({"color": "kind", "fit": "no kind"}, "at 2 or more different x; 'no kind' has 1 point.$"),
    ],
)
def test_what_cannot_be_drawn_is_said(frame, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        plots.scatter(**{"frame": frame, "x": "cka", "y": "jsd"} | options)
    assert not plt.get_fignums(), "no empty picture is left behind"


def test_too_many_values_or_too_few_points(frame):
    many = pd.DataFrame({"x": range(9), "y": range(9), "of": list("abcdefghi")})
    with pytest.raises(ValueError, match="color can distinguish 8 groups of points; 'of' has 9 values: 'a', 'b'"):
        plots.scatter(many, "x", "y", color="of")
    assert len(plots.scatter(many.iloc[:8], "x", "y", color="of").collections) == 8
    with pytest.raises(ValueError, match=r"'all' has 3 points, all at 2\.$"):
        plots.scatter(pd.DataFrame({"x": [2.0, 2, 2], "y": [1.0, 2, 3]}), "x", "y", fit=True)
    for nothing in (frame.iloc[:0], frame.assign(jsd=np.nan)):
        with pytest.raises(
            ValueError, match=f"numbers in both 'cka' and 'jsd'; got {len(nothing)} rows, and none has both"
        ):
            plots.scatter(nothing, "cka", "jsd")
