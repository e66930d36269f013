# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "dask==2026.8.0",
#   "numpy==2.3.5",
#   "odc-stac==0.5.3",
#   "pystac==1.15.2",
#   "rasterio==1.4.4",
#   "stackstac==0.5.1",
#   "xarray==2026.9.0",
# ]
# ///
"""Peers of x2-downloader: one window of 20 dates and 4 bands from the same server, into one array.

Needs BENCH_EARTH, the base URL of a synthetic Earth. The items are asked for once and every raster is touched once, so
that the server has drawn it; neither is timed. Then odc-stac, stackstac and rasterio, each with 16 threads and in a
process of its own, open the 80 files and read the window; rasterio a second time with GDAL's own threads, which costs a
little more time of the processors and needs less memory. A process first reads a scene that is not among the 20, so that
what Python and GDAL load at first use is not timed either. Of every figure the best of them counts.
"""

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

THREADS = 16
BANDS = ["blue", "green", "red", "nir"]
# 20 scenes of tile 35KMQ and one more to warm up with.
DAYS, SCENES = "2021-01-01/2021-04-14", 21
# The window's upper-left corner, in pixels of 10 m from the tile's; the corner of four blocks is in its middle.
FIRST, SIZE = 5120 - 183, 366
EPSG, WEST, NORTH = 32735, 399_960 + 10 * FIRST, 7_500_040 - 10 * FIRST
BOUNDS = (WEST, NORTH - 10 * SIZE, WEST + 10 * SIZE, NORTH)

# For all peers alike. HEAD requests stay: without them GDAL asks for whole files and hangs up.
GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "NO_PROXY": "127.0.0.1",
}


def get(url, headers=None):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, headers=headers or {})) as answer:
        return answer.read()


def search(earth):
    """The items in order of time, of a scene that was processed twice only the later one."""
    found = json.loads(get(f"{earth}/stac/search?collections=sentinel-2-l2a&bbox=26,-24,27,-22&datetime={DAYS}&limit=100"))
    latest = {item["id"].rsplit("_", 2)[0]: item for item in sorted(found["features"], key=lambda item: item["id"])}
    items = sorted(latest.values(), key=lambda item: item["properties"]["datetime"])
    assert len(items) == SCENES, f"{len(items)} scenes"
    return items


def touch(items):
    """Makes the server draw every raster of the items."""
    hrefs = [item["assets"][band]["href"] for item in items for band in BANDS]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda href: get(href, {"Range": "bytes=0-0"}), hrefs))


def odc_stac(items, **options):
    import odc.stac
    from odc.geo.geobox import GeoBox

    box = GeoBox.from_bbox(BOUNDS, crs=f"EPSG:{EPSG}", resolution=10)
    cube = odc.stac.load(
        parsed(items), bands=BANDS, geobox=box, pool=THREADS, resampling="nearest", groupby="id", **options
    ).load()
    return cube[BANDS].to_dataarray().transpose("time", "variable", "y", "x").values


def stackstac(items, **options):
    import dask
    import numpy
    import stackstac

    with dask.config.set(scheduler="threads", num_workers=THREADS):
        cube = stackstac.stack(
            parsed(items),
            assets=BANDS,
            epsg=EPSG,
            resolution=10,
            bounds=BOUNDS,
            dtype="uint16",
            fill_value=numpy.uint16(0),
            rescale=False,
            **options,
        )
        return cube.transpose("time", "band", "y", "x").values


def rasterio(items):
    import numpy
    import rasterio
    from rasterio.windows import Window

    def plane(href):
        with rasterio.open(href) as data:
            return data.read(1, window=Window(FIRST, FIRST, SIZE, SIZE))

    hrefs = [item["assets"][band]["href"] for item in items for band in BANDS]
    with ThreadPoolExecutor(THREADS) as pool:
        return numpy.stack(list(pool.map(plane, hrefs))).reshape(len(items), len(BANDS), SIZE, SIZE)


def parsed(items):
    import pystac

    return [pystac.Item.from_dict(item) for item in items]


def rasterio_with_threads(items):
    import rasterio as library

    with library.Env(GDAL_NUM_THREADS="ALL_CPUS"):
        return rasterio(items)


PEERS = {
    "odc-stac": odc_stac,
    "stackstac": stackstac,
    "rasterio": rasterio,
    "rasterio_with_threads": rasterio_with_threads,
}


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_rss_mb():
    # Unlike ru_maxrss this does not begin with the memory of the parent.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) * 1024 / 1e6


def measure(peer):
    """In a process of its own: items on standard input, figures on standard output."""
    earth, items = json.load(sys.stdin)
    read = PEERS[peer]
    read(items[-1:])
    before, cpu, start = json.loads(get(f"{earth}/stats")), cpu_seconds(), time.perf_counter()
    values = read(items[:-1])
    seconds, cpu, after = time.perf_counter() - start, cpu_seconds() - cpu, json.loads(get(f"{earth}/stats"))
    assert values.shape == (SCENES - 1, len(BANDS), SIZE, SIZE) and values.dtype == "uint16", values.shape
    assert values.min() > 0, "a pixel was not read"
    figures = {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "requests": after["requests"] - before["requests"],
        "bytes": after["file_bytes"] - before["file_bytes"],
        "peak_rss_mb": peak_rss_mb(),
        "values": hashlib.sha256(values.astype("<u2").tobytes()).hexdigest(),
    }
    print(json.dumps(figures))


def figures_of(peer, earth, items):
    command = [sys.executable, __file__, peer]
    done = subprocess.run(
        command, input=json.dumps([earth, items]), env=os.environ | GDAL, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def line(name, peer, note):
    print(json.dumps({"name": name, "peer": peer, "note": note}), flush=True)


def main():
    earth = os.environ["BENCH_EARTH"]
    items = search(earth)
    touch(items)
    figures = {peer: figures_of(peer, earth, items) for peer in PEERS}
    for name, figure in (
        ("cog_decode_seconds", "seconds"),
        ("cog_decode_cpu_seconds", "cpu_seconds"),
        ("cog_fetch_seconds", "seconds"),
        ("cog_fetch_cpu_seconds", "cpu_seconds"),
        ("cog_requests", "requests"),
        ("cog_bytes", "bytes"),
        ("cog_peak_rss_mb", "peak_rss_mb"),
    ):
        of = {peer: round(figures[peer][figure], 4) for peer in PEERS}
        best = min(of, key=of.get)
        line(name, of[best], f"best: {best}; " + ", ".join(f"{peer} {value}" for peer, value in of.items()))
    values = {figures[peer]["values"] for peer in PEERS}
    assert len(values) == 1, f"the peers disagree: {figures}"
    line("cog_values", 0, values.pop())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        main()
