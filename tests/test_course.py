"""What a check says: ok, todo, or what is wrong with an answer, and never the solution."""

import copy
import re
import subprocess
import sys

import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb import course
from repsim_nb.course import CourseError
from repsim_nb.course.checking import MIME, Checks
from repsim_nb.course.exercises import Session
from repsim_nb.course.values import same
from repsim_nb.support.errors import UndefinedError


def pair(rng):
    return rng.normal(size=(4, 3)), float(rng.integers(2, 9))


def session():
    one = Session("small", "A small session")

    @one.exercise(minutes=3, inputs=pair)
    def scale(x, a):
        return a * x.sum(0)

    @scale.mistake("rows and columns exchanged", "Sum over the samples.")
    def _(x, a):
        return a * x.sum(1)

    @scale.mistake("not scaled", "Use the second argument.")
    def _(x, a):
        return x.sum(0)

    @one.exercise(minutes=2, inputs=lambda rng: tuple(rng.normal(size=2)))
    def verdict(low, high):
        return "yes" if low > 0 else "no" if high < 0 else "undecided"

    @one.exercise(minutes=2, inputs=lambda rng: ([rng.normal(size=3), rng.normal(size=2)],))
    def parts(xs):
        return {"sums": [x.sum() for x in xs], "all": bool(sum(x.sum() for x in xs) > 0)}

    return one


SESSION = session()
SCALE, VERDICT, PARTS = SESSION.exercises.values()


def check(exercise, answer, seed=0):
    return exercise.check(answer, np.random.default_rng(seed))


def test_an_answer_is_ok_whatever_its_form():
    torch = pytest.importorskip("torch")
    for answer in (
        lambda x, a: a * x.sum(0),
        lambda x, a: (a * x.sum(0)).tolist(),
        lambda x, a: tuple(a * x.sum(0)),
        lambda x, a: torch.tensor(a * x.sum(0), requires_grad=True),
        lambda x, a: a * x.sum(0) + 1e-12,
        lambda x, a: np.float32(a) * x.astype("float32").sum(0),
        lambda x, a: np.array(list(a * x.sum(0)), dtype=object),
        lambda *inputs: inputs[1] * inputs[0].sum(0),
    ):
        assert check(SCALE, answer).status == "ok"
    assert check(VERDICT, lambda low, high: np.str_(VERDICT.solution(low, high))).status == "ok"
    assert check(PARTS, lambda xs: {"all": np.bool_(sum(map(np.sum, xs)) > 0), "sums": np.array([*map(np.sum, xs)])})


@pytest.mark.parametrize("answer", [None, ..., lambda x, a: None, lambda x, a: ...])
def test_what_is_not_written_yet_is_to_do(answer):
    assert str(check(SCALE, answer)) == "todo: scale"


def test_a_function_without_return_is_to_do_and_hears_why():
    def scale(x, a):
        a * x.sum(0)

    assert str(check(SCALE, scale)) == "todo: scale. Your function returns nothing: end it with return."

    def stub(x, a):
        """Scale."""
        ...  # your answer

    assert str(check(SCALE, stub)) == "todo: scale"


def test_what_is_left_in_an_input_is_named():
    one = Session("lists", "Lists")

    @one.exercise(minutes=1, inputs=lambda rng: ([1],), left_over=lambda xs: "Empty it." * bool(xs))
    def empty(xs):
        return xs.pop()

    assert check(empty, empty.solution).status == "ok"
    assert check(empty, lambda xs: xs[0]).text == "Empty it."


def test_a_stub_that_raises_is_to_do():
    def scale(x, a):
        raise NotImplementedError

    assert check(SCALE, scale).status == "todo"


def changes(x, a):
    x *= a
    return x.sum(0)


def changes_nothing(x, a):
    return x @ x


def leaves(x, a):
    raise SystemExit(3)


def gives_up(x, a):
    raise UndefinedError("it is constant.")


def at_times(x, a, calls=[]):  # noqa: B006
    calls.append(a)
    return a * x.sum(0) if len(calls) % 2 else None


def at_times_right(x, a):
    return a * x.sum(0) if a < 6 else 1 + x.sum(0)


WRONG = {  # answer -> (name of the mistake, a part of the text)
    "3.2": (3.2, "not a function", "check.scale(scale)"),
    "exchanged": (lambda x, a: a * x.sum(1)[:3], "another value", "right form"),
    "rows": (lambda x, a: a * x.sum(1), "rows and columns exchanged", "Sum over the samples."),
    "not scaled": (lambda x, a: x.sum(0), "not scaled", "Use the second argument."),
    "one argument": (lambda x: x, "raises", "must take 2 arguments: x, a."),
    "three arguments": (lambda x, y, z: x, "raises", "must take 2 arguments: x, a."),
    "error": (lambda x, a: x[7], "raises", "index 7 is out of bounds"),
    "line": (changes_nothing, "raises", "raised ValueError in the line 'return x @ x': matmul"),
    "inputs": (lambda x, a: x[7], "raises", "called with x of shape (4, 3), a = "),
    "no text": (lambda x, a: next(iter([])), "raises", "raised StopIteration in the line '"),
    "long error": (lambda x, a: {}["much " * 10_000], "raises", " ..."),
    "leaves": (leaves, "raises", "raised SystemExit in the line 'raise SystemExit(3)': 3."),
    "undefined": (gives_up, "undefined", "gave up on an input that has a value: it is constant."),
    "changes": (changes, "changes its input", "Work on a copy"),
    "nothing at times": (at_times, "no value", "returns nothing for some inputs"),
    "nan": (lambda x, a: np.nan * x.sum(0), "another kind of value", "NaN"),
    "shape": (lambda x, a: a * x.sum(), "another kind of value", "Return an array of shape (3,), not a number."),
    "text": (lambda x, a: "3", "another kind of value", "Return an array of shape (3,), not a text."),
    "dict": (lambda x, a: {"a": 1}, "another kind of value", "not a dict."),
    "object": (lambda x, a: object(), "another kind of value", "not an object of type object."),
    "function": (lambda x, a: lambda: 3, "another kind of value", "not an object of type function."),
    "objects": (lambda x, a: np.array([x, None], dtype=object), "another kind of value", "type ndarray."),
    "bool": (lambda x, a: x.sum(0) > 0, "another kind of value", "Return a number, not"),
    "constant": (lambda x, a: np.ones(3), "constant", "the same for all inputs"),
    "some": (at_times_right, "another value", ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_way_to_be_wrong_has_its_text(name):
    answer, mistake, text = WRONG[name]
    for seed in range(5) if answer is not at_times_right else (1, 2):
        feedback = check(SCALE, answer, seed)
        assert (feedback.status, feedback.mistake) == ("wrong", mistake), feedback
        assert text in feedback.text and len(feedback.text) < 600


def test_how_often_an_answer_is_right_is_said():
    found = {check(SCALE, at_times_right, seed).text.partition("It is right")[2] for seed in range(20)}
    assert found & {" for 1 of 3 inputs: look for a case that you left out."}


def test_a_choice_is_checked_so_often_that_a_constant_does_not_pass():
    for answer in ("yes", "no", "undecided"):
        assert {check(VERDICT, lambda *_, a=answer: a, seed).mistake for seed in range(50)} == {"constant"}
    assert check(VERDICT, VERDICT.solution).status == "ok"
    assert check(VERDICT, lambda low, high: low > 0).text == "Return a text, not True or False."
    assert check(VERDICT, lambda low, high: "a").mistake == "constant"


def test_what_does_not_matter_is_not_compared():
    one = Session("points", "Points")

    @one.exercise(minutes=1, inputs=lambda rng: (rng.normal(size=(4, 2)),), up_to=np.abs)
    def points(x):
        return x

    @points.mistake("twice as large", "Too large.")
    def _(x):
        return 2 * x

    assert check(points, lambda x: -x).status == "ok"
    assert check(points, lambda x: -2 * x).mistake == "twice as large"
    assert check(points, lambda x: x.T).text == "Return an array of shape (4, 2), not an array of shape (2, 4)."
    torch = pytest.importorskip("torch")
    assert check(points, lambda x: torch.tensor(-x, requires_grad=True)).status == "ok"
    for answer in (
        lambda x: "a",
        lambda x: {},
        lambda x: x.astype(str),
        lambda x: [[1], [2, 3]],
        lambda x: x + 1,
        lambda x: x * np.nan,
    ):
        assert check(points, answer).status == "wrong"


def test_dicts_and_lists_are_compared_part_by_part():
    right = PARTS.solution
    assert check(PARTS, right).status == "ok"
    assert check(PARTS, lambda xs: {"sums": 3}).text == "Your dict lacks the key 'all'."
    assert check(PARTS, lambda xs: right(xs) | {"b": 1}).text == "Your dict has more keys than asked for: 'b'."
    assert check(PARTS, lambda xs: right(xs) | {"all": 1}).status == "wrong"
    assert check(PARTS, lambda xs: right(xs) | {"sums": [0, 0]}).status == "wrong"
    assert check(PARTS, lambda xs: right([xs.pop(), *xs])).mistake == "changes its input"


def test_what_is_the_same():
    assert same(1, 1.0, 0) and same(np.int64(3), 3, 0) and same([1, 2], np.array([1, 2]), 0) and same(2 + 1j, 2 + 1j, 0)
    assert same("a", np.str_("a"), 0) and same(["a", 1.0], ("a", 1), 0) and same({1, 2}, {2, 1}, 0)
    assert same([np.nan, 1], [np.nan, 1], 0) and not same([1, np.nan], [np.nan, 1], 0)
    assert same([np.inf, 1], [np.inf, 1], 1e-6) and not same([np.inf, 2], [np.inf, 1], 1e-6)
    assert same(1 + 1e-7, 1.0, 1e-6) and not same(1 + 1e-5, 1.0, 1e-6) and not same(1e-3, 0.0, 1e-6)
    assert same(3e5, 300_000, 1e-4) and not same(300_001, 300_000, 1e-4)  # integers are counted
    assert not same(True, 1, 0) and not same(1, True, 0) and not same("1", 1, 0) and not same(None, 0.0, 0)
    assert not same([1, 2], [1, 2, 3], 0) and not same([[1, 2]], [1, 2], 0) and not same({"a": 1}, {"b": 1}, 0)
    assert not same([[1], [1, 2]], [1, 2], 0) and not same(object(), object(), 0) and not same(b"a", "a", 0)


def test_hidden_inputs_differ_at_each_check(capsys):
    seen = []
    checks = Checks(SESSION)
    for _ in range(2):
        checks.scale(lambda x, a: seen.append(x.copy()) or a * x.sum(0))
    assert len({x.tobytes() for x in seen}) == len(seen) == 6
    capsys.readouterr()


def test_checks_print_and_remember(capsys):
    checks = Checks(SESSION)
    assert not checks.passed("scale", "verdict")
    checks.scale(SCALE.solution)
    assert not checks.passed("scale", "verdict") and checks.passed("scale")
    checks.verdict(lambda low, high: "no")
    checks.summary()
    assert capsys.readouterr().out.splitlines() == [
        "The figure waits for: scale, verdict",
        "ok: scale",
        "The figure waits for: verdict",
        "wrong: verdict. Your function returns the same for all inputs. Compute the result from its arguments.",
        "A small session: 1 of 3 exercises are solved",
        "wrong: verdict. Your function returns the same for all inputs. Compute the result from its arguments.",
        "todo: parts",
    ]
    assert {"scale", "verdict", "parts", "passed", "summary"} == set(dir(checks))


def test_strict_checks_raise(capsys, monkeypatch):
    checks = Checks(SESSION, strict=True)
    checks.scale(SCALE.solution)
    with pytest.raises(CourseError, match="todo: scale"):
        checks.scale(None)
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(CourseError, match="wrong: scale. Use the second argument"):
        Checks(SESSION).scale(lambda x, a: x.sum(0))
    assert capsys.readouterr().out.count("scale") == 3, "what is wrong is printed before"


def test_nbgrader_sees_no_warning(capsys, monkeypatch):
    def scale(x, a):
        print("RuntimeWarning", file=sys.stderr)
        return a * x.sum(0)

    Checks(SESSION).scale(scale)
    assert "RuntimeWarning" in capsys.readouterr().err
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    Checks(SESSION).scale(scale)
    shown = capsys.readouterr()
    assert shown.err == "" and shown.out == "ok: scale\n"


def test_an_unknown_exercise_or_session_names_the_nearest():
    checks = Checks(SESSION)
    with pytest.raises(AttributeError, match="exercise of the session '.*' 'scael'. Did you mean 'scale'?"):
        checks.scael(None)
    with pytest.raises(AttributeError, match="'a'. Known: 'scale', 'verdict', 'parts'"):
        checks.passed("a")
    with pytest.raises(ValueError, match="unknown session of the course 'invariance'. Did you mean 'invariances'?"):
        course.checks("invariance")
    assert copy.copy(checks).passed("scale") is False


def test_in_a_notebook_the_parts_of_a_result_go_along(monkeypatch):
    shown = []
    import IPython.display

    monkeypatch.setattr("repsim_nb.course.checking.in_a_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda data, raw: shown.append(data))
    Checks(SESSION).scale(lambda x, a: x.sum(0))
    assert shown[0]["text/plain"] == "wrong: scale. Use the second argument."
    assert shown[0][MIME] == {"exercise": "scale", "status": "wrong", "mistake": "not scaled"}


def test_a_text_that_is_not_asked_for_is_quoted():
    one = Session("texts", "Texts")

    @one.exercise(minutes=2, inputs=lambda rng: (rng.normal(size=5),))
    def words(x):
        return ["high" if value > 0 else "low" for value in x]

    @one.exercise(minutes=2, inputs=lambda rng: (float(rng.normal()),))
    def sentence(x):
        return f"The value is {x:.2f}, which is {'high' if x > 0 else 'low'}."

    found = check(words, lambda x: ["High" if value > 0 else "low" for value in x])
    assert str(found) == "wrong: words. Your text 'High' is none of those asked for. Check how the task writes them."
    assert check(words, lambda x: np.array(words.solution(x), dtype=object)).status == "ok"  # a column of pandas
    assert check(words, lambda x: "low").text == "Return a list of 5 texts, not a text."
    assert check(words, lambda x: [bool(value > 0) for value in x]).text.startswith("Return a text, not [")
    assert check(words, lambda x: ["low" if value > 0 else "high" for value in x]).mistake == "another value"
    found = check(sentence, lambda x: f"The value is {x:.3f}, which is high.")
    assert found.mistake == "another text"
    assert re.fullmatch(r"Your text is as asked for up to '.{5,25}\.\d{1,2}', and differs after it\.", found.text)
    assert check(sentence, lambda x: sentence.solution(x) + ".").text.endswith(".', and should end there.")
    assert check(sentence, lambda x: sentence.solution(x)[:-1]).text.endswith("', and ends there.")


def test_the_course_is_reached_like_the_other_rooms():
    code = "import repsim_nb as rs; print(rs.course.checks.__module__, dir(rs.course) == sorted(rs.course.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["repsim_nb.course", "True"]
    assert "course" in rs.__all__ and rs.course is course
    with pytest.raises(AttributeError, match="unknown name in rs.course 'check'. Did you mean 'checks'"):
        rs.course.check  # noqa: B018
