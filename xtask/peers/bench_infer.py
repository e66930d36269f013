# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy==2.3.5",
#   "torch==2.15.0",
# ]
# ///
"""Peer of x5-dl's `bench_infer`: forecasts of the same ConvLSTM in PyTorch on the CPU.

201 424 parameters, 19 cubes of 128 x 128 px in one batch, 10 + 20 steps, without gradients; best of BENCH_REPEATS (2)
on BENCH_THREADS (2) threads. Prints JSON objects. Needs `torch` from PyPI.
"""

import json
import os
import resource
import time

import torch
from bench_train import CONTEXT, TARGET, ConvLstm

VARIANTS, SIDE = 19, 128


def main():
    torch.set_num_threads(int(os.environ.get("BENCH_THREADS", 2)))
    torch.manual_seed(0)
    net = ConvLstm().eval()
    context = torch.rand(VARIANTS, CONTEXT, 4, SIDE, SIDE)
    dem = torch.rand(VARIANTS, 1, SIDE, SIDE)
    weather = torch.rand(VARIANTS, CONTEXT + TARGET, 5, SIDE, SIDE)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(1 + int(os.environ.get("BENCH_REPEATS", 2))):
            begin = time.perf_counter()
            net(context, dem, weather)
            best = min(best, time.perf_counter() - begin)
    print(json.dumps({"name": "convlstm_forecasts", "peer": round(best, 4)}))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"name": "convlstm_forecasts/peak memory", "peer": round(peak, 1)}))


if __name__ == "__main__":
    main()
