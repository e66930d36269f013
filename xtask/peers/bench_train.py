# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy==2.3.5",
#   "torch==2.15.0",
# ]
# ///
"""Peer of x5-dl's `bench_train`: training steps of the same networks in PyTorch on the CPU.

The published ConvLSTM and the pixelwise RNN at the sizes in `bench_train.rs`; loss, gradient and Adam; best of
BENCH_REPEATS (3) on BENCH_THREADS (2) threads, each network in a process of its own. Prints JSON objects. Needs
`torch` from PyPI.
"""

import json
import os
import resource
import subprocess
import sys
import time

import torch
from torch import nn

HIDDEN = (32, 32, 32, 4)
CONTEXT, TARGET, SIDE = 10, 20, 64
PIXELS, STEPS, STATE = 16_384, 36, 192


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


class PixelRnn(nn.Module):
    """State network, update network, GRU and a sigmoid head; a ReLU stands before each linear map."""

    def __init__(self):
        super().__init__()
        self.state_mlp = self.mlp(30, 2 * STATE, 2 * STATE, STATE)
        self.update_mlp = self.mlp(27, 2 * STATE // 3, STATE // 2)
        self.rnn = nn.GRU(STATE // 2, STATE, batch_first=True)
        self.head = nn.Linear(STATE, 1)

    @staticmethod
    def mlp(*widths):
        maps = (nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        return nn.Sequential(*(layer for linear in maps for layer in (nn.ReLU(), linear)))

    def forward(self, vegetation, statics, drivers):
        state = self.state_mlp(torch.cat((vegetation, statics), 1))
        state = torch.cat((vegetation[:, -1:], state[:, 1:]), 1)
        states, _ = self.rnn(self.update_mlp(drivers), state[None].contiguous())
        return self.head(states)[..., 0].sigmoid()


def convlstm(batch=2):
    """The network, its inputs, the target and what is minimised."""
    net = ConvLstm()
    assert sum(p.numel() for p in net.parameters()) == 201_424
    inputs = (
        torch.rand(batch, CONTEXT, 4, SIDE, SIDE),
        torch.rand(batch, 1, SIDE, SIDE),
        torch.rand(batch, CONTEXT + TARGET, 5, SIDE, SIDE),
    )
    target = torch.rand(batch, TARGET, 4, SIDE, SIDE)
    return net, inputs, target, torch.abs


def convlstm_of_one():
    """The same of a batch of one."""
    return convlstm(1)


def gru():
    """The network, its inputs, the target and what is minimised."""
    net = PixelRnn()
    assert sum(p.numel() for p in net.parameters()) == 416_865
    inputs = (torch.rand(PIXELS, 9), torch.rand(PIXELS, 21), torch.rand(PIXELS, STEPS, 27))
    return net, inputs, torch.rand(PIXELS, STEPS), torch.square


def measure(name):
    """Prints seconds of a step and the peak memory of this process."""
    torch.set_num_threads(int(os.environ.get("BENCH_THREADS", 2)))
    torch.manual_seed(0)
    made = {"convlstm": convlstm, "convlstm_of_one": convlstm_of_one, "gru": gru}
    net, inputs, target, error = made[name]()
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    mask = torch.ones_like(target)
    best = float("inf")
    for _ in range(1 + int(os.environ.get("BENCH_REPEATS", 3))):
        begin = time.perf_counter()
        adam.zero_grad()
        loss = (error(net(*inputs) - target) * mask).sum() / (mask.count_nonzero() + 1)
        loss.backward()
        adam.step()
        best = min(best, time.perf_counter() - begin)
    print(json.dumps({"name": f"{name}_step", "peer": round(best, 4)}))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"name": f"{name}_step/peak memory", "peer": round(peak, 1)}))


def main():
    if len(sys.argv) > 1:
        return measure(sys.argv[1])
    for name in ("convlstm", "convlstm_of_one", "gru"):
        subprocess.run([sys.executable, __file__, name], check=True)


if __name__ == "__main__":
    main()
