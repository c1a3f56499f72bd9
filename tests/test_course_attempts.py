"""Right answers that are written in another way, and wrong ones that could pass by chance."""

import itertools
import math

import numpy as np
import pytest

from repsim_nb.course import load_session


def found(session, exercise, answer, times=20):
    """What the check says, in so many calls."""
    one, rng = load_session(session).exercises[exercise], np.random.default_rng(0)
    return {(feedback.status, feedback.mistake) for feedback in (one.check(answer, rng) for _ in range(times))}


def in_float32(session, exercise):
    """The solution, with arrays of half the precision."""
    solution = load_session(session).exercises[exercise].solution
    return lambda *given: solution(*[x.astype("float32") if isinstance(x, np.ndarray) else x for x in given])


def exact_quantile(value, left_out):
    """The 95 % interval with 1.95996... in place of 1.96."""
    n, quantile = len(left_out), 1.959963984540054
    half = quantile * math.sqrt((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2))
    return value - half, value + half


def objects(low, high, threshold):
    texts = ["yes" if a > threshold else "no" if b < threshold else "undecided" for a, b in zip(low, high, strict=True)]
    return np.array(texts, dtype=object)


RIGHT = {
    ("trust", "jackknife_interval"): exact_quantile,
    ("trust", "verdicts"): objects,
    **{
        place: in_float32(*place)
        for place in (
            ("invariances", "hsic_debiased"),
            ("invariances", "procrustes"),
            ("misleading", "debiased_cka"),
            ("brains", "partial_correlation"),
            ("project", "group_difference"),
        )
    },
}


@pytest.mark.parametrize(("session", "exercise"), RIGHT)
def test_a_right_answer_is_never_refused(session, exercise):
    assert found(session, exercise, RIGHT[session, exercise]) == {("ok", "")}


def positive_only(observed, null):
    return max(0, (observed - np.quantile(null, 0.95)) / (1 - np.quantile(null, 0.95)))


def at_most_two(d, k):
    return load_session("maps").exercises["mds"].solution(d, 2)


def farthest_kept(d, points, k):
    on_map = np.linalg.norm(points[:, None] - points, axis=2)
    pairs = zip(np.argsort(-d, axis=1)[:, :k], np.argsort(-on_map, axis=1)[:, :k], strict=True)
    return np.mean([len(set(a) & set(b)) / k for a, b in pairs])


def every_number(trials, conditions):
    return 1 - np.corrcoef([trials[conditions == k].mean(0) for k in range(max(conditions) + 1)])


def three_units(similarity, unit):
    counted = ~np.eye(len(unit), dtype=bool)
    pairs = itertools.product(range(3), repeat=2)
    return np.reshape([similarity[np.outer(unit == a, unit == b) & counted].mean() for a, b in pairs], (3, 3))


def three_groups(x, y, groups):
    x, y = x.copy(), y.copy()
    for k, side in itertools.product(range(3), (x, y)):
        side[groups == k] -= side[groups == k].mean(0)
    return load_session("invariances").exercises["linear_cka"].solution(x, y)


def four_in_place_of_two(alpha):
    return next(m for m in range(1, 30) if 4 / math.comb(2 * m, m) <= alpha)


def without_a_sign(similarity, group):
    return abs(load_session("project").exercises["group_difference"].solution(similarity, group))


WRONG = {
    ("representations", "constant_features"): lambda x: np.mean(np.ptp(x, axis=0) > 0),
    ("maps", "mds"): at_most_two,
    ("maps", "kept_neighbours"): farthest_kept,
    ("trust", "chance_corrected"): positive_only,
    ("misleading", "within_group_cka"): three_groups,
    ("brains", "rdm_of_conditions"): every_number,
    ("project", "mean_over_units"): three_units,
    ("project", "units_needed"): four_in_place_of_two,
    ("project", "group_difference"): without_a_sign,
}


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")
@pytest.mark.parametrize(("session", "exercise"), WRONG)
def test_a_wrong_answer_never_passes_by_chance(session, exercise):
    assert {status for status, _ in found(session, exercise, WRONG[session, exercise])} == {"wrong"}


def test_a_hook_that_stays_in_the_module_is_noticed():
    torch = pytest.importorskip("torch")

    def capture(module, layer, batches):
        outputs = []
        module.get_submodule(layer).register_forward_hook(lambda _, inputs, output: outputs.append(output.clone()))
        module.eval()
        with torch.no_grad():
            for batch in batches:
                module(batch)
        return torch.cat(outputs).flatten(1).numpy()

    assert found("representations", "capture", capture, 1) == {("wrong", "something is left")}
