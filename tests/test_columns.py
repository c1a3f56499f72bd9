"""Columns of a data set: labels, what is the same for all samples, several rows a sample, graphs, and what has no row
for each sample.
"""

import functools
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import repsim_nb as rs
from repsim_nb.display.plots.images import dataset_images
from repsim_nb.inputs.models import arguments

N = 30
Z, Y = torch.from_numpy(np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)), torch.arange(N) % 10


def rec(model, data, layers=None, **options):
    return rs.record(model, data, layers, progress=False, **options)


class Conditional(nn.Module):
    """Adds a class to its input, if it is given one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.fc = nn.Embedding(10, 8), nn.Linear(8, 6)

    def forward(self, z, labels=None):
        return self.fc(z if labels is None else z + self.embed(labels))


class Unconditional(Conditional):
    def forward(self, z):
        return super().forward(z)


class Rows:
    """Anything with a length and `[i]`, as a data set of Hugging Face is."""

    def __init__(self, rows):
        self.rows, self.column_names = list(rows), list(rows[0]) if isinstance(rows[0], dict) else []

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


class Stream(IterableDataset):
    def __init__(self, rows):
        self.rows = list(rows)

    def __iter__(self):
        return iter(self.rows)


ROWS = [{"z": z, "labels": int(y)} for z, y in zip(Z, Y, strict=True)]
WITH_LABELS = {
    "dict": lambda: {"z": Z, "labels": Y},
    "labels first, small integers": lambda: {"labels": Y.numpy().astype(np.uint8), "z": Z.numpy()},
    "list of labels": lambda: {"z": Z, "labels": Y.tolist()},
    "list of dicts": lambda: ROWS,
    "rows": lambda: Rows(ROWS),
    "rows of lists": lambda: Rows([{"z": z.tolist(), "labels": int(y)} for z, y in zip(Z, Y, strict=True)]),
    "DataLoader": lambda: DataLoader(Rows(ROWS), batch_size=7),
    "generator": lambda: ({"z": Z[i : i + 9], "labels": Y[i : i + 9]} for i in range(0, N, 9)),
    "stream": lambda: DataLoader(Stream(ROWS), batch_size=7),
}


# -- labels


@pytest.mark.parametrize("kind", WITH_LABELS)
def test_labels_are_given_to_a_model_that_names_them_and_to_no_other(kind):
    named, plain = Conditional().eval(), Unconditional().eval()
    data = rs.Dataset("d", WITH_LABELS[kind]())
    np.testing.assert_allclose(rec(named, data)["output"], named(Z, Y).detach(), atol=1e-6)
    np.testing.assert_allclose(rec(plain, data)["output"], plain(Z).detach(), atol=1e-6)
    lazy = kind in ("rows", "rows of lists", "DataLoader")
    assert data.targets is None if lazy else data.targets.tolist() == Y.tolist()
    assert "labels" in data.inputs[3:5] and int(data.inputs[3]["labels"]) == 3
    assert rec(named, data.take([7, 2], "two"))["output"].shape == (2, 6)
    np.testing.assert_allclose(
        rec(named, data.take([7, 2], "two"))["output"], named(Z[[7, 2]], Y[[7, 2]]).detach(), atol=1e-6
    )


def test_a_column_called_label_is_an_input_too():
    class Other(Conditional):
        def forward(self, z, label=None):
            return super().forward(z, label)

    model = Other().eval()
    data = rs.Dataset("d", {"z": Z, "label": Y})
    np.testing.assert_allclose(rec(model, data)["output"], model(Z, Y).detach(), atol=1e-6)
    np.testing.assert_allclose(
        rec(Conditional().eval(), data)["output"], Conditional()(Z).detach(), atol=1e-6
    )  # it has no argument 'label'


def test_a_fingerprint_counts_labels_only_if_asked():
    other = (Y + 1) % 10
    for make in (
        lambda y: {"z": Z, **({} if y is None else {"labels": y})},
        lambda y: Rows(
            [
                {"z": z, **({} if y is None else {"labels": int(v)})}
                for z, v in zip(Z, Y if y is None else y, strict=True)
            ]
        ),
    ):
        plain, one, two = (rs.Dataset("d", make(y)) for y in (None, Y, other))
        assert plain.fingerprint() == one.fingerprint() == two.fingerprint()
        assert len({one.fingerprint(), one.fingerprint(labels=True), two.fingerprint(labels=True)}) == 3
        assert plain.fingerprint(labels=True) == plain.fingerprint()


def test_a_store_tells_labels_apart_for_the_model_that_takes_them(tmp_path):
    for y in (Y, (Y + 1) % 10):
        got = rec(rs.load_model(Unconditional().eval(), name="plain"), {"z": Z, "labels": y}, "output", into=tmp_path)[
            "output"
        ]
        np.testing.assert_allclose(got, Unconditional()(Z).detach(), atol=1e-6)
    rec(rs.load_model(Conditional().eval(), name="named"), {"z": Z, "labels": Y}, "output", into=tmp_path)
    assert (
        len(rec(rs.load_model(Conditional().eval(), name="named"), {"z": Z, "labels": Y}, "output", into=tmp_path)) == 1
    )
    with pytest.raises(ValueError, match="already has 'named/output .*inputs"):
        rec(
            rs.load_model(Conditional().eval(), name="named"), {"z": Z, "labels": (Y + 1) % 10}, "output", into=tmp_path
        )


def test_of_two_models_of_a_stream_each_gets_what_it_takes():
    a, b = rs.load_model(Conditional().eval(), name="a"), rs.load_model(Unconditional().eval(), name="b")
    data = rs.Dataset("d", {"z": Z, "labels": Y})
    streamed = rs.stream(a, b, data, "output", batch_size=N, progress=False).values
    by_hand = rs.compare(
        rs.measures.CKA(batch_size=N),
        {"a": a.module(Z, Y).detach().numpy()},
        {"b": b.module(Z).detach().numpy()},
        progress=False,
    ).values
    assert streamed.to_numpy() == pytest.approx(by_hand.to_numpy(), abs=1e-5)


def test_describe_gives_labels_to_the_model_that_takes_them():
    assert rs.load_model(Unconditional()).describe({"z": Z[:3], "labels": Y[:3]}).loc["output", "shape"] == (6,)
    assert "embed" in rs.load_model(Conditional()).describe({"z": Z[:3], "labels": Y[:3]}, "**").dropna().index
    assert rs.load_model(Conditional()).describe({"labels": Y[:3], "z": Z[:3]}).loc["output", "shape"] == (6,)
    assert rs.load_model(Timed()).describe({"timestep": 10, "z": Z[:3]}).loc["output", "shape"] == (6,)


def wrapped_by_name(model):
    forward = model.forward

    @functools.wraps(forward)
    def outer(*args, **kwargs):
        return forward(*args, **kwargs)

    model.forward = outer
    return model


def replaced(model):
    forward = model.forward
    model.forward = lambda *args, **kwargs: forward(*args, **kwargs)
    return model


class Wrapper(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


class Adapter(nn.Module):
    """As peft does: more parameters than the base model, and a method that returns it."""

    def __init__(self, base):
        super().__init__()
        self.base, self.more = base, nn.Linear(6, 6)

    def get_base_model(self):
        return self.base

    def forward(self, *args, **kwargs):
        return self.more(self.base(*args, **kwargs))


class KeywordsOnly(Wrapper):
    def forward(self, z, **kwargs):
        return self.module(z, **kwargs)


class OneBatch(Wrapper):
    def forward(self, batch):
        return self.module(batch["z"], batch.get("labels"))


WRAPPERS = {
    "wraps": wrapped_by_name,
    "replaced": replaced,
    "wrapper": Wrapper,
    "two wrappers": lambda m: Wrapper(Wrapper(m)),
    "DataParallel": lambda m: nn.DataParallel(m),
    "adapter": Adapter,
    "keywords": KeywordsOnly,
    "one batch": OneBatch,
    "compiled": lambda m: torch.compile(m, backend="eager"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_wrapped_model_is_given_labels_too(kind):
    model = WRAPPERS[kind](Conditional().eval()).eval()
    want = model({"z": Z, "labels": Y}) if kind == "one batch" else model(z=Z, labels=Y)
    np.testing.assert_allclose(rec(model, {"z": Z, "labels": Y}, "output")["output"], want.detach(), atol=1e-6)
    plain = WRAPPERS[kind](Unconditional().eval()).eval() if kind != "one batch" else None
    if plain is not None:
        np.testing.assert_allclose(
            rec(plain, {"z": Z, "labels": Y}, "output")["output"], plain(z=Z).detach(), atol=1e-6
        )


def test_a_model_of_peft_and_one_with_hooks_of_accelerate_are_given_labels():
    peft = pytest.importorskip("peft")
    hooks = pytest.importorskip("accelerate.hooks")
    for model in (
        peft.get_peft_model(Conditional(), peft.LoraConfig(target_modules=["fc"], init_lora_weights=False)).eval(),
        hooks.add_hook_to_module(Conditional().eval(), hooks.AlignDevicesHook(execution_device="cpu")),
    ):
        np.testing.assert_allclose(
            rec(model, {"z": Z, "labels": Y}, "output")["output"], model(z=Z, labels=Y).detach(), atol=1e-6
        )


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (Y.float(), "FloatTensor"),
        (torch.where(torch.arange(N) == 29, 77, Y), "out of range"),
        (["a"] * N, "must be Tensor, not list"),
    ],
)
def test_labels_that_stop_the_model_are_named(labels, said):
    with pytest.raises(
        ValueError,
        match=rf"{said}.*The column 'labels' reached forward\(labels=\).*rs.Dataset\(name, columns, targets=labels\)",
    ):
        rec(Conditional().eval(), {"z": Z, "labels": labels})
    data = rs.Dataset("d", {"z": Z}, targets=Y)
    np.testing.assert_allclose(rec(Conditional().eval(), data)["output"], Conditional()(Z).detach(), atol=1e-6)


def test_a_model_that_returns_only_a_loss_says_why():
    class Loss(Conditional):
        def forward(self, z, labels=None):
            out = self.fc(z)
            return out if labels is None else nn.functional.cross_entropy(out, labels % 6)

    with pytest.raises(
        ValueError,
        match=("layer 'output' of 'Loss' has no sample axis.*It gets the column 'labels' .* may then return a loss"),
    ):
        rec(Loss().eval(), {"z": Z, "labels": Y}, "output")
    with pytest.warns(UserWarning, match="'output' has no sample axis.*may then return a loss"):
        assert [key.layer for key in rec(Loss().eval(), {"z": Z, "labels": Y})] == ["fc"]


def test_labels_that_are_random_are_refused_by_the_model_that_takes_them():
    noise = np.random.default_rng(0)

    class Noisy(Rows):
        def __getitem__(self, i):
            return {"z": Z[i], "labels": int(noise.integers(10))}

    data = rs.Dataset("d", Noisy(ROWS))
    assert rec(Unconditional().eval(), data)["output"].shape == (N, 6)
    with pytest.raises(
        ValueError,
        match=(
            r"The label of sample \d+ of 'd' differs each time it is read, and 'Conditional' gets it as"
            r" forward\(labels=\)"
        ),
    ):
        rec(Conditional().eval(), data)


def test_labels_of_unlike_length_keep_nothing_apart():
    whole = torch.arange(1, 31).reshape(6, 5)
    data = rs.Dataset(
        "d", ({"x": torch.ones(2, 3), "labels": whole[i : i + 2, :k]} for i, k in ((0, 5), (2, 3), (4, 4)))
    )
    assert len(data.inputs.parts) == 1 and data.targets is None
    assert data.inputs[1:3]["labels"].tolist() == [[6, 7, 8, 9, 10], [11, 12, 13, -100, -100]]
    named = rs.Dataset("d", ({"x": torch.ones(1, 3), "labels": some} for some in (["a"], torch.ones(1))))
    assert named.inputs[0:2]["labels"] == ["a", 1]


def test_labels_may_be_anything():
    boxes = [{"boxes": torch.ones(k, 4)} for k in (1, 2, 3)]
    data = rs.Dataset("d", {"x": torch.ones(3, 2), "labels": boxes})
    assert data.targets is None and data.inputs[1:3]["labels"] == boxes[1:] and len(data.fingerprint(labels=True)) == 32

    class Detector(nn.Linear):
        def forward(self, x, labels=None):
            return super().forward(x) + torch.stack([one["boxes"].sum() for one in labels])[:, None]

    model = Detector(2, 3).eval()
    np.testing.assert_allclose(rec(model, data)["output"], model(torch.ones(3, 2), boxes).detach(), atol=1e-6)
    with pytest.raises(ValueError, match="column 'labels' must have a label for each sample; got dict"):
        rs.Dataset("d", {"x": torch.ones(3, 2), "labels": {"a": torch.ones(3)}})
    with pytest.raises(ValueError, match=r"columns of one length; got \{'x': 3, 'labels': 2\}"):
        rs.Dataset("d", {"x": torch.ones(3, 2), "labels": [1, 2]})
    maps = torch.ones(3, 1, 4, 4, dtype=torch.uint8)
    assert rs.models.Model("m", nn.Identity()).preprocess({"x": torch.ones(3, 2), "labels": maps})["labels"] is maps, (
        "no picture"
    )


def test_who_shows_samples_sees_no_new_column():
    pictures = np.zeros((6, 5, 5, 3), np.uint8)
    assert rs.Dataset("d", {"text": list("abcdef"), "label": [0, 1] * 3}).inputs == list("abcdef")
    assert rs.Dataset("d", {"image": pictures, "label": [0, 1] * 3}).targets.tolist() == [0, 1] * 3
    assert dataset_images(rs.Dataset("d", {"image": pictures, "label": [0, 1] * 3})) is None, "as before"
    only = rs.Dataset("d", {"labels": torch.ones(6, 2)})  # alone, it is the input
    assert only.targets is None and list(only.inputs[0:2]) == ["labels"]


def test_bart_sees_its_labels():
    tf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = tf.BartConfig(
        vocab_size=50,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=20,
    )
    model, ids, labels = (
        tf.BartForConditionalGeneration(config).eval(),
        torch.randint(3, 49, (12, 7)),
        torch.randint(3, 49, (12, 5)),
    )
    alone = torch.cat([model(input_ids=ids[i : i + 1], labels=labels[i : i + 1]).logits for i in range(12)]).detach()
    for data in ({"input_ids": ids, "labels": labels}, {"input_ids": ids.int(), "labels": labels.int()}):
        np.testing.assert_allclose(rec(model, data, "output")["output"], alone.flatten(1), atol=1e-5)


# -- columns that forward does not know


class Swallowing(Unconditional):
    def forward(self, z, **kwargs):
        return super().forward(z)


def test_a_column_without_effect_is_announced():
    with pytest.warns(
        UserWarning,
        match=(
            "The columns 'idx', 'label_ids' have no effect on 'Swallowing': its forward does not name them.*use a"
            " name that forward has: 'z'"
        ),
    ):
        rec(Swallowing().eval(), {"z": Z, "idx": torch.arange(N), "label_ids": Y})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rec(Swallowing().eval(), {"z": Z, "labels": Y})  # dropped, as for any model that does not name them
        rec(KeywordsOnly(Conditional()).eval(), {"z": Z, "labels": Y}, "output")


def test_a_column_that_forward_refuses_is_named():
    with pytest.raises(
        ValueError,
        match="unexpected keyword argument 'idx'. Its forward takes 'z', and no 'idx': leave out what it does not take",
    ):
        rec(Unconditional().eval(), {"z": Z, "idx": torch.arange(N)})
    with pytest.raises(
        ValueError,
        match=(
            "Its forward takes one argument, 'z', and got the dict of the columns 'x'; if it takes an array, name"
            " the column 'z'"
        ),
    ):
        rec(Unconditional().eval(), {"x": Z})


@pytest.mark.parametrize("kinds", [torch.zeros(20, 7, dtype=torch.long), (torch.arange(7) > 3).long().expand(20, 7)])
@pytest.mark.parametrize("model", ["BertModel", "RobertaModel", "DistilBertModel"])
@pytest.mark.filterwarnings("ignore:The column 'token_type_ids' has no effect")
def test_kinds_of_tokens_do_not_hide_the_mask(model, kinds):
    tf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 50,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "dim": 16,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 32,
    }
    made = getattr(tf, model)
    module = made(
        made.config_class(
            **{
                name: size
                for name, size in sizes.items()
                if name in made.config_class().to_dict() or name in made.config_class.attribute_map
            }
        )
    ).eval()
    if model == "RobertaModel" and kinds.any():
        kinds = torch.zeros_like(kinds)  # it has one kind
    ids, mask = torch.randint(3, 49, (20, 7)), (torch.arange(7) < 3 + torch.arange(20)[:, None] % 5).long()
    got = rec(
        module, {"input_ids": ids * mask, "token_type_ids": kinds * mask, "attention_mask": mask}, "output", pool="mean"
    )["output"]
    for i in range(20):
        k = int(mask[i].sum())
        alone = module(
            input_ids=ids[i : i + 1, :k],
            **({} if model == "DistilBertModel" else {"token_type_ids": kinds[i : i + 1, :k]}),
        ).last_hidden_state
        np.testing.assert_allclose(got[i], alone[0].mean(0).detach(), atol=1e-5)


FORMS = {
    "2-D": lambda mask: mask,
    "truth values": lambda mask: mask.bool(),
    "int32": lambda mask: mask.int(),
    "float64": lambda mask: mask.double(),
    "NumPy": lambda mask: mask.numpy().astype(bool),
    "(n, 1, 1, t)": lambda mask: mask[:, None, None].bool(),
    "added": lambda mask: (1.0 - mask[:, None, None].float()) * torch.finfo(torch.float32).min,
    "(n, 1, t, t)": lambda mask: mask[:, None, None].expand(20, 1, 7, 7).bool(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_mask_of_any_form_marks_the_padding(form):
    tf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = tf.BertModel(
        tf.BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    ).eval()
    ids, mask = torch.randint(3, 49, (20, 7)), (torch.arange(7) < 3 + torch.arange(20)[:, None] % 5).long()
    data = {"input_ids": (ids * mask).int(), "attention_mask": FORMS[form](mask)}
    got = rec(model, data, "encoder.layer.0", pool="mean")["encoder.layer.0"]
    alone = [model(input_ids=ids[i : i + 1, : int(mask[i].sum())]).last_hidden_state[0].mean(0) for i in range(20)]
    np.testing.assert_allclose(got, torch.stack(alone).detach(), atol=1e-5)
    with pytest.raises(ValueError, match="contain padding"):
        rec(model, data, "encoder.layer.0")


def test_a_mask_of_pixels_is_no_mask_of_tokens():
    from repsim_nb.inputs.pooling import find_masks

    square = torch.ones(4, 5, 5)
    assert find_masks({"pixel_mask": square, "attn_mask": square, "attention_mask": square}).keys() == {
        "attention_mask"
    }


# -- what is the same for all samples


class Timed(nn.Module):
    """A step of diffusion: one number for all, or one for each sample."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(8, 6)

    def forward(self, z, timestep, scale=None, return_dict=True, mode="plain"):
        assert isinstance(return_dict, bool) and isinstance(mode, str)
        t = timestep if isinstance(timestep, torch.Tensor) else torch.tensor(timestep)
        out = self.fc(z) * (1 if scale is None else scale) + (t.expand(len(z)) if t.ndim == 0 else t)[:, None].to(
            z.dtype
        )
        return {"sample": out} if return_dict else (out,)


@pytest.mark.parametrize("timestep", [10, 10.0, np.int64(10), np.array(10), torch.tensor(10), torch.tensor(10.0)])
@pytest.mark.parametrize("options", [{}, {"return_dict": False, "scale": None, "mode": "other"}])
def test_one_value_for_all_samples_is_handed_on(timestep, options):
    model = Timed().eval()
    for data in (
        {"timestep": timestep, "z": Z, **options},
        ({"z": Z[i : i + 10], "timestep": timestep, **options} for i in (0, 10, 20)),
    ):
        data = rs.Dataset("d", data)
        got = rec(model, data)["output"]
        np.testing.assert_allclose(got, model(Z, 10)["sample"].detach(), atol=1e-5)
        assert (
            len(data) == N
            and list(data.inputs[2]) == ["z", "timestep", *options]
            and data.take([1, 2], "two").inputs[0:1]["timestep"] == 10
        )


def test_one_value_for_each_sample_is_a_column():
    model, steps = Timed().eval(), torch.arange(N)
    np.testing.assert_allclose(
        rec(model, {"z": Z, "timestep": steps})["output"], model(Z, steps)["sample"].detach(), atol=1e-5
    )
    rows = Rows([{"z": z, "timestep": 10, "scale": None} for z in Z])
    np.testing.assert_allclose(rec(model, rows)["output"], model(Z, 10)["sample"].detach(), atol=1e-5)


def test_options_count_in_the_fingerprint():
    made = [
        rs.Dataset("d", {"z": Z, **options}).fingerprint()
        for options in ({}, {"timestep": 10}, {"timestep": 11}, {"timestep": True}, {"scale": None}, {"timestep": "10"})
    ]
    assert len(set(made)) == 6
    assert (
        rs.Dataset("d", {"z": Z, "a": 1, "b": 2}).fingerprint()
        == rs.Dataset("d", {"b": 2, "a": 1, "z": Z}).fingerprint()
    )


def test_a_store_tells_options_apart(tmp_path):
    for _ in range(2):
        rec(rs.load_model(Timed().eval(), name="m"), {"z": Z, "timestep": 10}, into=tmp_path)
    with pytest.raises(ValueError, match="already has 'm/"):
        rec(rs.load_model(Timed().eval(), name="m"), {"z": Z, "timestep": 11}, into=tmp_path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            {"z": Z, "timestep": torch.tensor([10])},
            (
                r"columns of one length; got \{'z': 30, 'timestep': 1\}. If 'timestep' is the same for all samples,"
                r" give one value and no column, \{'timestep': 10\}"
            ),
        ),
        ({"timestep": 10, "mode": "plain"}, "column 'timestep' needs samples along its first axis; got one number, 10"),
        (
            ({"z": Z[i : i + 10], "timestep": i} for i in (0, 10)),
            ("'timestep' is 0 in batch 0 and 10 in batch 1. A value for all samples must be the same in every batch"),
        ),
        (
            ({"z": Z[:2], "timestep": t} for t in (3, torch.ones(2))),
            "'timestep' is 3 in batch 0 and a column in batch 1",
        ),
        (
            {"z": Z, "more": {"text": Z}},
            "column 'more' is a dict. Give its columns separately and join them into a dict in a preprocess",
        ),
        ({"train": Rows(ROWS)}, r"column 'train' is a data set of its own \(Rows\)\. Give one column"),
    ],
)
def test_what_is_neither_a_column_nor_one_value_is_refused(data, said):
    with pytest.raises(ValueError, match=f"dataset 'd': .*{said}"):
        rs.Dataset("d", data)


def test_options_of_batches_that_are_read_lazily_must_agree():
    def joined(rows):
        return {"z": torch.stack([row["z"] for row in rows]), "timestep": len(rows)}

    data = rs.Dataset("d", DataLoader(Rows(ROWS), batch_size=5, collate_fn=joined))
    with pytest.raises(
        ValueError,
        match="dataset 'd': 'timestep' is 1 in the first one that was read and 5 in a batch from sample 3 on",
    ):
        data.inputs[3:8]


def test_a_model_that_needs_a_value_for_each_sample_says_so():
    class Needs(Timed):
        def forward(self, z, timestep):
            return super().forward(z, timestep[:, None][:, 0])

    with pytest.raises(
        ValueError,
        match=(
            r"'timestep' is one value for all samples; if the model needs one for each, give a column, \{'timestep':"
            r" np.full\(n, 10\)\}"
        ),
    ):
        rec(Needs().eval(), {"z": Z, "timestep": 10})


def test_a_unet_of_diffusers_takes_one_timestep():
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    model = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
    ).eval()
    x, e = torch.randn(6, 4, 8, 8), torch.randn(6, 3, 8)
    alone = torch.cat([model(x[i : i + 1], 10, e[i : i + 1]).sample for i in range(6)]).flatten(1).detach()
    for options in ({}, {"return_dict": False}):
        np.testing.assert_allclose(
            rec(model, {"timestep": 10, "sample": x, "encoder_hidden_states": e, **options}, "output")["output"],
            alone,
            atol=1e-4,
        )


# -- rows of dicts

IDS = [[10 * i + k for k in range(4)] for i in range(6)]


@pytest.mark.parametrize(
    "make",
    [
        lambda rows: rows,
        Rows,
        lambda rows: DataLoader(Rows(rows), batch_size=4),
        lambda rows: DataLoader(Stream(rows), batch_size=4),
        Stream,
    ],
)
def test_lists_of_numbers_in_rows_are_no_columns(make):
    rows = [{"input_ids": ids, "pair": (ids[0], 1), "label": i % 2} for i, ids in enumerate(IDS)]
    if not isinstance(make(rows), DataLoader) or isinstance(make(rows).dataset, IterableDataset):
        batch = rs.Dataset("d", make(rows)).inputs[0:6]
        assert np.asarray(batch["input_ids"]).tolist() == IDS and np.asarray(batch["pair"]).shape == (6, 2)
    else:
        assert rs.Dataset("d", make(rows)).inputs[2:4]["input_ids"].tolist() == IDS[2:4]
    assert np.asarray(rs.Dataset("d", [(ids, 1) for ids in IDS]).inputs).tolist() == IDS


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [{"x": 1.0, "y": None if i == 3 else 1.0} for i in range(6)],
            "column 'y' is None in sample 3, and not in sample 0",
        ),
        (
            [{"x": 1.0} if i == 3 else {"x": 1.0, "mask": 1} for i in range(6)],
            r"sample 3 has the columns \['x'\], and sample 0 has \['x', 'mask'\]. All samples need the same",
        ),
        (
            [{"x": 1.0} if i == 0 else {"x": 1.0, "mask": 1} for i in range(6)],
            r"sample 1 has the columns \['x', 'mask'\], and sample 0 has \['x'\]",
        ),
        ([{"input_ids": list(range(3 + i))} for i in range(6)], "samples cannot be stacked.*DataCollatorWithPadding"),
    ],
)
def test_rows_with_different_columns_are_refused(rows, said):
    for make in (list, Rows, Stream):
        with pytest.raises(ValueError, match=f"dataset 'd': .*{said}"):
            rs.Dataset("d", make(rows)).inputs[0:6]


def test_rows_that_are_none_throughout_are_one_value():
    data = rs.Dataset("d", Rows([{"x": 1.0, "y": None} for _ in range(6)]))
    assert data.inputs[0:2]["y"] is None and data.inputs[0:2]["x"].tolist() == [1, 1]


def test_a_mask_as_the_second_of_a_pair_is_refused():
    ids, mask = torch.ones(8, 5, dtype=torch.long), (torch.arange(5) < torch.arange(1, 9)[:, None] % 6).long()
    pairs = [
        TensorDataset(ids, mask),
        DataLoader(TensorDataset(ids, mask)),
        iter([(ids, mask)]),
        list(zip(ids, mask, strict=True)),
        TensorDataset(torch.rand(8, 5, 3), mask.bool()),
    ]
    for pair in pairs:
        with pytest.raises(
            ValueError,
            match=(
                "dataset 'd': the second of a pair is taken as targets, which no model gets, and these look like a"
                " mask. Give a dict"
            ),
        ):
            rs.Dataset("d", pair)
    for x, targets in ((torch.rand(8, 5), mask), (ids, ids * 3), (torch.rand(8, 5, 3), mask), (ids, torch.arange(8))):
        assert len(rs.Dataset("d", TensorDataset(x, targets))) == 8


@pytest.mark.parametrize(
    "clips",
    [
        [np.zeros(4), np.zeros(5)],
        [torch.zeros(4), torch.zeros(5)],
        [np.zeros((4, 3)), np.zeros((5, 3))],
        [torch.zeros(4, 3), torch.zeros(5, 3)],
    ],
)
def test_clips_of_unlike_length_come_with_the_lines_that_pad_them(clips):
    with pytest.raises(
        ValueError,
        match="dataset 'd': .*Pad them to one length, and give them with the mask.*extractor.samples, sampling",
    ) as error:
        rs.Dataset("d", clips)
    lines = str(error.value)
    first, second = (
        lines[lines.index("n = max(") : lines.index("; {'input")],
        lines[lines.index("{'input_values'") : lines.index(". For sounds")],
    )
    scope = {"np": np, "samples": [np.asarray(clip) for clip in clips]}
    exec(first, scope)  # the lines are the advice: they must run
    data = rs.Dataset("d", eval(second, scope)).inputs[0:2]
    assert data["input_values"].shape == (2, 5, *clips[0].shape[1:]) and data["attention_mask"].tolist() == [
        [1, 1, 1, 1, 0],
        [1] * 5,
    ]


def test_what_a_tokenizer_made_without_padding_is_refused():
    tf = pytest.importorskip("transformers")
    with pytest.raises(ValueError, match="column 'input_ids' must be an array.*padding=True.*Got 2 values, 3 values"):
        rs.Dataset("d", tf.BatchEncoding({"input_ids": [[1, 2], [1, 2, 3]], "attention_mask": [[1, 1], [1, 1, 1]]}))
    with pytest.raises(ValueError, match="column 'input_values' must be an array.*padding=True"):
        rs.Dataset("d", tf.BatchFeature({"input_values": [np.zeros(4), np.zeros(5)]}))
    with pytest.raises(ValueError, match="the tokenizer got one text.*Give it a list"):
        rs.Dataset("d", tf.BatchEncoding({"input_ids": [1, 2, 3]}))
    for made in (
        tf.BatchEncoding({"input_ids": IDS}),
        tf.BatchFeature({"input_ids": np.array(IDS)}, tensor_type="pt"),
        tf.BatchFeature({"input_ids": np.array(IDS)}, tensor_type="np"),
    ):
        assert np.asarray(rs.Dataset("d", made).inputs[0:6]["input_ids"]).tolist() == IDS


# -- several rows a sample


def test_patches_of_pictures_belong_to_their_samples():
    grids = torch.tensor([(1, 4, 4), (1, 4, 8), (1, 8, 4), (1, 2, 2)])
    sizes = grids.prod(1).tolist()
    patches = torch.arange(sum(sizes)).float()[:, None].expand(-1, 3)
    data = rs.Dataset("d", {"pixel_values": patches, "image_grid_thw": grids, "input_ids": torch.arange(4)[:, None]})
    assert (
        len(data) == 4
        and data.fingerprint()
        != rs.Dataset(
            "d", {"pixel_values": patches + 1, "image_grid_thw": grids, "input_ids": torch.arange(4)[:, None]}
        ).fingerprint()
    )
    parts = patches.split(sizes)
    assert torch.equal(data.inputs[1:3]["pixel_values"], torch.cat(parts[1:3])) and torch.equal(
        data.inputs[2]["pixel_values"], parts[2]
    )
    assert torch.equal(data.take([3, 0], "two").inputs[0:2]["pixel_values"], torch.cat([parts[3], parts[0]]))
    assert [len(batch["pixel_values"]) for _, _, batch in data.batches(0, 3)] == [sum(sizes[:3]), sizes[3]]
    joined = rs.Dataset(
        "d",
        (
            {
                "pixel_values": torch.cat(parts[i : i + 2]),
                "image_grid_thw": grids[i : i + 2],
                "input_ids": torch.arange(i, i + 2)[:, None],
            }
            for i in (0, 2)
        ),
    )
    assert joined.fingerprint() == data.fingerprint()

    class Counts(nn.Module):
        def forward(self, input_ids, pixel_values, image_grid_thw):
            return (
                torch.stack([part.sum(0) for part in pixel_values.split(image_grid_thw.prod(1).tolist())]) + input_ids
            )

    np.testing.assert_allclose(
        rec(Counts(), data)["output"], torch.stack([part.sum(0) + i for i, part in enumerate(parts)])
    )
    with pytest.raises(
        ValueError,
        match=(
            r"columns of one length; got .*'pixel_values': 168.* It has 8 pictures.*load_model\(model,"
            r" preprocess=lambda rows: processor"
        ),
    ):
        rs.Dataset(
            "d",
            {
                "pixel_values": torch.cat([patches, patches]),
                "image_grid_thw": torch.cat([grids, grids]),
                "input_ids": torch.arange(4)[:, None],
            },
        )


@pytest.mark.filterwarnings("ignore")
def test_qwen_vl_is_recorded_with_pictures_of_any_size():
    tf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = tf.Qwen2VLConfig(
        text_config={
            "vocab_size": 60,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 64,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        vision_config={
            "depth": 1,
            "embed_dim": 16,
            "hidden_size": 16,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        image_token_id=50,
        video_token_id=51,
        vision_start_token_id=52,
        vision_end_token_id=53,
    )
    model, grids = tf.Qwen2VLForConditionalGeneration(config).eval(), [(1, 4, 4), (1, 4, 8), (1, 8, 4), (1, 4, 4)] * 3
    texts = [[52, *[50] * (t * h * w // 4), 53, *torch.randint(3, 49, (4,)).tolist()] for t, h, w in grids]
    longest = max(map(len, texts))
    ids, mask = (
        torch.tensor([row(text) + [0] * (longest - len(text)) for text in texts])
        for row in (list, lambda text: [1] * len(text))
    )
    patches = [torch.randn(t * h * w, 96) for t, h, w in grids]
    data = {
        "input_ids": ids,
        "attention_mask": mask,
        "pixel_values": torch.cat(patches),
        "image_grid_thw": torch.tensor(grids),
        "mm_token_type_ids": (ids == 50).long(),
    }
    got = rec(model, data, "model.language_model.layers.0", pool="mean", batch_size=5)["model.language_model.layers.0"]
    seen = []
    model.model.language_model.layers[0].register_forward_hook(
        lambda _m, _x, out: seen.append(out if isinstance(out, torch.Tensor) else out[0])
    )
    for i in range(4):
        k = len(texts[i])
        model(
            input_ids=ids[i : i + 1, :k],
            pixel_values=patches[i],
            image_grid_thw=data["image_grid_thw"][i : i + 1],
            mm_token_type_ids=data["mm_token_type_ids"][i : i + 1, :k],
        )
        np.testing.assert_allclose(got[i], seen[-1][0].mean(0).detach(), atol=1e-5)


# -- graphs


class _Store(dict):
    _key = None


class Data:
    """As torch_geometric has it, as far as it is needed here."""

    def __init__(self, **held):
        self.__dict__["store"] = _Store(held)

    def __getattr__(self, name):
        try:
            return self.__dict__["store"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, name):
        return self.store[name]

    def keys(self):
        return list(self.store)

    @property
    def stores(self):
        return [self.store]

    num_nodes = property(lambda self: len(self.store["x"]))
    num_edges = property(lambda self: self.store["edge_index"].shape[1])

    def clone(self):
        return type(self)(**{name: value.clone() for name, value in self.store.items()})

    def apply(self, function):
        self.store.update({name: function(value) for name, value in self.store.items()})
        return self


class Batch(Data):
    @classmethod
    def from_data_list(cls, graphs):
        ends = torch.tensor([graph.num_nodes for graph in graphs]).cumsum(0)
        held = {name: torch.cat([graph[name] for graph in graphs]) for name in graphs[0].store if name != "edge_index"}
        held["edge_index"] = torch.cat(
            [graph.edge_index + end - graph.num_nodes for graph, end in zip(graphs, ends, strict=True)], 1
        )
        return cls(
            **held,
            batch=torch.arange(len(graphs)).repeat_interleave(ends.diff(prepend=torch.tensor([0]))),
            ptr=torch.cat([torch.tensor([0]), ends]),
        )

    num_graphs = property(lambda self: len(self.ptr) - 1)

    def __len__(self):
        return self.num_graphs

    def to_data_list(self):
        return [self[i] for i in range(len(self))]

    def __getitem__(self, which):
        if isinstance(which, str):
            return self.store[which]
        if isinstance(which, slice):
            return [self[i] for i in range(*which.indices(len(self)))]
        first, last = self.ptr[which], self.ptr[which + 1]
        edges = (self.edge_index[0] >= first) & (self.edge_index[0] < last)
        return Data(
            x=self.x[first:last],
            edge_index=self.edge_index[:, edges] - first,
            **({"y": self.y[which : which + 1]} if "y" in self.store else {}),
        )


Data.__module__ = Batch.__module__ = "torch_geometric.data"


@pytest.fixture
def pyg(monkeypatch):
    """torch_geometric.data, or a small one in its place."""
    try:
        import torch_geometric.data as real
    except ImportError:
        stand_in = types.ModuleType("torch_geometric.data")
        stand_in.Data, stand_in.Batch = Data, Batch
        monkeypatch.setitem(sys.modules, "torch_geometric", types.ModuleType("torch_geometric"))
        monkeypatch.setitem(sys.modules, "torch_geometric.data", stand_in)
        return stand_in
    return real


class OfGraphs(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.node, self.graph, self.fc = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def run(self, x, edge_index, batch):
        x = self.node(x)
        x = torch.zeros_like(x).index_add(0, edge_index[1], x[edge_index[0]]).relu()
        pooled = torch.zeros(int(batch.max()) + 1, 8).index_add(0, batch, x)
        return self.fc(self.graph(pooled).relu())


class OfData(OfGraphs):
    def forward(self, data, more=None):
        return self.run(data.x, data.edge_index, data.batch)


class OfBatch(OfGraphs):
    def forward(self, batch):
        return self.run(batch.x, batch.edge_index, batch.batch)


class ByName(OfGraphs):
    def forward(self, x, edge_index, batch, edge_weight=None):
        assert edge_weight is None
        return self.run(x, edge_index, batch)


class CountsGraphs(OfGraphs):
    def forward(self, x, edge_index, batch, num_graphs):
        assert num_graphs == int(batch.max()) + 1
        return self.run(x, edge_index, batch)


def graphs_of(pyg, n=25):
    rng = torch.Generator().manual_seed(0)
    return [
        pyg.Data(
            x=torch.randn(k, 4, generator=rng, dtype=torch.float64),
            edge_index=torch.randint(0, k, (2, 2 * k), generator=rng),
            y=torch.tensor([k % 3]),
        )
        for k in (2 + (7 * i) % 6 for i in range(n))
    ]


def alone(model, graphs):
    """What the model gives for each graph by itself."""
    return torch.cat(
        [model.run(graph.x.float(), graph.edge_index, torch.zeros(len(graph.x), dtype=torch.long)) for graph in graphs]
    ).detach()


@pytest.mark.parametrize(
    "kind", [OfData, OfBatch, ByName, CountsGraphs, lambda: Wrapper(OfData()), lambda: Wrapper(ByName())]
)
def test_a_list_of_graphs_is_recorded_graph_by_graph(pyg, kind):
    model, graphs = kind().eval(), graphs_of(pyg)
    want = alone(getattr(model, "module", model), graphs)
    with pytest.warns(UserWarning, match="has no row for each graph: its rows are nodes, "):
        got = rec(model, graphs, "**")
    np.testing.assert_allclose(got["output"], want, atol=1e-5)
    assert {key.layer.removeprefix("module.") for key in got} >= {"graph", "output"} and not any(
        "node" in key.layer for key in got
    )


def test_graphs_come_in_several_ways(pyg, tmp_path):
    model, graphs = OfData().eval(), graphs_of(pyg)
    want = alone(model, graphs)
    ways = [
        graphs,
        pyg.Batch.from_data_list(graphs),
        (pyg.Batch.from_data_list(graphs[i : i + 10]) for i in (0, 10, 20)),
        iter(graphs),
        DataLoader(Rows(graphs), batch_size=4, collate_fn=pyg.Batch.from_data_list),
    ]
    for way in ways:
        np.testing.assert_allclose(rec(model, way, "output", batch_size=7)["output"], want, atol=1e-5)
    data = rs.Dataset("g", graphs)
    assert (
        len(data) == 25
        and data.targets.tolist() == [int(graph.y) for graph in graphs]
        and data.inputs.lengths.tolist() == [len(graph.x) for graph in graphs]
    )
    assert rs.Dataset("g", [graph.clone() for graph in graphs]).fingerprint() == data.fingerprint()
    changed = [graph.clone() for graph in graphs]
    changed[11].x[0, 0] += 1
    assert rs.Dataset("g", changed).fingerprint() != data.fingerprint() and dataset_images(data) is None
    np.testing.assert_allclose(rec(model, data.take([3, 1], "two"), "output")["output"], want[[3, 1]], atol=1e-5)
    for _ in range(2):
        np.testing.assert_allclose(
            rec(rs.load_model(model, name="m"), graphs, "output", into=tmp_path)["output"], want, atol=1e-5
        )
    with pytest.raises(ValueError, match="already has 'm/output"):
        rec(rs.load_model(model, name="m"), changed, "output", into=tmp_path)
    own = rs.load_model(model, preprocess=lambda batch: batch, name="own")
    np.testing.assert_allclose(rec(own, graphs, "output")["output"], want, atol=1e-5)
    assert rs.load_model(model).describe(graphs[:3], "**").loc["output", "shape"] == (3,)


def test_what_is_no_list_of_graphs_is_refused(pyg):
    graphs = graphs_of(pyg)
    with pytest.raises(
        ValueError,
        match=(
            r"dataset 'inputs': one Data is one graph, and its rows are nodes.*a list of graphs.*rs.compare\(measure, "
        ),
    ):
        rec(OfData().eval(), graphs[0])
    with pytest.raises(ValueError, match="layer 'node' of 'OfData' has no row for each graph: its rows are nodes"):
        rec(OfData().eval(), graphs, "node")
    with pytest.raises(
        ValueError,
        match=(
            "its forward needs 'input1', 'input2', and the graphs have 'batch', .*Give a module with forward.self,"
            " data."
        ),
    ):
        rec(nn.Bilinear(4, 4, 3), graphs)


def test_nodes_that_are_as_many_as_graphs_are_no_rows(pyg):
    graphs = [pyg.Data(x=torch.randn(k, 4), edge_index=torch.zeros(2, 1, dtype=torch.long)) for k in (1, 2) * 12]
    with pytest.raises(ValueError, match="its rows are nodes"):
        rec(OfData().eval(), graphs, "node")


def test_loaders_of_torch_geometric():
    pytest.importorskip("torch_geometric")
    import torch_geometric.data as data
    from torch_geometric.loader import DataListLoader, NeighborLoader
    from torch_geometric.loader import DataLoader as Loader

    model, graphs = OfData().eval(), graphs_of(data)
    want = alone(model, graphs)
    for loader in (Loader(graphs, batch_size=7), DataListLoader(graphs, batch_size=7)):
        np.testing.assert_allclose(rec(model, loader, "output")["output"], want, atol=1e-5)
    with pytest.raises(ValueError, match="the DataLoader shuffles"):
        rs.Dataset("g", Loader(graphs, batch_size=7, shuffle=True))
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="the rows of a NeighborLoader are nodes"):
        rs.Dataset("g", NeighborLoader(graphs[0], [2], batch_size=2))


# -- what forward takes


def test_forward_is_read_through_wrappers():
    assert arguments.read_arguments(Conditional()).names == ["z", "labels"] and arguments.list_names(
        Wrapper(Conditional())
    ) == ["z", "labels"]
    assert arguments.takes_labels(Wrapper(Conditional()), "labels", {"z", "labels"}) and not arguments.takes_labels(
        Wrapper(Unconditional()), "labels", {"z", "labels"}
    )
    two = nn.ModuleDict({"a": Conditional(), "b": Conditional()})
    two.forward = lambda *args, **kwargs: two["a"](*args, **kwargs)
    assert arguments.find_wrapped(two) is None and not arguments.takes_labels(two, "labels", {"z", "labels"})
    assert arguments.takes_labels(torch.jit.script(Scripted()), "labels", {"x", "labels"})


class Scripted(nn.Module):
    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return x + labels
