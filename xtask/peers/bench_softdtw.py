# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy==2.3.5",
#   "tslearn==0.10.0",
# ]
# ///
"""Peer of csp's time-series library: soft-DTW pairs and soft-DTW k-means with tslearn.

The series are ours, from `BENCH_FOLDER/series.f64`: nine temperature-like shapes of 30 steps with noise, in EarthNet's
units. Gamma 1 is tslearn's default. Pairs on one thread, the best of a few repeats, as on our side; k-means with one
start and at most ten rounds, by one run. Compilation by numba and imports are left out. The objective is the mean
soft-DTW to the nearest centre less that of equal series, which is the least that there can be.
"""

import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
from tslearn.clustering import TimeSeriesKMeans
from tslearn.metrics import cdist_soft_dtw

STEPS, CLUSTERS, REPEATS = 30, 7, 3
warnings.filterwarnings("ignore")


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def tell(name, value, unit, note):
    print(json.dumps({"name": name, "peer": value, "unit": unit, "note": note}))


def main():
    path = Path(os.environ["BENCH_FOLDER"]) / "series.f64"
    x = np.fromfile(path, dtype="<f8").reshape(-1, STEPS, 1)
    some, others = x[:200], x[200:400]
    cdist_soft_dtw(some[:2], others[:2], gamma=1.0)
    pairs = min(seconds(lambda: cdist_soft_dtw(some, others, gamma=1.0)) for _ in range(REPEATS))
    per_million = pairs * 1e6 / (len(some) * len(others))
    tell("softdtw_pairs_T30", per_million, "s/Mpair", f"tslearn, {1e6 / per_million:.0f} pairs/s on one thread")

    zeros = np.zeros((1, STEPS, 1))
    for what, gamma in (("", 1.0), ("_gamma_001", 0.01)):
        name = f"softdtw_kmeans_n{len(x)}_k{CLUSTERS}{what}"
        model = TimeSeriesKMeans(
            n_clusters=CLUSTERS, metric="softdtw", metric_params={"gamma": gamma}, max_iter=10, random_state=0
        )
        fit = seconds(lambda: model.fit(x))
        tell(name, fit, "s", f"tslearn, {model.n_iter_} rounds")
        nearest = cdist_soft_dtw(x, model.cluster_centers_, gamma=gamma).min(axis=1).mean()
        excess = nearest - cdist_soft_dtw(zeros, zeros, gamma=gamma)[0, 0]
        tell(f"{name}_objective", float(excess), "squared", f"tslearn, mean soft-DTW {nearest:.6f}")


if __name__ == "__main__":
    main()
