# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy==2.3.5",
#   "torch==2.15.0",
# ]
# ///
"""Peer of x5-dl's `bench_train`: one training step of the same ConvLSTM in PyTorch on the CPU.

201 424 parameters, batch 4, 32 x 32 px, 10 + 20 steps; loss, gradient and Adam; best of BENCH_REPEATS (5) on
BENCH_THREADS (2) threads. Prints one JSON object. Needs `torch` from PyPI.
"""

import json
import os
import time

import torch
from torch import nn

HIDDEN = (32, 32, 32, 4)
CONTEXT, TARGET, BATCH, SIDE = 10, 20, 4, 32


class Cell(nn.Module):
    """ConvLSTM cell; gates i, f, o, g from one convolution."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.hidden = hidden
        self.conv = nn.Conv2d(inputs + hidden, 4 * hidden, 3, padding=1)

    def forward(self, x, h, c):
        i, f, o, g = self.conv(torch.cat((x, h), 1)).split(self.hidden, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class ConvLstm(nn.Module):
    """Stacked cells; a frame is the rectified hidden state of the last and is fed back."""

    def __init__(self):
        super().__init__()
        inputs = (10, *HIDDEN[:-1])
        self.cells = nn.ModuleList(Cell(a, b) for a, b in zip(inputs, HIDDEN))

    def step(self, x, state):
        for k, cell in enumerate(self.cells):
            state[k] = cell(x, *state[k])
            x = state[k][0]
        return x.relu()

    def forward(self, context, dem, weather):
        n, _, _, rows, cols = context.shape
        state = [(context.new_zeros(n, cell.hidden, rows, cols),) * 2 for cell in self.cells]
        for t in range(CONTEXT):
            frame = self.step(torch.cat((context[:, t], dem, weather[:, t]), 1), state)
        frames = [frame]
        for t in range(CONTEXT, CONTEXT + TARGET - 1):
            frames.append(self.step(torch.cat((frames[-1], dem, weather[:, t]), 1), state))
        return torch.stack(frames, 1)


def main():
    torch.set_num_threads(int(os.environ.get("BENCH_THREADS", 2)))
    torch.manual_seed(0)
    net = ConvLstm()
    assert sum(p.numel() for p in net.parameters()) == 201_424
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    context = torch.rand(BATCH, CONTEXT, 4, SIDE, SIDE)
    dem = torch.rand(BATCH, 1, SIDE, SIDE)
    weather = torch.rand(BATCH, CONTEXT + TARGET, 5, SIDE, SIDE)
    target = torch.rand(BATCH, TARGET, 4, SIDE, SIDE)
    mask = torch.ones_like(target)
    best = float("inf")
    for _ in range(1 + int(os.environ.get("BENCH_REPEATS", 5))):
        begin = time.perf_counter()
        adam.zero_grad()
        loss = ((net(context, dem, weather) - target).abs() * mask).sum() / (mask.count_nonzero() + 1)
        loss.backward()
        adam.step()
        best = min(best, time.perf_counter() - begin)
    print(json.dumps({"name": "convlstm_step", "peer": round(best, 4)}))


if __name__ == "__main__":
    main()
