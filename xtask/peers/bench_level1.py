# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy==2.3.5",
#   "rasterio==1.4.4",
#   "xarray==2026.9.0",
#   "zarr==3.1.6",
# ]
# ///
"""Peer of x3-level1: the cubes of one tile from its scenes, with rasterio, xarray and zarr-python.

The scenes and the cubes' bounds are those of `tile.json` in `BENCH_FOLDER`. `level1` is the script as it is written cube
by cube: every window of every scene averaged to the cube's grid, a Dataset a cube, `to_zarr` into its region.
`level1_by_scene` is the careful version, which opens every file once and lets GDAL's cache keep the blocks. Both stores
are compared with ours.
"""

import json
import os
import shutil
import tempfile
import time

import numpy as np
import rasterio
import xarray as xr
import zarr
from rasterio.enums import Resampling
from rasterio.windows import from_bounds

ASSETS = ["blue", "green", "red", "nir08", "scl"]
OFFSET = 1000


def read(source, bounds, size, asset):
    """One window on the cube's grid; valid reflectances get the offset of baseline 04.00."""
    how = Resampling.mode if asset == "scl" else Resampling.average
    window = from_bounds(*bounds, transform=source.transform)
    values = source.read(1, window=window, out_shape=(size, size), resampling=how)
    return values if asset == "scl" else np.where(values == 0, 0, values + OFFSET).astype(np.uint16)


def create(path, cubes, dates, size):
    """The empty store, sharded a cube."""
    store = zarr.open_group(path, mode="w", zarr_format=3)
    for asset in ASSETS:
        store.create_array(
            asset,
            shape=(cubes, dates, size, size),
            dtype="u1" if asset == "scl" else "u2",
            chunks=(1, min(dates, 64), 64, 64),
            shards=(1, min(dates, 64), size, size),
            dimension_names=("minicube", "time", "y", "x"),
        )


def write(path, cube, stacks):
    dims = ("minicube", "time", "y", "x")
    dataset = xr.Dataset({asset: (dims, stack[None]) for asset, stack in stacks.items()})
    dataset.to_zarr(path, region={"minicube": slice(cube, cube + 1)}, consolidated=False)


def by_cube(tile, path):
    size = tile["size_px"]
    create(path, len(tile["cubes"]), len(tile["files"]), size)
    for cube, bounds in enumerate(tile["cubes"]):
        stacks = {}
        for asset in ASSETS:
            frames = []
            for files in tile["files"]:
                with rasterio.open(files[asset]) as source:
                    frames.append(read(source, bounds, size, asset))
            stacks[asset] = np.stack(frames)
        write(path, cube, stacks)


def by_scene(tile, path):
    size, cubes = tile["size_px"], tile["cubes"]
    create(path, len(cubes), len(tile["files"]), size)
    shape = (len(cubes), len(tile["files"]), size, size)
    stacks = {asset: np.zeros(shape, np.uint8 if asset == "scl" else np.uint16) for asset in ASSETS}
    for asset in ASSETS:
        for date, files in enumerate(tile["files"]):
            with rasterio.open(files[asset]) as source:
                for cube, bounds in enumerate(cubes):
                    stacks[asset][cube, date] = read(source, bounds, size, asset)
    for cube in range(len(cubes)):
        write(path, cube, {asset: stacks[asset][cube] for asset in ASSETS})


def compare(path, ours):
    """Both say the same: averages to the last digit but for rounding, classes but for ties."""
    theirs, ours = zarr.open_group(path, mode="r"), zarr.open_group(ours, mode="r")
    for asset in ASSETS:
        a, b = theirs[asset][:].astype(int), ours["s2"][asset][:].astype(int)
        same = (a == b).mean() if asset == "scl" else (np.abs(a - b) <= 1).mean()
        assert same > 0.995, f"{asset}: {same:.4f} of the pixels agree"


def main():
    with open(os.path.join(os.environ["BENCH_FOLDER"], "tile.json")) as file:
        tile = json.load(file)
    for name, build in [("level1", by_cube), ("level1_by_scene", by_scene)]:
        scratch = tempfile.mkdtemp()
        path = os.path.join(scratch, "peer.zarr")
        start = time.perf_counter()
        build(tile, path)
        seconds = time.perf_counter() - start
        compare(path, tile["ours"])
        print(json.dumps({"name": name, "peer": round(seconds, 3)}))
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
