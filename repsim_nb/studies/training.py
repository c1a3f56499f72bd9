"""Train many models once and read them from files later: `train_or_load({name: options})`."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from repsim_nb.inputs.datasets import load_dataset
from repsim_nb.inputs.models import Model, architectures, build, load_model, normalise
from repsim_nb.inputs.models.model import images
from repsim_nb.inputs.models.state_dicts import hash_weights
from repsim_nb.support.errors import Stopped, check_name, join_names, warn_user
from repsim_nb.support.files import cache_folder, replace_atomically
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.validation import check_integer, check_positive
from repsim_nb.support.workers import cores

from . import classifier

_CALLBACKS = ("keep", "tick")  # what `train_or_load` itself passes to the function that trains
_CODE = (classifier, architectures, build, normalise, images)  # the code that decides the weights
Recipe = Mapping[str, Any]
Train = Callable[..., Any]
Files = Mapping[int | str | None, Path]  # of one recipe, by epoch or part; None is the only one


def save(path: Path, name: str, module: nn.Module, card: Mapping[str, Any]) -> None:
    """Write weights with their card, and a hash of the weights, into a file that `load_model(path)` reads."""
    weights = {key: value.contiguous() for key, value in module.state_dict().items()}
    with replace_atomically(path) as temporary:
        save_file(
            weights, temporary, metadata={"card": json.dumps({"name": name, **card}), "digest": hash_weights(weights)}
        )


def train_or_load(
    recipes: Mapping[str, Recipe],
    *,
    folder: str | Path | None = None,
    progress: bool | Tick = True,
    train: Train = classifier.train,
    parts: Sequence[int | str] = (),
) -> list[Model]:
    """Train models, or read those that were trained before.

    Models are trained in processes, one thread each; a script therefore needs `if __name__ == "__main__":`. If the work
    is stopped (by an interrupt, or by a progress function that raises), finished models stay, and the next call trains
    only the others. A file is used again if name, recipe, training code, data and the release of torch are the same; a
    damaged file is trained again, with a warning. `about` is not part of this: cards have the fields of the current
    call.

    Parameters
    ----------
    recipes : {name: options of classifier.train}
        A recipe with checkpoints=(0, 1, ...) gives a Model for each epoch, all with its name, and the epoch in the card
        (`card["epoch"]`).
    folder : path, optional
        Where the files are; None is in the cache (`support.files.cache_folder() / "trained"`).
    progress : bool or function(done, total)
        A bar that counts epochs, or a function.
    train : function
        Another function of a module that trains, with the options data, seed, epochs, learning_rate, batch_size, keep
        and tick, and any others. Its module counts as training code, and the modules in its CODE.
    parts : sequence
        If `train` trains several models at once: the values of `card["part"]` of the models that it passes to
        keep(module, card). Each is a Model, NAME-PART.

    Returns
    -------
    list of Model
        In the order of the recipes.

    Raises
    ------
    ValueError
        If a recipe is wrong; the error names the model.
    RuntimeError
        If a process was killed.
    """
    folder = Path(folder).expanduser() if folder is not None else cache_folder() / "trained"
    files = {name: _find_paths(folder, name, recipe, train, parts) for name, recipe in recipes.items()}
    found = {name: models for name, paths in files.items() if (models := _load_found(name, paths)) is not None}
    missing = {name: recipe for name, recipe in recipes.items() if name not in found}
    if missing:
        _train(missing, files, progress, train)
    return [
        replace(model, card={**model.card, **_read_about(recipe)})
        for name, recipe in recipes.items()
        for model in found.get(name) or [load_model(path) for path in files[name].values()]
    ]


def train_or_load_groups(
    recipes: Mapping[str, Recipe], *, train: Train, parts: Sequence[int | str], **options: Any
) -> dict[str, list[Model]]:
    """Train or load the models of each recipe, for a function that trains several at once.

    Returns {name: models in the order of `parts`}. options: as in `train_or_load`.
    """
    models = train_or_load(recipes, train=train, parts=parts, **options)
    return {name: models[k * len(parts) : (k + 1) * len(parts)] for k, name in enumerate(recipes)}


def _read_about(recipe: Recipe) -> dict[str, Any]:
    """Return the further fields of the card of a recipe, as a file would store them: lists for tuples."""
    return json.loads(json.dumps(classifier.check_about(recipe.get("about"))))


def _find_paths(
    folder: Path, name: str, recipe: Recipe, train: Train, parts: Sequence[int | str]
) -> dict[int | str | None, Path]:
    """Return the paths of a model, by epoch or part; None is the only one, without checkpoints.

    A path depends on everything that the model is made from.
    """
    try:
        known = inspect.signature(train).parameters
        if without := [
            one for one in (*_CALLBACKS, "data", "seed", "epochs", "learning_rate", "batch_size") if one not in known
        ]:
            raise TypeError(f"the function that trains has no option {join_names(without)}")
        if parts and "checkpoints" in known:
            raise TypeError(
                "parts are for a function that trains several models at once; this one trains one, with checkpoints"
            )
        options = [one for one in known if one not in _CALLBACKS] + ["about"] * ("about" not in known)
        for option in recipe:
            check_name(f"option of {train.__module__.rpartition('.')[2]}.{train.__name__}", option, options)
        if lacking := [
            one for one, parameter in known.items() if parameter.default is parameter.empty and one not in recipe
        ]:
            raise ValueError(f"it has no {join_names(lacking)}")
        _read_about(recipe)
        complete = {one: parameter.default for one, parameter in known.items() if one not in _CALLBACKS} | dict(recipe)
        for option, least in (("epochs", 0), ("batch_size", 1), ("seed", 0)):
            check_integer(complete[option], option, minimum=least)
        check_positive(complete["learning_rate"], "learning_rate")
        several: Sequence[int | str] = parts
        if "checkpoints" in known:
            several = complete["checkpoints"] = classifier.check_checkpoints(
                complete["checkpoints"], complete["epochs"]
            )
        complete.pop("about", None)
        home = inspect.getmodule(train)
        code = _hash_code() if train is classifier.train else _hash_code(home, *getattr(home, "CODE", ()))
        seen = [_hash_data(stage["data"]) for stage in (complete, complete.get("start", {})) if "data" in stage]
        made_from = json.dumps([name, complete, code, *seen], sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the recipe of '{name}' cannot be followed: {error}") from error
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:80]
    stem = f"{readable}.{hashlib.blake2b(made_from.encode(), digest_size=8).hexdigest()}"
    return (
        {one: folder / f"{stem}.{one}.safetensors" for one in several}
        if several
        else {None: folder / f"{stem}.safetensors"}
    )


@functools.cache
def _hash_code(*more: Any) -> str:
    """Return a hash of the training code, of further modules and of the release of torch."""
    parts = [torch.__version__, *(_strip_comments(inspect.getsource(part)) for part in (*_CODE, *more))]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def _strip_comments(source: str) -> str:
    """Return code without its comments and docstrings, in one layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [
                part
                for part in node.body
                if not (
                    isinstance(part, ast.Expr)
                    and isinstance(part.value, ast.Constant)
                    and isinstance(part.value.value, str)
                )
            ]
    return ast.unparse(tree)


@functools.cache
def _hash_data(name: str) -> str:
    """Return a hash of the pictures and targets of both splits."""
    sides = [load_dataset(name, split) for split in ("train", "test")]
    targets = (np.asarray(side.targets).tobytes() for side in sides)
    hashes = [hashlib.blake2b(one, digest_size=8).hexdigest() for one in targets]
    return " ".join([*(side.fingerprint() for side in sides), *hashes])


def _load_found(name: str, paths: Files) -> list[Model] | None:
    """Load the files of a model; None if one is missing or damaged."""
    if not all(path.exists() for path in paths.values()):
        return None
    try:
        return [load_model(path) for path in paths.values()]
    except ValueError as error:
        warn_user(f"{str(error).rstrip('.')}. '{name}' is trained again.")
        return None


# -- in processes


def _train(recipes: Mapping[str, Recipe], files: Mapping[str, Files], progress: bool | Tick, train: Train) -> None:
    """Train each model in a process; if this ends, the processes stop at their next batch."""
    context = _context()
    stop, epochs = context.Event(), context.Value("q", 0)
    total = sum(max(1, _count_epochs(recipe, train)) for recipe in recipes.values())
    number = min(cores(), len(recipes))
    what = f"training {len(recipes)} model{'s' if len(recipes) > 1 else ''}"
    with (
        show_progress(progress, what, "epoch") as tick,
        ProcessPoolExecutor(number, context, _begin, (stop, epochs)) as pool,
    ):
        try:
            tick(0, total)
            waiting = {
                pool.submit(_train_one, name, dict(recipe), files[name], train): name
                for name, recipe in recipes.items()
            }
            while waiting:
                for future in wait(waiting, timeout=0.25, return_when=FIRST_COMPLETED).done:
                    future.result()
                    del waiting[future]
                tick(epochs.value, total)
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"a process that trained one of {join_names(waiting.values(), 4)} was killed, or could not start;"
                f" {len(recipes) - len(waiting)} of {len(recipes)} models were finished and are kept. Is there too"
                ' little memory? Is this a script without `if __name__ == "__main__":`?'
            ) from error
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _context() -> multiprocessing.context.BaseContext:
    """Return how processes start: as forks of one that has imported torch, and only that. Windows has no forks."""
    main = sys.modules["__main__"]
    if not hasattr(main, "__spec__"):  # %reset of IPython removes it, and multiprocessing reads it
        main.__spec__ = None
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")  # a fork of a kernel, which has threads, may hang
    context.set_forkserver_preload(["torch._dynamo", __name__])  # which the first optimizer imports: 4 s in all
    return context


def _count_epochs(recipe: Recipe, train: Train) -> int:
    return recipe.get("epochs", inspect.signature(train).parameters["epochs"].default)


_shared: dict[str, Any] = {}  # in a process that trains


def _begin(stop: Any, epochs: Any) -> None:
    """Set up a process: only this parent stops it, it uses one thread, and it ends with the parent."""
    _shared.update(stop=stop, epochs=epochs)
    # an interrupt reaches the whole group of processes; the parent handles it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait_for([parent.sentinel]), os._exit(1)), daemon=True).start()


def _train_one(name: str, recipe: dict[str, Any], files: Files, train: Train) -> None:
    counted = 0
    epochs = _count_epochs(recipe, train)

    def count(now: int) -> None:
        nonlocal counted
        with _shared["epochs"].get_lock():
            _shared["epochs"].value += now - counted
        counted = now

    def tick(done: int, total: int) -> None:
        if _shared["stop"].is_set():
            raise Stopped
        if done * epochs // total > counted:
            count(done * epochs // total)

    def keep(module: nn.Module, card: dict[str, Any]) -> None:
        part = card.get("part")
        save(files[card["epoch"] if part is None else part], name if part is None else f"{name}-{part}", module, card)

    try:
        recipe.pop("about", None)
        if None in files:
            module, card = train(**recipe, tick=tick)
            save(files[None], name, module, card)
        else:
            train(**recipe, keep=keep, tick=tick)
        count(max(1, epochs))
    except Stopped:
        raise
    except Exception as error:
        kind = ValueError if isinstance(error, ValueError) else RuntimeError
        raise kind(
            f"training '{name}' failed: {error}" + ("" if kind is ValueError else f" ({type(error).__name__})")
        ) from error
