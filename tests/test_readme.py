"""What the README shows is run: its Python, its make targets, its links; and `make report` of docs/howto/report.md."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import repsim_nb as rs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
REPORT = (ROOT / "docs/howto/report.md").read_text()
START = (ROOT / "docs/start.md").read_text()
in_checkout = pytest.mark.skipif(
    not (ROOT / ".venv/.lab").exists(), reason="make targets need the .venv that `make test` makes"
)


def blocks(language, text=README):
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


FRESH = {
    key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))
}  # `make test` runs us inside make


def make(*words, cwd=ROOT, **changes):
    return subprocess.run(["make", *words], cwd=cwd, capture_output=True, text=True, env={**FRESH, **changes})


def test_its_python_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    names = {}
    exec(code, names)
    names["rs"].explorers.comparison(names["x"]).wait()
    assert names["table"].values.shape == (5, 5) and sum(bool(line.strip()) for line in code.splitlines()) <= 10


def test_every_measure_it_names_exists():
    for text in (README, (ROOT / "docs/choose.md").read_text()):
        start = text.index("## Which measure first?" if text is README else "## By question")
        named = set(re.findall(r"`([a-z_]+)`", text[start : text.index("\n## ", start + 3)]))
        named -= {"output"}  # the layer
        assert len(named) > 8 and named <= set(rs.measures.ALL), named - set(rs.measures.ALL)


def test_it_is_one_screen_and_lists_every_lesson():
    assert len(README.splitlines()) <= 90
    lessons = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
    assert re.findall(r"\(notebooks/([^)]+)\)", README) == lessons


def test_its_files_are_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"(?<![\w/])((?:data|docs|benchmarks)/\w+\.md|[A-Z]+\.md)", README):
        assert (ROOT / target).exists(), target


def test_every_make_target_it_names_is_explained_by_help():
    shown = make("help").stdout
    for target in {
        target
        for text in (README, START, REPORT)
        for target in re.findall(
            r"make ([a-z]+)", "\n".join([*blocks("sh", text), *re.findall(r"`(make [^`]+)`", text)])
        )
    }:
        assert f"make {target} " in shown, target


@in_checkout
def test_make_report(tmp_path):
    (line,) = [line for line in "\n".join(blocks("sh", REPORT)).splitlines() if "MODELS=" in line]
    models = re.search(r'MODELS="([^"]+)"', line)[1]
    done = make("report", f"MODELS={models}", f"OUT={tmp_path / 'a folder'}", "PARAMETERS=fast=true")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "a folder/report_comparison.html").read_text()
    assert all(name.removeprefix("zoo:") in page for name in models.split())
    wrong = make("report", "NOTEBOOK=00_tuor", f"OUT={tmp_path}", "PARAMETERS=fast=true")
    assert wrong.returncode != 0 and "unknown notebook '00_tuor'" in wrong.stderr


@in_checkout
def test_make_lab_serves_the_tour(tmp_path):
    from socket import socket

    with socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    folders = {
        name: str(tmp_path / name)
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
        )
    }
    arguments = f"ARGS=--no-browser --port {port} --ServerApp.ip=127.0.0.1 --IdentityProvider.token=t"
    server = subprocess.Popen(
        ["make", "lab", arguments],
        cwd=ROOT,
        env={**FRESH, **folders},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        page, start = None, time.monotonic()
        while page is None and time.monotonic() - start < 60:
            try:
                page = urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/api/contents/notebooks/00_tour.ipynb?token=t&content=0", timeout=1
                )
            except OSError:
                assert server.poll() is None, server.stdout.read()
                time.sleep(0.2)
        assert page is not None and page.status == 200
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate(timeout=20)


def test_a_wheel_holds_data_zoo_and_notebooks(tmp_path):
    pytest.importorskip("hatchling", reason="builds a wheel: pip install .[test]")
    environment = {key: value for key, value in FRESH.items() if key not in ("PYTHONPATH", "REPSIM_NB_CACHE")}
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path, ROOT],
        check=True,
        env=environment,
    )
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel], check=True, env=environment
    )
    code = """
import repsim_nb as rs
assert rs.__file__.startswith(__import__("os").environ["PYTHONPATH"]), rs.__file__
x = rs.record("zoo:mnist-mlp-0", "mnist", progress=False)
print(len(rs.models.zoo()), len(x), rs.reports.notebook_path("report_comparison").parent.name)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["25", "4", "notebooks"], done.stderr
    assert (tmp_path / "site/repsim_nb/py.typed").exists()


def test_an_old_python_is_one_clear_line(tmp_path):
    """In a copy, with a python that reports version 3.9."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\nif [ "$1" = "-V" ]; then echo "Python 3.9.2"; else exit 1; fi\n')
    old.chmod(0o755)
    done = make("lab", f"PYTHON={old}", cwd=tmp_path)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("make: ***")]
    assert done.returncode != 0 and lines == [
        f"make: repsim_nb needs Python 3.11 or newer; {old} is Python 3.9.2. Name another: make lab"
        " PYTHON=/path/to/python3.11"
    ]
    assert not (tmp_path / ".venv").exists()


def test_a_failed_download_is_one_clear_line(tmp_path):
    """In a copy whose package index is a closed port."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    closed = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
    }
    done = make("lab", f"PYTHON={sys.executable}", cwd=tmp_path, **closed)
    assert (
        done.returncode != 0
        and "make: the installation failed, most likely a download; see the lines above, then call make again"
        in done.stdout
    )
    assert not (tmp_path / ".venv/.lab").exists()
