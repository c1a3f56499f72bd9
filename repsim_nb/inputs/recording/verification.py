"""Check that the rows in a store are what the model computes now.

No fingerprint covers everything that a model computes with, so a few samples run again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import nn

from repsim_nb.inputs.models.running import capture, find_tensor, forward
from repsim_nb.inputs.pooling import Layout
from repsim_nb.inputs.store import Store
from repsim_nb.inputs.store.arrayfile import ArrayFile
from repsim_nb.support.errors import join_names

from .probe_outputs import RecordableLayer
from .row_agreement import Tolerance, differ
from .run import Run
from .samples import read_samples

COARSE = 0.01  # the tolerance of float32 is 3e-4, that of float16 0.03


def describe_layer(layer: RecordableLayer, tolerance: float) -> dict[str, Any]:
    """Return what the record of a layer keeps, so that later rows can be compared without a probe."""
    return {
        "layout": dataclasses.asdict(layer.layout),
        "part": layer.part,
        "size": float(layer.size),
        "tolerance": float(tolerance),
        "no_logits": layer.no_logits,
    }


def read_layer(entry: ArrayFile) -> tuple[RecordableLayer, float] | None:
    """Return a stored layer and the tolerance it was recorded with.

    None if its record does not describe the layout of the output, as in an earlier version.
    """
    try:
        check = entry.record["check"]
        layout: dict[str, Any] = {  # JSON has no tuples
            name: tuple(value) if isinstance(value, list) else value for name, value in check["layout"].items()
        }
        layer = RecordableLayer(
            entry.shape[1:],
            entry.dtype,
            entry.record["place"],
            layout=Layout(**layout),
            part=check["part"],
            size=float(check["size"]),
        )
        return layer, float(check["tolerance"])
    except (KeyError, TypeError, ValueError):
        return None


def _find_difference(now: np.ndarray, stored: np.ndarray, size: float, tolerance: float) -> float:
    """Return the largest difference between the rows of a sample now and in the store if it exceeds rounding, else 0.0.

    Rounding to the precision of the store counts as rounding. In coarse arithmetic, where rounding comes close to the
    tolerance, rows may differ twice as much: otherwise a recording just within it could never be found again.
    """
    tolerance *= 2 if tolerance > COARSE else 1
    if now.dtype.kind == stored.dtype.kind == "f":
        precision = np.finfo(stored.dtype)
        if precision.eps > np.finfo(now.dtype).eps:
            stored, tolerance = stored.astype(now.dtype), tolerance + float(precision.eps)
            if now.shape == stored.shape:
                now = np.where(np.abs(now - stored) <= precision.smallest_subnormal, stored, now)
    return differ(now, stored, size, tolerance)


def check_stored_rows(
    run: Run,
    store: Store,
    entries: Mapping[str, ArrayFile],
    known: Mapping[str, tuple[RecordableLayer, float]],
    samples: Iterable[int],
) -> None:
    """Run samples, each alone, and raise ValueError if they differ from the stored rows of these layers.

    run: ready to run, not probed.  known: what `read_layer` returns for each entry. Each sample is one row.
    """
    tolerance = Tolerance(run.model.module, run.place)
    layers = {layer: about for layer, (about, _) in known.items()}
    rows: dict[int, dict[str, np.ndarray | str]] = {}
    for sample in dict.fromkeys(samples):
        if rows:
            run.state.restore(our_hooks=True)  # each begins from the model's first state, as in a recording
        rows[sample] = _compute_rows(run, layers, sample, tolerance)
    for layer, entry in entries.items():
        (about, recorded_with), array = known[layer], entry.open()
        pairs = [(sample, found[layer], array[sample : sample + 1]) for sample, found in rows.items()]
        _refuse_other_rows(run, store, layer, about, max(recorded_with, tolerance()), pairs)


def check_probed_rows(run: Run, store: Store, layers: Iterable[str]) -> None:
    """Compare the rows that the probe of a run saw with the stored rows of these layers."""
    for layer in layers:
        about, entry = run.found[layer], store.find(run.key(layer))
        if entry is not None:
            array, known = entry.open(), read_layer(entry)
            tolerance = max(run.tolerance, known[1] if known is not None else 0.0)
            pairs = [
                (sample, rows, array[run.row(about, sample) : run.row(about, sample + 1)])
                for sample, rows in about.expected.items()
            ]
            _refuse_other_rows(run, store, layer, about, tolerance, pairs)


def continues_recording(run: Run, layer: str, part: np.ndarray, tolerance: Tolerance) -> bool:
    """Return whether the rows of an unfinished recording, `part`, are what the model computes now. run: probed."""
    about = run.found[layer]
    done = {sample: rows for sample, rows in about.expected.items() if run.row(about, sample + 1) <= len(part)}
    if not done and run.row(about, 1) <= len(part):
        rows = _compute_rows(run, {layer: about}, 0, tolerance)[layer]
        done = {0: rows} if isinstance(rows, np.ndarray) else {}
    pairs = [(rows, part[run.row(about, sample) : run.row(about, sample + 1)]) for sample, rows in done.items()]
    return bool(pairs) and not any(_find_difference(now, stored, about.size, run.tolerance) for now, stored in pairs)


def _compute_rows(
    run: Run, layers: Mapping[str, RecordableLayer], sample: int, tolerance: Tolerance
) -> dict[str, np.ndarray | str]:
    """Return the rows that layers give for one sample alone; for a layer that gives none, what it does in words."""
    batch = read_samples(run.dataset, [sample])
    found: dict[str, np.ndarray | str] = {}

    def note(layer: str, out: Any) -> None:
        if layer in found:
            found[layer] = "it runs more than once"
            return
        try:
            tolerance.observe(find_tensor(out, layers[layer].part))
            found[layer] = run.rows_of(layers[layer], out, 1).cpu().numpy()
        except (ValueError, TypeError, RuntimeError) as error:
            found[layer] = f"it {error}"

    with run.explain_errors(batch):
        prepared, run.masks = run.prepare(batch, [sample])
    with capture(run.model.module, list(layers), note), run.explain_errors(batch, prepared):
        forward(run.model.module, prepared, run.place)
    return {layer: found.get(layer, "it does not run") for layer in layers}


def _refuse_other_rows(
    run: Run,
    store: Store,
    layer: str,
    about: RecordableLayer,
    tolerance: float,
    pairs: Iterable[tuple[int, np.ndarray | str, np.ndarray]],
) -> None:
    """Raise ValueError if the rows of a sample at this layer are not those in the store.

    pairs: (sample, its rows now or what the layer does instead, its stored rows).
    """
    for sample, now, stored in pairs:
        if isinstance(now, str):
            how = f"for sample {sample} {now}"
        elif now.shape != stored.shape:
            how = f"sample {sample} gives {_describe_shape(now)}, and {_describe_shape(stored)} are stored"
        elif gap := _find_difference(now, stored, about.size, tolerance):
            how = f"sample {sample} differs by {gap:.2g}, in values of about {about.size:.2g}"
        else:
            continue
        unusual = _describe_hooks(run.model.module)
        raise ValueError(
            store._describe_conflict(
                run.key(layer),
                f"and its rows are not what '{run.model.name}' computes now: {how}. Weights, code and inputs are the"
                " same, so something else has changed: a forward hook that changes values, a forward set on an"
                " instance, an adapter that was switched or scaled, an option in a dict or a config object, or what the"
                f" preprocess or the pool function reads{f'. The model has {unusual} now' if unusual else ''}",
                "the model another name, load_model(..., name=...)",
            )
        )


def _describe_shape(rows: np.ndarray) -> str:
    """Return the shape of the rows of a sample, in words."""
    return f"{rows.shape[-1]} numbers" if len(rows) == 1 else f"{len(rows)} rows of {rows.shape[-1]} numbers"


def _describe_hooks(module: nn.Module) -> str:
    """Return hooks, and forwards that were set on instances, in words; "" if there are none."""
    parts = [(name or "output", part) for name, part in module.named_modules()]
    hooked = [name for name, part in parts if part._forward_hooks or part._forward_pre_hooks]
    own = [name for name, part in parts if "forward" in vars(part)]
    found = (("forward hooks on", hooked), ("a forward set on", own))
    return " and ".join(f"{what} {join_names(names, 3)}" for what, names in found if names)
