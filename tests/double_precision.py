"""A training run in float64 with BatchNorm at rest that notes which photos it sees; test_distributed.py starts it in one or more processes.

Several processes then differ from one by rounding alone: BatchNorm's means are each process's own, and its synchronised form refuses the CPU.

    python double_precision.py '{"data": "cache", "out": "run", "config": {"epochs": 2}, "resume": false, "stop": [1, 13]}'

`stop`: process 1 gets SIGTERM in its 13th step. RUN/seen_P.jsonl has (epoch, photos, weight) of each step of process P."""
import json
import os
import signal
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path

from torch import nn

from portrait_gan import training
from portrait_gan.data import Portraits


def double_precision(patch):
    "Networks, pairs and so all losses in float64; `patch` is setattr or monkeypatch.setattr."
    generator, discriminator, pair = training.build_generator, training.build_discriminator, training.make_pair

    def double_generator(*args):
        network = generator(*args).double()
        network.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))  # validation and samples come in float32
        return network
    patch(training, "build_generator", double_generator)
    patch(training, "build_discriminator", lambda config: discriminator(config).double())
    patch(training, "make_pair", lambda *args: tuple(t.double() for t in pair(*args)))
    patch(nn.modules.batchnorm._BatchNorm, "train", lambda self, mode=True: nn.Module.train(self, False))


def note_photos(file: Path):
    "Write down every batch that the loader asks for, with the weight that goes with it."
    share, fetch, weights = training.share_of, Portraits.__getitems__, deque()

    def share_of(*args):
        own, weight = share(*args)
        weights.append(weight)
        return own, weight

    def noted(self, indices):
        with open(file, "a") as f: f.write(json.dumps([self.epoch, indices, weights.popleft()]) + "\n")
        return fetch(self, indices)
    training.share_of, Portraits.__getitems__ = share_of, noted


def stop_in(step: int):
    "SIGTERM for this process in its step number `step`."
    train_step, steps = training.train_step, [0]

    def counted(*args):
        steps[0] += 1
        if steps[0] == step: os.kill(os.getpid(), signal.SIGTERM)
        return train_step(*args)
    training.train_step = counted


def main(data, out, config, resume=False, stop=(0, 0)):
    process = int(os.environ.get("RANK", 0))
    double_precision(setattr)
    Path(out).mkdir(exist_ok=True)
    note_photos(Path(out)/f"seen_{process}.jsonl")
    if process == stop[0]: stop_in(stop[1])
    training.train(replace(training.SMOKE, **config), data, out, resume)


if __name__ == "__main__": main(**json.loads(sys.argv[1]))
