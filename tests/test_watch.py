"""Training that is watched: the same training, bit for bit; values that are known; and a plot only in notebooks."""

import random

import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances
from torch import nn

import repsim_nb as rs
from repsim_nb.display import training
from repsim_nb.display.training import LivePlot

SAMPLES = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype("float32")


def build():
    """A model with all that a pass can change: statistics of a batch, dropout, and a layer that is frozen."""
    first = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3)
    model = nn.Sequential(*first, nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 3))
    model[6].eval()
    model[0].bias.requires_grad_(False)
    return model


def train(steps, watched, **options):
    """Train with the global random states, as loops do -> the model, the optimizer, what was recorded."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    model, x = build(), torch.from_numpy(SAMPLES)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    watch = rs.watch(model, SAMPLES, live=False, **options) if watched else None

    def step():
        rows = torch.randperm(len(x))[: 16 + random.randrange(4)]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), torch.from_numpy(np.random.randint(0, 3, len(rows))))
        loss.backward()
        optimizer.step()
        if watch is not None:
            gradients = [None if weight.grad is None else weight.grad.clone() for weight in model.parameters()]
            modes = [part.training for part in model.modules()]
            watch.step()
            assert modes == [part.training for part in model.modules()]
            for before, weight in zip(gradients, model.parameters(), strict=True):
                assert (before is None) == (weight.grad is None) and (
                    before is None or torch.equal(before, weight.grad)
                )

    if watch is None:
        for _ in range(steps):
            step()
    else:
        with watch:
            for _ in range(steps):
                step()
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    return model, states, watch


def test_a_watched_training_ends_at_the_same_weights_bit_for_bit():
    plain, states, _ = train(5, False)
    # a module that is filled with weights, as those of checkpoints are, draws others first
    rs.models.SOURCES["watched"] = lambda name: build()
    try:
        watched, other, watch = train(5, True, reference="watched:again", layers=["2", "output"], every=2)
    finally:
        del rs.models.SOURCES["watched"]
    for (name, a), b in zip(plain.state_dict().items(), watched.state_dict().values(), strict=True):
        assert torch.equal(a, b), name  # weights, and the statistics of the batches
    assert torch.equal(states[0], other[0]) and states[1:] == other[1:]
    assert not any(part._forward_hooks for part in watched.modules())
    assert watch.result.steps == (0, 2, 4, 5) and watch.result.reference == "again"


def test_values_are_those_of_recordings_of_each_step():
    torch.manual_seed(0)
    model, seen = build(), []
    with rs.watch(model, SAMPLES, reference=build(), layers=["2", "5"], live=False) as watch:
        seen.append(rs.record(model, SAMPLES, ["2", "5"], progress=False))
        for _ in range(2):
            with torch.no_grad():
                for weight in model.parameters():
                    weight += 0.1 * torch.randn_like(weight)
            watch.step()
            seen.append(rs.record(model, SAMPLES, ["2", "5"], progress=False))
    result, cka = watch.result, rs.measures.get("cka_debiased")
    other = rs.record(watch._reference, SAMPLES, ["2", "5"], progress=False)
    for layer in ("2", "5"):
        start, previous, reference = (result.to_frame(what)[layer].tolist() for what in result.compared)
        assert start == pytest.approx([cka(x[layer], seen[0][layer]) for x in seen])
        assert previous[1:] == pytest.approx([cka(seen[k + 1][layer], seen[k][layer]) for k in range(2)])
        assert reference == pytest.approx([cka(x[layer], other[layer]) for x in seen])
        assert start[0] == pytest.approx(1) and previous[0] == pytest.approx(1)


def test_a_layer_without_a_value_does_not_stop_training():
    model = build()
    with rs.watch(model, SAMPLES, layers=["5", "output"], live=False) as watch:
        with torch.no_grad():
            model[5].weight.fill_(float("nan"))
        watch.step()
        with torch.no_grad():
            model[5].weight.zero_()
        watch.step()
    frame = watch.result.to_frame("start")
    assert frame.loc[[1, 2]].isna().all(axis=None) and frame.loc[0].notna().all()
    reasons = watch.result.undefined
    assert "NaN or infinite" in reasons[1, "5", "start"] and "constant" in reasons[2, "5", "start"]
    assert "NaN" in watch.result._repr_html_()


def test_what_was_recorded_before_an_error_is_kept():
    with pytest.raises(KeyboardInterrupt), rs.watch(build(), SAMPLES, layers="output", every=2, live=False) as watch:
        for step in range(4):
            if step == 3:
                raise KeyboardInterrupt
            watch.step()
    assert watch.result.steps == (0, 2)


def test_wrong_calls_are_errors_before_training():
    model = build()
    with pytest.raises(ValueError, match="every must be"):
        rs.watch(model, SAMPLES, every=0)
    with pytest.raises(ValueError, match="^watch compares layers, and jsd compares outputs. Use 'cka_debiased'"):
        rs.watch(model, SAMPLES, measure="jsd")
    with pytest.raises(ValueError, match="unknown layer 'conv'"), rs.watch(model, SAMPLES, layers="conv"):
        pass
    with pytest.raises(RuntimeError, match="with rs.watch"):
        rs.watch(model, SAMPLES).step()
    other = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    with (
        pytest.raises(ValueError, match="has no layer of 'Sequential'.*Choose layers"),
        rs.watch(model, SAMPLES, rs.load_model(other, name="b"), layers=0),
    ):
        pass


def test_layers_that_the_reference_does_not_have_are_named():
    other = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 2))
    with pytest.warns(UserWarning, match="has no layer"), rs.watch(build(), SAMPLES, other, live=False) as watch:
        watch.step()
    result = watch.result
    assert "output" in result.to_frame("reference") and "5" not in result.to_frame("reference")
    assert "5" in result.to_frame("start") and "has no layer" in result.notes[0]
    shown = rs.spec(result)
    assert len(shown.panels) == 3 and [layer.label for layer in shown.panels[0].layers] == list(
        result.to_frame("start")
    )
    with pytest.raises(ValueError, match="Did you mean 'start'"):
        result.to_frame("starts")


def test_outside_of_a_notebook_nothing_is_shown(capsys):
    assert rs.watch(build(), SAMPLES)._show is None
    with rs.watch(build(), SAMPLES, layers="output") as watch:
        watch.step()
    assert capsys.readouterr() == ("", "")


def test_in_a_notebook_the_picture_grows_in_place_and_ends_as_an_image(monkeypatch):
    shown, updated = [], []

    class Handle:
        def update(self, what, **options):
            updated.append(what)

    def display(what, *, raw, display_id):
        shown.append(_instances[what["application/vnd.jupyter.widget-view+json"]["model_id"]])
        assert len(what["text/plain"]) < 100
        return Handle()

    monkeypatch.setattr(training, "in_a_notebook", lambda: True)
    monkeypatch.setattr(training, "PAUSE", 0)
    monkeypatch.setattr("IPython.display.display", display)
    with rs.watch(build(), SAMPLES, layers=["5", "output"]) as watch:
        assert isinstance(watch._show, LivePlot)
        watch.step()
        first, _ = shown
        assert [len(layer["x"]) for layer in first.layers] == [2, 2]
        watch.step()
        assert len(shown) == 2 and [len(layer["x"]) for layer in first.layers] == [3, 3]
    picture, rest = updated
    assert "image/png" in picture._repr_mimebundle_() and rest == {"text/html": "", "text/plain": ""}
