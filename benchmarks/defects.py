"""What is wrong or broken in other packages, each reproduced: DEFECTS is the list, `look` tries one.
tests/test_peer_defects.py shows that ours has none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

import repsim_nb as rs
from repsim_nb.measures import CKA

from .clock import told
from .peers import loader, missing, stand_in


@dataclass(frozen=True)
class Defect:
    """see() -> a sentence of what was seen; it raises AssertionError where the defect does not show."""

    peer: str
    claim: str
    see: Callable[[], str]


DEFECTS: list[Defect] = []


def defect(peer: str, claim: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    def keep(see: Callable[[], str]) -> Callable[[], str]:
        DEFECTS.append(Defect(peer, claim, see))
        return see

    return keep


def look(one: Defect) -> dict[str, Any]:
    """-> the claim, whether it showed, and what was seen."""
    row = {"peer": one.peer, "claim": one.claim}
    why = missing(one.peer)
    if why:
        return {**row, "shown": None, "seen": why}
    stand_in()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {**row, "shown": True, "seen": one.see()}
    except AssertionError as error:
        return {**row, "shown": False, "seen": str(error) or "the assertion failed"}
    except Exception as error:
        return {**row, "shown": False, "seen": f"could not be tried: {told(error)}"}


def related(n: int = 500, p: int = 64, offset: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two related float32 representations whose features have the mean `offset`."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, p))
    falling = np.arange(1, p + 1) ** -0.5 * 0.1
    return tuple(((shared + rng.normal(size=(n, p))) * falling + offset).astype(np.float32) for _ in range(2))


def build_model(seed: int = 0, *, inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(20, 32), nn.ReLU(inplace), nn.Linear(32, 16), nn.ReLU(inplace), nn.Linear(16, 8)
    ).eval()


def inputs(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 20, generator=torch.Generator().manual_seed(seed))


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) for m in model.modules())


def true_minibatch(a: nn.Module, b: nn.Module, layer: str, x: torch.Tensor, batch: int) -> float:
    recorded = [
        rs.record(rs.load_model(m, name=n), x, [layer], batch_size=batch, progress=False)[layer]
        for n, m in (("a", a), ("b", b))
    ]
    return CKA(batch_size=batch)(*recorded)


# -- values


@defect(
    "pytorch-cka", "float32 features are not centred: a mean offset destroys the value, and a clamp to [0, 1] hides it"
)
def _not_centred() -> str:
    from cka import cka_from_features

    x, y = related(offset=10.0)
    true = rs.measures.get("cka_debiased")(x.astype(float), y.astype(float))
    got = float(cka_from_features(torch.from_numpy(x), torch.from_numpy(y)))
    assert abs(got - true) > 0.05, f"value {got:.4f}, true {true:.4f}"
    return f"value {got:.3f}, true {true:.3f}, at a mean offset of 10"


@defect("shesha-geometry", "debiased CKA of independent noise is the biased value: diagonals stay in its products")
def _still_biased() -> str:
    from shesha.sim import cka_debiased

    x, y = np.random.default_rng(0).normal(size=(2, 50, 512))
    got, true, biased = float(cka_debiased(x, y)), rs.measures.get("cka_debiased")(x, y), rs.measures.get("cka")(x, y)
    assert got > 0.5, f"value {got:.4f}, true {true:.4f}"
    return f"value {got:.3f} for independent sides, (50, 512); debiased {true:.3f}, biased {biased:.3f}"


@defect("pytorch-cka", "values are clamped to [0, 1], so a debiased CKA below 0 comes out as 0")
def _clamped() -> str:
    from cka import cka_from_features

    for seed in range(50):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2, 60, 40))
        true = rs.measures.get("cka_debiased")(x, y)
        if true < -0.01:
            got = float(cka_from_features(torch.from_numpy(x), torch.from_numpy(y)))
            assert got == 0, f"value {got:.4f}, true {true:.4f}"
            return f"value {got:.3f}, true {true:.3f}, for independent noise"
    raise AssertionError("no noise with a value below 0 was found")


@defect("ultimate-anatome", "debiased CKA(X, X) is not 1")
def _debiased_self() -> str:
    from anatome.similarity import linear_cka_distance

    x = torch.from_numpy(related()[0]).double()
    got = 1 - float(linear_cka_distance(x, x, reduce_bias=True))
    assert abs(got - 1) > 1e-3, f"CKA(X, X) = {got:.6f}"
    return f"CKA(X, X) = {got:.3g}"


@defect(
    "ultimate-anatome",
    "SVCCA's cut is taken of the singular values, not of their squares, and before centring: a mean offset makes it"
    " drop most components",
)
def _svcca_cut() -> str:
    from anatome.similarity import _svd_reduction

    x = related(offset=10.0)[0].astype(float)
    share = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2
    true = int(np.searchsorted(np.cumsum(share) / share.sum(), 0.99)) + 1
    kept = _svd_reduction(torch.from_numpy(x), 0.99).shape[1]
    assert kept < true / 2, f"{kept} components kept, {true} hold 99 % of the variance"
    return f"{kept} components kept, where {true} hold 99 % of the variance, at a mean offset of 10"


@defect(
    "ultimate-anatome",
    "the second of its PWCCA functions, not the one used by default, takes its weights from the uncentred side and does"
    " not project the activations",
)
def _pwcca_weights() -> str:
    from anatome.similarity import _pwcca_distance2

    x, y = (v.astype(float) for v in related(offset=3.0))
    y = y[:, :20] @ np.diag(np.geomspace(1, 0.01, 20))
    true = rs.measures.get("pwcca")(x, y)
    got = 1 - float(_pwcca_distance2(torch.from_numpy(x), torch.from_numpy(y), backend="svd"))
    assert abs(got - true) > 5e-3, f"value {got:.4f}, true {true:.4f}"
    return f"value {got:.3f}, true {true:.3f}"


@defect("ultimate-anatome", "its default PWCCA does not run with a present torch")
def _pwcca_runs() -> str:
    from anatome.similarity import pwcca_distance_choose_best_layer_matrix

    try:
        value = pwcca_distance_choose_best_layer_matrix(*map(torch.from_numpy, related()), backend="svd")
    except TypeError as error:
        return told(error)
    raise AssertionError(f"value {1 - float(value):.4f}")


@defect(
    "ultimate-anatome", "its older module cannot compute CCA or CKA at all (an `assert False` in the normalisation)"
)
def _assert_false() -> str:
    from anatome._distance import linear_cka_distance

    x = torch.from_numpy(related()[0])
    try:
        linear_cka_distance(x, x, reduce_bias=False)
    except AssertionError:
        return "AssertionError from anatome._distance.linear_cka_distance"
    raise AssertionError("a value came out")


@defect("cka-pytorch", "a constant 1e-4 under the root: where activations are small, self-similarity falls far below 1")
def _epsilon() -> str:
    from cka_pytorch import CKACalculator

    model = build_model()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.5)
    made = CKACalculator(model, model, model1_layers=["4"], model2_layers=["4"], verbose=False)
    got = float(made.calculate_cka_matrix(loader(inputs(256), 64), num_epochs=1)[0, 0])
    assert got < 0.99, f"CKA(X, X) = {got:.4f}"
    return f"CKA(X, X) = {got:.3g}"


# -- models


def _self_and_true(run: Callable[[nn.Module, nn.Module, torch.Tensor], float]) -> tuple[float, float]:
    x = inputs(256)
    got = run(build_model(0, inplace=True), build_model(1, inplace=True), x)
    return got, true_minibatch(build_model(0), build_model(1), "0", x, 64)


def _inplace(run: Callable[[nn.Module, nn.Module, torch.Tensor], float]) -> str:
    got, true = _self_and_true(run)
    assert abs(got - true) > 0.01, f"value {got:.4f}, true {true:.4f}"
    return f"CKA of the layer before the ReLU {got:.3f}, true {true:.3f}"


@defect("pytorch-cka", "hooks see the output of a following in-place ReLU")
def _inplace_pytorch_cka() -> str:
    from cka import compute_cka

    return _inplace(
        lambda a, b, x: float(compute_cka(a, b, loader(x, 64), layers=["0"], device="cpu", progress=False)[0][0, 0])
    )


@defect("torch-cka", "hooks see the output of a following in-place ReLU")
def _inplace_torch_cka() -> str:
    return _inplace(lambda a, b, x: _torch_cka(a, b, loader(x, 64)))


def _torch_cka(a: nn.Module, b: nn.Module, images: Any, layer: str = "0") -> float:
    from torch_cka import CKA as TorchCKA

    made = TorchCKA(a, b, "a", "b", [layer], [layer])
    with torch.inference_mode():
        made.compare(images)
    return float(made.hsic_matrix[0, 0])


def _cka_pytorch(a: nn.Module, b: nn.Module, images: Any, layer: str = "0") -> float:
    from cka_pytorch import CKACalculator

    return float(
        CKACalculator(a, b, model1_layers=[layer], model2_layers=[layer], verbose=False).calculate_cka_matrix(
            images, num_epochs=1, epsilon=0.0
        )[0, 0]
    )


def _pytorch_cka(a: nn.Module, b: nn.Module, images: Any, layer: str = "0") -> float:
    from cka import compute_cka

    return float(compute_cka(a, b, images, layers=[layer], device="cpu", progress=False)[0][0, 0])


def _last_batch(run: Callable[..., float]) -> str:
    """256 inputs with and without 4 more of the same kind, whose batch is one of five: the value should hardly move.

    The worst of five draws.
    """
    moved = []
    for seed in range(1, 6):
        x = torch.cat([inputs(256), inputs(4, seed)])
        moved.append(
            (
                abs(
                    run(build_model(0), build_model(1), loader(x, 64))
                    - run(build_model(0), build_model(1), loader(x[:256], 64))
                ),
                abs(
                    true_minibatch(build_model(0), build_model(1), "0", x, 64)
                    - true_minibatch(build_model(0), build_model(1), "0", x[:256], 64)
                ),
            )
        )
    theirs, ours = max(moved)
    assert theirs > 0.03 and theirs > 3 * ours, f"moves by {theirs:.4f} at most, ours by {ours:.4f}"
    return f"4 more samples move the value by {theirs:.3f} (ours by {ours:.3f})"


@defect("pytorch-cka", "a last batch of 4 rows counts as much as a full one")
def _last_pytorch_cka() -> str:
    return _last_batch(_pytorch_cka)


@defect("torch-cka", "a last batch of 4 rows counts as much as a full one")
def _last_torch_cka() -> str:
    return _last_batch(_torch_cka)


@defect("cka-pytorch", "a last batch of 4 rows counts as much as a full one")
def _last_cka_pytorch() -> str:
    return _last_batch(_cka_pytorch)


def _tiny_batch(run: Callable[..., float]) -> str:
    seen = {}
    for extra in (1, 2, 3):
        try:
            value = run(build_model(0), build_model(1), loader(inputs(128 + extra), 64))
            seen[extra] = "NaN" if np.isnan(value) else f"value {value:.3f}"
        except Exception as error:
            seen[extra] = told(error)
    assert any(not s.startswith("value") for s in seen.values()), f"values came out: {seen}"
    return "; ".join(f"{extra} row{'s' * (extra > 1)}: {s}" for extra, s in seen.items())


@defect("pytorch-cka", "a last batch of 1 to 3 rows ends the run")
def _tiny_pytorch_cka() -> str:
    return _tiny_batch(_pytorch_cka)


@defect("torch-cka", "a last batch of 1 to 3 rows ends the run")
def _tiny_torch_cka() -> str:
    return _tiny_batch(_torch_cka)


@defect("cka-pytorch", "a last batch of 1 to 3 rows makes NaN or worse of the value")
def _tiny_cka_pytorch() -> str:
    return _tiny_batch(_cka_pytorch)


@defect(
    "torch-cka",
    "a loader that shuffles gives each side other samples: the CKA of a model with itself is about 0, without a warning"
    " that says so",
)
def _shuffled() -> str:
    torch.manual_seed(0)
    model = build_model(0)
    got = _torch_cka(model, build_model(0), loader(inputs(512), 64, shuffle=True))
    assert got < 0.5, f"value {got:.4f}"
    return f"the CKA of a model with itself is {got:.3f}"


def _left_on(make: Callable[[nn.Module], Any]) -> str:
    model = build_model(0)
    make(model)
    left = hooks(model)
    assert left > 0, "no hook is left"
    return f"{left} hook{'s' * (left > 1)} left on the model afterwards"


@defect("torch-cka", "hooks stay on the model")
def _hooks_torch_cka() -> str:
    return _left_on(lambda model: _torch_cka(model, build_model(1), loader(inputs(64), 64)))


@defect("cka-pytorch", "hooks stay on the model until reset() is called by hand")
def _hooks_cka_pytorch() -> str:
    return _left_on(lambda model: _cka_pytorch(model, build_model(1), loader(inputs(64), 64)))


@defect("ckatorch", "hooks stay on the model")
def _hooks_ckatorch() -> str:
    from ckatorch import CKA as CKATorch

    return _left_on(lambda model: CKATorch(model, build_model(1), layers=["0"]))


@defect("ultimate-anatome", "hooks stay on the model")
def _hooks_anatome() -> str:
    from anatome.similarity import SimilarityHook

    return _left_on(lambda model: SimilarityHook(model, "0", "lincka"))


class Tapped(nn.Module):
    """A model whose hidden layer comes out as (1, n, p), the only shape that ckatorch reads."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer, self.tap = nn.Linear(20, 32), Lift()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tap(self.layer(x))


class Lift(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.unsqueeze(0)


def _ckatorch(x: torch.Tensor, layer: str) -> float:
    from ckatorch import CKA as CKATorch
    from torch.utils.data import DataLoader, TensorDataset

    return float(
        CKATorch(Tapped(0), Tapped(1), layers=[layer], first_name="a", second_name="b")(
            DataLoader(TensorDataset(x), batch_size=64), epochs=1
        )[0, 0]
    )


@defect("ckatorch", "only the last batch counts")
def _last_only() -> str:
    x = inputs(256)
    whole, last = _ckatorch(x, "tap"), _ckatorch(x[192:], "tap")
    assert abs(whole - last) < 1e-6, f"value of all {whole:.4f}, of the last batch {last:.4f}"
    return f"value of four batches {whole:.4f} = value of the last one alone {last:.4f}"


@defect("ckatorch", "a layer that puts out (n, p) cannot be compared")
def _two_axes() -> str:
    try:
        value = _ckatorch(inputs(256), "layer")
    except Exception as error:
        return told(error)
    raise AssertionError(f"value {value:.4f}")


@defect("ultimate-anatome", "cannot be imported as installed: it needs uutils, which it does not declare")
def _undeclared() -> str:
    from importlib.metadata import requires

    declared = requires("ultimate-anatome") or []
    assert not any("uutils" in line or "ultimate-utils" in line for line in declared), f"declared: {declared}"
    return f"declares {', '.join(line.split(' ')[0] for line in declared)}; anatome.similarity imports uutils"


@defect("deep-reps", "its partial whitening shape metric calls a function that it does not import")
def _() -> str:
    from deep_reps.alignment_measures import partial_whitening_shape_metric

    try:
        partial_whitening_shape_metric(*(torch.from_numpy(side).float() for side in related(50, 4)))
    except NameError as error:
        return told(error)
    raise AssertionError("it ran")


@defect(
    "deep-reps",
    "its eigenspace overlap counts the eigenvectors of the eigenvalue 0, and so is near 1 for unrelated data",
)
def _() -> str:
    from deep_reps.rsm_measures import eigenspace_overlap_score

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40, 4))
    value, ours = (
        eigenspace_overlap_score(*(torch.from_numpy(side) for side in (x, y))),
        rs.measures.get("eigenspace_overlap")(x, y),
    )
    assert value > 0.5 > ours, f"value {value:.3f}"
    return f"value {value:.3f} for unrelated data, (40, 4); of the two subspaces {ours:.3f}"


@defect(
    "dsa-metric", "subspace angles of any two matrices of full size are 0, since the whole basis of each is compared"
)
def _() -> str:
    from DSA.simdist import compute_subspace_angles

    x, y = np.random.default_rng(0).normal(size=(2, 20, 3))
    angles = compute_subspace_angles(x @ x.T, y @ y.T)
    assert float(np.max(angles)) < 1e-6, f"largest angle {np.max(angles):.3f}"
    return f"largest angle {np.max(angles):.0e} between two unrelated subspaces of 3 of 20 dimensions"
