"""Images a second from disk to normalised Lab tensors: the seed's path against ours, eager and compiled.

The seed opens each JPEG, resizes it and converts it with scikit-image (benchmarks/seed_loop.py, one process, as it was); ours
reads batches out of the cache of `portrait-gan prepare` and converts them on the device. The cache is made once: the plain rows
leave that out, the others count it in, over one epoch and over ten.
Both see the same photos, all of them in the system's file cache, in the same batch size; rounds are interleaved, medians told.

    python benchmarks/data.py --photos PHOTOS --sizes 256 768"""
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import tyro
from common import clock, endless, jpegs, our_batches, table
from seed_loop import seed_loader

from portrait_gan.cache import prepare
from portrait_gan.config import RECIPES
from portrait_gan.data import Portraits
from portrait_gan.generator import best_device


def speed(
    batches: Iterator,  # of (L, ab), without end
    seconds: float,  # at least so long
    device: str,
) -> float:  # images a second
    "Draw batches for a while."
    begun, seen = clock(device), 0
    while time.perf_counter() - begun < seconds:
        L, ab = (v.to(device) for v in next(batches))
        seen += len(L)
    return seen/(clock(device) - begun)


def main(
    photos: Path | None = None,  # a folder with JPEGs; none: toy portraits
    n: int = 600,  # photos
    sizes: tuple[int, ...] = (256, 768),  # sides of the squares, pixels
    recipes: tuple[str, ...] = ("seed", "default"),  # whose crops and greys ours makes
    batch: int | None = None,  # none: 16, and 3 above 256 px, as the recipes have it
    rounds: int = 5,
    seconds: float = 2.0,  # of each measurement
    compiled: bool = True,  # ours by torch.compile as well
    device: str | None = None,  # where ours converts; none: the accelerator if there is one
):
    "Images a second, the seed's data path against ours."
    device, rows = device or best_device(), []
    with tempfile.TemporaryDirectory() as tmp:
        for size in sizes:
            folder, cache, count = Path(tmp)/f"{size}", Path(tmp)/f"{size}_cache", batch or (16 if size <= 256 else 3)
            what = jpegs(photos, folder, n, size)
            begun = clock("cpu")
            making = prepare(folder, cache, size)["found"]/(clock("cpu") - begun)  # photos a second
            files = [folder/f for f in Portraits(cache, "train").files]
            paths = {"the seed's": endless(seed_loader(files, size, count))}
            for recipe in recipes:
                config = replace(RECIPES[recipe], size=size, batch_size=count)
                paths[f"ours, `{recipe}`"] = our_batches(cache, config, device)
                if compiled: paths[f"ours, `{recipe}`, compiled"] = our_batches(cache, config, device, compiled=True)
            for batches in paths.values(): speed(batches, seconds, device)  # compile, fill caches
            speeds = {name: [] for name in paths}
            for _ in range(rounds):
                for name, batches in paths.items(): speeds[name].append(speed(batches, seconds, device))
            seed = statistics.median(speeds["the seed's"])
            for name, found in speeds.items():
                mid = statistics.median(found)
                rows.append([f"{size} px, batch {count}, {name}", what, f"{mid:.1f}", f"{min(found):.1f}–{max(found):.1f}", f"{mid/seed:.1f} ×"])
                for epochs in (1, 10)*name.startswith("ours"):
                    counted = 1/(1/mid + 1/making/epochs)
                    rows.append([f"{size} px, {name}, over {epochs} epoch{'s'*(epochs > 1)} with the cache made", what, f"{counted:.1f}", "",
                                 f"{counted/seed:.1f} ×"])
    table(device, ["data path", "photos", "images/s, median", f"of {rounds} rounds", "against the seed's"], rows)


if __name__ == "__main__": tyro.cli(main)
