"""What does a hint bring? PSNR against the number of random points, how well the answer at a point is the colour asked for, and the wait.

As R. Zhang et al. (2017) measure it: grey made from L*, points at random places of the photo, each a square of 6 pixels (of a photo whose
short side is 256) in the mean true colour there. Photos with n points get the first n of the same places, so a row adds points to the
row above. The intervals are over photos (bootstrap).

    python benchmarks/hints.py --photos PHOTOS [--checkpoint RUN] [--split test] [--n 300]"""
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import tyro
from common import table
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from portrait_gan.cache import prepare
from portrait_gan.colorize import Colorizer
from portrait_gan.hints import Hint
from portrait_gan.lab import lab_to_rgb, to_pixels
from portrait_gan.pixels import fit_gamut
from portrait_gan.report import read_photos

COUNTS = (0, 1, 2, 5, 10, 20, 50, 100)
SIGGRAPH17 = (24.43, 25.37, 26.20, 27.39, 28.42, 29.34, 30.42, 31.13)  # Zhang et al. 2017: 1,000 photos of ImageNet
SIDE = 6  # of a point, pixels


def draw_hints(lab: np.ndarray, rng: np.random.Generator, n: int) -> list[Hint]:
    "Points of a photo (H,W,3) in CIELAB, each with the mean true colour of its square."
    h, w = lab.shape[:2]
    found = []
    for y, x in zip(rng.integers(0, h - SIDE + 1, n).tolist(), rng.integers(0, w - SIDE + 1, n).tolist(), strict=True):
        mean = lab[y:y + SIDE, x:x + SIDE].reshape(-1, 3).mean(0)
        r, g, b = to_pixels(lab_to_rgb(torch.tensor(mean).view(1, 3, 1, 1)))[0, 0].tolist()
        found.append(Hint(x + SIDE/2, y + SIDE/2, f"#{r:02x}{g:02x}{b:02x}", SIDE/2))
    return found


def gray_of(lab: np.ndarray) -> np.ndarray:
    "The grey picture (H,W) with the photo's own L*, which no choice of grey makes wrong."
    gray = torch.tensor(lab[..., :1]*[1., 0., 0.]).movedim(-1, 0)[None]
    return to_pixels(lab_to_rgb(gray))[..., 0]


def off(colorizer: Colorizer, gray: np.ndarray, hint: Hint, size: int | None) -> float:
    "Distance in a*b* between what is asked for, as far as sRGB has it there, and the answer there, at the working size."
    L_star, ab = colorizer.predict([gray], size, hints=[[hint]])
    (h, w), (H, W) = ab.shape[2:], gray.shape
    asked = fit_gamut(float(L_star[0, 0, int(hint.y), int(hint.x)]), hint.ab)
    y, x = min(int(hint.y*h/H), h - 1), min(int(hint.x*w/W), w - 1)
    return float(np.hypot(*(ab[0, :, y, x] - asked)))


def main(
    photos: Path,  # a folder with photos, or one made by prepare
    checkpoint: str | None = None,  # a run, a checkpoint or an .onnx file; none: the bundled weights
    split: str = "test",
    n: int | None = None,  # so many photos of it; none: all
    size: int | None = None,  # short side the network works at; none: its own
):
    "Print the tables."
    with tempfile.TemporaryDirectory() as scratch:
        cache = photos if (photos/"split.csv").exists() else Path(scratch)
        if cache != photos: prepare(photos, cache, 256)
        truths = [np.array(t) for t in read_photos(cache, split, n)]
    colorizer, rng = Colorizer.from_pretrained(checkpoint), np.random.default_rng(0)
    psnr, offs = [], []
    for truth in truths:
        lab = rgb2lab(truth)
        gray, hints = gray_of(lab), draw_hints(lab, rng, max(COUNTS))
        answers = [np.asarray(colorizer.colorize(gray, size, hints=hints[:k])) for k in COUNTS]
        psnr.append([peak_signal_noise_ratio(truth, a) for a in answers])
        offs.append(off(colorizer, gray, hints[0], size))
    psnr, drawn = np.array(psnr), rng.integers(0, len(truths), (1000, len(truths)))
    def cell(values): return f"{values.mean():.2f} ({' to '.join(f'{v:.2f}' for v in np.percentile(values[drawn].mean(1), (2.5, 97.5)))})"
    table(f"{len(truths)} photos ({split} split)", ["points", "PSNR, dB", "gained", "gained by siggraph17 on ImageNet"],
          [[k, cell(psnr[:, i]), cell(psnr[:, i] - psnr[:, 0]), f"{SIGGRAPH17[i] - SIGGRAPH17[0]:.2f}"] for i, k in enumerate(COUNTS)])
    print(f"\nanswer at a point against the colour asked for, in units of a*b*: median {np.median(offs):.2f}, "
          f"95 % below {np.percentile(offs, 95):.2f}, largest {max(offs):.2f}")
    gray, hint, seconds = gray_of(rgb2lab(truths[0])), [Hint(9, 9, "olive")], []
    for _ in range(12):
        begun = time.perf_counter()
        colorizer.colorize(gray, size, hints=hint)
        seconds.append(time.perf_counter() - begun)
    print(f"a new hint, {' × '.join(map(str, gray.shape[::-1]))} pixels: {np.median(seconds[2:]):.3f} s")


if __name__ == "__main__": tyro.cli(main)
