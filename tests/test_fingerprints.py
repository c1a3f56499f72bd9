"""What counts as the same pool function, the same model."""

import functools
import hashlib
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from shims import vision  # noqa: F401 - transformers asks for torchvision where it is there
from torch import nn

import repsim_nb as rs
from repsim_nb.inputs.fingerprints import fingerprint, fingerprint_settings
from repsim_nb.inputs.store.arrayfile import file_stem


def made(code, what="pool"):
    """A thing from code, with globals of its own, as in a notebook."""
    space = {"__name__": "my_notebook", "torch": torch, "np": np, "nn": nn, "functools": functools}
    exec(textwrap.dedent(code), space)
    return space[what]


CLASS = """
class Pool:
    def __init__(self, k):
        self.k = k
    def __call__(self, x):
        return x.flatten(1) * self.k
    def other(self, x):
        return x.flatten(1) * self.k
"""
SLOTS = (
    "class Pool:\n    __slots__ = ('k',)\n    def __init__(self, k):\n        self.k = k\n    def __call__(self, x):\n "
    "       return x.flatten(1) * self.k\n"
)
MODULE = """
class Pool(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.register_buffer("k", k, persistent=False)
    def forward(self, x):
        return x.flatten(1) * self.k
"""
LONG = "np.arange(5000.) == {}"
PAIRS = {
    "a constant": ("pool = lambda x: x.flatten(1) * 2", "pool = lambda x: x.flatten(1) * 3"),
    "a default": ("def pool(x, k=2): return x * k", "def pool(x, k=3): return x * k"),
    "a default by keyword": ("def pool(x, *, k=2): return x * k", "def pool(x, *, k=3): return x * k"),
    "a method": ("pool = lambda x: x.amax(1)", "pool = lambda x: x.amin(1)"),
    "a nested function": (
        "def pool(x):\n    f = lambda y: y + 1\n    return f(x)",
        "def pool(x):\n    f = lambda y: y + 2\n    return f(x)",
    ),
    **{
        f"{where}, {how}": tuple(code.format(value.format(at)) for at in (2000, 2001))
        for how, value in (("array", LONG), ("tensor", "torch.arange(5000) == {}"))
        for where, code in {
            "a closure": "def outer(k): return lambda x: x * k\npool = outer({})",
            "a partial": "pool = functools.partial(lambda x, k: x * k, k={})",
            "a partial's position": "pool = functools.partial(lambda k, x: x * k, {})",
            "a global": "k = {}\npool = lambda x: x * k",
            "a list in a dict": "k = {{'a': [1, {}]}}\npool = lambda x: x * k['a'][1]",
            "an attribute of a function": "def pool(x): return x * pool.k\npool.k = {}",
            "an attribute": CLASS + "pool = Pool({})",
            "a bound method": CLASS + "pool = Pool({}).other",
            "a slot": SLOTS + "pool = Pool({})",
            "a module's buffer": MODULE + "pool = Pool(torch.as_tensor({}))",
        }.items()
    },
    "another method of the object": (
        CLASS + "pool = Pool(2)",
        CLASS.replace("return x.flatten(1) * self.k", "return x.flatten(1) + self.k") + "pool = Pool(2)",
    ),
    "a helper": (
        "def helper(x): return x + 1\ndef pool(x): return helper(x)",
        "def helper(x): return x + 2\ndef pool(x): return helper(x)",
    ),
    "a helper's helper": (
        "def a(x): return x + 1\ndef helper(x): return a(x)\ndef pool(x): return helper(x)",
        "def a(x): return x + 2\ndef helper(x): return a(x)\ndef pool(x): return helper(x)",
    ),
    "functions in a circle": (
        "def a(x): return pool(x) + 1\ndef pool(x): return a(x)",
        "def a(x): return pool(x) + 2\ndef pool(x): return a(x)",
    ),
    "a decorated function": (
        "@torch.no_grad()\ndef pool(x): return x + 1",
        "@torch.no_grad()\ndef pool(x): return x + 2",
    ),
    "a cached helper": (
        "@functools.cache\ndef h(k): return 1\ndef pool(x): return x + h(0)",
        "@functools.cache\ndef h(k): return 2\ndef pool(x): return x + h(0)",
    ),
    "a library's function": ("pool = torch.amax", "pool = torch.amin"),
    "a library's function in a global": (
        "f = nn.functional.relu\ndef pool(x): return f(x)",
        "f = nn.functional.gelu\ndef pool(x): return f(x)",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_pool_that_does_something_else_has_another_fingerprint(name):
    one, two = PAIRS[name]
    assert fingerprint(made(one)) == fingerprint(made(one)) != fingerprint(made(two))


def test_a_global_that_only_shares_its_name_with_a_method_does_not_count():
    pool = "mean = {}\ndef pool(x): return x.mean(1)"
    assert fingerprint(made(pool.format(1))) == fingerprint(made(pool.format(2)))


def test_it_is_the_same_in_every_process():
    pool = (
        "def helper(x, among={'one', 'two', 'three'}): return x if 'k' in {'a', 'b', 'k'} else among\n"
        + CLASS
        + "inner = Pool(lambda x: helper(x))\ndef pool(x): return inner.k(x) + object.__eq__(x, inner)"
    )
    code = (
        f"import sys; sys.path.insert(0, 'tests'); from test_fingerprints import *; print(fingerprint(made({pool!r})),"
        " fingerprint(small_model()))"
    )
    environment = {
        "PYTHONHASHSEED": "1",
        "PYTHONPATH": ".",
        "OMP_NUM_THREADS": "1",
    }  # sets of names print in another order there
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert found == f"{fingerprint(made(pool))} {fingerprint(small_model())}\n"


NETWORK = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(3, 3)
        self.k, self.table, self.sizes, self.mode, self.act = 2., torch.ones(3), (1, 2), "a", nn.functional.relu
        self.register_buffer("shift", torch.zeros(3), persistent=False)
        self.kept, self.calls, self.cache = None, 0, {}
    def scaled(self, x):
        self.calls += 1
        return x * self.k + self.shift
    def forward(self, x):
        self.cache["x"] = self.kept = x
        self.new = [x, 1]
        return self.act(self.scaled(self.fc(x)) * self.table)
"""


def small_model(old="", new=""):
    assert old in NETWORK
    return made(NETWORK.replace(old, new) if old else NETWORK, "Net")()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.act(self", "-self.act(self"),
        ("x * self.k +", "x * self.k -"),
        ("2.,", "3.,"),
        ("torch.ones(3)", "torch.ones(3) + torch.eye(3)[0]"),
        ("(1, 2)", "(1, 3)"),
        ('"a"', '"b"'),
        ("torch.zeros(3)", "torch.ones(3)"),
        ("manual_seed(0)", "manual_seed(1)"),
        ("functional.relu", "functional.gelu"),
    ],
)
def test_a_network_that_does_something_else_has_another_fingerprint(old, new):
    assert fingerprint(small_model()) != fingerprint(small_model(old, new))


def test_running_training_and_hooks_do_not_change_it():
    net = small_model()
    before = fingerprint(net)
    net.register_forward_hook(lambda *_: None)
    net.train(not net.training)
    net.called_back = lambda: None
    net(torch.ones(2, 3))
    assert net.calls == 1 and net.kept is not None and fingerprint(net) == before == fingerprint(small_model())


HELD = """
class Config:
    def __init__(self):
        self.window, self.calls, self.output_states, self._hidden, self.other = 2, 0, False, 1, 1
def make(gain, calls=0):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.config, self.stats = Config(), {"calls": 1}
        def forward(self, x):
            nonlocal calls
            calls += 1
            self.config.calls += 1
            self.stats["calls"] += self.config.output_states + self.config._hidden
            return x[:, :self.config.window] * gain
    return Net()
net = make(GAIN)
"""


def test_plain_values_of_closures_and_configs_count():
    net = made(HELD.replace("GAIN", "2"), "net")
    before = fingerprint(net)
    assert before != fingerprint(made(HELD.replace("GAIN", "3"), "net"))
    net(torch.ones(2, 3))
    net.config.output_states, net.config._hidden, net.config.other = (
        True,
        2,
        2,
    )  # they shape what is returned, are private, or are not read
    assert net.config.calls == 1 and net.stats["calls"] == 2 and fingerprint(net) == before
    net.config.window = 1
    assert fingerprint(net) != before


LIBRARY = """
import torch
from torch import nn
class Adapter(nn.Module):
    def __init__(self):
        super().__init__()
        self.scaling, self.memo, self.passed, self.nested = {"a": 1.0}, {"a": 1.0}, {"a": 1.0}, {"a": [1.0]}
    def forward(self, x):
        self.memo["a"] += 1
        look(self.passed)
        x = x * self.nested["a"][0]
        return x * self.scaling["a"] if "a" in self.scaling else x
class Parent(nn.Module):
    def __init__(self):
        super().__init__()
        self.child = Adapter()
    def forward(self, x):
        self.child.scaling.update(a=self.child.scaling["a"] + 1)
        return self.child(x)
def look(held):
    pass
"""


def test_plain_values_in_dicts_of_installed_classes_count_if_nothing_changes_them(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "library_of_adapters.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(folder))
    import library_of_adapters as library

    net = library.Adapter()
    before = fingerprint(net)
    net(torch.ones(2, 3))
    net.passed["a"], net.nested["a"][0] = (
        2.0,
        2.0,
    )  # it is not certain what a function does with it, or what is done with the list
    assert net.memo["a"] == 2 and fingerprint(net) == before
    net.scaling["a"] = 2.0
    assert fingerprint(net) != before
    parent = library.Parent()
    before = fingerprint(parent)
    parent(torch.ones(2, 3))
    assert parent.child.scaling["a"] == 2 and fingerprint(parent) == before


@pytest.mark.parametrize("kind", ["Bert", "Llama", "GPT2", "T5"])
def test_networks_of_transformers_are_the_same_before_and_after_they_ran_and_read_twice(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        **({"n_embd": 16, "n_layer": 2, "n_head": 2} if kind == "GPT2" else {}),
        **({"d_model": 16, "d_kv": 8, "d_ff": 16} if kind == "T5" else {}),
    )
    kind = f"{kind}EncoderModel" if kind == "T5" else f"{kind}Model"
    getattr(transformers, kind)(config).save_pretrained(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    net = getattr(transformers, kind).from_pretrained(tmp_path / "b").eval()
    before = fingerprint(net)
    net(torch.arange(12).reshape(2, 6))
    (tmp_path / "b").rename(tmp_path / "c")
    again = getattr(transformers, kind).from_pretrained(tmp_path / "c")
    assert fingerprint(net) == before == fingerprint(again)
    with torch.no_grad():
        next(again.parameters())[0, 0] += 1
    assert fingerprint(again) != before


def test_it_takes_little_longer_than_a_hash_of_the_bytes():
    net = nn.Sequential(*[nn.Linear(1000, 1000) for _ in range(25)])  # 100 MB
    times, bare = [], []
    for _ in range(4):  # in turn, so that a busy machine slows both
        start = time.process_time()
        fingerprint(net)
        times.append(time.process_time() - start)
        start = time.process_time()
        for weight in net.parameters():
            hashlib.blake2b(weight.detach().numpy(), digest_size=16)
        bare.append(time.process_time() - start)
    assert min(times) < 5 * min(bare), (
        times,
        bare,
    )  # one pass over the bytes; which hash is faster depends on the machine


class Scaled(nn.Module):
    """A module as a user writes it: its `forward` counts by its code."""

    def __init__(self, gain):
        super().__init__()
        self.gain = gain
        self.fc = nn.Linear(2, 2, bias=False)
        nn.init.ones_(self.fc.weight)

    def forward(self, x):
        return self.fc(x) * self.gain


PINNED = {
    "weights of the zoo": "43e6ee7946ff6ad24f8b64779efdf3bd",
    "preprocess of the zoo": "472fc0752cc61d10549c47709b8a28b7",
    "preprocess of a library": "b0682ab641e0f810e2f7eb70e96375db",
    "an object of the package": "07b2b92dd855a3e5384112e0942491f9",
    "data that ship": "f420adb94ff75dcf6fbd8e60c51cc9f6",
    "data of a user": "80721419915022d27d488d52e3192f9e",
    "a file in a store": "mnist-cnn-0.conv1.e46d87526b5b",
}


if "bias=" not in repr(nn.BatchNorm2d(1)):  # older torch; the text of a module is hashed
    PINNED["weights of the zoo"] = "179e6001c7976ba989d9fc4640aac3ce"


def pinned_things():
    cnn = rs.load_model("zoo:mnist-cnn-0")
    pictures = rs.models.Pictures(size=(224, 224), mean=(0.5,), std=(0.25,))
    return {
        "weights of the zoo": fingerprint(cnn.module),
        "preprocess of the zoo": fingerprint_settings(cnn.preprocess),
        "preprocess of a library": fingerprint_settings(pictures),
        "an object of the package": fingerprint(pictures),
        "data that ship": rs.load_dataset("mnist", n=50).fingerprint(),
        "data of a user": rs.Dataset("mine", np.arange(6.0).reshape(3, 2)).fingerprint(),
        "a file in a store": file_stem(rs.Key("mnist-cnn-0", "conv1", "mnist/test")),
    }


def test_stores_that_exist_stay_readable():
    """Recordings in a store are found by these values. They were the same before the package was divided into wings:
    a file or a class that is renamed below `inputs` must leave them alone, or every store there is becomes useless,
    silently, and is recorded again. If this test fails, keep the old name in what is hashed; do not copy the new
    values here.
    """
    assert pinned_things() == PINNED


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the compiled code of another Python is different")
def test_a_module_of_a_user_keeps_its_fingerprint():
    assert fingerprint(Scaled(2.0)) == "f96298424e18473ddc0655dd4af14158"
