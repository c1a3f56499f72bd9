"""Numbers in the text of the lessons: each comes from the run, or is annotated and checked against it."""

import copy
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs/_tools"))
import prose  # noqa: E402

LESSONS = sorted(path for path in (ROOT / "notebooks").glob("*.ipynb") if path.stem[:2].isdigit())


def cell(source, *checks):
    return {
        "cell_type": "markdown",
        "id": f"m{abs(hash((source, str(checks)))):x}"[:20],
        "metadata": {"checks": list(checks)} if checks else {},
        "source": source,
    }


def notebook(*cells):
    return {
        "cells": list(cells),
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def code(source, *tags):
    return {
        "cell_type": "code",
        "id": f"c{abs(hash(source)):x}"[:20],
        "metadata": {"tags": list(tags)},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def test_the_lessons_are_numbered_without_a_hole():
    assert [path.stem[:2] for path in LESSONS] == [f"{k:02d}" for k in range(len(LESSONS))]


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_every_number_in_the_text_is_accounted_for(path):
    found = prose.list_complaints(json.loads(path.read_text()))
    assert not found, f"{path.name} (python docs/_tools/prose.py {path} lists them):\n" + "\n".join(found)


@pytest.mark.full
@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_the_numbers_in_the_text_are_those_of_the_run(path, tmp_path):
    failed = prose.run(path, tmp_path / path.name)
    assert not failed, "\n".join(f"cell {one['cell']}: {one['text']!r}: {one['why']}" for one in failed)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a CKA of .94, or 0.94", [(0.94, 2, False), (0.94, 2, False)]),
        ("97 % of pairs, 3.5% of them", [(97, 0, True), (3.5, 1, True)]),
        ("2,500 images, 1,000.5 s", [(2500, 0, False), (1000.5, 1, False)]),
        (
            "from -.10 to .98, a −.3, +.04 or .25-.51",
            [
                (-0.1, 2, False),
                (0.98, 2, False),
                (-0.3, 1, False),
                (0.04, 2, False),
                (0.25, 2, False),
                (0.51, 2, False),
            ],
        ),
        ("p ≤ 1e-09 and 2.5e3", [(1e-9, 9, False), (2500, -2, False)]),
        ("28×28, ρ=.81.", [(28, 0, False), (28, 0, False), (0.81, 2, False)]),
        ("(.6, .72) and 12.", [(0.6, 1, False), (0.72, 2, False), (12, 0, False)]),
        ("lessons 09 and 10, figure 3.1, Table 4.1 and section 2; block 3 and layers 2 to 4, seed 5", []),
        ("layers 85 % of the time, tables .3", [(85, 0, True), (0.3, 1, False)]),
        ("Ding 2021, (2019; 2020), in 1995, Hotelling 1936", []),
        ("1936 images, and 2000 more", [(1936, 0, False), (2000, 0, False)]),
        ("mnist-cnn-10, conv2, ViT-B/16, MiniLM-L6, 3rd and 16k", []),
        ("`x[:50]` and ```\n44\n``` and [link](http://a.b/3.4) <b title='7'>&#39; $x^{22}$", []),
        ("costs \\$5 now", [(5, 0, False)]),
        ("2. an item\n 13. another\n**4. The fourth**", []),
        ("from 0 to 1, or -1; 1.00, 0.0, 1 %", [(1, 2, False), (0, 1, False), (1, 0, True)]),
        ("seven times in ten", []),
        (
            "layers 3 and 12 models; blocks 2, 37 of them; seed 5 to 10 percent",
            [(12, 0, False), (37, 0, False), (10, 0, False)],
        ),
        (
            "in block 3, 12 models; (table 3.1, 85 pairs) and lessons 09 and 10, 12 other models",
            [(12, 0, False), (85, 0, False), (12, 0, False)],
        ),
        ("Lessons 09 and 10 test both; block 4 or 5 is from block 1; figures 3.1 and 3.2, blocks 2, 3 or 4.", []),
        ("layers 2,500 images, blocks 3 and 40 % of them", [(2500, 0, False), (40, 0, True)]),
        ("costs $5 and accuracy .93 of $6", [(5, 0, False), (0.93, 2, False), (6, 0, False)]),
        ("$.5 + x$ and $x$, then .7 $ x .8 $", [(0.7, 1, False), (0.8, 1, False)]),
        (
            "2.5x, .9x and 3× as many; 28x28",
            [(2.5, 1, False), (0.9, 1, False), (3, 0, False), (28, 0, False), (28, 0, False)],
        ),
        ("0x1f, 5xl and resnet50x", []),
        ("CKA (2000 images), in 2000 steps, Of 2000 samples", [(2000, 0, False)] * 3),
        ("Ding (2021), (2019, 2020), (2021; 2022) and Ding 2021 shows", []),
    ],
)
def test_which_numbers_need_an_account(text, found):
    assert [(n.value, n.decimals, n.percent) for n in prose.numbers(text)] == [
        (pytest.approx(value), decimals, percent) for value, decimals, percent in found
    ]


@pytest.mark.parametrize(
    ("text", "value", "agrees"),
    [
        (".86", 0.8551, True),
        (".86", 0.8549, False),
        ("97 %", 0.966, True),
        ("97 %", 0.96, False),
        ("97 %", 97, False),
        ("-.10", -0.104, True),
        ("-.10", 0.104, False),
        ("1,300", 1300.4, True),
        ("1,300", 1299.4, False),
        (".5", float("nan"), False),
        ("2", 2.4, True),
        ("2.0", 2.4, False),
    ],
)
def test_a_value_agrees_if_it_rounds_to_the_printed_digits(text, value, agrees):
    (number,) = prose.numbers(text)
    assert number.agrees(value) is agrees


def test_a_tolerance_is_in_the_unit_of_the_text():
    (number,) = prose.numbers("some 70 %")
    assert number.agrees(0.74, 5) and not number.agrees(0.76, 5)


def test_a_number_that_nothing_accounts_for_is_found():
    page = notebook(
        cell("CKA is .94, and .95 there", {"text": "CKA is .94", "value": "cka"}),
        cell("nothing"),
        cell("here 12 models"),
    )
    assert prose.list_complaints(page) == [
        "cell 0: '.95' in '...CKA is .94, and .95 there...'",
        "cell 2: '12' in '...here 12 models...'",
    ]
    assert prose.list_complaints(notebook(cell("from -.10 on", {"text": ".10", "value": "low"}))) == []
    assert prose.list_complaints(notebook(cell("from -.10 on", {"text": "-.10", "value": "low"}))) == []
    split = {**cell("", {"text": "at .5", "value": "x"}), "source": ["it is\n", "at .5"]}
    assert prose.list_complaints(notebook(split)) == []


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"text": ".95", "value": "x"}, "is not in the cell"),
        ({"text": "CKA", "value": "x"}, "has no number"),
        ({"text": ".94"}, "one of value, holds and source, as text; got none"),
        ({"text": ".94", "value": "x", "source": "scale"}, "got 'value', 'source'"),
        ({"text": ".94", "value": 0.94}, "as text"),
        ({"text": ".94", "value": "x +"}, "no Python expression"),
        ({"text": ".94", "value": "0.94"}, "no name of the notebook"),
        ({"text": ".94", "holds": "x > 0.9"}, "does not compare anything with the number '.94'"),
        ({"text": ".94", "holds": "x < 0.95 and .94"}, "does not compare anything with the number '.94'"),
        ({"text": ".94", "holds": "(x >= 0.9).all() and .94"}, "does not compare anything with the number '.94'"),
        ({"text": ".94", "holds": "x > 0.9 and .94 < 1"}, "does not compare anything with the number '.94'"),
        ({"text": ".94", "holds": "x > 0.9 and round(.94)"}, "does not compare anything with the number '.94'"),
        ({"text": ".94", "holds": "(x > 0.9) * .94"}, "does not compare anything with the number '.94'"),
        ({"text": ".94", "source": "somebody"}, "a source begins with 'published'"),
        ({"text": ".94", "value": "x", "tol": 3}, "unknown 'tol'"),
        ({"text": ".94", "value": "x", "tolerance": -1}, "a number above 0"),
        ({"text": ".94", "source": "scale", "tolerance": 1}, "for a value"),
        ({"text": ".94", "value": "x", "at": "start"}, "at is 'end' or left out"),
        (".94", "a dict with a text"),
    ],
)
def test_faults_of_annotations_are_said(check, words):
    found = prose.find_faults(cell("CKA is .94", check))
    assert any(words in fault for fault in found), found


@pytest.mark.parametrize(
    "holds",
    [
        "x > .94",
        "0 < x < .94",
        "all(v >= .94 for v in x)",
        "x.between(.94, 1).all()",
        "abs(x - .94) < .01",
        "np.isclose(x, .94)",
        "x in (.93, .94)",
    ],
)
def test_a_number_may_be_compared_in_any_way(holds):
    assert prose.find_faults(cell("CKA is .94", {"text": ".94", "holds": holds})) == []


def test_good_annotations_have_no_fault():
    page = cell(
        "CKA is .94, more than 90 % (published .7)",
        {"text": "CKA is .94", "value": "cka", "at": "end"},
        {"text": "more than 90 %", "holds": "cka > .9"},
        {"text": "published .7", "source": "published: table 2"},
    )
    assert prose.list_complaints(notebook(page)) == []


def test_annotations_are_evaluated_in_the_names_of_the_run():
    names = {"cka": 0.9449, "ends": [0.5, 0.6]}
    check = {"cell": "CKA is .94, from .5 to .6, more than 90 %"}
    good = [
        {**check, "text": "is .94", "value": "cka"},
        {**check, "text": ".5 to .6", "value": "ends"},
        {**check, "text": "90 %", "holds": "cka > .9"},
    ]
    assert prose.evaluate(good, names) == []
    bad = [
        {**check, "text": "is .94", "value": "cka + .01"},
        {**check, "text": ".5 to .6", "value": "ends[0]"},
        {**check, "text": "90 %", "holds": "cka < .9"},
        {**check, "text": "is .94", "value": "cca"},
    ]
    assert [(one["kind"], one["why"].partition(":")[0].partition(" is")[0]) for one in prose.evaluate(bad, names)] == [
        ("differs", ".94"),
        ("error", "ValueError"),
        ("differs", "does not hold"),
        ("error", "NameError"),
    ]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    page = notebook(
        cell("the end is .75", {"text": ".75", "value": "x", "at": "end"}),
        code("fast = False", "parameters"),
        code("x = .25 if fast else .5"),
        cell(
            "x is .5, and .6",
            {"text": "x is .5", "value": "x"},
            {"text": ".6", "value": "x"},
            {"text": ".5", "source": "example"},
        ),
        code("x = x + .25\nx"),
        cell("now .5", {"text": ".5", "value": "y"}),
    )
    path = tmp_path_factory.mktemp("prose") / "small.ipynb"
    path.write_text(json.dumps(page))
    return path, page


def test_a_run_checks_the_text_where_it_stands(small, tmp_path, capsys):
    path, page = small
    failed = prose.run(path, tmp_path / "out.ipynb")
    assert [(one["cell"], one["text"], one["kind"]) for one in failed] == [
        (3, ".6", "differs"),
        (5, ".5", "error"),
    ] and ".6 is 0.5" in failed[0]["why"]
    out = json.loads((tmp_path / "out.ipynb").read_text())
    assert [c["cell_type"] for c in out["cells"]] == [c["cell_type"] for c in page["cells"]] and out["cells"][4][
        "outputs"
    ], "the added cells are not in the output"
    assert json.loads(path.read_text()) == page


def test_a_cell_that_prints_nothing_has_checked_nothing(tmp_path):
    """Its annotations would all pass."""
    page = notebook(
        code("import io, sys\nsys.stdout = io.StringIO()\nx = .25"),
        cell("x is .5", {"text": ".5", "value": "x"}),
        code("sys.stdout = sys.__stdout__"),
    )
    path = tmp_path / "silent.ipynb"
    path.write_text(json.dumps(page))
    with pytest.raises(
        RuntimeError,
        match="the annotations of 1 of 1 cells were evaluated, but what they print was not received.*sys.stdout",
    ):
        prose.run(path)


def test_the_command_line_lists_what_is_to_mend(small, tmp_path, capsys):
    path, page = small
    assert prose.main([str(path)]) == 0 and "every number is accounted for" in capsys.readouterr().out
    assert prose.main([str(path), "--fast"]) == 1 and capsys.readouterr().out.splitlines() == [
        "cell 5: '.5': NameError: name 'y' is not defined (in y)"
    ]
    bare = copy.deepcopy(page)
    bare["cells"][0]["metadata"] = {}
    (tmp_path / "bare.ipynb").write_text(json.dumps(bare))
    assert prose.main([str(tmp_path / "bare.ipynb")]) == 1 and "cell 0: '.75'" in capsys.readouterr().out
