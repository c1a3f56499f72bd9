"""What a person does with an open notebook, for all browser tests."""

import contextlib
import secrets
import socket
import subprocess
import time
import urllib.request

import nbformat
from playwright.sync_api import TimeoutError

READY = """async () => {
  for (let i = 0; i < 1200; i++) {
    const panel = window.jupyterapp?.shell?.currentWidget;
    if (panel?.sessionContext) {
      await panel.context.ready; await panel.sessionContext.ready;
      if (panel.sessionContext.session?.kernel?.status === 'idle') return true;
    }
    await new Promise((r) => setTimeout(r, 50));
  }
  throw new Error('the kernel never became idle');
}"""


def free_port():
    """A port of this machine below those that kernels and browsers are given, so that none of them takes it first."""
    while True:
        port = secrets.choice(range(20_000, 32_000))
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def write_notebook(lab, name, cells):
    """Write a notebook with these cells of code into the folder of the lab; its path."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    code = [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=code, metadata=kernel), lab.root / name)
    return lab.root / name


@contextlib.contextmanager
def served(command, url, log, **options):
    """A server that answers at this address, until the block ends. log: the file that it writes into."""
    with open(log, "w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, **options)
        try:
            for _ in range(600):
                assert server.poll() is None, log.read_text()
                try:
                    urllib.request.urlopen(url, timeout=1)
                    break
                except OSError:
                    time.sleep(0.1)
            yield
        finally:
            server.terminate()
            server.wait(20)


def opened(page, url):
    """The page, with that notebook open and its kernel ready."""
    page.goto(url)
    page.evaluate(READY)


IN_TIME = """async ([script, given, seconds]) => {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`not done after ${seconds} s`)), 1000 * seconds);
  });
  try { return await Promise.race([eval(script)(given), late]); } finally { clearTimeout(timer); }
}"""


def finished(page, script, given=None, seconds=60):
    """What a promise in the page gives. If a message to or from the kernel is lost, it is an error and no endless wait."""
    return page.evaluate(IN_TIME, [script, given, seconds])


RUN_ALL = """async (most) => {
  const { commands, serviceManager, shell } = window.jupyterapp, { kernels } = serviceManager;
  let over = false, quiet = 0;
  const run = commands.execute('notebook:run-all-cells').then(() => { over = true; });
  for (let second = 0; second < most; second++) {
    await Promise.race([run, new Promise((r) => setTimeout(r, 1000))]);
    if (over) return true;
    await kernels.refreshRunning();
    const { id } = shell.currentWidget.sessionContext.session.kernel;
    const idle = [...kernels.running()].find((kernel) => kernel.id === id)?.execution_state === 'idle';
    quiet = idle ? quiet + 1 : 0;
    if (quiet > 15) return false;
  }
  throw new Error(`cells not done after ${most} s`);
}"""


def run_all(page, seconds=240):
    """Run all cells, and wait until they are done.

    Now and then messages between a page and its kernel are lost: the server says that the kernel is idle, and the page
    waits for it. Then the page is opened again, as a person would do.
    """
    if not page.evaluate(RUN_ALL, seconds):
        page.reload()
        page.evaluate(READY)
        assert page.evaluate(RUN_ALL, seconds), "messages between the page and its kernel were lost twice"


def pictured(page, canvas):
    """Wait until the first picture is visible. Its last message may be lost as others are: then cells run once more."""
    picture = page.locator(canvas).first
    try:
        picture.wait_for(state="visible", timeout=45_000)
    except TimeoutError:
        assert page.locator(".rs-error").count() == 0, page.locator(".rs-explorer").first.inner_text()
        page.reload()
        page.evaluate(READY)
        run_all(page)
        picture.wait_for(state="visible", timeout=60_000)


def printed(page, code):
    """What the kernel prints, or the message of its error."""
    return finished(
        page,
        """async (code) => {
      let printed = '';
      const future = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({ code });
      future.onIOPub = (m) => { printed += m.content.text ?? m.content.evalue ?? ''; };
      await future.done;
      return printed.trim();
    }""",
        code,
    )


def leave(page):
    """Empty the kernel, which the next notebook has too."""
    printed(page, "from ipywidgets import Widget; Widget.close_all(); get_ipython().reset()")


def shut_down(page):
    """End a kernel that no other notebook has."""
    finished(page, "() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
