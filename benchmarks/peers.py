"""The other packages, each behind a small adapter: which kind of work it does, and how it is called as its own
documentation does.

Some import things that the measured computation never uses (torchvision, TensorFlow, lightning, uutils, mne, numba).
Those packages are entered past their `__init__`, and what is still missing is stood in for by an empty name, here and
nowhere else; RESULTS.md says so.
"""

from __future__ import annotations

import logging
import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from repsim_nb.measures import CKA, Measure

from .data import LAYERS

# distribution -> (its version, its module)
PEERS = {
    "pytorch-cka": ("1.1.3", "cka"),
    "ckatorch": ("1.0.3", "ckatorch"),
    "cka-pytorch": ("1.1.3", "cka_pytorch"),
    "torch-cka": ("0.21", "torch_cka"),
    "thingsvision": ("2.7.3", "thingsvision"),
    "rsatoolbox": ("0.3.2", "rsatoolbox"),
    "mne-rsa": ("1.0", "mne_rsa"),
    "ultimate-anatome": ("0.1.1", "anatome"),
    "shesha-geometry": ("0.3.0", "shesha"),
    "scikit-learn": ("1.9.1", "sklearn"),
    "deep-reps": ("0.0.6", "deep_reps"),
    "POT": ("0.9.7.post1", "ot"),
    "qc-procrustes": ("1.1.3", "procrustes"),
    "scipy": ("1.17.1", "scipy"),
    "dimensionality": ("0.1.4", "dimensionality"),
    "dsa-metric": ("2.0.2", "DSA"),
}
NO_PACKAGES = ("forward passes alone", "record, then compare")  # what stands next to packages for comparison
PAST_INIT = (
    "thingsvision",
    "mne_rsa",
    "anatome",
    "deep_reps",
    "DSA",
)  # entered past their __init__, which imports much that is not measured here
STAND_INS = {
    "cka-pytorch": "lightning (a class of it is named in an isinstance)",
    "thingsvision": (
        "its `__init__` (TensorFlow, torchvision, timm …), torchtyping (annotations), numba (a kernel that is not used"
        " here)"
    ),
    "mne-rsa": "its `__init__` (mne, nibabel, PyVista), mne's logger",
    "deep-reps": "its `__init__` (open_clip, imported without being declared: as installed, it cannot be imported)",
    "dsa-metric": "its `__init__` (pydmd, omegaconf, optht, derivative)",
    "ultimate-anatome": (
        "its `__init__` (torchvision), uutils (which it imports without declaring it: as installed, it cannot be"
        " imported)"
    ),
}


def missing(peer: str) -> str | None:
    """Why a peer cannot be measured here; None if it can."""
    if peer in NO_PACKAGES:
        return None
    pinned, module = PEERS[peer]
    try:
        found = version(peer)
    except PackageNotFoundError:
        return f"{peer} {pinned} is not installed; make bench installs it"
    if found != pinned:
        return f"{peer} {pinned} is what the adapter was written for; {found} is installed"
    return None if find_spec(module) else f"{peer} is installed without its module {module}"


def stand_in() -> None:
    """Put the missing names in place. Called before a peer is imported; does nothing twice."""

    def empty(name: str, **names: Any) -> None:
        if name not in sys.modules and find_spec_or_none(name) is None:
            module = types.ModuleType(name)
            module.__dict__.update({"__path__": [], **names})
            sys.modules[name] = module
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)

    for name in PAST_INIT:
        spec = find_spec_or_none(name)
        if spec is not None and name not in sys.modules:
            module = types.ModuleType(name)
            module.__path__, module.__spec__ = list(spec.submodule_search_locations or []), spec
            sys.modules[name] = module
    (
        empty("lightning"),
        empty("lightning.fabric"),
        empty("lightning.fabric.wrappers", _FabricModule=type("_FabricModule", (), {})),
    )
    empty("torchtyping", TensorType=type("TensorType", (), {"__class_getitem__": classmethod(lambda cls, _: cls)}))
    empty("numba", njit=lambda **_: lambda f: f, prange=range)
    empty("mne"), empty("mne.utils", logger=logging.getLogger("mne"))
    empty("uutils"), empty("uutils.torch_uu")


def find_spec_or_none(name: str) -> Any:
    try:
        return find_spec(name)
    except (ImportError, ValueError):  # a parent is absent, or is itself a stand-in
        return None


# -- adapters


@dataclass(frozen=True)
class Adapter:
    """One peer doing one kind of work.

    load() -> a function. by "pair": f(x, y) -> float; by "table": f(xs, ys or None) -> (len, len); by "models": f(a,
    b, pictures, batch size).
    comparable: whether the value should be ours; same_as: our measure that it should equal where that is not the row's
    own.
    """

    peer: str
    kind: str
    load: Callable[[], Callable[..., Any]]
    by: Literal["pair", "table", "models"] = "pair"
    takes: Literal["torch", "numpy"] = "torch"
    comparable: bool = True
    same_as: Measure | None = None
    note: str = ""


ADAPTERS: dict[tuple[str, str], Adapter] = {}


def adapter(
    peer: str, kind: str, **facts: Any
) -> Callable[[Callable[[], Callable[..., Any]]], Callable[[], Callable[..., Any]]]:
    def keep(load: Callable[[], Callable[..., Any]]) -> Callable[[], Callable[..., Any]]:
        def entered() -> Callable[..., Any]:
            stand_in()
            warnings.simplefilter("ignore")
            return load()

        ADAPTERS[peer, kind] = Adapter(peer, kind, entered, **facts)
        return load

    return keep


@adapter(
    "pytorch-cka",
    "cka",
    by="table",
    comparable=False,
    note="has the debiased estimator only, so its values are compared in the debiased rows",
)
@adapter("pytorch-cka", "cka_debiased", by="table")
def _pytorch_cka():
    from cka import cka_from_features

    return lambda xs, ys=None: cka_from_features(xs, xs if ys is None else ys).double().numpy()


@adapter("ckatorch", "cka")
def _ckatorch():
    from ckatorch import cka_base

    return lambda x, y: float(cka_base(x, y))


@adapter("ckatorch", "cka_debiased")
def _ckatorch_debiased():
    from ckatorch import cka_base

    return lambda x, y: float(cka_base(x, y, unbiased=True))


@adapter("ckatorch", "cka_rbf")
def _ckatorch_rbf():
    from ckatorch import cka_base

    return lambda x, y: float(cka_base(x, y, kernel="rbf"))


@adapter("shesha-geometry", "cka", takes="numpy")
def _shesha():
    from shesha.sim import cka_linear

    return lambda x, y: float(cka_linear(x, y))


@adapter("scikit-learn", "linear_predictivity", takes="numpy", note="LinearRegression, fitted for each fold and pair")
def _regressions():
    from sklearn.linear_model import LinearRegression

    def held_out(x: np.ndarray, y: np.ndarray) -> float:
        fold, missed, total = np.arange(len(x)) % 5, 0.0, 0.0
        for i in range(5):
            fitted, tested = fold != i, fold == i
            predicted = LinearRegression().fit(x[fitted], y[fitted]).predict(x[tested])
            missed += ((y[tested] - predicted) ** 2).sum()
            total += ((y[tested] - y[fitted].mean(0)) ** 2).sum()
        return float(1 - missed / total)

    return held_out


def _things(**options: Any) -> Callable[..., float]:
    from thingsvision.core.cka import get_cka

    return lambda x, y: float(get_cka(backend="torch", device="cpu", m=len(x), **options).compare(x, y))


@adapter("thingsvision", "cka")
def _thingsvision():
    return _things(kernel="linear")


@adapter("thingsvision", "cka_debiased")
def _thingsvision_debiased():
    return _things(kernel="linear", unbiased=True)


@adapter(
    "thingsvision",
    "cka_rbf",
    same_as=CKA(kernel="rbf", median="off_diagonal"),
    note="median without the diagonal; compared with ours set the same",
)
def _thingsvision_rbf():
    return _things(kernel="rbf", sigma=None)


@adapter("ultimate-anatome", "cka")
def _anatome():
    from anatome.similarity import linear_cka_distance

    return lambda x, y: 1 - float(linear_cka_distance(x, y, reduce_bias=False))


@adapter(
    "ultimate-anatome",
    "cka_debiased",
    comparable=False,
    note="wrong: its debiased CKA(X, X) is not 1 (a square root is missing)",
)
def _anatome_debiased():
    from anatome.similarity import linear_cka_distance

    return lambda x, y: 1 - float(linear_cka_distance(x, y, reduce_bias=True))


@adapter("ultimate-anatome", "procrustes", note="returns half of our squared form; doubled before comparing")
def _anatome_procrustes():
    from anatome.similarity import orthogonal_procrustes_distance

    return lambda x, y: 2 * float(orthogonal_procrustes_distance(x, y))


@adapter(
    "ultimate-anatome",
    "svcca",
    comparable=False,
    note="another cut: 99 % of the sum of the singular values, before centring, not of the variance",
)
def _anatome_svcca():
    from anatome.similarity import svcca_distance

    return lambda x, y: 1 - float(svcca_distance(x, y, accept_rate=0.99, backend="svd"))


@adapter(
    "ultimate-anatome",
    "pwcca",
    note="as it is: TypeError, torch.linalg.qr no longer has the argument `input`; the name was mended to measure it",
)
def _anatome_pwcca():
    from anatome.similarity import pwcca_distance_choose_best_layer_matrix

    qr = torch.linalg.qr
    torch.linalg.qr = lambda A=None, *, input=None: qr(A if input is None else input)
    return lambda x, y: 1 - float(pwcca_distance_choose_best_layer_matrix(x, y, backend="svd", use_layer_matrix="x"))


def _rsatoolbox(second: str) -> Callable[..., np.ndarray]:
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    def table(xs, ys=None):
        left = calc_rdm([Dataset(x) for x in xs], method="correlation")
        return compare(
            left, left if ys is None else calc_rdm([Dataset(y) for y in ys], method="correlation"), method=second
        )

    return table


@adapter("rsatoolbox", "rsa", by="table", takes="numpy")
def _rsatoolbox_spearman():
    return _rsatoolbox("spearman")


@adapter("rsatoolbox", "rsa_pearson", by="table", takes="numpy")
def _rsatoolbox_pearson():
    return _rsatoolbox("corr")


def _mne_rsa(second: str) -> Callable[..., np.ndarray]:
    from mne_rsa.rdm import compute_rdm
    from mne_rsa.rsa import rsa

    def table(xs, ys=None):
        left = [compute_rdm(x, "correlation") for x in xs]
        values = np.eye(len(left))
        for i in range(len(left) - 1):
            values[i, i + 1 :] = rsa(left[i], left[i + 1 :], metric=second)
        return values + np.triu(values, 1).T

    return table


@adapter("mne-rsa", "rsa", by="table", takes="numpy")
def _mne_spearman():
    return _mne_rsa("spearman")


@adapter("mne-rsa", "rsa_pearson", by="table", takes="numpy")
def _mne_pearson():
    return _mne_rsa("pearson")


def _things_rsa(second: str) -> Callable[..., np.ndarray]:
    from thingsvision.core.rsa import compute_rdm, correlate_rdms

    def table(xs, ys=None):
        left = [compute_rdm(x, "correlation") for x in xs]
        values = np.eye(len(left))
        for i, j in zip(*np.triu_indices(len(left), 1), strict=True):
            values[i, j] = values[j, i] = correlate_rdms(left[i], left[j], correlation=second)
        return values

    return table


@adapter("thingsvision", "rsa", by="table", takes="numpy")
def _things_spearman():
    return _things_rsa("spearman")


@adapter("thingsvision", "rsa_pearson", by="table", takes="numpy")
def _things_pearson():
    return _things_rsa("pearson")


# -- measures for special questions


def _of_values(method: str, first: str) -> Callable[..., np.ndarray]:
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    def table(xs, ys=None):
        rdms = calc_rdm([Dataset(x) for x in xs], method=first)
        return compare(rdms, rdms, method=method)

    return table


@adapter("rsatoolbox", "rho_a", by="table", takes="numpy")
def _rsatoolbox_rho_a():
    return _of_values("rho-a", "correlation")


@adapter("rsatoolbox", "tau_a", by="table", takes="numpy")
def _rsatoolbox_tau_a():
    return _of_values("tau-a", "correlation")


@adapter("rsatoolbox", "whitened_cosine", by="table", takes="numpy")
def _rsatoolbox_whitened_cosine():
    return _of_values("cosine_cov", "euclidean")  # squared distances


@adapter("rsatoolbox", "whitened_pearson", by="table", takes="numpy")
def _rsatoolbox_whitened_pearson():
    return _of_values("corr_cov", "euclidean")


@adapter("rsatoolbox", "crossnobis", by="table", takes="numpy")
def _rsatoolbox_crossnobis():
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    def distances(x):
        repeats, n, p = x.shape
        labels = {"condition": list(range(n)) * repeats, "repeat": np.repeat(range(repeats), n)}
        data = Dataset(x.reshape(-1, p), obs_descriptors=labels)
        return calc_rdm(data, method="crossnobis", descriptor="condition", cv_descriptor="repeat").get_matrices()[0]

    return lambda xs, ys=None: np.stack([distances(x) for x in xs])


@adapter("dimensionality", "participation", by="table", takes="numpy")
def _dimensionality():
    from dimensionality import participation_ratio

    return lambda xs, ys=None: np.array([participation_ratio(x) for x in xs])


@adapter("qc-procrustes", "permutation_procrustes", takes="numpy")
def _qc_procrustes():
    from procrustes import permutation

    return lambda x, y: float(permutation(x, y, translate=True, scale=True).error)


def _correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.corrcoef(x, y, rowvar=False)[: x.shape[1], x.shape[1] :]


@adapter("scipy", "hard_correlation_match", takes="numpy", note="`corrcoef` of NumPy and `linear_sum_assignment`")
def _scipy_match():
    from scipy.optimize import linear_sum_assignment

    def matched(x, y):
        found = _correlations(x, y)
        return float(found[linear_sum_assignment(found, maximize=True)].mean())

    return matched


def _moved(costs: np.ndarray) -> float:
    from ot import emd2

    p, q = costs.shape
    return float(emd2(np.full(p, 1 / p), np.full(q, 1 / q), costs, numItermax=10**7))


@adapter("POT", "soft_matching", takes="numpy", note="`emd2` of the squared distances of units")
def _pot_soft():
    def prepared(x):
        x = x.astype(float) - x.mean(0, dtype=float)
        return x / np.linalg.norm(x)

    def moved(x, y):
        x, y = prepared(x), prepared(y)
        return _moved((x * x).sum(0)[:, None] + (y * y).sum(0) - 2 * x.T @ y)

    return moved


@adapter("POT", "partial_soft_matching", takes="numpy", note="`emd2` of costs that end at the price")
def _pot_partial():
    return lambda x, y: _moved(np.minimum(1 - _correlations(x, y), 0.5))


@adapter("deep-reps", "aligned_cosine")
def _deep_aligned():
    from deep_reps.alignment_measures import aligned_cosine_similarity

    return aligned_cosine_similarity


@adapter("deep-reps", "size_and_shape", note="does not centre; centred before comparing")
def _deep_procrustes():
    from deep_reps.alignment_measures import orthogonal_procrustes

    return lambda x, y: orthogonal_procrustes(x - x.mean(0), y - y.mean(0))


@adapter("deep-reps", "whitened_shape", comparable=False, note="it does not run: a name is not imported")
def _deep_whitened():
    from deep_reps.alignment_measures import partial_whitening_shape_metric

    return partial_whitening_shape_metric


@adapter(
    "deep-reps",
    "soft_correlation_match",
    comparable=False,
    note="another function: partners by covariance, of one side only",
)
def _deep_match():
    from deep_reps.alignment_measures import correlation_match

    return correlation_match


@adapter("deep-reps", "rsm_norm_difference", note="each pair of samples twice; divided by √2 before comparing")
def _deep_norm():
    from deep_reps.rsm_measures import rsm_norm_difference
    from deep_reps.similarity_functions import euclidean_distance

    return lambda x, y: rsm_norm_difference(x, y, euclidean_distance) / 2**0.5


@adapter(
    "deep-reps",
    "eigenspace_overlap",
    comparable=False,
    note="another function: all eigenvectors, those of the eigenvalue 0 too",
)
def _deep_overlap():
    from deep_reps.rsm_measures import eigenspace_overlap_score

    return eigenspace_overlap_score


def _deep_neighbours(name: str) -> Callable[..., float]:
    import deep_reps
    from deep_reps.utils import get_knn_indices_and_ranks

    deep_reps.get_knn_indices_and_ranks = get_knn_indices_and_ranks  # what its __init__ does
    from deep_reps import neighbors_measures

    return lambda x, y: getattr(neighbors_measures, name)(x, y, 10)


@adapter(
    "deep-reps",
    "rank_similarity",
    comparable=False,
    note="another function: divided by the sum of 1 / rank over all neighbours, not over those in common",
)
def _deep_ranks():
    return _deep_neighbours("rank_similarity")


@adapter(
    "deep-reps",
    "second_order_cosine",
    comparable=False,
    note="another function: the cosine of the activations of the neighbours, each side's own, in a row",
)
def _deep_second_order():
    return _deep_neighbours("second_order_cosine_similarity")


# -- two models, forward passes included


def loader(pictures: torch.Tensor, batch: int, **options: Any) -> DataLoader:
    return DataLoader(TensorDataset(pictures, torch.zeros(len(pictures))), batch_size=batch, **options)


@adapter("pytorch-cka", "models", by="models")
def _pytorch_cka_models():
    from cka import compute_cka

    return lambda a, b, x, batch: (
        compute_cka(a, b, loader(x, batch), layers=LAYERS, device="cpu", progress=False)[0].double().numpy()
    )


@adapter("torch-cka", "models", by="models")
def _torch_cka_models():
    from torch_cka import CKA as TorchCKA

    def run(a, b, x, batch):
        made = TorchCKA(a, b, "a", "b", LAYERS, LAYERS, device="cpu")
        with torch.inference_mode():
            made.compare(loader(x, batch))
        return made.hsic_matrix.double().numpy()

    return run


@adapter(
    "cka-pytorch",
    "models",
    by="models",
    note="as it is, adds 1e-4 under the root of the denominator; set to 0 here, so that values can be compared",
)
def _cka_pytorch_models():
    from cka_pytorch import CKACalculator

    def run(a, b, x, batch):
        made = CKACalculator(a, b, model1_layers=LAYERS, model2_layers=LAYERS, hook_recursive=False, verbose=False)
        return made.calculate_cka_matrix(loader(x, batch), num_epochs=1, epsilon=0.0).double().numpy()

    return run


@adapter(
    "ckatorch",
    "models",
    by="models",
    comparable=False,
    note=(
        "reads (1, n, p) only: on a layer's own (n, p) it raises IndexError, so a tap adds the axis; and only the last"
        " batch counts"
    ),
)
def _ckatorch_models():
    from ckatorch import CKA as CKATorch

    def run(a, b, x, batch):
        taps = [f"tap_{name}" for name in LAYERS]
        images = DataLoader(TensorDataset(x), batch_size=batch)
        return CKATorch(a, b, layers=taps, first_name="a", second_name="b")(images, epochs=1).double().numpy()

    return run


@adapter(
    "forward passes alone",
    "models",
    by="models",
    comparable=False,
    note="what no package can avoid: both models over all inputs",
)
def _forward():
    def run(a, b, x, batch):
        with torch.inference_mode():
            for part, _ in loader(x, batch):
                a(part), b(part)

    return run


@adapter(
    "record, then compare", "models", by="models", note="ours too, and the activations are there for other measures"
)
def _recorded():
    import repsim_nb as rs

    def run(a, b, x, batch):
        recorded = [
            rs.record(rs.load_model(net, name=name), x, LAYERS, batch_size=batch, progress=False)
            for net, name in ((a, "a"), (b, "b"))
        ]
        return rs.compare(CKA(batch_size=batch), *recorded).values.to_numpy()

    return run
