#!/usr/bin/env bash
# Expected: float16 is not a type of netCDF, so to_netcdf refuses it whatever the engine, or a reader raises an error.
# What happens: engine="netcdf4" refuses it. engine="h5netcdf" writes it without a word and reads it back right. The same file opened by
#   xr.open_dataset(path) with netCDF4 installed, whose engine is then the default, ends the Python process by a segmentation fault: no exception, no kernel.
# Version: xarray 2026.9.0, h5netcdf 1.8.2, netCDF4 1.7.5.1.post1, h5py 3.16.0, numpy 2.4.6.
# Source: h5netcdf.core._check_dtype looks at complex types only; netCDF4 has no NumPy type for the 2-byte float of HDF5.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check xarray==2026.9.0 h5netcdf==1.8.2 netCDF4==1.7.5.1.post1 h5py==3.16.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import subprocess
import sys

import numpy as np
import xarray as xr

print("xarray", xr.__version__)
half = np.linspace(-1, 1, 24).astype("float16").reshape(12, 2)
data = xr.Dataset({"half": (("sample", "unit"), half)}, {"sample": [f"s{i}" for i in range(12)]})
try:
    data.to_netcdf("refused.nc", engine="netcdf4")
    refused = False
except TypeError:
    refused = True
print("netcdf4 refuses float16:", refused)
data.to_netcdf("half.nc", engine="h5netcdf")
again = xr.open_dataset("half.nc", engine="h5netcdf")["half"].values
print("h5netcdf reads back what it wrote:", np.array_equal(again, half))
opened = subprocess.run([sys.executable, "-c", "import xarray as xr; xr.open_dataset('half.nc'); print('opened')"], capture_output=True)
print("the default engine: exit code", opened.returncode, opened.stdout.decode().strip())
assert refused and np.array_equal(again, half) and opened.returncode == -11
PYTHON
echo "as described"
