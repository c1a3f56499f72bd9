"""Pictures of Pillow in every container as in a folder, and uint8 arrays: which are pictures, and where their channels
are.
"""

import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence
from sizes import sized
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import repsim_nb as rs
from repsim_nb.inputs.models import Pictures, normalise
from repsim_nb.inputs.models.channels import channels_axis

DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
images = rs.load_model(nn.Flatten(), name="x").preprocess


def noise(mode, n=3, size=(6, 5)):
    """Pictures of this mode, (height, width), with noise in every channel."""
    rng = np.random.default_rng(0)
    if mode in DEEP:
        kind = {"I": np.int32, "F": np.float32}.get(mode, np.uint16)
        values = [rng.integers(0, 60_000, size).astype(kind) for _ in range(n)]
        return [
            Image.frombytes(mode, size[::-1], (v.astype(">u2") if mode == "I;16B" else v).tobytes()) for v in values
        ]
    bands = len(Image.new(mode, (1, 1)).getbands())
    if mode == "1":
        return [Image.fromarray(rng.integers(0, 256, size, np.uint8)).convert("1") for _ in range(n)]
    pictures = [
        Image.frombytes(mode, size[::-1], rng.integers(0, 256, (*size, bands), np.uint8).tobytes()) for _ in range(n)
    ]
    for picture in pictures if mode in ("P", "PA") else ():
        picture.putpalette(rng.integers(0, 256, 768, np.uint8).tolist())
    return pictures


class Plain:
    """A torch Dataset of any samples."""

    def __init__(self, samples):
        self.samples = list(samples)

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


class Stream(IterableDataset):
    def __init__(self, samples):
        self.samples = list(samples)

    def __iter__(self):
        return iter(self.samples)


def together(batch):
    return batch


CONTAINERS = {
    "list": lambda p: p,
    "tuple": tuple,
    "object array": lambda p: np.array([*p, None], object)[:-1],
    "list of pairs": lambda p: [(one, 1) for one in p],
    "list of dicts": lambda p: [{"image": one, "label": 1} for one in p],
    "Dataset": Plain,
    "Dataset of pairs": lambda p: Plain((one, 1) for one in p),
    "Dataset of dicts": lambda p: Plain({"image": one, "label": 1} for one in p),
    "IterableDataset": Stream,
    "IterableDataset of pairs": lambda p: Stream((one, 1) for one in p),
    "DataLoader": lambda p: DataLoader(Plain((one, 1) for one in p), batch_size=2),
    "DataLoader with batches of lists": lambda p: DataLoader(Plain(p), batch_size=2, collate_fn=together),
    "DataLoader of batches": lambda p: DataLoader(Plain([p]), batch_size=None, collate_fn=together),
    "generator of batches": lambda p: (batch for batch in [p]),
    "generator of pairs": lambda p: (batch for batch in [(p, [1] * len(p))]),
    "generator of dicts": lambda p: (batch for batch in [{"image": p, "label": [1] * len(p)}]),
    "dict": lambda p: {"image": p, "label": [1] * len(p)},
}


def pixels(data):
    """All inputs of a data set as an array."""
    inputs = data.inputs[0 : len(data)]
    return np.asarray(inputs["image"] if isinstance(inputs, dict) else inputs)


def container(name, pictures):
    if "batches of lists" in name:  # its own collate_fn gives a list, which is a batch
        return DataLoader(Plain(pictures), batch_size=len(pictures), collate_fn=together)
    return CONTAINERS[name](pictures)


# -- pictures of Pillow


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "La", "RGBa"]
)
@pytest.mark.parametrize("name", CONTAINERS)
def test_every_mode_comes_out_as_pillow_converts_it(mode, name):
    pictures = noise(mode)
    two_steps = {"La": "LA", "RGBa": "RGBA"}.get(mode, mode)
    want = np.stack(
        [np.asarray(p.convert(two_steps).convert("L" if mode in ("1", "L", "LA", "La") else "RGB")) for p in pictures]
    )
    got = pixels(rs.Dataset("d", container(name, pictures)))
    assert got.dtype == np.uint8 and np.array_equal(got, want), (
        "and so no palette's numbers, no truth values, no transparency"
    )


@pytest.mark.parametrize(
    ("mode", "ending"),
    [
        ("1", "png"),
        ("L", "png"),
        ("LA", "png"),
        ("P", "png"),
        ("RGB", "png"),
        ("RGBA", "png"),
        ("RGBX", "tif"),
        ("CMYK", "tif"),
        ("YCbCr", "tif"),
        ("LAB", "tif"),
        ("L", "jpg"),
        ("CMYK", "jpg"),
        ("P", "gif"),
        ("RGBA", "webp"),
    ],
)
def test_opened_files_come_out_as_a_folder_gives_them(tmp_path, mode, ending):
    for number, picture in enumerate(noise(mode)):
        exif = Image.Exif()
        exif[0x0112] = 6  # "turn it by a quarter": not applied
        picture.save(tmp_path / f"{number}.{ending}", **({"exif": exif} if ending in ("jpg", "png", "webp") else {}))
    folder = pixels(rs.Dataset("d", tmp_path))
    for name in CONTAINERS:
        assert np.array_equal(
            pixels(rs.Dataset("d", container(name, [Image.open(file) for file in sorted(tmp_path.iterdir())]))), folder
        ), name


def test_transparency_is_dropped_as_a_folder_drops_it(tmp_path):
    picture = Image.new("P", (5, 6), 0)
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.save(tmp_path / "0.png", transparency=0)
    assert (
        pixels(rs.Dataset("d", tmp_path))[0, 0, 0].tolist()
        == [10, 20, 30]
        == pixels(rs.Dataset("d", [Image.open(tmp_path / "0.png")]))[0, 0, 0].tolist()
    )


@pytest.mark.parametrize("mode", DEEP)
@pytest.mark.parametrize("name", CONTAINERS)
def test_more_than_eight_bits_are_refused_in_every_container(mode, name):
    pictures = [*noise("L", 2), *noise(mode, 1), *noise("L", 1)]
    with pytest.raises(
        ValueError,
        match=(
            "^dataset 'd': .*(sample|picture) 2( of a batch)?( of column 'image')? has more than 8 bits a pixel"
            f" \\(mode {mode}\\). Save it with 8"
        ),
    ):
        pixels(rs.Dataset("d", container(name, pictures)))


def test_a_folder_says_the_same(tmp_path):
    noise("L", 1)[0].save(tmp_path / "0.png")
    noise("I;16", 1)[0].save(tmp_path / "1.png")
    with Image.open(tmp_path / "1.png") as picture:
        words = rf"the image .*1.png has more than 8 bits a pixel \(mode {picture.mode}\). Save it with 8"
    with pytest.raises(ValueError, match=words):
        rs.Dataset("d", tmp_path)
    noise("L", 1)[0].save(tmp_path / "1.png")
    data = rs.Dataset("d", tmp_path)
    noise("I;16", 1)[0].save(tmp_path / "1.png")  # after its header was read
    with pytest.raises(ValueError, match=f"^dataset 'd': {words}"):
        data.inputs[:]


@pytest.mark.parametrize("mode", ["I;16", "I", "P", "L"])
@pytest.mark.parametrize("name", ["list", "Dataset", "DataLoader"])
@pytest.mark.parametrize("kind", ["pair", "labels"])
def test_a_picture_that_is_a_target_may_be_of_any_depth(mode, name, kind):
    rgb = noise("RGB")
    samples = [(a, b) if kind == "pair" else {"image": a, "labels": b} for a, b in zip(rgb, noise(mode), strict=True)]
    given = {"list": samples, "Dataset": Plain(samples), "DataLoader": DataLoader(Plain(samples), batch_size=2)}[name]
    data = rs.Dataset("d", given)
    assert data.targets is None and np.array_equal(pixels(data), np.stack([np.asarray(p) for p in rgb]))


def test_several_columns_of_pictures_are_read_each_for_itself():
    rgb, grey, deep = noise("RGB"), noise("L"), noise("I;16")
    data = rs.Dataset("d", [{"image": a, "outline": b} for a, b in zip(rgb, grey, strict=True)])
    assert data.inputs[:]["image"].shape == (3, 6, 5, 3) and data.inputs[:]["outline"].shape == (3, 6, 5)
    with pytest.raises(ValueError, match="column 'depth' of sample 0 has more than 8 bits"):
        rs.Dataset("d", [{"image": a, "depth": b} for a, b in zip(rgb, deep, strict=True)])
    with pytest.raises(ValueError, match="picture 0 of column 'depth' has more than 8 bits"):
        rs.Dataset("d", {"image": rgb, "depth": deep})
    only = rs.Dataset("d", [{"label": a} for a in rgb])  # alone, it is the input
    assert only.inputs[:]["label"].shape == (3, 6, 5, 3)
    with pytest.raises(ValueError, match="has more than 8 bits"):
        rs.Dataset("d", [{"label": a} for a in deep])


def test_grey_pictures_next_to_colored_ones_are_colored_as_in_a_folder(tmp_path):
    pictures = [*noise("RGB", 1), *noise("L", 1), *noise("1", 1), *noise("RGBA", 1)]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    folder = pixels(rs.Dataset("d", tmp_path))
    assert folder.shape == (4, 6, 5, 3)
    for items in (pictures, pictures[::-1], [(p, 0) for p in pictures], [{"image": p} for p in pictures]):
        got = pixels(rs.Dataset("d", items))
        assert np.array_equal(got[::-1] if items[0] is pictures[-1] else got, folder)
    with pytest.raises(
        ValueError,
        match=(
            r"sample 0 is \(6, 5, 3\), sample 1 is \(6, 5\).*for grey pictures next to colored ones:"
            r" picture.convert\('RGB'\)"
        ),
    ):
        pixels(rs.Dataset("d", Plain(pictures)))  # what follows is not known yet


def test_of_several_frames_the_first_is_read_and_one_object_cannot_be_several(tmp_path):
    frames = noise("RGB", 3)
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.tif", save_all=True, append_images=frames[1:])
    folder = rs.Dataset("d", tmp_path)
    opened = [Image.open(tmp_path / name) for name in ("a.gif", "b.tif")]
    for items in (opened, Plain(opened), Plain((p, 0) for p in opened)):
        assert np.array_equal(pixels(rs.Dataset("d", items)), pixels(folder))
    with pytest.raises(
        ValueError, match=r"samples 0 and 1 are the same picture of several frames.*\[frame.copy\(\) for frame in"
    ):
        rs.Dataset("d", list(ImageSequence.Iterator(Image.open(tmp_path / "b.tif"))))
    copied = rs.Dataset("d", [frame.copy() for frame in ImageSequence.Iterator(Image.open(tmp_path / "b.tif"))])
    assert np.array_equal(pixels(copied), np.stack([np.asarray(frame) for frame in frames]))
    assert len(rs.Dataset("d", frames[:1] * 3)) == 3, "one picture may come twice"


def test_a_damaged_picture_is_named(tmp_path):
    for number, picture in enumerate(noise("RGB", size=(40, 40))):
        picture.save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    for name in ("list", "Dataset", "Dataset of dicts", "dict"):
        with pytest.raises(
            ValueError,
            match="^dataset 'd': .*(sample|picture) 1.* cannot be read .*: it is damaged. Leave it out or replace it",
        ):
            pixels(rs.Dataset("d", container(name, [Image.open(file) for file in sorted(tmp_path.iterdir())])))


def test_pictures_handed_to_the_preprocess_itself():
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK"):
        picture = noise(mode, 1)[0]
        want = Pictures()(np.asarray(picture.convert("RGB"))[None])
        assert torch.equal(Pictures()([picture]), want), mode
    for mode in DEEP:
        with pytest.raises(ValueError, match=f"picture 1 has more than 8 bits a pixel \\(mode {mode}\\)"):
            Pictures()([noise("L", 1)[0], noise(mode, 1)[0]])


# -- uint8 arrays


def random_bytes(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def both(x):
    return x, torch.from_numpy(x)


@pytest.mark.parametrize(
    "shape",
    [
        (4, 12, 12),
        (4, 12, 12, 1),
        (4, 12, 9, 3),
        (4, 12, 12, 4),
        (4, 1, 12, 12),
        (4, 3, 12, 9),
        (4, 4, 12, 12),
        (0, 3, 8, 8),
        (4, 3, 8, 2),
        (4, 2, 3, 3),
        (4, 20, 30, 2),
        (4, 2, 20, 30),
        (4, 64, 64, 13),
        (4, 13, 64, 64),
    ],
)
def test_pictures_are_floats_with_channels_first_wherever_their_channels_are(shape):
    last = (4, 12, 12, 1), (4, 12, 9, 3), (4, 12, 12, 4), (4, 2, 3, 3), (4, 20, 30, 2), (4, 64, 64, 13)
    x = random_bytes(*shape)
    want = x[:, None] if x.ndim == 3 else np.moveaxis(x, -1, 1) if shape in last else x
    for batch in both(x):
        got = images(batch)
        assert got.dtype == torch.float32 and got.is_contiguous()
        assert torch.equal(got, torch.from_numpy(np.ascontiguousarray(want)).float() / 255)
        assert torch.equal(normalise(batch, 0.3, 0.2), (got - 0.3) / 0.2)
        assert torch.equal(images({"pixel_values": batch})["pixel_values"], got)
        if got.shape[1] in (1, 3, 4) and len(got):
            assert torch.equal(Pictures(None, (0,), (1,), got.shape[1])(batch), got) and torch.equal(
                Pictures(None, (0,), (1,), got.shape[1])([*batch]), got
            )


@pytest.mark.parametrize(
    "shape",
    [
        (4, 3, 8, 3),
        (4, 1, 28, 1),
        (4, 4, 6, 3),
        (4, 1, 1, 3),
        (4, 3, 3, 3),
        (4, 20, 5, 20),
        (4, 5, 8, 5),
        (4, 12, 8, 8),
    ],
)
def test_pictures_whose_channels_can_be_on_either_side_are_refused(shape):
    said = (
        r"uint8 pictures of the shape \(4, .*\) can be \(n, height, width, channels\) or \(n, channels, height,"
        r" width\)\. Give floats .* or a preprocess"
    )
    for batch in both(random_bytes(*shape)):
        for read in (
            images,
            Pictures(),
            lambda x: normalise(x, 0.5, 0.5),
            lambda x: images({"image": x}),
            lambda x: Pictures()({"image": x}),
        ):
            with pytest.raises(ValueError, match=said):
                read(batch)
    floats = torch.from_numpy(random_bytes(*shape)).float() / 255
    assert images(floats) is floats and Pictures()(floats) is floats


@settings(max_examples=sized(60, 200), deadline=None)
@given(st.tuples(*[st.integers(1, 40)] * 3))
def test_the_axis_of_the_channels_turns_with_the_axes(sides):
    """(n, h, w, c) and (n, c, h, w) of one picture are read alike, or both are refused."""
    first, second, third = sides
    answers = []
    for shape in ((0, first, second, third), (0, third, second, first)):
        try:
            answers.append(channels_axis(shape))
        except ValueError:
            answers.append(None)
    assert answers in ([1, 3], [3, 1], [None, None])
    if (first in (1, 3, 4)) != (third in (1, 3, 4)):
        assert answers == ([1, 3] if first in (1, 3, 4) else [3, 1])
    if first in (1, 3, 4) and third in (1, 3, 4):
        assert answers == [None, None]


def test_features_in_bytes_are_floats_of_the_same_value():
    for shape in ((5,), (5, 7), (5, 1), (5, 3)):
        for batch in both(random_bytes(*shape)):
            got = images(batch)
            assert got.dtype == torch.float32 and np.array_equal(got, np.asarray(batch)) and got.max() > 1
    x = random_bytes(40, 8)
    module = nn.Linear(8, 3)
    np.testing.assert_allclose(
        rs.record(module, x, progress=False)["output"], module(torch.from_numpy(x).float()).detach(), rtol=1e-4
    )
    for prepare in (Pictures(), lambda batch: normalise(batch, 0.5, 0.5), rs.load_model("zoo:mnist-mlp-0").preprocess):
        for batch in both(random_bytes(5, 784)):
            with pytest.raises(
                ValueError, match=r"pictures must be uint8 \(n, height, width\).*these have the shape \(5, 784\)"
            ):
                prepare(batch)


def test_bytes_with_more_axes_are_refused():
    for batch in both(random_bytes(2, 4, 3, 8, 8)):
        for read in (images, lambda x: images({"pixel_values": x}), lambda x: images({"video": x})):
            with pytest.raises(
                ValueError, match=r"uint8 of the shape \(2, 4, 3, 8, 8\) is no picture.*Give floats .* or a preprocess"
            ):
                read(batch)
        for read in (Pictures(), lambda x: normalise(x, 0.5, 0.5)):
            with pytest.raises(ValueError, match=r"pictures must be uint8 .*these have the shape \(2, 4, 3, 8, 8\)"):
                read(batch)


def test_other_types_are_no_pictures():
    for kind in (np.bool_, np.int8, np.uint16, np.int64, np.float32):
        for shape in ((3, 8, 8), (3, 3, 8, 8), (3, 8), (2, 4, 3, 8, 8)):
            for batch in both(random_bytes(*shape).astype(kind)):
                for read in (images, Pictures(), lambda x: images({"x": x})["x"], lambda x: Pictures()({"x": x})["x"]):
                    got = read(batch)
                    assert (
                        got.shape == shape
                        and np.array_equal(got, batch)
                        and got.dtype == torch.from_numpy(np.empty(0, kind)).dtype
                    )


def test_columns_of_bytes_are_pictures_only_if_they_can_be():
    four, three, two = (torch.from_numpy(random_bytes(*shape)) for shape in ((4, 3, 8, 8), (4, 8, 8), (4, 8)))
    columns = {
        "pixel_values": four,
        "image": four,
        "attention_mask": two,
        "token_type_ids": two,
        "src_mask": three,
        "adjacency": three,
        "Masks": four,
        "ids": four[:, 0, 0, 0],
    }
    for batch in (columns, {name: column.numpy() for name, column in columns.items()}):
        got = images(batch)
        assert list(got) == list(columns) and all(isinstance(column, torch.Tensor) for column in got.values())
        for name, column in columns.items():
            want = column.float() / 255 if name in ("pixel_values", "image") else column
            assert got[name].dtype == want.dtype and torch.equal(got[name], want), name
        assert torch.equal(images({"pixel_values": three})["pixel_values"], three[:, None].float() / 255)
        prepared = Pictures((4, 4))(batch)
        assert (
            torch.equal(prepared["image"], Pictures((4, 4))(four))
            and prepared["image"].shape == (4, 3, 4, 4)
            and torch.equal(prepared["Masks"], four)
        )


def test_pictures_with_channels_first_are_recorded_as_what_they_are():
    """Models that flatten take either order of the axes without an error."""
    x = torch.from_numpy(random_bytes(30, 3, 12, 9))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(324, 5)).eval()
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(280, 5)).eval()
    for model, items in itertools.product(
        (flat, conv),
        (x, x.numpy(), Plain(x), [*x], DataLoader(Plain(x), batch_size=7), x.permute(0, 2, 3, 1), {"input": x}),
    ):
        np.testing.assert_allclose(
            rs.record(model, items, progress=False)["output"], model(x.float() / 255).detach(), atol=1e-5
        )


def test_a_data_set_of_pictures_travels_between_processes():
    data = rs.Dataset("d", Plain(noise("P")))
    assert np.array_equal(pixels(pickle.loads(pickle.dumps(data))), pixels(data))


@pytest.mark.parametrize("shape", [(2, 28, 28), (2, 32, 32, 3), (2, 33, 20, 4), (3, 28, 28, 1), (2, 2, 2, 3)])
def test_ordinary_pictures_give_the_bits_that_they_always_gave(shape):
    x = random_bytes(*shape)
    want = torch.from_numpy(x).float() / 255
    want = want.unsqueeze(1) if want.ndim == 3 else want.permute(0, 3, 1, 2).contiguous()
    for batch in (x, torch.from_numpy(x), x[::-1][::-1], np.asfortranarray(x)):
        assert torch.equal(images(batch), want) and images(batch).stride() == want.stride()
    before = x.copy()
    images(x).zero_()
    assert np.array_equal(x, before), "what comes out is the model's own"


def test_every_model_that_knows_an_example_can_read_it():
    for name in ("zoo:mnist-cnn-0", "zoo:mnist-mlp-0"):
        assert "shape" in rs.load_model(name).describe()
    for channels in (1, 3, 4, 13):
        config = {
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 8,
            "image_size": 28,
            "patch_size": 7,
            "num_channels": channels,
        }
        model = rs.load_model("transformers:vit", weights="random", options=config)
        assert model.preprocess(model.example()).shape == (2, channels, 28, 28)
