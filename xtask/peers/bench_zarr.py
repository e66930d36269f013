# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy==2.3.5",
#   "zarr==3.1.6",
# ]
# ///
"""Peer of the store: write and read the same numbers with zarr-python, in the layouts that its users choose.

500 dates x 4 bands x 128 x 128 uint16 in memory, to a folder and back; ours finds the same
numbers in `BENCH_FOLDER`. `zarr_write` and `zarr_stored` are those of the best of the layouts; `zarr_read_sharded` is that of the sharded one, because ours is sharded. Best of a few repeats.
"""

import json
import os
import shutil
import tempfile
import time

import numpy as np
import zarr
from zarr.codecs import BloscCodec, ZstdCodec

DAYS, BANDS, SIZE, REVISIT = 500, 4, 128, 5
REPEATS = 5
BLOSC = BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle")
LAYOUTS = {
    "zstd": {"chunks": (50, 1, 128, 128), "compressors": ZstdCodec(level=5)},
    "blosc": {"chunks": (50, 1, 128, 128), "compressors": BLOSC},
    "sharded": {"chunks": (50, 1, 32, 32), "shards": (500, 4, 128, 128), "compressors": BLOSC},
}


def cube():
    """Smooth fields with a season and noise; every fifth day is observed, every other day is no data."""
    rng = np.random.default_rng(0)
    field = np.cumsum(np.cumsum(rng.standard_normal((BANDS, SIZE, SIZE)), 1), 2)
    field = (field - field.min()) / (field.max() - field.min())
    season = 0.5 + 0.3 * np.sin(2 * np.pi * np.arange(DAYS) / 365)
    values = np.zeros((DAYS, BANDS, SIZE, SIZE), np.uint16)
    for day in range(0, DAYS, REVISIT):
        noise = rng.standard_normal(field.shape) * 25
        values[day] = (300 + 2500 * field * season[day] + noise).clip(1, 10_000)
    return values


def measure(values, folder, layout):
    """Seconds to write, to read, to read one pixel's series; bytes on disk."""
    best = [float("inf")] * 3
    for _ in range(REPEATS):
        shutil.rmtree(folder, ignore_errors=True)
        start = time.perf_counter()
        array = zarr.create_array(folder, shape=values.shape, dtype=values.dtype, zarr_format=3, **layout)
        array[:] = values
        best[0] = min(best[0], time.perf_counter() - start)
        start = time.perf_counter()
        back = zarr.open_array(folder, mode="r")[:]
        best[1] = min(best[1], time.perf_counter() - start)
        assert (back == values).all()
        start = time.perf_counter()
        assert zarr.open_array(folder, mode="r")[:, :, 64, 64].shape == (DAYS, BANDS)
        best[2] = min(best[2], time.perf_counter() - start)
    files = [os.path.join(root, name) for root, _, names in os.walk(folder) for name in names]
    return *best, sum(map(os.path.getsize, files))


def main():
    values = cube()
    values.tofile(os.path.join(os.environ["BENCH_FOLDER"], "cube.u16"))
    with tempfile.TemporaryDirectory() as scratch:
        found = {name: measure(values, os.path.join(scratch, name), layout) for name, layout in LAYOUTS.items()}
    results = {
        "zarr_write": min(write for write, *_ in found.values()),
        "zarr_read_sharded": found["sharded"][1],
        "zarr_pixel_series": min(series for _, _, series, _ in found.values()),
        "zarr_stored": min(stored for *_, stored in found.values()) / 1e6,
    }
    for name, value in results.items():
        print(json.dumps({"name": name, "peer": round(value, 5)}))


if __name__ == "__main__":
    main()
