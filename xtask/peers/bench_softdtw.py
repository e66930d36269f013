# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy==2.3.5",
#   "tslearn==0.10.0",
# ]
# ///
"""Peer of csp's time-series library: soft-DTW pairs and soft-DTW k-means with tslearn.

Series as in csp/examples/bench_softdtw.rs: nine temperature-like shapes of 30 steps with noise, in EarthNet's units;
gamma 1, which is tslearn's default. One thread for the pairs. Compilation by numba, imports and the making of the
data are left out; the pairs count by the best of a few repeats, as on our side, the fit by one run.
"""

import json
import time
import warnings

import numpy as np
from tslearn.clustering import TimeSeriesKMeans
from tslearn.metrics import cdist_soft_dtw

STEPS, REPEATS = 30, 3
warnings.filterwarnings("ignore")


def weather(samples):
    """[sample, step, 1]"""
    rng = np.random.default_rng(0)
    phase, amplitude, level = rng.uniform(0, 2 * np.pi, 9), rng.uniform(0.05, 0.25, 9), rng.uniform(0.4, 0.7, 9)
    label, t = rng.integers(0, 9, samples), np.arange(STEPS)
    wave = np.sin(2 * np.pi * t / STEPS + phase[label][:, None])
    x = level[label][:, None] + amplitude[label][:, None] * wave + 0.03 * rng.standard_normal((samples, STEPS))
    return x[:, :, None]


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main():
    x = weather(2000)
    some, others = x[:200], x[200:400]
    cdist_soft_dtw(some[:2], others[:2], gamma=1.0)
    pairs = min(seconds(lambda: cdist_soft_dtw(some, others, gamma=1.0)) for _ in range(REPEATS))
    per_million = pairs * 1e6 / (len(some) * len(others))
    note = f"tslearn, {1e6 / per_million:.0f} pairs/s on one thread"
    print(json.dumps({"name": "softdtw_pairs_T30", "peer": per_million, "unit": "s/Mpair", "note": note}))

    model = TimeSeriesKMeans(
        n_clusters=7, metric="softdtw", metric_params={"gamma": 1.0}, max_iter=10, random_state=0
    )
    fit = seconds(lambda: model.fit(x))
    note = f"tslearn, {model.n_iter_} rounds"
    print(json.dumps({"name": "softdtw_kmeans_n2000_k7", "peer": fit, "unit": "s", "note": note}))


if __name__ == "__main__":
    main()
