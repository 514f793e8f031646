"""How fast are photos coloured, and in how much memory? One large photo, a huge one, a folder of 1,000, the whole command.

Each measurement runs in a process of its own, so that its memory can be told (the whole process's peak, with all that is imported).
The seed's way is the recipe this project began with, as one would write it: each photo squashed to 768 × 768, scikit-image to Lab and
back, EfficientNet-b5 (untrained: its weights do not change its speed). The engine `onnx` needs the extra of that name and is left out
without it; its export is done before the clock runs.

    python benchmarks/colorize.py --photos PHOTOS"""
import importlib.util
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import tyro
from common import jpegs, table
from PIL import Image
from skimage import data as skdata
from skimage.color import lab2rgb, rgb2lab

from portrait_gan.colorize import Colorizer
from portrait_gan.data import toy_portraits
from portrait_gan.folder import colorize_files
from portrait_gan.generator import best_device, build_generator


def large(width: int, height: int) -> Image.Image:
    "A grey photo of that size, enlarged, with grain so that it does not compress like an enlarged one."
    photo = Image.fromarray(skdata.astronaut()).convert("L").resize((width, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, 4, (height, width)).astype(np.float32)
    return Image.fromarray((np.asarray(photo) + grain).clip(0, 255).astype(np.uint8))


def peak() -> float:  # GB
    "Of this process's memory; Linux tells it also without what the parent had, which getrusage counts in."
    status = Path("/proc/self/status")
    if not status.exists(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*(1 if sys.platform == "darwin" else 1024)/1e9
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))*1024/1e9


def ours(source: Path, out: Path, backend: str, rounds: int) -> tuple[list[float], float]:  # seconds of each round, peak memory in GB
    "Files to files, the model loaded before; a first, small photo pays for what the first of all costs."
    colorizer, seconds = Colorizer.from_pretrained(backend=backend), []
    colorizer.colorize(np.zeros((64, 64), np.uint8))
    for _ in range(rounds):
        start = time.perf_counter()
        results = colorize_files(colorizer, source, out, overwrite=True)
        seconds.append(time.perf_counter() - start)
        if bad := [r for r in results if r.problem]: raise SystemExit(str(bad[0]))
    return seconds, peak()


def seeds(files: list[Path], out: Path) -> float:  # seconds for all
    "The seed's way."
    generator = build_generator("efficientnet-b5", None).eval()
    start = time.perf_counter()
    for file in files:
        lab = rgb2lab(np.asarray(Image.open(file).convert("RGB").resize((768, 768))))
        with torch.no_grad(): ab = generator(torch.from_numpy(lab[None, None, ..., 0]).float()/50 - 1)[0]*128
        lab[..., 1:] = ab.permute(1, 2, 0).numpy()
        Image.fromarray((lab2rgb(lab)*255).round().astype(np.uint8)).save(out/f"{file.stem}.jpg", quality=95)
    return time.perf_counter() - start


def lightness_kept(files: list[Path], out: Path) -> tuple[float, float]:  # mean, 99th percentile of |ΔL*|, by scikit-image
    colorizer, shifts = Colorizer.from_pretrained(), []
    for file in files:
        before = Image.open(file).convert("RGB")
        colorizer.colorize(file).save(out/"x.png")
        shifts.append(np.abs(rgb2lab(np.asarray(Image.open(out/"x.png")))[..., 0] - rgb2lab(np.asarray(before))[..., 0]).ravel())
    shifts = np.concatenate(shifts)
    return float(shifts.mean()), float(np.percentile(shifts, 99))


def apart(function, *args):
    "In a process of its own."
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool: return pool.submit(function, *args).result()


def main(
    photos: Path | None = None,  # a folder with JPEGs; none: drawn people
    n: int = 1000,  # in the folder
    rounds: int = 5,  # of the large photo
):
    "Measure and print the table."
    engines, rows = ["torch"] + ["onnx"]*(importlib.util.find_spec("onnxruntime") is not None), []
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        folder, made = tmp/"folder", tmp/"made"
        what = jpegs(photos, made, n, 256)
        folder.mkdir()
        for i, file in enumerate(sorted(made.iterdir())):  # short sides of 256 to 400 px
            im = Image.open(file).convert("L")
            scale = (256 + 16*(i % 10))/min(im.size)
            im.resize([round(s*scale) for s in im.size], Image.Resampling.BICUBIC).save(folder/file.name, quality=90)
        large(4000, 3000).save(tmp/"12.jpg", quality=92)
        large(8660, 5774).save(tmp/"50.png", compress_level=1)
        Image.fromarray(toy_portraits(1, 300)[0]).convert("L").save(tmp/"one.png")
        for engine in engines:
            if engine == "onnx": Colorizer.from_pretrained(backend="onnx")  # exports, the first time
            seconds, memory = apart(ours, tmp/"12.jpg", tmp/"out", engine, rounds)
            rows.append([f"12-megapixel JPEG, {engine}", f"{np.median(seconds):.2f} s ({min(seconds):.2f}–{max(seconds):.2f})", f"{memory:.2f}"])
            seconds, memory = apart(ours, tmp/"50.png", tmp/"out", engine, 1)
            rows.append([f"50-megapixel PNG, {engine}", f"{seconds[0]:.1f} s", f"{memory:.2f}"])
        files, speeds = sorted(folder.iterdir()), {}
        for engine in engines:
            seconds, memory = apart(ours, folder, tmp/f"out_{engine}", engine, 1)
            speeds[engine] = len(files)/seconds[0]
            rows.append([f"folder of {what}, {engine}", f"{speeds[engine]:.1f} photos/s", f"{memory:.2f}"])
        (tmp/"seed").mkdir()
        rows.append(["the seed's way, 5 of them", f"{5/apart(seeds, files[:5], tmp/'seed'):.2f} photos/s", ""])
        mean, p99 = apart(lightness_kept, files[::max(1, n//50)], tmp)
        for engine in engines:
            command, took = [str(Path(sys.executable).with_name("portrait-gan")), "colorize", str(tmp/"one.png"), "--out", str(tmp/"one")], []
            for _ in range(4):  # the first warms the disk
                start = time.perf_counter()
                subprocess.run([*command, "--overwrite", "--backend", engine], check=True, capture_output=True)
                took.append(time.perf_counter() - start)
            rows.append([f"`portrait-gan colorize` of one photo, {engine}", f"{np.median(took[1:]):.1f} s", ""])
    table(best_device(), ["what", "time or speed", "peak memory, GB"], rows)
    print(f"\nL* of 50 of the photos, coloured and saved as PNG, moves by {mean:.2f} on average, {p99:.2f} at the 99th percentile.")


if __name__ == "__main__": tyro.cli(main)
