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
"""What the peers of x2-downloader make of a server that fails: the window of bench_cog.py, read from two servers.

Needs BENCH_EARTH, the base URL of a synthetic Earth with faults, and BENCH_EARTH_GOOD, that of the same one without. The
items come from the good one; for the other their addresses are changed, and signed once where it has tokens, as users of
these libraries do. Each peer runs in a process of its own and meets every fault anew. A plane is one band of one date; a
plane is silently wrong where it differs from that of the good server although nothing was raised.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

from bench_cog import BANDS, GDAL, get, line, odc_stac, search, stackstac, touch

LONGEST_SECONDS = 900


def tolerant_stackstac(items):
    from rasterio.errors import RasterioIOError

    return stackstac(items, errors_as_nodata=(RasterioIOError(".*"),))


PEERS = {
    "odc-stac": odc_stac,
    "odc-stac_fail_on_error_false": lambda items: odc_stac(items, fail_on_error=False),
    "stackstac": stackstac,
    "stackstac_errors_as_nodata": tolerant_stackstac,
}


def token(earth):
    """A token of the server, None if it has none; what is said to pass is tried again."""
    for _ in range(10):
        try:
            return json.loads(get(f"{earth}/sas/token/x"))["token"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
        except (OSError, ValueError):
            pass
        time.sleep(0.2)
    raise SystemExit(f"{earth} gives no token")


def moved(items, good, bad):
    """The items with addresses on the other server, signed where that is needed."""
    key = token(bad)
    text = json.dumps(items).replace(good, bad)
    items = json.loads(text)
    for item in items if key else []:
        for asset in item["assets"].values():
            asset["href"] += f"?{key}"
    return items


def measure(peer):
    """In a process of its own: addresses and items on standard input, figures on standard output."""
    good, bad, items = json.load(sys.stdin)
    read = PEERS[peer]
    truth = read(items)
    assert truth.min() > 0, "a pixel was not read from the good server"
    forget = urllib.request.Request(f"{bad}/faults/forget", method="POST")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(forget).close()
    items = moved(items, good, bad)
    start = time.perf_counter()
    try:
        values, raised = read(items), ""
    except Exception as error:
        values, raised = None, f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    wrong = 0 if values is None else int((values != truth).any(axis=(2, 3)).sum())
    print(json.dumps({"seconds": seconds, "wrong": wrong, "raised": raised}))


def figures_of(peer, good, bad, items):
    command = [sys.executable, __file__, peer]
    given = json.dumps([good, bad, items])
    try:
        done = subprocess.run(
            command, input=given, env=os.environ | GDAL, stdout=subprocess.PIPE, text=True, timeout=LONGEST_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"seconds": LONGEST_SECONDS, "wrong": 0, "raised": f"no end after {LONGEST_SECONDS} s"}
    done.check_returncode()
    return json.loads(done.stdout.splitlines()[-1])


def main():
    good, bad = os.environ["BENCH_EARTH_GOOD"], os.environ["BENCH_EARTH"]
    items = search(good)[:-1]
    touch(items)
    planes = len(items) * len(BANDS)
    for peer in PEERS:
        figures = figures_of(peer, good, bad, items)
        raised = " ".join(figures["raised"].split())[:200]
        line(f"faults_silently_wrong_planes/{peer}", figures["wrong"], f"of {planes}" + ("; it raised" if raised else ""))
        line(f"faults_raised/{peer}", int(bool(raised)), raised)
        line(f"faults_seconds/{peer}", round(figures["seconds"], 4), f"{planes} planes")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        main()
