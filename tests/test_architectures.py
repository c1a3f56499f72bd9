"""Architectures that people use: default layers in order, rows equal to forward passes of each sample alone, masks,
stores.

Half of them run in `make test`, all in `make full`; `python -m benchmarks.architectures` writes the table of all into
the docs.
"""

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES
from architectures.checks import (
    BATCH,
    EQUAL,
    SAMPLES,
    WRONG,
    Recording,
    checked,
    default_layers,
    problems,
    rows,
    steered,
)
from architectures.kinds import Architecture, Form, column, in_ci, seeded, spelled_out
from architectures.reference import part_of, row_of, run

import repsim_nb as rs

pytestmark = pytest.mark.usefixtures("one_thread")
CASES = [
    pytest.param(name, id=name, marks=() if one.quick else pytest.mark.full) for name, one in ARCHITECTURES.items()
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_every_cell_of_the_table_is_right(name):
    architecture = ARCHITECTURES[name]
    if not architecture.installed() and not in_ci():
        pytest.skip(f"{architecture.library} is not installed")
    wrong = problems(architecture, checked(architecture))
    assert not wrong, "\n".join(wrong)


def test_half_of_at_least_sixty_architectures_are_quick():
    quick = sum(one.quick for one in ARCHITECTURES.values())
    assert len(ARCHITECTURES) >= 60 and quick >= len(ARCHITECTURES) // 2
    assert {one.library for one in ARCHITECTURES.values() if one.quick} == {
        one.library for one in ARCHITECTURES.values()
    }


# -- what is refused is recorded with a pool function of one's own


def over_real(out, mask):
    """The mean over the real tokens of (n, tokens, p), where the model has added places at the end."""
    out = out[:, : mask.shape[1]] * mask[..., None]
    return out.sum(1) / mask.sum(1, keepdim=True)


def over_frames(out, mask):
    """The mean over the frames of Wav2Vec2, of which each stands for ten numbers."""
    frames = torch.arange(out.shape[1]) < (mask.sum(1, keepdim=True) - 10) // 10
    return (out * frames[..., None]).sum(1) / frames.sum(1, keepdim=True)


OWN = {  # architecture -> layer, columns, pool, the row of the output for a sample alone, without padding
    "Longformer": ("encoder.layer.1", "padded", over_real, lambda out, tokens: out[0, :tokens].mean(0)),
    "Funnel": ("encoder.blocks.1.0", "padded", lambda out, mask: out.mean(1), lambda out, tokens: out[0].mean(0)),
    "Gemma3n": ("layers.1", "columns", lambda out: out[0].mean(1), lambda out, tokens: out[0, 0].mean(0)),
    "Wav2Vec2": ("encoder.layers.1", "padded", over_frames, lambda out, tokens: out[0].mean(0)),
    "GPT-2 with prompt tuning": (
        "base_model.transformer.h.1",
        "padded",
        lambda out, mask: over_real(out[:, 3:], mask),
        lambda out, tokens: out[0, 3:].mean(0),
    ),
    "Qwen2-VL": (
        "model.visual.blocks.1",
        "columns",
        lambda out: out.unflatten(0, (-1, 16)).mean(1),
        lambda out, tokens: out.mean(0),
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if ARCHITECTURES[name].quick else pytest.mark.full) for name in OWN]
)
def test_a_pool_function_records_what_is_refused(name):
    architecture, (layer, which, pool, row) = ARCHITECTURES[name], OWN[name]
    if not architecture.installed() and not in_ci():
        pytest.skip(f"{architecture.library} is not installed")
    module, columns, want = architecture.make(), getattr(architecture, which)(SAMPLES), []
    got = rs.record(rs.load_model(module, name="m"), columns, [layer], pool=pool, batch_size=BATCH, progress=False)[
        layer
    ]
    for i in range(SAMPLES):
        one = architecture.cut(columns, i) if which == "padded" else architecture.some(columns, i, i + 1)
        tokens = int(one["attention_mask"].sum()) if "attention_mask" in one else None
        outs = []
        handle = module.get_submodule(layer).register_forward_hook(lambda _m, _i, out, outs=outs: outs.append(out))
        with torch.no_grad():
            run(module, one)
        handle.remove()
        want += [row(part_of(out, None), tokens) for out in outs]
    np.testing.assert_allclose(got, torch.stack(want), atol=1e-4)


# -- the checks find what is wrong


def plain() -> Architecture:
    """Two convolutions over a series of 8 steps with 8 channels."""
    make = seeded(
        lambda: torch.nn.Sequential(
            torch.nn.Conv1d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv1d(8, 8, 3, padding=1)
        )
    )
    return Architecture("plain", "plain torch", make, column("input", 3, 8), {"1": "channels", "output": "channels"})


def right(architecture):
    module, columns = architecture.make(), architecture.columns(9)
    with torch.no_grad():
        middle = module[:2](columns["input"])
        return module, columns, {"1": middle.mean(-1).numpy(), "output": module[2](middle).mean(-1).numpy()}


def test_rows_that_are_right_pass():
    architecture = plain()
    module, columns, values = right(architecture)
    assert not rows(architecture, module, columns, Recording(values, []))
    assert default_layers(architecture, module, columns, Recording(values, []))[0].word == EQUAL


def test_the_other_axis_is_found_out():
    architecture = plain()
    module, columns, values = right(architecture)
    with torch.no_grad():
        values["1"] = module[:2](columns["input"]).mean(1).numpy()
    assert list(rows(architecture, module, columns, Recording(values, []))) == ["1"]


def test_rows_in_another_order_are_found_out():
    architecture = plain()
    module, columns, values = right(architecture)
    values["output"] = np.roll(values["output"], 1, 0)
    assert list(rows(architecture, module, columns, Recording(values, []))) == ["output"]


def test_a_missing_layer_needs_a_warning_and_the_order_counts():
    architecture = plain()
    module, columns, values = right(architecture)
    some = {"output": values["output"]}
    assert default_layers(architecture, module, columns, Recording(some, []))[0].why == {
        "1": "missing without a warning"
    }
    told = Recording(some, ["1 layer of 'm' is left out: '1' did not run"])
    cell, _ = default_layers(architecture, module, columns, told)
    assert cell.word != WRONG and cell.why == {"1": "did not run"} and cell.note == "unexpected"
    turned = dict(reversed(values.items()))
    assert "order" in default_layers(architecture, module, columns, Recording(turned, []))[0].why[""]


def test_a_layer_whose_layout_is_not_written_down_is_a_problem():
    architecture = plain()
    module, columns, values = right(architecture)
    assert list(rows(architecture, module, columns, Recording(values | {"0": values["1"]}, []))) == ["0"]


def test_old_values_of_a_steered_block_are_found_out(tmp_path, monkeypatch):
    architecture = plain()
    module, columns, values = right(architecture)
    monkeypatch.setattr("architectures.checks.recorded", lambda *_, **__: Recording(values, []))
    assert steered(architecture, module, columns, Recording(values, []), str(tmp_path)).word == WRONG


def test_forms():
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert row_of(x, Form.read("channels"), None).tolist() == x[0].mean((1, 2)).tolist()
    assert row_of(x, Form.read("tokens"), None).tolist() == x[0].mean((0, 1)).tolist()
    assert row_of(x[0].transpose(0, 1)[:, :1], Form.read("time_first"), 2).tolist() == x[0, 0, :2].mean(0).tolist()
    assert (
        Form.read("tokens@logits<attention_mask") == Form("tokens", "logits", "attention_mask")
        and Form.read("row@1").part == 1
    )
    assert list(spelled_out("a.{0..1}.b{1..2}")) == ["a.0.b1", "a.0.b2", "a.1.b1", "a.1.b2"]
