# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "bottleneck==1.6.0",
#   "h5netcdf==1.8.2",
#   "h5py==3.16.0",
#   "moto[server]==5.2.5",
#   "numpy==2.3.5",
#   "pandas==3.1.1",
#   "pyarrow==26.0.1",
#   "rasterio==1.4.4",
#   "s3fs==2026.9.0",
#   "safetensors==0.8.0",
#   "shapely==2.2.0",
#   "xarray==2026.9.0",
#   "zarr==3.1.6",
# ]
# ///
"""What the checks share: their packages (above), opening our stores as any Python user would, comparing."""

import json
import sys
from pathlib import Path

import numpy as np


def project():
    """The project folder named on the command line."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} PROJECT_FOLDER")
    return Path(sys.argv[1])


def stores(pattern):
    """All stores or files of a pattern, at least one."""
    found = sorted(project().glob(pattern))
    assert found, f"nothing matches {project() / pattern}"
    return found


def open_store(path, group=None, **options):
    """A Zarr store, or one of its groups, through xarray; its metadata must be consolidated."""
    import xarray as xr

    return xr.open_zarr(path, group=group, consolidated=True, **options)


def check_table(path, schema):
    """pyarrow sees the key of ours among a table's metadata, and it names this schema; its content."""
    import pyarrow.parquet as parquet

    metadata = parquet.read_schema(path).metadata or {}
    assert b"minicube" in metadata, f"{path}: no key `minicube`, found {sorted(metadata)}"
    own = json.loads(metadata[b"minicube"])
    assert (own["minicube_schema"], own["schema_version"]) == (schema, 1), f"{path}: {own}"
    return own


def equal(what, found, expected, tolerance=0.0):
    """Arrays agree within a tolerance, and miss the same values."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}"
    lost = np.isnan(found) != np.isnan(expected)
    assert not lost.any(), f"{what}: {lost.sum()} of {lost.size} values are missing on one side only"
    difference = np.abs(found - expected)
    worst = np.nanmax(difference) if np.isfinite(difference).any() else 0.0
    assert worst <= tolerance, f"{what}: differs by up to {worst:g}, allowed {tolerance:g}"


def done(script, count, what):
    """The closing line of a check."""
    assert count > 0, f"{script}: compared nothing"
    print(f"{Path(script).name}: {count} {what} agree")
