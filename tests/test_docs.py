"""The site builds without running lessons, asks no other host, its links lead somewhere; the code of its pages runs."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pandas as pd
import pytest

import repsim_nb as rs
from repsim_nb.support.summaries import linked_to

pytest.importorskip("myst_nb", reason="builds the site: pip install .[docs]")
ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WRITTEN = sorted([*DOCS.glob("howto/*.md"), *DOCS.glob("*.md")])
CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
SHOWN = (
    "index",
    "start",
    "choose",
    "measures/index",
    "lessons/index",
    "lessons/00_tour",
    "howto/p_values",
    "api/index",
)
SHOWN += ("api/inference/index", "api/top/compare", "api/measures/CKA", "recording", "about/results", "house", "search")


def executed_tour(tools):
    """The tour as if it had been run: its first explorer has a live view, a picture, and what stands in for it."""
    path = ROOT / "notebooks" / "00_tour.ipynb"
    notebook = nbformat.read(path, as_version=4)
    x = rs.record("zoo:mnist-mlp-0", rs.load_dataset("mnist", n=50), progress=False)
    bundle = rs.explorers.comparison(x).wait().bundle()
    cell = next(cell for cell in notebook.cells if "explorers." in cell.source and cell.cell_type == "code")
    with linked_to(".."):
        linked = rs.inference.Interval(0.1, 0.3, 0.95)._repr_html_()
    styled = pd.DataFrame([[0.5] * 6], columns=[f"measure {k}" for k in range(6)]).style._repr_html_()
    stand_in = "<div class='rs-saved' role='img'></div><style>.rs-saved { display: none; }</style>"
    cell.outputs = [
        nbformat.v4.new_output("display_data", bundle),
        nbformat.v4.new_output("display_data", {"text/html": stand_in, "text/plain": ""}),
        nbformat.v4.new_output("display_data", {"text/html": linked, "text/plain": ""}),
        nbformat.v4.new_output("display_data", {"text/html": styled, "text/plain": ""}),
        nbformat.v4.new_output("stream", name="stderr", text="a progress bar"),
    ]
    state = {"state": {"a": {"model_name": "VBoxModel", "model_module": "@jupyter-widgets/controls", "state": {}}}}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    sys.path.insert(0, str(tools))
    try:
        import lessons
    finally:
        sys.path.remove(str(tools))
    target = lessons.copy_of(path)
    target.parent.mkdir(parents=True)
    nbformat.write(notebook, target)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site: one lesson with outputs, the others without."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPSIM_NB_CACHE", str(folder / "cache"))
        executed_tour(DOCS / "_tools")
        command = [sys.executable, DOCS / "_tools/build.py", "--no-run", "--strict", "--out", folder / "html"]
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site):
    """The text of each page, by its path below the site."""
    return {str(path.relative_to(site)): path.read_text() for path in sorted(site.rglob("*.html"))}


def test_every_lesson_and_every_public_name_has_a_page(pages):
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"lessons/{path.stem}.html" in pages
    for name in ("top/compare", "inference/interval", "measures/CKA", "plots/heatmap", "explorers/comparison"):
        assert f"api/{name}.html" in pages
    for name in rs.measures.ALL:
        assert f'id="measure-{name.replace("_", "-")}"' in pages["measures/index.html"], name


def test_a_constant_has_a_description_and_shows_nothing_private(pages):
    for name in ("measures/ALL", "datasets/DATASETS", "models/SOURCES", "grounding/DAMAGES", "plots/COLORS"):
        page = pages[f"api/{name}.html"]
        assert "A constant," not in page and "function" not in re.findall(r"<pre>(.*?)</pre>", page, re.S)[0], name
    assert "The measures of outputs, by short name." in pages["api/measures/index.html"]
    assert ">mlp: MLP" in pages["api/models/ARCHITECTURES.html"].replace("<span></span>", "")


def test_a_function_lists_the_lessons_that_use_it(pages):
    assert "../../lessons/00_tour.html" in pages["api/top/compare.html"]
    assert "../../lessons/11_inference.html" in pages["api/inference/interval.html"]
    assert "../api/top/compare.html" in pages["lessons/00_tour.html"]


def test_links_lead_to_pages_and_places_that_exist(site, pages):
    assert "href='../api/inference/Interval_class.html'" in pages["lessons/00_tour.html"], "as in a notebook"
    places = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in pages.items()}
    for name, text in pages.items():
        for _, link in re.findall(r"""<a\b[^>]*?\bhref=(["'])(.+?)\1""", text):
            if re.match(r"[a-z]+:", link):
                continue
            target, _, place = link.partition("#")
            path = (site / name).parent / unquote(target) if target else site / name
            assert path.exists(), f"{name} links to {link}"
            inside = str(path.resolve().relative_to(site.resolve()))
            if place and inside in places:
                assert unquote(place) in places[inside], f"{name} links to {link}"


def test_pictures_have_a_description(pages):
    for name, text in pages.items():
        for picture in re.findall(r"<img\b[^>]*>", text):
            alt = re.search(r'\balt="([^"]*)"', picture)
            assert alt and len(alt[1]) > 10 and "_images" not in alt[1], f"{name}: {picture[:200]}"


def test_pages_load_nothing_from_another_host(site, pages):
    loaded = r'<(?:script|img|iframe|source|embed)\b[^>]*?\bsrc="(?:https?:)?//|<link\b[^>]*?\bhref="(?:https?:)?//'
    for name, text in pages.items():
        assert not re.search(loaded, text), name
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import ['\"](?:https?:)?//", path.read_text()), path


def test_no_markup_is_left_in_the_text_of_a_page(pages):
    shown = re.compile(r"<(pre|code|script|style|svg|title)\b.*?</\1>|<[^>]+>", re.S)
    raw = {name: re.findall(r".{0,40}`.{0,40}", shown.sub(" ", page)) for name, page in pages.items()}
    assert {name: found for name, found in raw.items() if found} == {}


def test_an_explorer_is_shown_by_its_live_picture(pages):
    text = pages["lessons/00_tour.html"]
    assert text.count('<div class="rs-live"><img') == 1 and text.count("repsimViews ??= {})") == 1
    assert text.count("<img") >= 1 and "rs-saved" not in text and "a progress bar" not in text
    assert "application/vnd.jupyter.widget" not in text and "not run for this copy" not in text
    assert "not run for this copy" in pages["lessons/01_record.html"]


@pytest.fixture(scope="module")
def address(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def in_a_thread(test):
    """Playwright starts once in a thread, and the tests in `browser` may have started it in this one."""

    @functools.wraps(test)
    def run(*given, **named):
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(test, *given, **named).result()

    return run


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt-get install chromium)")
@in_a_thread
def test_a_browser_asks_this_host_only_and_a_phone_shows_whole_pages(address):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        outside, errors = [], []
        page.on(
            "request", lambda r: outside.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else None
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        for name in SHOWN:
            page.goto(f"{address}/{name}.html", wait_until="load")
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, f"{name} is {width} pixels wide on a phone"
        page.goto(f"{address}/search.html?q=procrustes", wait_until="networkidle")
        assert page.locator("#search-results li").count() > 2
        browser.close()
    assert outside == [] and errors == []


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt-get install chromium)")
@in_a_thread
def test_what_is_wider_than_the_page_shows_that_it_scrolls_and_is_dark_in_the_dark_theme(address):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
        page.goto(f"{address}/lessons/00_tour.html", wait_until="load")
        table = page.locator(".text_html table", has_text="measure 5")
        box = page.locator(".cell_output > .output.more", has=page.locator("table", has_text="measure 5"))
        assert "wide" in table.get_attribute("class")
        assert "gradient" in box.evaluate("e => getComputedStyle(e).maskImage")
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert box.evaluate("e => getComputedStyle(e).backgroundColor") == "rgba(0, 0, 0, 0)"
        box.evaluate("e => e.scrollLeft = e.scrollWidth")
        page.wait_for_function("() => document.querySelector('.output:not(.more) table.wide')")
        page.set_viewport_size({"width": 1300, "height": 844})
        page.wait_for_function("() => !document.querySelector('.output table.wide, .output.more')")
        page.goto(f"{address}/api/measures/CKA.html", wait_until="load")
        assert page.locator("h1").evaluate("e => e.innerHTML").startswith("rs.<wbr>measures.<wbr>CKA")
        browser.close()


# -- the code of written pages


def parts(path):
    """The Python blocks of a page, which define all that they use: a reader can copy them one after the other."""
    return re.findall(r"^```python\n(.*?)^```", path.read_text(), re.M | re.S)


TESTED_ELSEWHERE = ("cluster", "report")  # the same calls, in test_cluster.py and test_reports.py


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.full] if path.stem in TESTED_ELSEWHERE else [], id=path.stem)
        for path in WRITTEN
        if parts(path)
    ],
)
def test_the_code_of_a_page_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for shown in parts(path):
        exec(compile(shown, str(path), "exec"), names)


def test_every_how_to_page_is_listed():
    index = (DOCS / "howto/index.md").read_text()
    for path in DOCS.glob("howto/*.md"):
        assert path.stem == "index" or f"]({path.name})" in index, path.name


def test_lessons_are_kept_by_their_cells_and_by_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("REPSIM_NB_CACHE", str(tmp_path))
    monkeypatch.syspath_prepend(str(DOCS / "_tools"))
    import lessons

    path = tmp_path / "00_small.ipynb"
    cells = [nbformat.v4.new_markdown_cell("# A question?"), nbformat.v4.new_code_cell("fast = False", id="c")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    first = lessons.copy_of(path)
    assert lessons.find_copy(path) == (None, False)
    first.parent.mkdir(exist_ok=True)
    older = first.with_name(first.name.replace(lessons.package_hash(), "0" * 12))
    older.write_text(json.dumps({"cells": []}))
    assert lessons.find_copy(path) == (older, True)
    first.write_text(older.read_text())
    assert lessons.find_copy(path) == (first, False)
    cells[1].source = "fast = True"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert lessons.find_copy(path) == (None, False)


# -- the tools that build the site


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """The module `lessons` of docs/_tools, with a cache and a folder of lessons of its own."""
    monkeypatch.setenv("REPSIM_NB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("REPSIM_DOCS_NOTEBOOKS", str(tmp_path))
    monkeypatch.syspath_prepend(str(DOCS / "_tools"))
    import lessons

    return lessons


def write_lesson(path, *code):
    """Write a lesson with a title and these code cells."""
    cells = [nbformat.v4.new_markdown_cell("# A question?"), *map(nbformat.v4.new_code_cell, code)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def test_a_picture_of_a_lesson_is_described_by_its_titles(tools, tmp_path):
    pytest.importorskip("papermill", reason="runs a lesson")
    path = tmp_path / "00_small.ipynb"
    draw = (
        "from matplotlib import pyplot as plt\nfigure, ax = plt.subplots()\nax.set_title('{}')\nax.set_xlabel('layer');"
    )
    write_lesson(path, draw.format("first"), "describe = 3\n" + draw.format("second"))
    earlier = tools.cache() / "00_small.000000000000.000000000000.ipynb"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("{}")
    assert tools.run(["00_small"]) == []
    assert [path.name for path in tools.cache().iterdir()] == [tools.copy_of(path).name], "an earlier run is deleted"
    page = tools.page(nbformat.read(tools.copy_of(path), as_version=4), "top", "bottom")
    described = [cell.metadata["mystnb"]["image"]["alt"] for cell in page.cells if "mystnb" in cell.metadata]
    assert described == ["Figure: first, x: layer", "Figure: second, x: layer"]


def test_an_unknown_lesson_is_an_error(tools, tmp_path):
    write_lesson(tmp_path / "00_small.ipynb", "1 + 1")
    with pytest.raises(ValueError, match="No lesson has the name 00_smal; the lessons are 00_small"):
        tools.run(["00_smal"])


def test_statements_that_a_run_contradicts_fail_a_strict_build(tools, tmp_path, monkeypatch, capsys):
    import build

    write_lesson(tmp_path / "00_small.ipynb", "1 + 1")
    monkeypatch.setattr(tools, "execute", lambda path, target: ["00_small.ipynb, cell 1: '3': the run gives 2"])
    monkeypatch.setattr(sys, "argv", ["build.py", "--strict", "--out", str(tmp_path / "html")])
    assert build.main() == 1 and "the run gives 2" in capsys.readouterr().out


def test_a_house_without_its_diagram_is_an_error(tools):
    import house

    with pytest.raises(ValueError, match="no block ```mermaid"):
        house.replace_diagram("# The house")


# -- what pages quote


def test_names_of_the_package_in_text_exist():
    for path in [*WRITTEN, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for name in re.findall(r"`rs\.([\w.]+)", path.read_text()):
            value = rs
            for part in name.rstrip(".").split("."):
                assert hasattr(value, part), f"{path.name} names rs.{name}"
                value = getattr(value, part)


def test_an_unknown_name_in_a_docstring_is_a_warning(tools, caplog):
    import hooks
    from docutils import nodes

    class Environment:
        get_domain = staticmethod(lambda name: type("Domain", (), {"objects": {}}))

    node = nodes.inline(refdomain="py", reftype="obj", reftarget="rs.comprae", refdoc="index")
    assert hooks.resolve(None, Environment, node, node) is None
    assert "rs.comprae" in caplog.text


def test_the_message_that_the_page_on_recording_quotes_is_the_present_one():
    import torch

    class M(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.fc = torch.nn.LSTM(4, 6), torch.nn.Linear(6, 2)

        def forward(self, x):
            return self.fc(self.lstm(x)[0][:, -1])

    torch.manual_seed(0)
    data = rs.Dataset("noise", torch.randn(20, 5, 4))
    with pytest.raises(ValueError) as error:
        rs.record(M().eval(), data, layers=["fc"], progress=False)
    quoted = re.search(r"```text\n(layer 'fc'.*?)```", (DOCS / "recording.md").read_text(), re.S)[1]

    def words(text):
        return re.sub(r"\d+(\.\d+)?", "0", " ".join(text.split()))

    assert words(quoted) == words(str(error.value))


def test_the_start_page_and_the_readme_show_the_same_lines():
    def code(path):
        return re.search(r"^```python\n(.*?)^```", path.read_text(), re.M | re.S)[1]

    assert code(DOCS / "start.md") == code(ROOT / "README.md")
