#!/usr/bin/env bash
# Expected: %reset -f removes the names that were defined in the notebook, and what was imported works after importing it again.
# What happens: it removes __spec__ of the module __main__, too, and does not put it back. From then on, until the kernel restarts, no process starts by the methods spawn and
#   forkserver (the only ones on Windows, the defaults on macOS and, from Python 3.14, on Linux): AttributeError: module '__main__' has no attribute '__spec__'.
#   Pools, ProcessPoolExecutor and the workers of torch's DataLoader in such a context fail, in code that ran a cell before. `import __main__; __main__.__spec__ = None` mends it.
# Version: IPython 9.4.0, ipykernel 6.30.0, Python 3.11.
# Source: InteractiveShell.reset clears user_ns and init_user_ns fills it again, without __spec__; multiprocessing.spawn.get_preparation_data reads main_module.__spec__.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ipython==9.4.0 ipykernel==6.30.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import platform
from importlib.metadata import version

from jupyter_client import KernelManager

print("Python", platform.python_version(), "IPython", version("ipython"), "ipykernel", version("ipykernel"))
manager = KernelManager(kernel_name="python3")
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=60)


def run(code):
    shown = []
    client.execute_interactive(
        code, timeout=60, output_hook=lambda m: shown.append(m["content"].get("text") or m["content"].get("evalue") or "")
    )
    return "".join(shown).strip()


START = "import multiprocessing\nwith multiprocessing.get_context('spawn').Pool(1) as pool: print(pool.apply(abs, (-1,)))"
before = run(START)
run("%reset -f")
after = run(START)
mended = run("import __main__\n__main__.__spec__ = None\n" + START)
manager.shutdown_kernel(now=True)
print("before:", before)
print("after %reset -f:", after)
print("with __spec__ put back:", mended)
assert before == mended == "1" and after == "module '__main__' has no attribute '__spec__'"
PYTHON
echo "as described"
