#!/usr/bin/env bash
# Expected: HTMLExporter(embed_images=True) replaces the addresses of pictures by their data, and leaves other HTML of a Markdown cell as it is.
# What happens: each inline tag is parsed alone and written again, so <code>x</code> becomes <code></code>x: all text loses its <code>, <b>, <kbd>,
#   <sub> and so on, also in notebooks without any picture. Markdown's own `x` is not affected. Without embed_images the tags stay.
# Version: nbconvert 7.17.2, beautifulsoup4 4.15.0, mistune 3.4.0.
# Source: nbconvert/filters/markdown_mistune.py, inline_html and _html_embed_images.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nbconvert==7.17.2 beautifulsoup4==4.15.0 mistune==3.4.0 ipykernel
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import nbformat
from nbconvert import HTMLExporter

print("nbconvert", version("nbconvert"))
text = "H<sub>2</sub>O and <b>bold</b> and `code`"
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
shown = {}
for embed in (False, True):
    page, _ = HTMLExporter(embed_images=embed).from_notebook_node(notebook)
    shown[embed] = page[(start := page.index("H<sub>")) : page.index("</code>", start) + len("</code>")]
    print(f"embed_images={embed}: {shown[embed]}")
assert shown[False] == "H<sub>2</sub>O and <b>bold</b> and <code>code</code>"
assert shown[True] == "H<sub></sub>2O and <b></b>bold and <code>code</code>"
PYTHON
echo "as described"
