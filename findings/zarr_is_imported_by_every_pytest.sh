#!/usr/bin/env bash
# Expected: a package that is installed and that no test imports costs a run of pytest nothing. Help for tests of zarr stores is in zarr.testing, to be imported by who writes a store.
# What happens: zarr 3 registers zarr.testing as a plugin of pytest (entry point pytest11). It defines no hook and no fixture, but each pytest in an environment that has zarr
#   imports zarr, numcodecs and numpy before it looks at a test, in the controller and in each process of pytest-xdist: several times the CPU of the run of an empty test.
#   So code that imports zarr lazily looks as if it were eager, and a test that zarr is not imported cannot pass. `-p no:zarr` leaves it out.
# Version: zarr 3.1.6, numcodecs 0.16.6, pytest 9.2.0, Python 3.11.
# Source: zarr's pyproject.toml, [project.entry-points.pytest11]; pytest loads all plugins of that group at start.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check zarr==3.1.6 numcodecs==0.16.6 pytest==9.2.0
cat >"$folder/test_nothing.py" <<'PYTHON'
import sys
import time


def test_nothing():
    print(f"seen: zarr imported {'zarr' in sys.modules}, numpy imported {'numpy' in sys.modules}, {time.process_time():.2f} s of CPU since the start")
PYTHON
cd "$folder"
run() { venv/bin/python -m pytest -q -s -p no:cacheprovider "$@" test_nothing.py | grep seen; }
run >/dev/null # compiles
default=$(run)
without=$(run -p no:zarr)
names=$(venv/bin/python -c "import zarr.testing as t; print(sorted(n for n in dir(t) if n.startswith('pytest_')))")
echo "default:     $default"
echo "-p no:zarr:  $without"
echo "hooks that zarr.testing defines: $names"
[[ $default == *"zarr imported True, numpy imported True"* ]]
[[ $without == *"zarr imported False, numpy imported False"* ]]
[ "$names" = "[]" ]
echo "as described"
