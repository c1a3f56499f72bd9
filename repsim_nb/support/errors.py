"""The exceptions of this package, and the functions that word them."""

from __future__ import annotations

import difflib
import importlib
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any

_PACKAGE = __name__.partition(".")[0]


class UndefinedError(ValueError):
    """A measure has no value: a constant representation, a NaN in the data, too few samples.

    `compare(on_undefined="mask")` leaves these cells empty and keeps the reason; every other error stops it.

    Examples
    --------
    >>> rs.measures.get("cka")(np.ones((20, 3)), np.eye(20))
    Traceback (most recent call last):
    ...
    repsim_nb.support.errors.UndefinedError: cka of 'x': it is constant: all 20 samples have the same activations
    """


class DegenerateComparisonError(UndefinedError):
    """A value can be computed but is no evidence: CCA of representations whose ranks fill the sample space.

    Examples
    --------
    >>> x, y = np.random.default_rng(0).normal(size=(2, 20, 15))
    >>> try:
    ...     rs.measures.get("mean_cca")(x, y)
    ... except rs.measures.DegenerateComparisonError as error:
    ...     print(str(error).partition(",")[0])
    mean_cca of 'x' and 'y': ranks 15 + 15 exceed n - 1 = 19
    """


class MissingRecording(KeyError):
    """No recording, or more than one, has the requested key."""

    __str__ = Exception.__str__  # a KeyError would print its sentence in quotes


class DamagedFile(ValueError):
    """A file does not have the expected content; nothing of it was read."""


class Stopped(Exception):
    """Long work was stopped by the person who started it."""


EXTRAS = {
    "agents": ("gymnasium", "minigrid", "stable_baselines3"),
    "files": ("h5netcdf", "h5py", "pyarrow", "xarray", "zarr"),
    "torch": ("torch", "safetensors"),
    "notebook": ("IPython", "anywidget", "ipywidgets", "nbconvert", "nbformat", "papermill", "traitlets"),
    "pretrained": ("efficientnet_lite_pytorch", "onnx"),
    "timm": ("timm",),
    "torchvision": ("torchvision",),
    "transformers": ("transformers",),
}
_KEEP = (
    ". If torch is a CPU build, 'pip install --no-deps timm torchvision' keeps it: with their dependencies they may"
    " replace the installed torch"
)
_ADVICE = {"timm": _KEEP, "torchvision": _KEEP}


def explain_missing(name: str) -> AbstractContextManager[None]:
    """Add how to install a missing library to the error of an import that a public name needs."""
    return _name_extra(f"repsim_nb.{name}")


def import_library(library: str, what: str) -> Any:
    """Import a library; ModuleNotFoundError says how to install it. what: what needs it, such as "reading x.h5"."""
    with _name_extra(what, library):
        return importlib.import_module(library)


@contextmanager
def _name_extra(what: str, library: str = "") -> Iterator[None]:
    """Add how to install a missing library to the error of an import.

    what: what needs it.  library: the one that is imported, if only this one is, since it may lack another.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        for wanted in (missing, library.partition(".")[0]):
            extra = next((extra for extra, libraries in EXTRAS.items() if wanted in libraries), None)
            if extra is not None:
                which = f"{wanted}, which" if wanted == missing else f"{wanted}, and that needs {missing}, which"
                sentence = f"{what} needs {which} is not installed: pip install 'repsim_nb[{extra}]'"
                raise ModuleNotFoundError(sentence + _ADVICE.get(extra, ""), name=error.name) from error
        raise


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside of this package that led here."""
    frame, level = sys._getframe(1), 2
    inside = (_PACKAGE, "contextlib")  # contextlib is between a context manager and the code that enters it
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in inside:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def as_clause(error: object) -> str:
    """Return the text of an error, or a reason, without its full stop, so that the sentence around it can go on."""
    return str(error).strip().removesuffix(".")


def show_value(value: Any) -> str:
    """Return a value as the user gave it; of an integer with many digits the size only."""
    if isinstance(value, int) and abs(value) > 10**20:
        return f"about {'-' if value < 0 else ''}1e{math.log10(abs(value)):.0f}"
    return repr(value)


def format_label(label: Any) -> str:
    """Write a label for a sentence: 'model/layer' for a key, anything else as it is."""
    return f"{label.model}/{label.layer}" if hasattr(label, "model") and hasattr(label, "layer") else str(label)


@contextmanager
def add_context(what: str, *kinds: type[Exception]) -> Iterator[None]:
    """Put what was being done before the text of an error, of UndefinedError unless other kinds are given."""
    try:
        yield
    except kinds or (UndefinedError,) as error:  # noqa: B030 - a tuple of classes
        text = f"{what}: {error}"
        try:
            found = type(error)(text)
        except TypeError:  # a class of another library that is not made of a text, such as UnicodeDecodeError
            found = next(kind for kind in kinds or (UndefinedError,) if isinstance(error, kind))(text)
        raise found from error


def join_names(names: Iterable[object], most: int = 12) -> str:
    """List names in a sentence: 'a', 'b', 'c' and 9 more."""
    names = [str(name) for name in names]
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def check_name(what: str, name: Any, known: Iterable[Any], hint: str = "") -> Any:
    """Return the name if it is known; else raise the error that names the nearest ones."""
    if name not in known:
        raise unknown_name(what, name, known, hint)
    return name


def unknown_name(what: str, name: object, known: Iterable[object], hint: str = "") -> ValueError:
    """Return the error for an unknown name: it lists the nearest names, then all.

    A name of another type that is the same as text comes first: '0' and 0.
    """
    known = list(known)
    like = next((k for k in known if str(k) == str(name) and type(k) is not type(name) and k != name), None)
    if like is not None:
        kinds = type(name).__name__, type(like).__name__
        return ValueError(
            f"unknown {what} {name!r} ({kinds[0]}). Did you mean {like!r} ({kinds[1]})? The two are the same as text,"
            f" but not as labels. {hint}".strip()
        )
    texts = [str(k) for k in known]
    near = difflib.get_close_matches(str(name), texts, n=3, cutoff=0.5)
    lower = {text.lower(): text for text in texts}
    near = near or [lower[k] for k in difflib.get_close_matches(str(name).lower(), lower, n=3, cutoff=0.5)]
    sentence = f"unknown {what} '{name}'."
    sentence += f" Did you mean {' or '.join(repr(k) for k in near)}?" if near else ""
    sentence += f" Known: {join_names(texts, 30)}." if texts else ""
    return ValueError(f"{sentence} {hint}".strip())


RENAMED = {  # names that lessons and notes used before
    "calibrated": "chance_corrected",
    "unrelated": "chance_values",
    "ranked": "rank_pairs",
    "maps": "embedding_map",
    "pair": "model_pair",
    "bias": "dataset_bias",
}


def unknown_attribute(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """Return the error for an attribute that a module does not have: it lists the nearest public names, then all."""
    known = list(known)
    if name.startswith("_"):
        return AttributeError(f"module '{module}' has no attribute '{name}'", name=name)
    if RENAMED.get(name) in known:
        return AttributeError(f"{module} has no '{name}'; it is now '{RENAMED[name]}'.", name=name)
    return AttributeError(str(unknown_name(f"name in {module}", name, known)), name=name)


def load_late(
    label: str, load: Callable[[str], Any], public: Iterable[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a module whose public names are imported when they are first used.

    label: "rs.datasets"; load: the `__getattr__` of `lazy_loader.attach`.
    """

    def lookup(name: str) -> Any:
        if name not in public:
            raise unknown_attribute(label, name, public)
        with explain_missing(f"{label.removeprefix('rs.')}.{name}"):
            return load(name)

    return lookup, lambda: sorted(public)


def show_public_names(value: Any, label: str) -> Any:
    """Return a value; if it is a module, it now lists its public names in `dir()` and in errors for unknown ones."""
    if isinstance(value, ModuleType) and "__getattr__" not in vars(value):
        public = vars(value)["__all__"]

        def lookup(name: str) -> Any:
            raise unknown_attribute(label, name, public)

        value.__dict__["__getattr__"] = lookup
        value.__dict__["__dir__"] = lambda: sorted(public)
    return value
