"""Write an executed notebook as one HTML file that loads nothing from the internet."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from repsim_nb.support.errors import import_library
from repsim_nb.support.files import replace_atomically

# Pictures are next to each other if there is room, and one a row on a phone. A table that is wider than the page has a
# bar to scroll it. Dark pages keep the white paper of pictures. On paper a heading stays with what follows it, and no
# picture or row is cut.
_STYLE = """
body.jp-Notebook { max-width: 62rem; margin: 0 auto; padding: 1rem 1.5rem 3rem; box-sizing: border-box; }
.jp-RenderedMarkdown { max-width: 46rem; padding-left: 0 !important; }
.jp-RenderedMarkdown code { padding: 0 .2em; border-radius: 3px; overflow-wrap: anywhere; }
.jp-RenderedHTMLCommon h2 { margin-top: 1.6em !important; }
.jp-OutputArea-output, .jp-Cell { padding-left: 0 !important; overflow: visible !important; }
.jp-InputArea-editor .highlight { overflow-x: auto; }
.jp-OutputPrompt, .jp-InputPrompt, .jp-Collapser { display: none; }
.jp-OutputArea:has(> .jp-OutputArea-child + .jp-OutputArea-child .jp-RenderedImage) {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: .5rem 1rem; align-items: start; }
.jp-OutputArea-child, .jp-RenderedImage, .jp-RenderedHTML { display: block !important; }
.jp-RenderedImage { padding: 0 !important; margin: 0 !important; width: 100% !important; }
.jp-RenderedImage img { max-width: 100%; height: auto; box-sizing: border-box; background: white; border-radius: 6px; }
.jp-RenderedHTML { overflow-x: auto !important; max-width: 100%; padding: 0 0 4px !important; margin: 0 !important; }
.jp-RenderedHTMLCommon table { margin: 0 !important; table-layout: auto; }
.jp-RenderedHTMLCommon table, .jp-RenderedHTMLCommon tbody tr { background: none !important; }
.jp-RenderedHTMLCommon tbody tr { border-top: 1px solid rgb(128 128 128 / .25); }
.jp-RenderedHTMLCommon tbody th { white-space: nowrap; }
.jp-RenderedHTML::-webkit-scrollbar { height: 9px; background: rgb(128 128 128 / .2); }
.jp-RenderedHTML::-webkit-scrollbar-thumb { background: rgb(128 128 128 / .8); border-radius: 5px; }
@media (max-width: 40rem) { body.jp-Notebook { padding: .5rem .8rem 2rem; } h1 { font-size: 1.6rem !important; } }
@media screen and (prefers-color-scheme: dark) { body.jp-Notebook { color-scheme: dark;
  --jp-layout-color0: #111; --jp-layout-color1: #111; --jp-layout-color2: #333; --jp-cell-editor-background: #1d1d1d;
  --jp-content-font-color0: #fff; --jp-content-font-color1: #e3e3e3; --jp-content-link-color: #64b5f6;
  --jp-ui-font-color0: #fff; --jp-ui-font-color1: #e3e3e3;
  --jp-ui-font-color2: #bbb; --jp-ui-font-color3: #999; --jp-border-color1: #555; --jp-border-color2: #444;
  --jp-rendermime-error-background: #411; --jp-inverse-layout-color1: #eee; --jp-ui-inverse-font-color1: #222;
  --jp-mirror-editor-variable-color: #e0e0e0; --jp-mirror-editor-keyword-color: #4caf50;
  --jp-mirror-editor-builtin-color: #4caf50; --jp-mirror-editor-number-color: #66bb6a;
  --jp-mirror-editor-punctuation-color: #64b5f6; --jp-mirror-editor-property-color: #64b5f6;
  --jp-mirror-editor-operator-color: #d48fff; --jp-mirror-editor-comment-color: #6fb3b3;
  --jp-mirror-editor-string-color: #ff8a80; --jp-mirror-editor-error-color: #ff8a80;
  --jp-cell-editor-border-color: #444; background: #111; }
  .jp-RenderedImage img { padding: 6px; } }
@media print {
  @page { size: A4; margin: 15mm; }
  body.jp-Notebook { padding: 0; max-width: none; }
  .jp-Cell, .jp-Cell-inputWrapper, .jp-Cell-outputWrapper, .jp-InputArea { display: block !important; }
  .jp-MarkdownCell { break-after: avoid; break-inside: avoid; }
  h1, h2, h3 { break-after: avoid; }
  .jp-OutputArea-child, .jp-RenderedImage, tr { break-inside: avoid; }
  .jp-OutputArea:has(> .jp-OutputArea-child + .jp-OutputArea-child .jp-RenderedImage) {
    grid-template-columns: 1fr 1fr; }
  .jp-RenderedHTML { overflow: visible !important; }
  .jp-InputArea-editor .highlight pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  .jp-RenderedHTMLCommon tbody th { white-space: normal; }
}
"""


def to_html(notebook: str | Path, *, code: bool | None = None) -> Path:
    """Write an executed notebook as one HTML file next to it, which loads nothing from the internet.

    The file contains the pictures. Explorers and what `live` returns stay live if they show a table, a map or lines:
    point at it, zoom, sort it, and choose among the measures that were computed. Other widgets, and every picture
    without JavaScript or on paper, are images.

    Parameters
    ----------
    notebook : str or Path
        The path of an executed notebook.
    code : bool, optional
        Show the code of cells. None hides it in notebooks whose names begin with ``report_``.

    Returns
    -------
    Path
        The path of the HTML file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModuleNotFoundError
        If nbconvert is not installed; the message names the extra.

    Examples
    --------
    >>> import nbformat, tempfile
    >>> from pathlib import Path
    >>> from repsim_nb import reports
    >>> notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Mine")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "mine.ipynb"
    ...     nbformat.write(notebook, path)
    ...     "<title>Mine</title>" in reports.to_html(path).read_text()
    True
    """
    from . import interactive  # matplotlib and scipy: a wrong parameter of a report is found without them

    nbformat = import_library("nbformat", "repsim_nb.reports")
    exporters = import_library("nbconvert", "repsim_nb.reports")
    path = Path(notebook)
    content = without_widgets(nbformat.read(path, as_version=4))
    drawn_by = _make_live(content)
    exporter = exporters.HTMLExporter(
        embed_images=_has_pictures(content),
        exclude_input=path.stem.startswith("report_") if code is None else not code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    for url in (
        "require_js_url",
        "jquery_url",
        "mathjax_url",
        "mermaid_js_url",
        "mermaid_layout_elk_js_url",
        "jupyter_widgets_base_url",
    ):
        if exporter.has_trait(url):
            setattr(exporter, url, "")
    if exporter.exclude_input:
        content.cells = [cell for cell in content.cells if cell.cell_type != "code" or cell.outputs]
    body, _ = exporter.from_notebook_node(content, resources={"metadata": {"name": title(content, path.stem)}})
    target = path.with_suffix(".html")
    before, end, after = body.replace("</head>", f"<style>{_STYLE}</style></head>", 1).rpartition("</body>")
    with replace_atomically(target) as temporary:
        temporary.write_text(f"{before}{interactive.scripts(drawn_by)}{end}{after}", encoding="utf-8")
    return target


def _make_live(content: Any) -> set[str]:
    """Put live pictures in place of their images, and return the names of the views that draw them."""
    from . import interactive  # as above

    kinds = set[str]()
    for cell in content.cells:
        for output in cell.get("outputs", []):
            found = interactive.fragment(output.get("data", {}))
            if found is not None:
                output.data, kinds = {"text/html": found[0]}, kinds | found[1]
    return kinds


def _has_pictures(content: Any) -> bool:
    """Return whether texts show pictures, which have to be embedded.

    Only then, since nbconvert 7.17 loses inline HTML, such as the code of `literal`, in texts whose pictures it embeds.
    """
    texts = [cell.source for cell in content.cells if cell.cell_type == "markdown"]
    texts += [
        output.get("data", {}).get("text/markdown", "") for cell in content.cells for output in cell.get("outputs", [])
    ]
    return any("![" in text or "<img" in text for text in texts)


def title(content: Any, fallback: str) -> str:
    """Return the first heading of the notebook, for the tab of the browser."""
    for cell in content.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return cell.source.splitlines()[0][2:]
    return fallback


def without_widgets(content: Any) -> Any:
    """Return a copy with pictures in place of widgets, and without outputs that only a widget can show.

    What replaces an explorer in a notebook that is opened again is left out, since the picture itself is shown.
    """
    view = "application/vnd.jupyter.widget-view+json"
    content = copy.deepcopy(content)
    content.metadata.pop("widgets", None)
    for cell in content.cells:
        if cell.cell_type != "code":
            continue
        outputs = []
        for output in cell.outputs:
            data = output.get("data", {})
            if view in data:
                data.pop(view)
                if not set(data) & {"image/png", "text/html"}:
                    continue
            if output.output_type == "stream" and output.name == "stderr":
                continue
            if "class='rs-saved'" in "".join(data.get("text/html", "")):
                continue
            outputs.append(output)
        cell.outputs = outputs
    return content
