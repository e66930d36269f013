# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy==2.3.5",
#   "odc-stac==0.5.3",
#   "pystac-client==0.9.1",
# ]
# ///
"""Peer of x2-downloader: the same window of the same scenes from the same server, with odc-stac on 16 threads.

Needs BENCH_EARTH, the base URL of a synthetic Earth whose rasters our side has made it draw already. What is timed is
search and load, as on our side; imports are left out. Our side leaves sparse GeoTIFFs on disk, this one arrays in memory.
"""

import json
import os
import time
import urllib.request

os.environ.update(
    GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR",
    CPL_VSIL_CURL_ALLOWED_EXTENSIONS=".tif",
    NO_PROXY="127.0.0.1",
)

import odc.stac
import pystac_client
from odc.geo.geobox import GeoBox

EARTH = os.environ["BENCH_EARTH"]
BANDS = ["blue", "green", "red", "nir08", "scl"]
# Cell 35KMQ_1313: 13 cells of 3840 m from the tile's upper-left corner, (399 960, 7 500 040) in EPSG:32735.
WEST, NORTH, SIZE = 399_960 + 13 * 3840, 7_500_040 - 13 * 3840, 3840
DAYS = "2021-01-01/2021-04-10"


def stats():
    with urllib.request.urlopen(f"{EARTH}/stats") as answer:
        return json.load(answer)


def main():
    box = GeoBox.from_bbox((WEST, NORTH - SIZE, WEST + SIZE, NORTH), crs="EPSG:32735", resolution=10)
    before, start = stats(), time.perf_counter()
    catalog = pystac_client.Client.open(f"{EARTH}/stac")
    west, south, east, north = box.extent.to_crs("EPSG:4326").boundingbox
    search = catalog.search(collections=["sentinel-2-l2a"], bbox=[west, south, east, north], datetime=DAYS)
    # Reprocessed scenes: the later one only, as on our side.
    items = list({item.id.rsplit("_", 2)[0]: item for item in sorted(search.items(), key=lambda i: i.id)}.values())
    cube = odc.stac.load(items, bands=BANDS, geobox=box, pool=16, resampling="nearest").load()
    seconds, after = time.perf_counter() - start, stats()
    assert cube.blue.shape[1:] == (384, 384) and int((cube.blue > 0).sum()) > 0, "nothing was read"
    note = f"odc-stac, 16 threads, {len(items)} scenes"
    for name, value in (
        ("cog_fetch_seconds", seconds),
        ("cog_fetch_requests", after["requests"] - before["requests"]),
        ("cog_fetch_megabytes", (after["file_bytes"] - before["file_bytes"]) / 1e6),
    ):
        print(json.dumps({"name": name, "peer": round(value, 4), "note": note}))


if __name__ == "__main__":
    main()
