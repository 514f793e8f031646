"""Which recipe colours best? Every recipe on the same photos, from the same pretrained encoder, scored as page 21 does.

`seed` and `default` are the package's recipes. `seed` sums its L1 over the photo, so at 128 px it weighs 36 times less beside the GAN
than at the recipe's own 768 px; `seed_ratio` weighs it so that the ratio is kept. `pix2pix` is the one most readers know from tutorials
(Isola et al. 2017): GAN from the first step, 100 · mean L1, a PatchGAN with BatchNorm, Adam 2e-4. All learn at one size. With
`--equal images` all see as many photos as the slowest sees in --minutes; with `--equal minutes` all train as long. `--variant` adds
`default` with other settings:

    python benchmarks/quality.py --photos PHOTOS --out DIR
    python benchmarks/quality.py --photos PHOTOS --out DIR --recipes default --equal minutes --split valid --variant "huber pixel_loss=huber"

The epoch is the last one for all: nothing is chosen. `--leave-out pixabay` keeps a source (the file name up to `_`) out of training and
scores on it alone. One seed each: the intervals are of the photos, not of the training. A second call goes on where the first stopped."""
import json
import os
import resource
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from common import table
from PIL import Image
from seed_loop import lambda_l1_at
from skimage import data as skdata

from portrait_gan.cache import prepare
from portrait_gan.checkpoint import list_checkpoints, read_state
from portrait_gan.config import RECIPES, TrainConfig, read_config
from portrait_gan.data import Portraits, toy_portraits
from portrait_gan.evaluation import comparison_sheet, gray_baseline, mean_color, mean_color_baseline
from portrait_gan.files import atomic_write
from portrait_gan.generator import LITE, best_device
from portrait_gan.report import load_colorizer, read_photos, score_sets, scores_markdown
from portrait_gan.run import plan_steps, train
from portrait_gan.training import make_accelerator

PIX2PIX = TrainConfig(
    min_crop=.9, grays="L", jitter=0., old=0., gan_share=1., min_gan_steps=0, discriminator="patch", filters=(64, 128, 256, 512), spectral_norm=False,
    ema=0., rebalance=0., lambda_l1=100., lambda_gan=1., gan_loss="bce", lr=2e-4, lr_encoder=2e-4, lr_discriminator=2e-4, betas=(.5, .999),
    betas_discriminator=(.5, .999), weight_decay=0., schedule="constant", warmup=0.)


def parse_variant(text: str, base: TrainConfig) -> tuple[str, TrainConfig]:
    "`name key=value …`: `base` with other settings; values as in JSON."
    name, *changes = text.split()
    settings = {}
    for change in changes:
        key, value = change.split("=")
        try: settings[key] = json.loads(value)
        except json.JSONDecodeError: settings[key] = value
        if isinstance(settings[key], list): settings[key] = tuple(settings[key])
    return name, replace(base, **settings)


def without(cache: Path, out: Path, sources: tuple[str, ...]) -> Path:
    "The same cache whose test split is the photos of `sources`, none of which is trained on."
    out.mkdir(parents=True, exist_ok=True)
    for name in ("journal.jsonl", "report.json"): shutil.copy(cache/name, out/name)
    if not (out/"pixels.bin").exists(): os.link(cache/"pixels.bin", out/"pixels.bin")
    head, *rows = (cache/"split.csv").read_text().splitlines()
    is_foreign = [Path(r.split(",")[0]).name.split("_")[0] in sources for r in rows]
    foreign = [r for r, f in zip(rows, is_foreign, strict=True) if f]
    own = [r for r, f in zip(rows, is_foreign, strict=True) if not f and not r.endswith(",test")]
    with atomic_write(out/"split.csv", "w") as f: f.write("\n".join([head, *own, *(r.rsplit(",", 1)[0] + ",test" for r in foreign)]) + "\n")
    return out


def alone(work, *args):
    "What work(*args) returns, from a process of its own: a process that has worked before is faster, and its memory cannot be told."
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool: return pool.submit(work, *args).result()


def steps_in(config: TrainConfig, cache: Path) -> int:
    "How many steps `config.minutes` hold."
    train_set = Portraits(cache, "train", config.size, True, config.squash, config.min_crop)
    return plan_steps(config, train_set, Portraits(cache, "valid", config.size, squash=config.squash), make_accelerator())


def images_seen(configs: dict[str, TrainConfig], cache: Path, note: Path) -> int:
    "As many as the slowest sees in its minutes; noted, so that recipes of a later call see as many."
    if not note.exists():
        images = min(alone(steps_in, c, cache)*c.batch_size for c in configs.values())
        with atomic_write(note, "w") as f: json.dump(images, f)
    return json.loads(note.read_text())


def run_recipe(config: TrainConfig, cache: Path, out: Path) -> dict:  # steps, their seconds, peak memory in bytes
    "Train; a finished run of the same settings is taken as it is."
    settings = json.loads(json.dumps(asdict(config) | dict(total_steps=None)))  # how many steps fill the minutes differs from call to call
    if (out/"cost.json").exists():
        cost = json.loads((out/"cost.json").read_text())
        if cost["settings"] != settings: raise SystemExit(f"{out} was trained with other settings: name another --out")
        return cost
    if (out/"config.json").exists(): config = replace(config, total_steps=read_config(out).total_steps)
    train(config, cache, out, resume=True)
    if read_state(list_checkpoints(out)[-1])["step"] < config.total_steps: raise SystemExit("stopped; the same command goes on")
    peak = torch.cuda.max_memory_allocated() if best_device() == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024
    with open(out/"timings.jsonl") as f: rows = [json.loads(line) for line in f]
    seconds = config.total_steps*sum(r["seconds"] for r in rows)/sum(r["steps"] for r in rows)  # also when a stop cut an epoch short
    cost = dict(settings=settings, steps=config.total_steps, seconds=seconds, peak=peak)
    with atomic_write(out/"cost.json", "w") as f: json.dump(cost, f, indent=1)
    return cost


def main(
    photos: Path,  # a folder with photos (a manifest.csv beside it tells whose)
    out: Path,  # folder for the cache, the runs, quality.json, quality.md, photos.jpg and free.jpg
    minutes: float = 25.0,  # of each recipe, or of the slowest
    equal: Literal["images", "minutes"] = "images",
    recipes: tuple[str, ...] = ("seed", "seed_ratio", "pix2pix", "default"),
    variant: tuple[str, ...] = (),  # more of them: "name key=value …"
    size: int | None = None,  # side of the training squares; none: 256 with an accelerator, 128 without
    split: Literal["valid", "test"] = "test",  # scored on; what is decided is decided on valid
    n: int | None = None,  # score on so many photos of it; none: all
    leave_out: tuple[str, ...] = (),  # sources that are not trained on, and scored on alone
    encoder: str = LITE,
    encoder_weights: str | None = "imagenet",  # none: from scratch, which supports no claim
    seed: int = 0,
):
    "Train every recipe and print the table."
    if leave_out and split == "valid": raise SystemExit("the sources that are left out make a test split: pass --split test")
    device = best_device()
    size = size or (128 if device == "cpu" else 256)
    prepare(photos, out/"cache", 256)
    apart = "".join(f"_{s}" for s in leave_out)
    cache = without(out/"cache", out/f"cache_without{apart}", leave_out) if leave_out else out/"cache"
    truth = read_photos(cache, split, n)
    common = dict(size=size, encoder=encoder, encoder_weights=encoder_weights, minutes=minutes, seed=seed, keep_every=1000, keep_last=1)
    known = RECIPES | dict(seed=RECIPES["seed"], pix2pix=PIX2PIX, seed_ratio=replace(RECIPES["seed"], lambda_l1=lambda_l1_at(size)))
    configs = {name: replace(known[name], **common) for name in recipes}
    configs |= dict(parse_variant(v, replace(RECIPES["default"], **common)) for v in variant)
    runs = out/(f"runs_without{apart}" if leave_out else "runs")
    if equal == "images":
        images = images_seen(configs, cache, runs/"images.json")
        steps = {name: images//c.batch_size for name, c in configs.items()}
    else: steps = {name: alone(steps_in, c, cache) for name, c in configs.items()}
    costs = {}
    for name, c in configs.items():
        costs[name] = alone(run_recipe, replace(c, minutes=None, total_steps=steps[name]), cache, runs/name)
    colorizers = {"grey": gray_baseline, "mean colour": mean_color_baseline(mean_color(read_photos(cache, "train", 200)))}
    colorizers |= {name: load_colorizer(list_checkpoints(runs/name)[-1])[0] for name in configs}
    scores = score_sets(colorizers, truth)
    result = dict(split=split, minutes=minutes, equal=equal, size=size, leave_out=leave_out, encoder_weights=encoder_weights,
                  costs=costs, scores=scores)
    with atomic_write(out/f"quality{apart}.json", "w") as f: json.dump(result, f, indent=1)
    lines = [line for where, found in scores.items() if found
             for line in ("", f"**{where}** ({found['grey']['n']}, {split} split)", "", *scores_markdown(found))]
    with atomic_write(out/f"quality{apart}.md", "w") as f: f.write("\n".join(lines) + "\n")
    free = [np.asarray(Image.fromarray(skdata.astronaut()).resize((192, 192))), *toy_portraits(5, 192, seed=8)]
    for name, people in (("photos", truth[:24:2]), ("free", free)):  # free: of pictures that may be shown
        with atomic_write(out/f"{name}{apart}.jpg") as f: comparison_sheet(colorizers, people).save(f, "JPEG", quality=90)
    print("\n".join(lines))
    table(device, ["recipe" + " (from scratch)"*(encoder_weights is None), "photos seen", "minutes", "peak memory, GB"],
          [[name, cost["steps"]*configs[name].batch_size, f"{cost['seconds']/60:.1f}", f"{cost['peak']/1e9:.2f}"] for name, cost in costs.items()])


if __name__ == "__main__": tyro.cli(main)
