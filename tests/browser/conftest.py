"""A real JupyterLab and a real Chromium. Everything is copied first; nothing is written into the checkout."""

import functools
import json
import os
import secrets
import shutil
import sys
import urllib.request
from pathlib import Path

import pytest
from steps import free_port, served

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """-> url(notebook name), of a JupyterLab that serves copies of the notebooks, in the folder url.root, on
    127.0.0.1. Notebooks have one kernel together, which imports everything once; with own_kernel=True it is their own.
    """
    home = tmp_path_factory.mktemp("lab")
    root = home / "root"
    root.mkdir()
    for notebook in NOTEBOOKS.glob("*.ipynb"):
        shutil.copy(notebook, root)
    quiet = home / "settings/@jupyterlab/apputils-extension"  # no pop-up that asks about news
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False})
    )
    folders = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
    }
    port, token = free_port(), secrets.token_hex(16)
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}",
        "--LabApp.expose_app_in_browser=True",
        "--JupyterNotebookApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
    ]
    environment = {**os.environ, **{k: str(home / v) for k, v in folders.items()}}
    with served(command, f"http://127.0.0.1:{port}/api/status?token={token}", home / "lab.log", env=environment):

        def ask(what, content):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/api/{what}?token={token}",
                json.dumps(content).encode(),
                {"Content-Type": "application/json"},
            )
            return json.load(urllib.request.urlopen(request, timeout=60))

        @functools.cache
        def kernel():
            return ask("kernels", {"name": "python3"})["id"]

        def url(notebook, own_kernel=False):
            if not own_kernel:  # JupyterLab finds the session of a notebook that it opens
                session = {"path": notebook, "name": notebook, "type": "notebook", "kernel": {"id": kernel()}}
                ask("sessions", session)
            return f"http://127.0.0.1:{port}/doc/tree/{notebook}?reset&token={token}"

        url.root = root
        yield url


@pytest.fixture(scope="session")
def chromium():
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have a browser: apt-get install chromium")
        pytest.skip("there is no chromium here (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page that remembers what it asked of the outside (`outside`) and what went wrong in it (`errors`)."""
    page = chromium.new_context(viewport={"width": 1300, "height": 1000}).new_page()
    page.outside, page.errors = [], []
    page.on(
        "request",
        lambda r: page.outside.append(r.url) if r.url.startswith("http") and "//127.0.0.1" not in r.url else None,
    )
    page.on("pageerror", lambda e: page.errors.append(str(e)))
    yield page
    page.context.close()
