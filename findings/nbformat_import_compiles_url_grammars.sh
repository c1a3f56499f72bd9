#!/usr/bin/env bash
# Expected: import nbformat costs the same whatever else is installed. It validates notebooks with fastjsonschema.
# What happens: it also imports jsonschema, whose import builds all format checkers that can be imported. From jsonschema 4.25 on the extra format-nongpl,
#   which jupyter-events (so every JupyterLab) asks for, brings rfc3987-syntax, and its import compiles 38 lark grammars. So import nbformat takes several
#   times the CPU in each process (about a second), and with it nbconvert, papermill and jupyter_client's users, though no notebook schema has the format "iri".
# Version: nbformat 5.11.1, jsonschema 4.26.0, rfc3987-syntax 1.1.0, lark 1.3.1; jsonschema 4.24.0 does not.
# Source: jsonschema/_format.py (try: import rfc3987_syntax), rfc3987_syntax/syntax_helpers.py (Lark objects at import).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@"; }
measure() {
    "$folder/venv/bin/python" - <<'PYTHON'
import subprocess, sys
import_it = "import time; start = time.process_time(); import nbformat; print(time.process_time() - start, 'lark' in __import__('sys').modules)"
runs = [subprocess.run([sys.executable, "-c", import_it], capture_output=True, text=True, check=True).stdout.split() for _ in range(4)]
print(f"{min(float(seconds) for seconds, _ in runs):.3f} {runs[-1][1]}")
PYTHON
}
install nbformat==5.11.1 jsonschema==4.26.0
read -r plain lark_plain < <(measure)
install "jsonschema[format-nongpl]==4.26.0" rfc3987-syntax==1.1.0 lark==1.3.1
read -r jupyter lark_jupyter < <(measure)
echo "nbformat 5.11.1, CPU seconds of the import: $plain with jsonschema 4.26.0 alone, $jupyter with jsonschema[format-nongpl]; lark loaded: $lark_plain, $lark_jupyter"
[ "$lark_plain" = False ] && [ "$lark_jupyter" = True ]
python3 -c "import sys; sys.exit(not float('$jupyter') > 3 * float('$plain'))"
echo "as described"
