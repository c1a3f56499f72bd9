"""What a person does with an open notebook, for all browser tests."""

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


def opened(page, url):
    """The page, with that notebook open and its kernel ready."""
    page.goto(url)
    page.evaluate(READY)


def run_all(page):
    page.evaluate(
        "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
    )  # resolves when all cells are done


def leave(page):
    """Empty the kernel, which the next notebook has too."""
    page.evaluate(
        """async () => {
      const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
      await kernel.requestExecute({ code: "from ipywidgets import Widget; Widget.close_all(); get_ipython().reset()" }).done;
    }"""
    )


def shut_down(page):
    """End a kernel that no other notebook has."""
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
