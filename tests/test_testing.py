"""`testing.check_measure`: each law notices a measure that breaks it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb.measures import CKA, Measure, from_function, testing
from repsim_nb.support.errors import UndefinedError

NO_LINEAR = ("permutation", "orthogonal", "scaling", "translation")


def cka(x, y):
    return CKA()(x, y)


def made(f, **options):
    """A measure of a function, declared like CKA."""
    facts = {"kind": "similarity", "symmetric": True, "invariant_to": NO_LINEAR, "name": "mine"}
    return from_function(f, **{**facts, **options})


calls = iter(range(10**9))


def drifting(x, y):
    return cka(x, y) - 1e-6 * next(calls)


def in_order(x, y):
    return 0.5 * cka(x, y) + 0.5 * cka(x[: len(x) // 2], y[: len(y) // 2])


def first_type(x, y):
    return cka(x, y) - (0.1 if type(x).__module__.startswith("torch") else 0)


BROKEN = {
    "value": (made(drifting), "a second call gives"),
    "range": (made(lambda x, y: 3 * cka(x, y), range=(0, 1)), "is outside of 0 to 1"),
    "direction": (made(lambda x, y: 1 - cka(x, y)), "more noise is more alike"),
    "identity": (made(lambda x, y: 0.9 * cka(x, y)), "x and itself have the dissimilarity 0.1, not 0"),
    "symmetric": (made(lambda x, y: cka(x, y**3)), "declared: symmetric=True"),
    "invariant_to": (made(cka, invariant_to=("permutation", "linear")), "changed by linear, which is declared"),
    "is_metric": (made(lambda x, y: 1 - cka(x, y), kind="dissimilarity", is_metric=True), "a detour"),
    "samples": (made(in_order), "in another order"),
    "containers": (made(first_type), "tensors give"),
    "pickle": (made(lambda x, y: cka(x, y)), "cannot be sent to another process"),
}


@pytest.mark.parametrize("law", list(BROKEN))
def test_a_broken_law_is_noticed(law):
    measure, sentence = BROKEN[law]
    check = rs.testing.check_measure(measure)
    assert sentence in check.failures[law] and not check.passed


def test_what_is_not_declared_but_holds_is_noticed_too():
    check = rs.testing.check_measure(made(cka, invariant_to=("permutation", "orthogonal"), symmetric=False))
    assert check.failures["invariant_to"] == (
        "unchanged by scaling, which is not declared; unchanged by translation, which is not declared"
    )
    assert "declared: symmetric=False" in check.failures["symmetric"]
    with pytest.raises(AssertionError, match=r"13 of 15 laws hold\)\n  symmetric: .*\n  invariant_to: unchanged"):
        check.raise_failures()


@dataclass(frozen=True)
class Mine(Measure):
    """CKA with one thing wrong."""

    kind: ClassVar = "similarity"
    symmetric: ClassVar = True
    invariant_to: ClassVar = frozenset(NO_LINEAR)
    wrong: str = ""

    def prepare(self, x):
        if self.wrong == "refusals" and not np.isfinite(np.asarray(x)).all():
            x = np.nan_to_num(np.asarray(x), posinf=0.0)
        return CKA().prepare(x)

    def pair(self, a, b):
        value = CKA().pair(a, b)
        if self.wrong == "prepare and pair":
            a *= 1.01
        return value

    def permute(self, a, order):
        return CKA().permute(a, order[::-1] if self.wrong == "permute" else order)

    def check_gram_matrix(self):
        return None

    def gram_matrix(self, a):
        return CKA().gram_matrix(a) * (1.1 if self.wrong == "gram_matrix" else 1)

    def table(self, xs, ys=None, **options):
        found = super().table(xs, ys, **options)
        return replace(found, values=found.values + 0.1) if self.wrong == "table" and len(xs) > 1 else found


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("prepare and pair", "pair changes what was prepared"),
        ("permute", "reordered first"),
        ("gram_matrix", "the inner product of both matrices is"),
        ("table", "a table of one side differs from single calls by 0.1"),
        ("refusals", "NaN: the value is"),
    ],
)
def test_a_class_that_breaks_its_promise_is_noticed(wrong, sentence):
    assert rs.testing.check_measure(Mine()).passed
    assert sentence in rs.testing.check_measure(Mine(wrong)).failures[wrong]


def test_every_law_is_broken_by_one_of_these():
    by_class = {"prepare and pair", "permute", "gram_matrix", "table", "refusals"}
    assert set(testing.LAWS) == set(BROKEN) | by_class


def test_own_data_and_what_has_no_value():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 5))
    check = rs.testing.check_measure("rsa", x, x + rng.normal(size=x.shape))
    assert check.passed and "15 of 15 laws hold" in repr(check) and "15 of 15" in check._repr_html_()
    assert check.table.loc["is_metric", "found"] == "not checked: it is not declared"
    with pytest.raises(UndefinedError, match="constant"):
        rs.testing.check_measure("cka", np.ones((30, 3)), x[:30])
    with pytest.raises(ValueError, match="Did you mean 'cka'"):
        rs.testing.check_measure("ckaa")
