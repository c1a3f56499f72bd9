"""Every notebook runs from top to bottom under papermill, reads well, and carries no outputs."""

import json
import re
import subprocess
from pathlib import Path

import nbformat
import papermill
import pytest
from jupyter_client import KernelManager
from papermill.engines import NBClientEngine, papermill_engines

ROOT = Path(__file__).parents[1]
TRACKED = subprocess.run(
    ["git", "ls-files", ":(glob)notebooks/*.ipynb"], cwd=ROOT, capture_output=True, text=True
).stdout.split()
# Notebooks that a reader added are not tested.
NOTEBOOKS = [ROOT / name for name in TRACKED] or sorted((ROOT / "notebooks").glob("*.ipynb"))
LESSONS = [path for path in NOTEBOOKS if path.name[:2].isdigit()]
VIEW = "application/vnd.jupyter.widget-view+json"


def committed(path):
    """Return the notebook of the git index, without a reader's outputs; without git, the file."""
    shown = subprocess.run(["git", "show", f":notebooks/{path.name}"], cwd=ROOT, capture_output=True, text=True)
    return json.loads(shown.stdout if shown.returncode == 0 else path.read_text())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_outputs_are_committed(path):
    notebook = committed(path)
    assert "widgets" not in notebook["metadata"]
    for cell in notebook["cells"]:
        assert not cell.get("outputs") and not cell.get("execution_count")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_is_for_reading(path):
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown" and "?" in cells[0].source, "a question on top"
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert code[0].metadata.get("tags") == ["parameters"] and "fast" in code[0].source
    for cell in code:
        assert len([line for line in cell.source.splitlines() if line.strip()]) <= 10, cell.source
    assert any("would change your mind" in cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_it_opens_with_what_a_reader_needs_to_choose_it(path):
    first = nbformat.read(path, as_version=4).cells[0].source
    title, _, rest = first.partition("\n")
    assert title.startswith("# ") and len(title) < 90
    learnt = rest.partition("**What you will learn**")[2].partition("**Time:**")[0]
    assert 3 <= sum(line.startswith("- ") for line in learnt.splitlines()) <= 5
    assert re.search(r"\*\*Time:\*\* .*minute", rest) and "**Before this lesson:**" in rest


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_links_to_other_lessons_lead_somewhere(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    for name in re.findall(r"(\w+\.ipynb)", text):
        assert (ROOT / "notebooks" / name).exists(), name


def test_the_tour_leads_to_every_lesson():
    last = nbformat.read(ROOT / "notebooks" / "00_tour.ipynb", as_version=4).cells[-1].source
    lessons = [path.name for path in LESSONS if path.name != "00_tour.ipynb"]
    assert re.findall(r"^\| \[[^]]+\]\((\w+\.ipynb)\) \| .+\? \|$", last, re.MULTILINE) == sorted(lessons)


@pytest.fixture(scope="session")
def kernel():
    """One kernel for the lessons of this process: torch is imported once; `make docs` starts one each."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, **options):
            super().execute_managed_notebook(nb_man, kernel_name, km=manager, **options)

    papermill_engines.register("one_kernel", Engine)
    yield manager
    manager.shutdown_kernel(now=True)


AS_NEW = """\
from ipywidgets import Widget
Widget.close_all()
get_ipython().reset()
__import__("__main__").__spec__ = None  # reset removes it, and other packages start processes, too
get_ipython().run_line_magic("cd", "-q " + {folder!r})
__import__("gc").freeze()"""


def emptied(kernel, folder):
    """Let the kernel forget the lesson before, and enter this folder."""
    client = kernel.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    reply = client.execute_interactive(AS_NEW.format(folder=str(folder)), timeout=60)
    assert reply["content"]["status"] == "ok", reply
    client.stop_channels()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs(path, kernel, tmp_path):
    emptied(kernel, tmp_path)
    out = papermill.execute_notebook(
        str(path),
        str(tmp_path / path.name),
        engine_name="one_kernel",
        parameters={"fast": True},
        kernel_name="python3",
        cwd=str(tmp_path),
        progress_bar=False,
        request_save_on_cell_execute=False,  # else it is written before and after each cell
    )
    explorers = 0
    for cell in out.cells:
        for output in cell.get("outputs", []):
            text = "".join(output.get("data", {}).get("text/plain", ""))
            if text.startswith("Explorer"):
                explorers += 1
                assert "image/png" in output["data"] and VIEW in output["data"], f"an explorer failed: {text}"
            if output.output_type == "stream":
                assert "Warning" not in output.text, output.text
    assert explorers == sum("explorers." in cell.source for cell in out.cells if cell.cell_type == "code")


def test_the_reference_page_describes_every_measure():
    import repsim_nb as rs

    page = "\n".join(
        cell.source
        for cell in nbformat.read(ROOT / "notebooks" / "02_measures.ipynb", as_version=4).cells
        if cell.cell_type == "markdown"
    )
    assert [name for name in rs.measures.ALL if f"`{name}`" not in page] == []
    sections = [part for part in page.split("\n## ") if "**Cost:**" in part]
    assert len(sections) == 9
    for part in sections:
        assert "mislead" in part and "ource" in part and ("**In words:**" in part or "**They mislead**" in part), part[
            :60
        ]


def test_the_lesson_on_measures_names_the_directed_measures_and_the_metrics():
    """If one of the lists below changes, read the lesson again: its text is about these measures."""
    import repsim_nb as rs

    text = "\n".join(
        cell.source
        for cell in nbformat.read(ROOT / "notebooks" / "02_measures.ipynb", as_version=4).cells
        if cell.cell_type == "markdown"
    )
    sentences = re.split(r"(?<=[.:;])\s", text)
    for name in ("pwcca", "linear_predictivity", "kl"):
        assert any(f"`{name}`" in one and re.search("directed|not symmetric", one) for one in sentences), name
    for name in ("procrustes_distance", "angular_shape"):
        assert any(f"`{name}`" in one and re.search(r"\bmetric\b", one) for one in sentences), name
    facts = rs.measures.describe().drop(index=list(rs.measures.FURTHER))
    directed, metrics = (
        list(facts.index[facts[name] == value]) for name, value in (("symmetric", ""), ("metric", "✓"))
    )
    assert directed == ["pwcca", "linear_predictivity", "kl"]
    assert metrics == ["procrustes_distance", "angular_shape", "disagreement"]
    without = {
        change: list(facts.index[(facts.compares == "activations") & (facts[change] == "")])
        for change in facts.columns[3:8]
    }
    assert without["orthogonal"] == ["pwcca", "rsa", "soft_matching"]
    assert [name for name in facts.index if facts.linear[name]] == ["mean_cca", "mean_squared_cca"]
