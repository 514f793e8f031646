"""Training runs in float64, whose photos are noted; test_distributed.py starts them in one or more processes.

Several processes then differ from one by rounding alone, if BatchNorm rests, or (`awake`) sees the photos of all processes as it does on GPUs.

    python double_precision.py '{"data": "cache", "runs": {"run": {"epochs": 2}}, "awake": false, "resume": false, "stop": [1, 13]}'

`stop`: process 1 gets SIGTERM in its 13th step. RUN/seen_P.jsonl has (epoch, photos, weight) of each step of process P."""
import json
import os
import signal
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from portrait_gan import config as config_module
from portrait_gan import run as run_module
from portrait_gan.config import RECIPES
from portrait_gan.data import Portraits


def double_precision(patch, awake=False):
    "Networks, pairs and so all losses in float64; `patch` is setattr or monkeypatch.setattr."
    generator, discriminator, pair = config_module.build_generator, config_module.build_discriminator, run_module.make_pair
    networks = run_module.build_networks
    synchronised = convert_sync_batchnorm if awake and "RANK" in os.environ else lambda network: network

    def double_generator(*args):
        network = synchronised(generator(*args).double())
        network.encoder._drop_connect_rate = 0.  # smp's EfficientNets leave blocks out by chance, which is each process's own
        network.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))  # validation and samples come in float32
        return network
    def calm_networks(*args):
        "Adam divides a gradient by its size: of one that should be zero, rounding alone would decide where the weight goes."
        nets = networks(*args)
        for group in nets.opt_g.param_groups + nets.opt_d.param_groups: group["eps"] = 1e-6
        return nets
    patch(run_module, "build_networks", calm_networks)
    patch(config_module, "build_generator", double_generator)
    patch(config_module, "build_discriminator", lambda config: synchronised(discriminator(config).double()))
    patch(run_module, "make_pair", lambda *args: tuple(t.double() for t in pair(*args)))
    if awake:
        patch(nn.SyncBatchNorm, "forward", batchnorm_over_processes)
        patch(DistributedDataParallel, "_passing_sync_batchnorm_handle", lambda self, module: None)  # it refuses the CPU too
    else: patch(nn.modules.batchnorm._BatchNorm, "train", lambda self, mode=True: nn.Module.train(self, False))


class Sum(torch.autograd.Function):
    "Over processes; its gradient is the sum of theirs."
    @staticmethod
    def forward(ctx, x):
        torch.distributed.all_reduce(x := x.clone())
        return x

    @staticmethod
    def backward(ctx, gradient): return Sum.forward(None, gradient)


def batchnorm_over_processes(self, x):
    "What PyTorch's kernels for GPUs compute: mean and variance over the values of all processes, with gradients through them."
    if not self.training: return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
    count = Sum.apply(torch.tensor(x.numel()/x.shape[1], dtype=x.dtype))
    mean = Sum.apply(x.sum((0, 2, 3), keepdim=True))/count
    var = Sum.apply((x - mean).square().sum((0, 2, 3), keepdim=True))/count
    self.num_batches_tracked += 1
    with torch.no_grad():
        for running, new in ((self.running_mean, mean), (self.running_var, var*count/(count - 1))): running.lerp_(new.flatten(), self.momentum)
    weight, bias = (p.view(1, -1, 1, 1) for p in (self.weight, self.bias))
    return (x - mean)/(var + self.eps).sqrt()*weight + bias


def note_photos(file: Path):
    "Write down every batch that the loader asks for, with the weight that goes with it."
    share, fetch, weights = run_module.share_of, Portraits.__getitems__, deque()

    def share_of(*args):
        own, weight = share(*args)
        weights.append(weight)
        return own, weight

    def noted(self, indices):
        with open(file, "a") as f: f.write(json.dumps([self.epoch, indices, weights.popleft()]) + "\n")
        return fetch(self, indices)
    run_module.share_of, Portraits.__getitems__ = share_of, noted


def stop_in(step: int):
    "SIGTERM for this process in its step number `step`."
    train_step, steps = run_module.train_step, [0]

    def counted(*args):
        steps[0] += 1
        if steps[0] == step: os.kill(os.getpid(), signal.SIGTERM)
        return train_step(*args)
    run_module.train_step = counted


def main(data, runs, awake=False, resume=False, stop=(0, 0)):
    process = int(os.environ.get("RANK", 0))
    double_precision(setattr, awake)
    share, fetch = run_module.share_of, Portraits.__getitems__
    if process == stop[0]: stop_in(stop[1])
    for out, config in runs.items():
        Path(out).mkdir(exist_ok=True)
        run_module.share_of, Portraits.__getitems__ = share, fetch
        note_photos(Path(out)/f"seen_{process}.jsonl")
        config = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        run_module.train(replace(RECIPES[config.get("recipe", "smoke")], **config), data, out, resume)


if __name__ == "__main__": main(**json.loads(sys.argv[1]))
