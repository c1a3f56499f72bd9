"""All that works on arrays works where torch is not installed; what needs it names what to install."""

import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

BLOCKED = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith("torch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTorch())

import numpy as np
import repsim_nb as rs

rng = np.random.default_rng(0)
a, b = rng.normal(size=(2, 60, 5))
xs = {"m/a": a, "m/b": a + b, "n/a": b}
"""


def run_without_torch(code, *arguments):
    """What the code prints in a process that cannot import torch."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + textwrap.dedent(code), *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_device_needs_torch_and_the_error_names_what_to_install():
    out = run_without_torch(
        """
        try:
            rs.compare("cka", xs, device="cuda")
        except ModuleNotFoundError as error:
            print(error)
        """
    )
    assert "compare(device=...) needs torch" in out and "pip install 'repsim_nb[torch]'" in out


def test_every_measure_gives_what_it_gives_with_torch():
    import numpy as np

    import repsim_nb as rs

    code = """
    for name, measure in rs.measures.ALL.items():
        print(name, float(measure(a, b)).hex())
    assert "torch" not in sys.modules
    """
    found = dict(line.split() for line in run_without_torch(code).splitlines())
    assert list(found) == list(rs.measures.ALL)
    a, b = np.random.default_rng(0).normal(size=(2, 60, 5))
    for name, measure in rs.measures.ALL.items():
        assert np.isclose(float.fromhex(found[name]), measure(a, b), rtol=1e-12, atol=1e-14), name


def test_results_are_drawn():
    code = """
    import matplotlib
    matplotlib.use("Agg")
    table = rs.compare("cka", xs)
    rs.plots.heatmap(table)
    rs.plots.heatmap(rs.inference.null_table("cka", xs))
    rs.plots.embedding(rs.embedding.mds(table, seed=0))
    rs.plots.curves(table.values)
    print("torch" in sys.modules)
    """
    assert run_without_torch(code) == "False"


def test_tables_inference_maps_probes_and_grounding():
    code = """
    table = rs.compare("cka", xs)
    assert table.values.shape == (3, 3)
    assert rs.inference.permutation_test("cka_debiased", a, a + b, n_permutations=99).p_value == 0.01
    assert rs.inference.interval("cka_debiased", a, a + b).low > 0
    assert rs.inference.null_table("cka", xs).p_value.iloc[0, 1] < 0.05
    assert rs.embedding.mds(table).points.shape == (3, 2)
    assert rs.reliability.diagnose(a, b) is not None
    keyed = {rs.Key("m", "layer", "d"): a, rs.Key("n", "layer", "d"): b + 5}
    assert rs.probes.dataset_bias(keyed, n=40).accuracy == 1
    assert rs.probes.linear_probe(a, (a[:, 0] > 0).astype(int)).accuracy > 0.7
    models = rs.from_arrays({f"n{i}/layer": a + 0.1 * i * rng.normal(size=a.shape) for i in range(6)})
    found = rs.grounding.benchmark(models, {f"n{i}": i / 10 for i in range(6)}, measures=["cka"])
    assert list(found.table.index) == ["cka"]
    assert "torch" not in sys.modules
    """
    run_without_torch(code)


def test_activations_and_stores(tmp_path):
    code = """
    x = rs.from_arrays(xs)
    assert list(x.where(model="m")) == [rs.Key("m", "a"), rs.Key("m", "b")]
    store = rs.Store(sys.argv[1])
    with store.alone(rs.Key("m", "a")):
        writer = store.writer(rs.Key("m", "a"), a.shape, a.dtype, {}, {}, place=0)
        writer.write(0, a)
        writer.commit()
    assert np.array_equal(rs.Store(sys.argv[1])["m/a"], a)
    assert float(rs.compare("cka", rs.Store(sys.argv[1]), {"b": b}).values.iloc[0, 0]) < 1
    np.savez(sys.argv[1] + "/file.npz", **{"m/a": a})
    assert list(rs.from_arrays(sys.argv[1] + "/file.npz")) == [rs.Key("m", "a")]
    first, last = rs.from_arrays({"m/a": a[:50]}, ids=range(50)), rs.from_arrays({"n/a": a[10:]}, ids=range(10, 60))
    left, right = rs.align(first, last)
    assert np.array_equal(left["m/a"], right["n/a"])
    assert "torch" not in sys.modules
    """
    run_without_torch(code, str(tmp_path / "store"))


def test_what_needs_torch_says_what_to_install():
    code = """
    for name in ("load_model", "record", "stream"):
        try:
            getattr(rs, name)("zoo:mnist-cnn-0", *[None] * (name != "load_model"), *[None] * (name == "stream"))
        except ModuleNotFoundError as error:
            print(error)
    """
    said = run_without_torch(code).splitlines()
    assert len(said) == 3 and all("pip install 'repsim_nb[torch]'" in line for line in said)
    assert "load_model needs torch" in said[0]


def test_what_needs_the_notebook_says_what_to_install():
    code = """
    import sys

    import repsim_nb as rs

    class NoNotebook:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("ipywidgets", "anywidget", "papermill", "nbconvert"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, NoNotebook())
    attempts = lambda: rs.explorers, lambda: rs.reports.run("00_tour", "out"), lambda: rs.reports.to_html("a.ipynb")
    for attempt in attempts:
        try:
            attempt()
        except ModuleNotFoundError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert len(said) == 3 and all("not installed: pip install 'repsim_nb[notebook]'" in line for line in said)
    assert said[0].startswith("repsim_nb.explorers needs ")


def test_a_library_that_lacks_another_is_named_with_it(monkeypatch):
    from repsim_nb.support import errors

    def lack(name):
        raise ModuleNotFoundError("No module named 'unheard_of.part'", name="unheard_of.part")

    monkeypatch.setattr(errors.importlib, "import_module", lack)
    text = (
        "^reading x.h5 needs h5py, and that needs unheard_of, which is not installed: pip install 'repsim_nb.files.'$"
    )
    with pytest.raises(ModuleNotFoundError, match=text) as caught:
        errors.import_library("h5py", "reading x.h5")
    assert caught.value.name == "unheard_of.part"
    with pytest.raises(ModuleNotFoundError, match="^No module named 'unheard_of.part'$"):
        errors.import_library("unheard_of.part", "reading x.h5")


def test_the_extras_that_errors_name_install_the_libraries():
    from repsim_nb.support.errors import EXTRAS

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    asked = project["optional-dependencies"]
    parts = {"IPython": "ipykernel", "nbformat": "nbconvert", "traitlets": "ipywidgets"}  # these bring them
    parts |= {"efficientnet_lite_pytorch": "efficientnet-lite-pytorch", "stable_baselines3": "stable-baselines3"}
    for extra, libraries in EXTRAS.items():
        names = {re.split(r"[=<>!~]", one)[0] for one in asked[extra]}
        assert {parts.get(library, library) for library in libraries} <= names, extra


def test_the_error_of_a_library_that_belongs_to_no_extra_stays_as_it_is():
    from repsim_nb.support.errors import explain_missing

    missing = ModuleNotFoundError("No module named 'unheard_of'", name="unheard_of")
    with pytest.raises(ModuleNotFoundError) as caught, explain_missing("compare"):
        raise missing
    assert caught.value is missing and missing.__cause__ is None


def test_an_unknown_name_is_found_before_torch_is_imported():
    import subprocess

    calls = "[lambda: rs.load_dataset('mnits'), lambda: rs.load_model('zoo:mnist-cn-0')]"
    code = f"""import sys, repsim_nb as rs
for call in {calls}:
    try:
        call()
    except ValueError as error:
        print('Did you mean' in str(error), 'torch' in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"] * 2
