import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import repsim_nb as rs
from repsim_nb.inputs.models import ARCHITECTURES, build
from repsim_nb.studies.zoo import ZOO
from repsim_nb.support.files import shipped_folder

ZOO_FOLDER = shipped_folder("data") / "zoo"


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.act(self.first(x.flatten(1))))


def test_the_zoo_is_what_its_recipes_say():
    cards = rs.models.zoo()
    assert sorted(ZOO) == list(cards.index) and len(cards) >= 20
    assert sum(path.stat().st_size for path in ZOO_FOLDER.glob("*.safetensors")) < 8e6
    assert set(cards.architecture) == set(ARCHITECTURES)
    for name, recipe in ZOO.items():
        card = rs.load_model(f"zoo:{name}").card
        assert all(card[k] == v for k, v in recipe.items() if k != "learning_rate" or recipe["epochs"]), name


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_zoo_network_has_the_accuracy_on_its_card(name):
    model = rs.load_model(f"zoo:{name}")
    data = rs.load_dataset(model.card["data"])
    outputs = rs.record(model, data, "output", progress=False)["output"]
    assert abs((outputs.argmax(1) == data.targets).mean() - model.card["test_accuracy"]) < 0.003
    if model.card["epochs"] and model.card["labels"] == "true":
        assert model.card["test_accuracy"] > 0.8
    if model.card["labels"] == "shuffled":
        assert model.card["train_accuracy"] > 0.95 and model.card["test_accuracy"] < 0.2


def test_describe_gives_types_parameters_and_shapes_in_forward_order():
    table = rs.load_model("zoo:mnist-cnn-0").describe()
    assert list(table.index) == ["conv1", "conv2", "conv3", "fc", "output"]
    assert table.loc["conv1", "shape"] == (16, 14, 14) and table.loc["output", "shape"] == (10,)
    assert table.loc["output", "parameters"] == rs.load_model("zoo:mnist-cnn-0").card["parameters"]
    model = rs.load_model(Small(), name="small")
    assert "shape" not in model.describe() and model.describe(torch.zeros(2, 4)).loc["first", "shape"] == (5,)


def test_a_checkpoint_never_touches_the_module_it_is_for(tmp_path):
    torch.manual_seed(0)
    mine, files = Small(), [tmp_path / "a.pt", tmp_path / "b.pt"]
    for file in files:
        torch.save(Small().state_dict(), file)
    before = {k: v.clone() for k, v in mine.state_dict().items()}
    a, b = (rs.load_model(file, architecture=mine) for file in files)
    assert not torch.equal(a.module.first.weight, b.module.first.weight) and all(
        torch.equal(v, before[k]) for k, v in mine.state_dict().items()
    )


def test_options_are_checked_and_a_model_can_be_changed():
    with pytest.raises(ValueError, match="unknown option of load_model 'nam'. Did you mean 'name'"):
        rs.load_model("zoo:mnist-cnn-0", nam="x")
    with pytest.raises(TypeError, match="Small is a class. Create one first"):
        rs.load_model(Small)
    with pytest.raises(ValueError, match="ends in .safetensors, .pt, .pth, .ckpt or .bin; got 'weights.data'"):
        rs.load_model("weights.data")
    model = rs.load_model("zoo:mnist-cnn-0")
    twin = rs.load_model(model, name="twin", layers=["fc"])
    assert (twin.name, twin.layers, twin.module) == ("twin", ("fc", "output"), model.module) and rs.load_model(
        model
    ) is model
    assert (
        rs.load_model(Small(), layers=["first"]).layers == ("first", "output")
        and rs.load_model("zoo:mnist-cnn-0", name="").name == "mnist-cnn-0"
    )


def test_layers_of_a_module_are_believed_only_where_they_exist():
    module = Small()
    module.layers = ("first", "absent")
    assert rs.load_model(module).layers == ("first", "last", "output")


def test_any_module_and_how_its_layers_are_found():
    model = rs.load_model(Small(), name="small")
    assert model.name == "small" and model.layers == ("first", "last", "output")
    assert model.check_layers(["act", -1]) == ("act", "output") and model.check_layers(-2) == ("last",)
    with pytest.raises(ValueError, match="unknown layer 'frist'. Did you mean 'first'"):
        model.check_layers("frist")
    with pytest.raises(ValueError, match="no layer number 7"):
        model.check_layers(7)
    with pytest.raises(ValueError, match="all different"):
        model.check_layers(["first", 0])


@pytest.mark.parametrize(
    "spec, words",
    [
        ("zoo:mnist-cnn-9", "unknown zoo model 'mnist-cnn-9'. Did you mean 'mnist-cnn-"),
        ("zo:mnist-cnn-0", "unknown model source 'zo'. Did you mean 'zoo'"),
        ("mnist-cnn-0", "Did you mean 'zoo:mnist-cnn-0'"),
    ],
)
def test_unknown_specs_name_the_nearest(spec, words):
    with pytest.raises(ValueError, match=words):
        rs.load_model(spec)
    with pytest.raises(TypeError, match="load_model takes"):
        rs.load_model(3)


@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("wrap", ["bare", "DataParallel", "state_dict"])
def test_checkpoints_come_back_as_they_were(tmp_path, ending, wrap):
    torch.manual_seed(0)
    module, path = Small(), tmp_path / f"mine{ending}"
    weights = {("module." if wrap == "DataParallel" else "") + k: v for k, v in module.state_dict().items()}
    if ending == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights} if wrap == "state_dict" else weights, path)
    for spec in (path, str(path), f"checkpoint:{path}"):
        model = rs.load_model(spec, architecture=Small)
        x = torch.randn(3, 4)
        assert model.name == "mine" and torch.equal(model.module(x), module(x)) and not model.module.training


def test_a_zoo_file_is_a_checkpoint_that_knows_its_architecture():
    model = rs.load_model(ZOO_FOLDER / "mnist-cnn-0.safetensors")
    twin = rs.load_model("zoo:mnist-cnn-0")
    assert model.name == twin.name and model.card == twin.card
    batch = rs.load_dataset("mnist", n=8).inputs
    assert torch.equal(model.preprocess(batch), twin.preprocess(batch))


@pytest.mark.parametrize(
    ("architecture", "options", "layers"),
    [
        ("mlp", {"widths": [32]}, ("fc1", "output")),
        ("mlp", {"widths": [32, 16, 16, 8, 8], "classes": 5}, ("fc1", "fc2", "fc3", "fc4", "fc5", "output")),
        ("cnn", {"widths": [4]}, ("conv1", "fc", "output")),
        ("cnn", {"widths": [4, 4, 8, 8]}, ("conv1", "conv2", "conv3", "conv4", "fc", "output")),
        ("vit", {"width": 16, "heads": 2}, ("embed", "block1", "block2", "block3", "block4", "pool", "output")),
    ],
)
def test_options_of_an_architecture_are_in_the_card_and_come_back(tmp_path, mnist, architecture, options, layers):
    module = build(architecture, **options)
    file = tmp_path / "mine.safetensors"
    save_file(
        module.state_dict(), file, metadata={"card": json.dumps({"architecture": architecture, "options": options})}
    )
    for model in (
        rs.load_model(file),
        rs.load_model(file, architecture=architecture),
        rs.load_model(rs.load_model(file)),
    ):
        assert model.layers == layers
        assert all(torch.equal(a, b) for a, b in zip(module.parameters(), model.module.parameters(), strict=True))
    x = rs.record(model, mnist, progress=False)
    assert tuple(key.layer for key in x) == layers and x["output"].shape == (200, options.get("classes", 10))
    with pytest.raises(ValueError, match="does not fit"):
        rs.load_model(file, options={"width": 32} if architecture == "vit" else {"widths": [5, 5]})
    save_file(module.state_dict(), file)
    assert rs.load_model(file, architecture=architecture, options=options).layers == layers


def test_what_an_architecture_cannot_be_made_of_is_said():
    with pytest.raises(ValueError, match="unknown option of the architecture 'mlp' 'width'. Did you mean 'widths'"):
        build("mlp", width=3)
    for architecture, widths in (("mlp", ()), ("cnn", (1, 2, 3, 4, 5)), ("cnn", (4, 0)), ("mlp", (4, 2.5))):
        with pytest.raises(ValueError, match=r"widths are the numbers of .*: 1 to (100|4) integers >= 1; got \("):
            build(architecture, widths=widths)


def test_cards_are_a_row_a_network(tmp_path):
    table = rs.models.cards(["zoo:mnist-cnn-0", "zoo:untrained-mlp-0", rs.load_model(Small(), name="mine")])
    assert list(table.index) == ["mnist-cnn-0", "untrained-mlp-0", "mine"] and table.index.name == "model"
    assert (
        table.loc["mnist-cnn-0", "architecture"] == "cnn"
        and table.loc["untrained-mlp-0", "epochs"] == 0
        and table.loc["mine"].isna().all()
    )
    assert not {"classes", "input_shape", "name"} & set(table)
    assert rs.models.cards([]).empty
    zoo = rs.models.zoo()
    assert zoo.equals(rs.models.cards(f"zoo:{name}" for name in zoo.index)[zoo.columns])


def test_a_pickle_is_refused_and_never_run(tmp_path):
    path = tmp_path / "whole.pt"
    torch.save(Small(), path)
    with pytest.raises(ValueError, match="refused.*could run code"):
        rs.load_model(path, architecture=Small)


def test_pickles_are_refused_at_once_and_quietly(tmp_path):
    for name in ("p.pkl", "p.pickle", "p.joblib", "p.pt"):
        (tmp_path / name).write_bytes(pickle.dumps({"weights": np.zeros(3)}, protocol=4))
        for spec in (str(tmp_path / name), tmp_path / name, f"checkpoint:{tmp_path / name}"):
            with (
                warnings.catch_warnings(),
                pytest.raises(ValueError, match=f"{name} is refused: it .*could run code.*save the weights alone"),
            ):
                warnings.simplefilter("error")
                rs.load_model(spec, architecture=Small)
    torch.save(Small().state_dict(), tmp_path / "weights.pkl")
    assert rs.load_model(tmp_path / "weights.pkl", architecture=Small).name == "weights", (
        "what torch.save wrote, by another name"
    )


def test_damaged_and_unfitting_files_are_named(tmp_path):
    whole = (ZOO_FOLDER / "mnist-cnn-0.safetensors").read_bytes()
    for keep in (len(whole) - 100, 50, 0):
        path = tmp_path / f"cut{keep}.safetensors"
        path.write_bytes(whole[:keep])
        with pytest.raises(ValueError, match=f"cut{keep}.safetensors is damaged"):
            rs.load_model(path)
    torch.save(Small().state_dict(), tmp_path / "good.pt")
    cut = tmp_path / "cut.pt"
    cut.write_bytes((tmp_path / "good.pt").read_bytes()[:-200])
    with pytest.raises(ValueError, match="cut.pt is damaged"):
        rs.load_model(cut, architecture=Small)
    (tmp_path / "empty.pt").touch()
    with pytest.raises(ValueError, match="empty.pt is damaged: it is empty"):
        rs.load_model(tmp_path / "empty.pt", architecture=Small)
    with pytest.raises(FileNotFoundError, match="no checkpoint file"):
        rs.load_model(tmp_path / "absent.pt", architecture=Small)
    with pytest.raises(ValueError, match="weights alone: name the model"):
        rs.load_model(tmp_path / "good.pt")
    with pytest.raises(ValueError, match="does not fit Linear: it lacks 'weight', 'bias'; it has in addition"):
        rs.load_model(tmp_path / "good.pt", architecture=nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"first.weight \(5, 4\) for \(6, 4\)"):
        other = Small()
        other.first = nn.Linear(4, 6)
        rs.load_model(tmp_path / "good.pt", architecture=other)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="not a state dict"):
        rs.load_model(tmp_path / "list.pt", architecture=Small)
    with pytest.raises(ValueError, match="unknown architecture 'cmn'. Did you mean 'cnn'"):
        rs.load_model(tmp_path / "good.pt", architecture="cmn")


def test_pictures_become_channels_first_floats():
    grey, colour = np.full((2, 5, 6), 255, np.uint8), np.zeros((2, 5, 6, 3), np.uint8)
    images = rs.load_model(Small()).preprocess
    assert images(grey).shape == (2, 1, 5, 6) and images(grey).max() == 1 and images(colour).shape == (2, 3, 5, 6)
    assert torch.equal(images(torch.from_numpy(grey)), images(grey))
    assert images(np.zeros((2, 4))).dtype == torch.float64 and images(np.zeros((2, 4), np.int64)).dtype == torch.int64


def test_cards_are_inside_the_weights():
    for name in ZOO:
        path = ZOO_FOLDER / f"{name}.safetensors"
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            card = json.loads(file.metadata()["card"])
        assert (
            card["name"] == name
            and sum(v.numel() for k, v in load_file(path).items() if "running" not in k and "num_batches" not in k)
            == card["parameters"]
        )


def test_a_long_list_of_layers_is_shortened_in_html():
    layers = [nn.Identity() for _ in range(200)]
    shown = rs.load_model(nn.Sequential(*layers), name="deep", layers=list(map(str, range(200))))._repr_html_()
    assert "layers: 0, 1, 2, 3, 4, 5, 6, 7, …, 199, output (201 layers)" in shown
