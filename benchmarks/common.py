"""What the benchmarks share: photos to measure on, our batches as `train` draws them, a Markdown table."""
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import send_to_device
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from portrait_gan.cache import prepare
from portrait_gan.config import TrainConfig
from portrait_gan.data import Portraits, toy_portraits
from portrait_gan.run import epoch_batches
from portrait_gan.training import make_pair


def jpegs(
    photos: Path | None,  # a folder with JPEGs, searched recursively; None: toy portraits
    out: Path,  # a new folder
    n: int,  # how many, spread evenly over those in `photos`
    size: int,  # least short side, pixels
) -> str:  # what they are, for the table
    "Fill `out` with JPEGs: photos as they are, smaller ones enlarged once, toys drawn at `size` (quality 90 both)."
    out.mkdir(parents=True)
    if photos is None:
        for i, rgb in enumerate(toy_portraits(n, size)): Image.fromarray(rgb).save(out/f"{i:05d}.jpg", quality=90)
        return f"{n} toys"
    files = sorted(p for p in photos.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if not files: raise SystemExit(f"{photos}: no JPEG in this folder")
    files = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, n).round().astype(int))]
    enlarged = 0
    for i, file in enumerate(files):
        with Image.open(file) as im:
            if min(im.size) >= size: (out/f"{i:05d}.jpg").write_bytes(file.read_bytes())
            else:
                larger = [max(size, round(s*size/min(im.size))) for s in im.size]
                im.convert("RGB").resize(larger, Image.Resampling.BICUBIC).save(out/f"{i:05d}.jpg", quality=90)
                enlarged += 1
    return f"{len(files)} photos" + f", {enlarged} of them enlarged to {size} px"*(enlarged > 0)


def cached(
    folder: Path,  # of photos
    cache: Path,  # a new folder
    size: int,  # short side of the cache, pixels
) -> list[Path]:  # the files of its training split: the seed's path gets the same photos
    "Prepare the photos."
    prepare(folder, cache, size)
    return [folder/f for f in Portraits(cache, "train").files]


def our_batches(
    cache: Path,  # made by prepare
    config: TrainConfig,  # with size set
    device: str,
    compiled: bool = False,  # by torch.compile
) -> Iterator[tuple[Tensor, Tensor]]:  # L (N,1,H,W), real_ab (N,2,H,W) on the device, without end
    "Our data path: batches of uint8 squares out of the cache; grey, Lab and scaling on the device."
    data = Portraits(cache, "train", config.size, True, config.squash, config.min_crop, config.seed)
    pair = torch.compile(make_pair) if compiled else make_pair
    for data.epoch in itertools.count():
        plan = [b.tolist() for b in epoch_batches(len(data), config.batch_size, data.epoch, config.seed)]
        workers = (2 if device == "cuda" else 0) if config.workers is None else config.workers
        for batch in DataLoader(data, batch_sampler=plan, num_workers=workers, collate_fn=dict, pin_memory=device == "cuda"):
            batch = send_to_device(batch, device, non_blocking=True)
            yield pair(batch["squares"], batch["draws"], config.grays, config.jitter, config.old, config.ab_scale)


def endless(loader: DataLoader) -> Iterator:
    "Epoch after epoch."
    while True: yield from loader


def clock(device: str) -> float:
    "Seconds, once the device has done all that it was given."
    if device != "cpu": getattr(torch, device).synchronize()
    return time.perf_counter()


def table(device: str, head: list[str], rows: list[list]):
    "Print the machine and one Markdown table."
    name = torch.cuda.get_device_name() if device == "cuda" else f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} threads"
    print(f"\n{name}, torch {torch.__version__}\n")
    for cells in (head, ["---"] + ["---:"]*(len(head) - 1), *rows): print("| " + " | ".join(map(str, cells)) + " |")
