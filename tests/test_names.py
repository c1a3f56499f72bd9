"""Names are shown as they are, whatever matplotlib, TeX, HTML, Markdown or a file system would make of them."""

import html.parser
import inspect
import itertools
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from torch import nn

import repsim_nb as rs
from repsim_nb import plots, reports
from repsim_nb.display import views
from repsim_nb.inputs.store import Key
from repsim_nb.support.progress import show_progress

NAMES = ("cost_$5_$", "_hidden", "a^2_{b", "x\\alpha$y$", "50% #1 & {0}", "<b>&lt;\\$", "$\\undefined$")
PAIRS = [NAMES[k : k + 3] for k in (0, 3)] + [NAMES[4:]]  # few at a time: a crowded axis leaves labels out


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def representations(names, layers=("l_1",), n=40, dataset=""):
    g = np.random.default_rng(0)
    return rs.store.Activations(
        {Key(name, layer, dataset): g.normal(size=(n, 6)) for name in names for layer in layers}
    )


def table(names, **options):
    return rs.compare("cka", representations(names, **options))


def mapped(names):
    return rs.embedding.mds(table(names, layers=("l", "m")), seed=0)


def frames(names):
    return {
        name: pd.DataFrame({"mean": [0.1, 0.2], "low": [0.0, 0.1], "high": [0.2, 0.4]}, index=["p", "q"])
        for name in names
    }


def runs(names):
    return pd.DataFrame({name: [0.2, 0.5, 1.0] for name in names}, index=pd.Index([0, 1, 2], name="step"))


def a_test(name):
    labels = {f"m{i}/l": np.random.default_rng(i).normal(size=(20, 3)) for i in range(6)}
    return plots.null(
        rs.inference.anosim(rs.compare("cka", rs.from_arrays(labels)), groups=[0, 0, 0, 1, 1, 1]),
        title=name,
        xlabel=name,
    )


def scattered(names):
    frame = pd.DataFrame({"x": np.arange(9.0), names[0]: np.arange(9.0) ** 2, "by": np.repeat(names, 3)})
    return plots.scatter(frame, "x", names[0], color="by", fit=list(names))


def influential(names):
    data = rs.Dataset("d", np.zeros((3, 4, 4), np.uint8), np.arange(3), classes=names)
    return plots.influential(data, np.array([1.0, -2.0, 3.0]))


def benchmark(names):
    x = representations([f"m{i}" for i in range(5)], layers=("a", "b"))
    return plots.benchmark(
        rs.grounding.benchmark(
            x,
            {f"m{i}": i / 5 for i in range(5)},
            measures=dict(zip(names, ("cka", "procrustes", "nbs"), strict=True)),
            n_bootstrap=20,
        )
    )


def sensitivity(names):
    return plots.sensitivity(
        rs.grounding.sensitivity(
            representations(["p", "q"]),
            measures=dict(zip(names, ("cka", "procrustes", "nbs"), strict=True)),
            amounts=(0, 0.5),
        )
    )


def located(names):
    g = np.random.default_rng(0)
    targets = np.arange(30) % 3
    return rs.inference.locate_differences(*g.normal(size=(2, 30, 4)), targets=targets, classes=names, names=names[:2])


def next_to_neighbours(names):
    return plots.neighbours(rs.Dataset("d", np.zeros((30, 4, 4), np.uint8)), located(names))


# what draws: three names -> its Axes
TABLE = {
    "answers": lambda names: plots.answers(
        pd.DataFrame([[0.2, 0.5, 1.0]], index=["cka"], columns=[name.replace(" ", "")[:11] for name in names])
    ),
    "band": lambda names: plots.band(frames(names)),
    "benchmark": benchmark,
    "confusion": lambda names: plots.confusion(pd.DataFrame(np.eye(3), index=names, columns=names)),
    "curves": lambda names: plots.curves(runs(names)),
    "differences": lambda names: plots.differences(located(names)),
    "embedding": lambda names: plots.embedding(mapped(names), color="model", shape="layer", labels=True),
    "embeddings": lambda names: plots.embeddings([mapped(names)] * 2, color="model", path="model", labels=True),
    "grid": lambda names: plots.grid(
        pd.DataFrame(np.eye(3), index=names, columns=names), label=names[0], title=names[1]
    ),
    "heatmap": lambda names: plots.heatmap(table(names)),
    "heatmaps": lambda names: plots.heatmaps([table(names), table(names)], columns=1),
    "influential": influential,
    "intervals": lambda names: plots.intervals(
        {name: frames(names)[name].set_axis([name, "other"]) for name in names[:1]}, xlabel=names[1], title=names[2]
    ),
    "neighbour_confusion": lambda names: plots.neighbour_confusion(located(names).confusion()),
    "neighbours": next_to_neighbours,
    "null": lambda names: [a_test(name) for name in names],
    "pictures": lambda names: plots.pictures(np.zeros((3, 4, 4), np.uint8), names),
    "samples": lambda names: plots.samples(
        {name: np.eye(6) for name in names}, targets=np.repeat(range(3), 2), classes=names
    ),
    "scatter": scattered,
    "sensitivity": sensitivity,
    "specificity": lambda names: plots.specificity(
        rs.grounding.specificity(representations(["p", "q"], layers=names), n_bootstrap=20)
    ),
    "to_final": lambda names: plots.to_final(runs(names), 1 - runs(names), dash={name: name for name in names}),
}


def test_the_table_holds_every_function_that_draws():
    drawing = {
        name
        for name in plots.__all__
        if inspect.isfunction(f := getattr(plots, name))
        and inspect.signature(f).return_annotation in ("Axes", "list[Axes]")
    }
    assert drawing - {"draw"} == set(TABLE), (
        "a function that draws belongs into the table above, and is to be decorated with without_markup"
    )


def figures_of(drawn):
    return list(dict.fromkeys(ax.figure.canvas.figure for ax in (drawn if isinstance(drawn, list) else [drawn])))


def written_in(figure, path):
    """The lines of text in a figure as a reader of its SVG finds them."""
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(path, format="svg")
    return ["".join(text.itertext()) for text in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("names", PAIRS, ids=range(len(PAIRS)))
@pytest.mark.parametrize("function", TABLE)
def test_names_are_drawn_as_they_are(function, names, tmp_path):
    shown = (
        names if function != "answers" else [name.replace(" ", "")[:11] for name in names]
    )  # which breaks lines at spaces, and after 11 characters
    found = []
    for figure in figures_of(TABLE[function](names)):
        found += (lines := written_in(figure, tmp_path / "a.svg"))
        for text in figure.findobj(
            lambda artist: (
                isinstance(artist, Text) and artist.get_visible() and any(name in artist.get_text() for name in shown)
            )
        ):
            if text.get_path_effects():  # drawn as outlines, so that no text is in the file
                assert not text.get_parse_math() or not set("$\\") & set(text.get_text())
            else:
                assert set(text.get_text().split("\n")) <= set(lines)
    for name in shown:
        assert any(name in line for line in found), (name, found)


@pytest.mark.parametrize("function", TABLE)
def test_the_texts_of_the_artists_are_the_names(function):
    names = [name.replace(" ", "") for name in PAIRS[1]]
    texts = [text.get_text() for figure in figures_of(TABLE[function](names)) for text in figure.findobj(Text)]
    for name in names:
        assert any(name in text for text in texts), name


@pytest.mark.parametrize("function", ["heatmap", "curves", "embedding"])
def test_texts_stay_as_they_are_where_everything_is_set_in_tex(function):
    names = PAIRS[0]
    with mpl.rc_context({"text.usetex": True}):
        if function == "embedding":  # its labels are laid out at once, which TeX would do
            drawn = plots.embedding(mapped(names), color="model", labels=False)
        else:
            drawn = TABLE[function](names)
    texts = [
        text
        for figure in figures_of(drawn)
        for text in figure.findobj(Text)
        if any(name in text.get_text() for name in names)
    ]
    assert len(texts) >= 3 and not any(text.get_usetex() for text in texts)


def test_what_the_user_put_into_a_figure_keeps_its_mathematics(tmp_path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5))
    right.set_title(r"$\rho$ of mine")
    right.set_yscale("log")
    right.set_xticks([0, 1], [r"$\alpha$", "b"])
    left.text(0, 0, r"$\beta$ before")
    left.set_yscale("log")
    plots.curves(runs(PAIRS[0]), ax=left)
    lines = written_in(figure, tmp_path / "a.svg")
    assert "cost_$5_$" in lines and not any(
        "rho" in line or "alpha" in line or "beta" in line or "mathdefault" in line for line in lines
    )


def test_a_title_of_ones_own_may_hold_mathematics(tmp_path):
    ax = plots.heatmap(table(("a", "b")))
    ax.set_title(r"$\rho$")
    other = plots.heatmap(table(PAIRS[0]), title=r"as $it$ is")
    other.set_xlabel(r"$\lambda$", parse_math=True)
    assert not any("rho" in line for line in written_in(ax.figure, tmp_path / "a.svg"))
    lines = written_in(other.figure, tmp_path / "b.svg")
    assert r"as $it$ is" in lines and not any("lambda" in line for line in lines)


def test_a_second_drawing_keeps_the_entries_of_the_first():
    ax = plots.curves(runs(["_a", "b"]))
    plots.curves(runs(["_c"]), ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["b", "_a", "_c"]


# -- HTML, Markdown


class Reader(html.parser.HTMLParser):
    """Text as a browser shows it, and whether all of it stands where no formulas are looked for."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.exposed, self.tags = [], "", "", set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in ("br", "hr", "img"):
            self.open.append(
                (tag, "mathjax_ignore" in (dict(attrs).get("class") or "").split() or tag in ("code", "pre"))
            )

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        self.text += data
        self.exposed += "" if any(safe for _, safe in self.open) else data


def faces(names):
    x = representations(names, layers=("l", "m"), dataset=names[0])
    five = representations([f"m{i}" for i in range(5)])
    square, g = rs.compare("cka", x), np.random.default_rng(1)
    probe = rs.probes.linear_probe(x[Key(names[0], "l", names[0])], np.array(names)[np.arange(40) % 3], seed=0)
    benchmark = rs.grounding.benchmark(
        five,
        {f"m{i}": i / 5 for i in range(5)},
        measures=dict(zip(names, ("cka", "procrustes", "nbs"), strict=True)),
        n_bootstrap=20,
    )
    return {
        "activations": x,
        "comparison": square,
        "noise ceiling": rs.inference.noise_ceiling("rsa", {name: g.normal(size=(9, 4)) for name in names}),
        "comparison of models": rs.inference.compare_models(
            "rsa",
            {name: g.normal(size=(9, 4)) for name in names},
            {k: g.normal(size=(9, 4)) for k in "ab"},
            n_bootstrap=20,
        ),
        "RDM": rs.RDM([1.0, 2.0, 3.0], ids=names),
        "drift": rs.drift(
            x.where(model=names[0]),
            rs.from_arrays({f"{names[1]}/l": g.normal(size=(40, 2)), f"{names[1]}/{names[2]}": g.normal(size=(40, 2))}),
        ),
        "training": rs.TrainingRecord(
            pd.DataFrame([[1, names[0], "start", 0.9]], columns=["step", "layer", "compared_to", "value"]),
            *("cka", names[1], names[2], "d", 9, 0.1),
        ),
        "null table": rs.inference.null_table("cka", x),
        "probe": probe,
        "benchmark": benchmark,
        "bias": rs.probes.dataset_bias(x.where(layer="l"), n=None),
        "specificity": rs.grounding.specificity(representations(["p", "q"], layers=names), n_bootstrap=20),
        "sensitivity": rs.grounding.sensitivity(
            representations(["p", "q"]),
            measures=dict(zip(names, ("cka", "procrustes", "nbs"), strict=True)),
            amounts=(0, 0.5),
        ),
        "means": rs.grounding.pair_means(
            pd.DataFrame(
                g.normal(size=(6, 1)),
                columns=names[:1],
                index=pd.MultiIndex.from_tuples(itertools.combinations("abcd", 2)),
            )
        ),
        "diagnosis": rs.reliability.diagnose(
            g.integers(0, 3, (40, 5)), g.normal(size=(40, 60)), names=(names[0], names[2])
        ),
        "report": rs.reliability.report(g.normal(size=(40, 5)), g.normal(size=(40, 6)), names=(names[0], names[2])),
        "best match": rs.inference.best_match(
            "cka", {name: g.normal(size=(40, 5)) for name in names[:2]}, {names[2]: g.normal(size=(40, 6))}
        ),
        "measure check": rs.testing.check_measure(
            rs.measures.from_function(rs.measures.get("cka"), name=names[0], kind="similarity", symmetric=True)
        ),
        "left out": rs.reliability.leave_out(
            rs.measures.from_function(rs.measures.get("cka"), name=names[0], kind="similarity", symmetric=True),
            g.normal(size=(40, 5)),
            g.normal(size=(40, 6)),
        ),
        "sample differences": located(names),
        "classes of neighbours": located(names).confusion(),
        "map": mapped(names),
        "data set": rs.Dataset(names[0], np.zeros((3, 4, 4), np.uint8), np.arange(3), classes=names),
        "model": rs.load_model(nn.Linear(2, 2), name=names[0]),
        "measure": rs.measures.from_function(lambda x, y: 0.0, name=names[0], kind="similarity", symmetric=True),
        "spread test": rs.inference.SpreadTest(1.0, 0.5, spreads=dict.fromkeys(names, 0.1)),
        "verdict": rs.inference.Verdict("undecided", why=names[0]),
        "sample size": rs.inference.SampleSize(names[0], pd.DataFrame({"mean": [0.5]}), 0.5, 30, 0.1, 0.95, 60),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("names", PAIRS, ids=range(len(PAIRS)))
def test_a_notebook_shows_results_with_their_names(names):
    for what, face in faces(names).items():
        reader = Reader(face._repr_html_())
        assert any(name in reader.text for name in names), what
        assert not reader.exposed.strip() and reader.tags <= {
            "div",
            "p",
            "b",
            "i",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "ul",
            "li",
            "br",
            "span",
            "a",
        }, what


def test_every_result_that_a_notebook_shows_is_looked_at():
    """A class with a face of its own in HTML is among those above, or is named here."""
    import pkgutil
    from importlib import import_module

    with_face = set()
    for module in pkgutil.walk_packages(rs.__path__, "repsim_nb."):
        if not module.name.endswith("__main__"):
            loaded = import_module(module.name)
            with_face |= {
                kind
                for kind in vars(loaded).values()
                if inspect.isclass(kind) and kind.__module__ == module.name and "_repr_html_" in vars(kind)
            }
    seen = {base for face in faces(PAIRS[0]).values() for base in type(face).__mro__}
    assert {kind.__name__ for kind in with_face - seen} == {
        "Claims",
        "Interval",
        "Moments",
        "Reweighted",
        "UnitRanking",
    }  # the last four show no name


@pytest.mark.parametrize(
    "name",
    [*NAMES, "*a* **b** `c` ~~d~~", "[a](b) ![c](d)", "a|b\\*c", "![x]", "http://x.y/z", "a  b", "1. a", "- é→b"],
)
def test_a_name_in_a_report_is_shown_as_it_is(name):
    from nbconvert.filters import markdown2html

    reader = Reader(markdown2html(f"between {reports.literal(name)} and {reports.literal(name)}, of $5"))
    assert reader.text.strip() == f"between {name} and {name}, of $5" and reader.tags <= {"p", "code"}
    assert "$" not in reader.exposed.replace("of $5", "")


# -- explorers


@pytest.mark.parametrize("names", PAIRS, ids=range(len(PAIRS)))
def test_explorers_show_names_as_they_are(names):
    x = representations(names, layers=("l", names[0]), dataset="d")
    e = rs.explorers.comparison(x, a=names[0], b=names[1], measure="cka").wait()
    assert e.png() and names[0] in e.view.row_labels and names[0] in e.view.title and names[1] in e.view.title
    e.choose(names[0], "l")
    assert f"{names[0]} / {names[0]}" in Reader(e.wait().detail).text
    m = rs.explorers.embedding_map(x, layer="l", color="model").wait()
    assert (
        m.png()
        and sorted(m.view.labels) == sorted(names)
        and [label for label, _, _ in m.view.legend[0][1]] == list(names)
    )
    m.choose(names[0], names[1])
    assert all(name in Reader(m.wait().detail).text for name in names[:2])
    sets = representations(names, layers=(names[2],), dataset=names[1])
    b = rs.explorers.dataset_bias(sets, n=None).wait()
    assert b.png() and all(any(name in label for label in b.view.row_labels) for name in names)
    for one in (e, m, b):
        assert not one.errors and set(Reader(one.detail).tags) <= {
            "div",
            "b",
            "i",
            "br",
            "table",
            "tr",
            "td",
            "th",
            "ul",
            "li",
        }
        compile(one.code(), "code", "exec")


def test_the_code_of_an_explorer_finds_what_has_such_names():
    x = representations(NAMES, dataset="d")
    e = rs.explorers.comparison(x, a=NAMES[1], b=NAMES[5], measure="cka").wait()
    space = {"activations": x}
    exec(e.code().replace("rs.plots.heatmap(", "found = (").replace(");", ")"), space)
    assert [space["found"].values.index[0][0], space["found"].values.columns[0][0]] == [NAMES[1], NAMES[5]]


def test_progress_and_errors_are_text_in_an_explorer():
    told, go_on = threading.Event(), threading.Event()

    def draw(progress):
        with show_progress(progress, "recording <i>&", "sample") as tick:
            tick(1, 2)
        told.set()
        go_on.wait(10)
        raise ValueError("no value for <b>cost_$5_$</b>")

    e = rs.explorers.explore(draw)
    assert told.wait(10) and Reader(e.status).text.startswith("recording <i>&: 1 of 2 samples")
    go_on.set()
    with pytest.raises(ValueError):
        e.wait()
    assert "<b>cost_$5_$</b>" in Reader(e.message).text


def test_views_write_names_as_text():
    """A view's script never takes a name for HTML."""
    scripts = list(Path(views.__file__).parent.glob("*.js"))
    assert len(scripts) >= 3
    for script in scripts:
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"):
            assert word not in script.read_text(), (word, script)


# -- files and patterns

ODD = (
    *NAMES,
    "../../up",
    ".hidden",
    "a/b\\c",
    "CON",
    "x" * 300,
    "x" * 300 + "y",
    "new\nline",
    "mnist/test[n=5,seed=0]",
    "[a-z]*",
    "é",
)


def test_a_store_keeps_any_name(tmp_path):
    store = rs.Store(tmp_path / "s")
    values = np.arange(6.0).reshape(3, 2)
    for k, name in enumerate(ODD):
        key = Key(name, name, name)
        with store.alone(key):
            writer = store.writer(key, values.shape, values.dtype, {"inputs": "x"}, {}, place=0)
            writer.write(0, values + k)
            writer.commit()
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {tmp_path / "s"} and len(
        rs.Store(tmp_path / "s")
    ) == len(ODD)
    for k, name in enumerate(ODD):
        again = rs.Store(tmp_path / "s")
        np.testing.assert_array_equal(again[Key(name, name, name)], values + k)
        assert [key.model for key in again.where(model=name)] == [name] and [
            key.model for key in again.where(dataset=[name])
        ] == [name]
    assert (
        not store.verify(progress=False)
        and not store.prune()
        and store.remove(model=ODD[0]) == 1
        and len(store) == len(ODD) - 1
    )


def test_what_is_a_name_is_no_pattern():
    x = representations(["a*", "ab", "a?", "a[1]", "a1"])
    assert [key.model for key in x.where(model="a*")] == ["a*"] and [key.model for key in x.where(model="a?")] == ["a?"]
    assert [key.model for key in x.where(model="a[1]")] == ["a[1]"] and [key.model for key in x.where(model="a[*")] == [
        "a[1]"
    ]
    assert [key.model for key in x.where(model="*b")] == ["ab"]


@pytest.mark.parametrize(
    "lookup, words",
    [
        (lambda: rs.comapre, "unknown name in rs 'comapre'. Did you mean 'compare'"),
        (lambda: rs.inference.permuation_test, "unknown name in rs.inference .*Did you mean 'permutation_test'"),
        (lambda: rs.inference.unrelated, "rs.inference has no 'unrelated'; it is now 'chance_values'"),
        (lambda: rs.measures.CKKA, "Did you mean 'CKA'"),
    ],
)
def test_a_misspelt_or_old_name_gets_the_right_one(lookup, words):
    with pytest.raises(AttributeError, match=words):
        lookup()
    assert not hasattr(rs.inference, "__wrapped__")


@pytest.mark.parametrize("name", [name for name in rs.__all__ if inspect.ismodule(getattr(rs, name))])
def test_a_public_module_lists_its_public_names_only(name):
    module = getattr(rs, name)
    assert dir(module) == sorted(module.__all__) and set(vars(module)) - set(module.__all__), "and hides the others"
    assert all(hasattr(module, public) for public in dir(module))
