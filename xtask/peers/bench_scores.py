# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "earthnet==0.3.11",
#   "numpy==1.26.4",
#   "scikit-image==0.24.0",
#   "scipy==1.14.1",
#   "tqdm==4.67.1",
# ]
# ///
"""Peer of x5-dl's `bench_scores`: EarthNetScore by the package `earthnet` on BENCH_THREADS (2) processes.

Writes BENCH_CUBES (24) seeded cubes of 128 x 128 pixels and 20 frames below BENCH_FOLDER, which ours scores as well. The
package was written for a scikit-image that took floats to have a range of 2; newer ones want it said.
"""

import contextlib
import importlib.util
import io
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from skimage.metrics import structural_similarity

THREADS = int(os.environ.get("BENCH_THREADS", 2))
CUBES = int(os.environ.get("BENCH_CUBES", 24))


class Metrics:
    """scikit-image as the package knew it."""

    @staticmethod
    def structural_similarity(a, b):
        return structural_similarity(a, b, data_range=2.0)


def module():
    """The package's scores alone: as a whole it wants a plotting library that it does not name."""
    folder = Path(importlib.util.find_spec("earthnet").origin).parent
    spec = importlib.util.spec_from_file_location("parallel_score", folder / "parallel_score.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["parallel_score"] = loaded
    spec.loader.exec_module(loaded)
    loaded.metrics = Metrics
    return loaded


parallel_score = module()


def write(folder):
    """Seasonal curves with noise, a third of the frames under clouds."""
    rng = np.random.default_rng(7)
    for index in range(CUBES):
        name = f"29SQC_2017-07-02_2017-11-28_{index}_128_0_128_0_80_0_80.npz"
        season = 0.2 + 0.1 * np.sin(np.arange(20) / 6 + rng.uniform(0, 6, (128, 128, 4, 1)))
        cloudy = (rng.random((1, 1, 1, 20)) < 0.33) | (rng.random((128, 128, 1, 20)) < 0.05)
        target = np.concatenate([season + rng.normal(0, 0.02, season.shape), cloudy], axis=2)
        for kind, values in [("targets", target), ("predictions", season)]:
            path = folder / kind / "29SQC" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, highresdynamic=values.astype("f4"))


def main():
    folder = Path(os.environ["BENCH_FOLDER"])
    if len(list((folder / "predictions").glob("**/*.npz"))) != CUBES:
        write(folder)
    clock = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        score = parallel_score.EarthNetScore(folder / "predictions", folder / "targets")
        score.compute_scores(THREADS)
        ens = score.summarize()[0]
    print(json.dumps({"name": "scores_earthnet", "peer": time.perf_counter() - clock}))
    print(json.dumps({"name": "scores_earthnet_value", "peer": ens}))


if __name__ == "__main__":
    main()
