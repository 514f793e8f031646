"""How long `default` trains until it is as good as the seed recipe ever gets: same photos, same split, same pretrained encoder.

The seed recipe runs as benchmarks/seed_loop.py has it, at --size px, its L1 weighed so that its ratio to the GAN is that of 768 px; its
clock stands still while it is judged. `default` runs through `train`, once for each of --minutes-default and --sizes-default: the size
that it chooses for itself, which on a CPU is smaller than the seed's, and the seed's own. Its clock is the wall time of that call, with
planning and its own validation; a second figure counts the making of the cache in. Checkpoints on the way count at the time they were
written. Both are judged alike: whole validation photos, grey in (Pillow's; `--gray L` gives the L* of the photo, the only grey that the
seed recipe learns from), `colorize_gray` at the working size, mean |a*b* error| of the eight-bit RGB that comes out. Void unless the
seed gets to 0.9 × grey.

    python benchmarks/time_to_quality.py --photos PHOTOS --out DIR"""
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from common import cached, clock, endless, jpegs, table
from seed_loop import lambda_l1_at, seed_loader, seed_networks, seed_step

from portrait_gan.checkpoint import list_checkpoints
from portrait_gan.config import TrainConfig, read_config
from portrait_gan.evaluation import gray_baseline, to_gray
from portrait_gan.files import atomic_write
from portrait_gan.generator import LITE, best_device, colorize_gray
from portrait_gan.lab import lab_to_rgb, rgb_to_lab, to_pixels, to_tensor
from portrait_gan.metrics import score
from portrait_gan.report import load_colorizer, read_photos
from portrait_gan.run import train


def own_gray(
    photo: np.ndarray,  # (H,W,3) uint8
) -> np.ndarray:  # (H,W) uint8
    "The grey picture that has the photo's own L*."
    L = rgb_to_lab(to_tensor(photo))[:, :1]
    return to_pixels(lab_to_rgb(torch.cat([L, 0*L, 0*L], 1)))[..., 0]


def scores(
    truth: list[np.ndarray],  # (H,W,3) uint8
    gray: list[np.ndarray],  # (H,W) uint8
    colorize: Callable,  # the second to the first
) -> dict[str, float]:  # ab_mae in a*b* units; colorfulness, a share of the truth's
    "Mean scores over photos."
    found = [score(t, colorize(g), quick=True) for t, g in zip(truth, gray, strict=True)]
    mean = {k: float(np.mean([s[k] for s in found])) for k in found[0]}
    return dict(ab_mae=mean["ab_mae"], colorfulness=mean["colorfulness"]/mean["colorfulness_truth"])


def run_seed(
    files: list[Path],  # training photos
    judge: Callable,  # scores of a colouriser
    encoder: str,
    weights: str | None,
    size: int,
    batch: int,
    minutes: float,
    every: float,  # minutes between two looks
    lambda_l1: float,
    device: str,
) -> list[dict]:  # minutes, step, scores
    "Train the seed recipe and look at it every so often."
    begun, spent, step, found = clock(device), 0.0, 0, []
    nets, batches = seed_networks(encoder, weights, device), endless(seed_loader(files, size, batch))
    while spent < minutes*60:
        until = min(spent + every*60, minutes*60)
        while spent + time.perf_counter() - begun < until:
            seed_step(nets, *(v.to(device) for v in next(batches)), lambda_l1)
            step += 1
        spent += clock(device) - begun
        found.append(dict(minutes=spent/60, step=step) | judge(partial(colorize_gray, nets.generator, size=size, ab_scale=128.0)))
        print("seed", found[-1], flush=True)
        begun = clock(device)
    return found


def run_default(
    config: TrainConfig,
    cache: Path,
    run: Path,
    judge: Callable,
    cache_minutes: float,  # that making the cache took
) -> list[dict]:  # budget, minutes, with_cache, checkpoint, size, working_size, scores
    "Train once and look at every checkpoint afterwards."
    begun = time.time()
    train(config, cache, run)
    ended, found = time.time(), []
    checkpoints, size = list_checkpoints(run), read_config(run).size
    for folder in checkpoints:
        seconds = (ended if folder == checkpoints[-1] else (folder/"state.json").stat().st_mtime) - begun
        colorize, saved = load_colorizer(folder)
        times = dict(budget=config.minutes, minutes=seconds/60, with_cache=seconds/60 + cache_minutes)
        found.append(times | dict(checkpoint=folder.name, size=size, working_size=saved["size"]) | judge(colorize))
        print("default", found[-1], flush=True)
    return found


def main(
    photos: Path | None = None,  # a folder with JPEGs (a manifest.csv beside it tells whose); none: toy portraits
    n: int = 600,  # toys
    minutes: float = 20.0,  # of the seed recipe
    every: float = 1.0,  # minutes between two looks at it
    minutes_default: tuple[float, ...] = (4.0,),  # a run of `default` for each
    size: int = 256,  # of the seed recipe, and short side of the cache
    batch: int = 3,  # of the seed recipe
    sizes_default: tuple[int, ...] = (0, 256),  # a run of `default` for each; 0: what the recipe chooses
    lambda_l1: float | None = None,  # of the seed recipe; none: 10 at 768 px, and the same ratio to the GAN at `size`
    encoder_weights: str | None = "imagenet",  # of both
    valid_photos: int = 256,  # judged by
    gray: Literal["Pillow", "L"] = "Pillow",  # that both are judged on
    out: Path | None = None,  # folder for time_to_quality.json, with every measurement
):
    "Wall time of `default` until it equals the best of the seed recipe."
    device = best_device()
    with tempfile.TemporaryDirectory() as tmp:
        folder, cache = photos or Path(tmp)/"photos", Path(tmp)/"cache"
        what = "photos" if photos else jpegs(None, folder, n, size)
        begun = time.time()
        files = cached(folder, cache, size)
        cache_minutes, truth = (time.time() - begun)/60, read_photos(cache, "valid", valid_photos, size)
        judge = partial(scores, truth, [to_gray(p) if gray == "Pillow" else own_gray(p) for p in truth])
        base = judge(gray_baseline)["ab_mae"]
        seed = run_seed(files, judge, LITE, encoder_weights, size, batch, minutes, every,
                        lambda_l1 or lambda_l1_at(size), device)
        ours = [[] for _ in sizes_default]
        for k, m in enumerate(minutes_default):
            for runs, s in zip(ours, sizes_default, strict=True):
                config = replace(TrainConfig(), size=s or None, minutes=m, encoder_weights=encoder_weights, keep_every=1)
                runs += run_default(config, cache, Path(tmp)/f"run_{k}_{s}", judge, cache_minutes)
    best = min(seed, key=lambda r: r["ab_mae"])
    void = best["ab_mae"] > .9*base
    def row(name, r): return [name, f"{r['minutes']:.2f}", f"{r['ab_mae']:.3f}", f"{r['ab_mae']/base:.3f}", f"{r['colorfulness']:.2f}"]
    rows = [row(f"seed recipe at {size} px, at its best", best), row(f"seed recipe at {size} px, at the end", seed[-1])]
    ratios = {}
    for runs in ours:
        name = f"`default` at {runs[0]['size']} px"
        rows.append(row(f"{name}, at its best", min(runs, key=lambda r: r["ab_mae"])))
        reached = min((r for r in runs if r["ab_mae"] <= best["ab_mae"]), key=lambda r: r["minutes"], default=None)
        if reached: rows.append(row(f"{name}, first as good as the seed recipe", reached))
        ratios[name] = reached and [reached[k]/best["minutes"] for k in ("minutes", "with_cache")]
        rows.append([f"**{name} ÷ seed recipe, time**" + void*" VOID: the seed recipe is above 0.9 × grey, give it longer",
                     "**{:.3f}**; {:.3f} with its cache made".format(*ratios[name]) if reached else "not reached", "", "", ""])
    if out:
        result = dict(photos=what, train=len(files), judged_on=len(truth), gray=base, cache_minutes=cache_minutes, seed=seed,
                      default=[r for runs in ours for r in runs], ratios=ratios, void=bool(void))
        with atomic_write(out/"time_to_quality.json", "w") as f: json.dump(result, f, indent=1)
    table(device, [f"{what}: {len(files)} to train on, judged on {len(truth)}", "minutes", "a\\*b\\* MAE", "× grey", "colourfulness × truth"],
          [["grey", "", f"{base:.3f}", "1.000", "0.00"], *rows])


if __name__ == "__main__": tyro.cli(main)
