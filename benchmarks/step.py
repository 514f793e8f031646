"""Seconds and memory of a training step, the seed's loop against ours; then what the loop around our step costs.

Part `seed`: the seed recipe (four-filter discriminator, encoder without weights) on one fixed batch ("step") and fed by its own
data path ("loop"), every variant in a process of its own, rounds interleaved. Memory is the process's largest resident size, and
the same above what the imports took; on CUDA, what torch allocated at most. There the share of the measured bf16 matrix rate
and the share of the time in which the device is busy are told too. Part `overhead`: the default recipe in `train`,
without its first epoch: the time within `train_step` ("step") against that of the whole loop ("loop", from timings.jsonl).

    python benchmarks/step.py
    python benchmarks/step.py --part seed --size 768 --rounds 1 --steps 20"""
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal
from unittest import mock

import torch
import tyro
from common import cached, clock, endless, jpegs, our_batches, table
from seed_loop import seed_loader, seed_networks, seed_step
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from portrait_gan.checkpoint import read_metrics
from portrait_gan.config import ORIGINAL, TrainConfig, build_networks
from portrait_gan.data import Portraits
from portrait_gan.generator import LITE, best_device
from portrait_gan.run import train
from portrait_gan.training import train_step

OURS = {"ours": {}, "ours, checkpoint_gradients": dict(checkpoint_gradients=True)}
COLUMNS = ["what", "step, s", "faster", "loop, s", "faster", "loop ÷ step", "images/s", "peak, MB", "×", "above start, MB", "×", "bf16 rate", "busy"]


def memory() -> tuple[float, float]:
    "MB resident: now, and at most. Linux tells it for this program alone; elsewhere ru_maxrss stands for both."
    status = Path("/proc/self/status")
    if not status.exists(): return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/(2**20 if sys.platform == "darwin" else 2**10),)*2
    found = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return tuple(int(found[k].split()[0])/1024 for k in ("VmRSS", "VmHWM"))


def seed_variant(size: int, batch: int, encoder: str, folder: Path, cache: Path, device: str):
    "The seed's step and its batches."
    nets = seed_networks(encoder, None, device)
    loader = seed_loader([folder/f for f in Portraits(cache, "train").files], size, batch)
    return lambda L, ab: seed_step(nets, L, ab), ((L.to(device), ab.to(device)) for L, ab in endless(loader))


def our_variant(config: TrainConfig, cache: Path, device: str, gan: bool = True):
    "Our step, as `train` calls it, and our batches."
    nets = build_networks(config)
    return lambda L, ab: train_step(nets, [(L, ab, 1.)], config, gan), our_batches(cache, config, device, config.compile)


def bare_step(step, batch, steps: int, device: str) -> float:
    "Median seconds on one fixed batch, after two steps that warm up."
    times = []
    for _ in range(steps + 2):
        begun = clock(device)
        step(*batch)
        times.append(clock(device) - begun)
    return statistics.median(times[2:])


def matmul_rate(n: int = 8192) -> float:
    "Floating-point operations a second in bf16 n × n matrix products."
    a = torch.randn(n, n, device="cuda", dtype=torch.bfloat16)
    for i in range(25):
        if i == 5: begun = clock("cuda")
        a @ a
    return 20*2*n**3/(clock("cuda") - begun)


def busy_share(step, batches, steps: int = 20) -> float:
    "Share of the time in which a kernel runs; what the profiler costs counts as idle."
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        begun = clock("cuda")
        for _ in range(steps): step(*next(batches))
        spent = clock("cuda") - begun
    work = [e for e in seen.events() if e.device_type == torch.autograd.DeviceType.CUDA and not e.is_user_annotation]
    busy = end = 0
    for a, b in sorted((e.time_range.start, e.time_range.end) for e in work):  # µs; kernels side by side count once
        busy, end = busy + max(0, b - max(a, end)), max(end, b)
    return busy/1e6/spent


def measure(variant: str, size: int, batch: int, encoder: str, steps: int, folder: str, cache: str, device: str) -> dict:
    "One variant, in a process of its own."
    before, _ = memory()
    if variant == "seed": step, batches = seed_variant(size, batch, encoder, Path(folder), Path(cache), device)
    else:
        config = replace(ORIGINAL, size=size, batch_size=batch, encoder=encoder, encoder_weights=None, **OURS[variant])
        step, batches = our_variant(config, Path(cache), device)
    fixed = next(batches)
    found = dict(step=bare_step(step, fixed, steps, device))
    begun, seen = clock(device), 0
    for L, ab in itertools.islice(batches, steps):
        step(L, ab)
        seen += len(L)  # the last batch of an epoch may be smaller
    found |= dict(loop=(clock(device) - begun)/seen*batch, peak=memory()[1], above=memory()[1] - before)
    if device == "cuda":
        found |= dict.fromkeys(("peak", "above"), torch.cuda.max_memory_allocated()/2**20)
        with FlopCounterMode(display=False) as flops: step(*fixed)
        found |= dict(rate=flops.get_total_flops()/found["loop"]/matmul_rate(), busy=busy_share(step, batches))
    return found


def seed_rows(size: int, batch: int, encoder: str, steps: int, rounds: int, photos: Path | None, n: int, device: str) -> list[list]:
    "The seed's step against ours."
    with tempfile.TemporaryDirectory() as tmp:
        folder, cache, found = Path(tmp)/"photos", Path(tmp)/"cache", {v: [] for v in ("seed", *OURS)}
        what = jpegs(photos, folder, n, size)
        cached(folder, cache, size)
        for _, variant in itertools.product(range(rounds), found):
            task = dict(variant=variant, size=size, batch=batch, encoder=encoder, steps=steps, folder=str(folder), cache=str(cache), device=device)
            done = subprocess.run([sys.executable, __file__, "--measure", json.dumps(task)], stdout=subprocess.PIPE, text=True, check=True)
            found[variant].append(json.loads(done.stdout.splitlines()[-1]))
    mid = {v: {k: statistics.median(r[k] for r in results) for k in results[0]} for v, results in found.items()}
    seed, rows = mid["seed"], []
    for v, m in mid.items():
        name = f"{'the seed loop' if v == 'seed' else v}: {encoder}, {size} px, batch {batch}, {what}"
        time = [x for k in ("step", "loop") for x in (f"{m[k]:.3f}", f"{seed[k]/m[k]:.2f} ×")] + [f"{m['loop']/m['step']:.3f}"]
        room = [x for k in ("peak", "above") for x in (f"{m[k]:,.0f}", f"{m[k]/seed[k]:.2f} ×")]
        rows.append([name, *time, f"{batch/m['loop']:.2f}", *room, *(f"{m[k]:.1%}" if k in m else "" for k in ("rate", "busy"))])
    return rows


def overhead_rows(size: int, batch: int, rounds: int, photos: Path | None, n: int, encoder_weights: str | None, device: str) -> list[list]:
    "What `train` spends on a step beside forward, backward and optimizers: both from the same run, without and with the GAN."
    rows = []
    with tempfile.TemporaryDirectory() as tmp:
        what, cache = jpegs(photos, Path(tmp)/"photos", n, size*5//4), Path(tmp)/"cache"
        cached(Path(tmp)/"photos", cache, size*5//4)
        for gan in (False, True):
            bare, whole = [], []
            config = replace(TrainConfig(), size=size, batch_size=batch, epochs=3, gan_share=float(gan), min_gan_steps=0, valid_photos=16,
                             encoder_weights=encoder_weights)
            for k in range(rounds):
                spent = []
                def timed(*args, spent=spent, step=train_step):
                    begun = clock(device)
                    found = step(*args)
                    spent.append(clock(device) - begun)
                    return found
                with mock.patch("portrait_gan.run.train_step", timed):
                    run = train(config, cache, Path(tmp)/f"run_{gan}_{k}", report=lambda line: None)
                later = read_metrics(run, file="timings.jsonl")[1:]  # the first epoch warms up
                steps = sum(t["steps"] for t in later)
                bare.append(sum(spent[-steps:])/steps)
                whole.append(sum(t["seconds"] for t in later)/steps)
            a, b = statistics.median(bare), statistics.median(whole)
            name = f"within `train`, {'with' if gan else 'without'} GAN: {LITE}, {size} px, batch {batch}, {what}"
            rows.append([name, f"{a:.3f}", "", f"{b:.3f}", "", f"{b/a:.3f}"] + [""]*7)
    return rows


def main(
    part: Literal["both", "seed", "overhead"] = "both",
    size: int = 256,  # part seed: side of the square, pixels
    batch: int = 3,  # part seed
    encoder: str = "efficientnet-b5",  # part seed
    steps: int = 6,  # part seed: timed on one batch, and again in the loop
    rounds: int = 3,  # medians over so many
    n: int = 24,  # part seed: photos
    overhead_size: int = 128,  # part overhead
    overhead_batch: int = 16,  # part overhead
    overhead_n: int = 196,  # part overhead: photos, of which 81 % train
    encoder_weights: str | None = "imagenet",  # part overhead
    photos: Path | None = None,  # a folder with JPEGs; none: toy portraits
):
    "Seconds and memory of a step; the seed's loop against ours, and ours against its own bare step."
    device, rows = best_device(), []
    if part != "overhead": rows += seed_rows(size, batch, encoder, steps, rounds, photos, n, device)
    if part != "seed": rows += overhead_rows(overhead_size, overhead_batch, rounds, photos, overhead_n, encoder_weights, device)
    table(device, COLUMNS, rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]: print(json.dumps(measure(**json.loads(sys.argv[2]))))
    else: tyro.cli(main)
