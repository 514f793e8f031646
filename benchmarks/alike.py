"""Which likeness finds shots of one moment, and how often does it take strangers for one?

Second shots are made from photos: copies made smaller, brighter, mirrored, cropped, turned, and frames a moment later (the whole shifted,
scaled and turned at random, each part of the picture moved on its own, other light, noise). Each is looked for among all photos. Strangers
are pairs of photos of different groups in manifest.csv; a few of these are the same moment all the same. The rivals get the threshold
at which they take as many strangers for one moment as ours does.

    python benchmarks/alike.py --photos ../shared/portraits/photos [--features]"""
import io
import time
from pathlib import Path

import numpy as np
import tyro
from common import table
from PIL import Image, ImageEnhance
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter, map_coordinates

from portrait_gan.groups import _joined, find_alike, find_groups, thumbnail

Rng = np.random.Generator


def _crop(im: Image.Image, share: float, rng: Rng) -> Image.Image:
    sides = [round(s*(1 - share)) for s in im.size]
    x, y = (rng.integers(0, s - k + 1) for s, k in zip(im.size, sides, strict=True))
    return im.crop((x, y, x + sides[0], y + sides[1]))


def _copy(im: Image.Image, rng: Rng) -> Image.Image:
    im.resize([s//2 for s in im.size]).save(file := io.BytesIO(), "JPEG", quality=50)
    return Image.open(file).convert("RGB")


def _light(im: Image.Image, rng: Rng) -> Image.Image:
    return ImageEnhance.Contrast(ImageEnhance.Brightness(im).enhance(rng.choice([.7, 1.3]))).enhance(rng.choice([.75, 1.25]))


def _frame(im: Image.Image, rng: Rng, much: float) -> Image.Image:
    "A moment later: parts move by up to `much` of the short side, the camera by as much, scaled and turned."
    rgb = np.asarray(im, np.float32)
    h, w = rgb.shape[:2]
    y, x = np.mgrid[:h, :w] - np.array([h/2, w/2])[:, None, None]
    turn, zoom = np.deg2rad(rng.uniform(-50, 50)*much), 1 + rng.uniform(-much, much)
    at = np.stack([np.cos(turn)*y + np.sin(turn)*x, np.cos(turn)*x - np.sin(turn)*y])/zoom + rng.uniform(-much, much, (2, 1, 1))*min(h, w)
    for axis in at:
        field = gaussian_filter(rng.normal(size=(h//4 + 1, w//4 + 1)), min(h, w)/24).astype(np.float32)
        axis += much*min(h, w)*np.asarray(Image.fromarray(field/abs(field).max()).resize((w, h)))
    at += np.array([h/2, w/2])[:, None, None]
    seen = np.stack([map_coordinates(rgb[..., c], at, order=1, mode="nearest") for c in range(3)], -1)
    return Image.fromarray((seen*rng.uniform(.92, 1.08) + rng.normal(0, 3, seen.shape)).clip(0, 255).astype(np.uint8))


SHOTS = {
    "copy, half the size, JPEG 50": _copy,
    "brighter or darker": _light,
    "toned": lambda im, rng: Image.fromarray((np.asarray(im)*[1.15, 1, .8]).clip(0, 255).astype(np.uint8)),
    "mirrored": lambda im, rng: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cropped by 5 %": lambda im, rng: _crop(im, .05, rng),
    "cropped by 10 %": lambda im, rng: _crop(im, .1, rng),
    "cropped by 20 %": lambda im, rng: _crop(im, .2, rng),
    "turned by 3°": lambda im, rng: _crop(im.rotate(rng.choice([-3, 3]), Image.Resampling.BICUBIC), .06, rng),
    "frame, moved 2 %": lambda im, rng: _frame(im, rng, .02),
    "frame, moved 4 %": lambda im, rng: _frame(im, rng, .04),
    "frame, moved 6 %": lambda im, rng: _frame(im, rng, .06),
}


def _unit(x): return (x := x - x.mean(1, keepdims=True))/np.linalg.norm(x, axis=1, keepdims=True).clip(1e-6)


def _gray(pictures, side):
    return np.stack([np.asarray(Image.fromarray(p).convert("L").resize((side, side), Image.Resampling.BOX)) for p in pictures]).astype(np.float32)


def _dhash(pictures):
    "64 bits as ±1: is each of 9 × 8 grey values darker than its neighbour?"
    g = np.stack([np.asarray(Image.fromarray(p).convert("L").resize((9, 8), Image.Resampling.BOX)) for p in pictures]).astype(int)
    return np.where(np.diff(g, axis=2) > 0, 1, -1).reshape(len(g), -1).astype(np.float32)/8


def _phash(pictures):
    "64 bits as ±1: are the lowest 8 × 8 waves of 32 × 32 grey values above their median?"
    waves = dctn(_gray(pictures, 32), axes=(1, 2))[:, :8, :8].reshape(-1, 64)
    return np.where(waves > np.median(waves, 1, keepdims=True), 1, -1).astype(np.float32)/8


def _features(pictures):
    from portrait_gan.metrics import features_of
    return _unit(features_of([np.repeat(np.asarray(Image.fromarray(p).convert("L"))[..., None], 3, 2) for p in pictures]))


def main(
    photos: Path,  # a folder, with a manifest.csv in it or beside it that knows the groups
    n: int = 400,  # second shots of each kind
    features: bool = False,  # EfficientNet-Lite0 as a rival too, some minutes
    limit: int | None = None,  # only the first so many photos
):
    "Print what is found, and what is mistaken."
    files = sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.jpg"))[:limit]
    groups = np.array(find_groups(photos, files))
    read = lambda f: np.asarray(Image.open(photos/f).convert("RGB"))
    pictures, rng = [read(f) for f in files], np.random.default_rng(0)
    chosen = rng.choice(len(files), min(n, len(files)), replace=False)
    shots = {kind: [np.asarray(make(Image.fromarray(pictures[i]), rng)) for i in chosen] for kind, make in SHOTS.items()}

    begun = time.perf_counter()
    thumbs = np.stack([thumbnail(p) for p in pictures])
    small = time.perf_counter() - begun
    pairs = np.array(find_alike(thumbs)).reshape(-1, 2)
    seconds = time.perf_counter() - begun - small
    strangers = int((groups[pairs[:, 0]] != groups[pairs[:, 1]]).sum())
    sets = _joined((f"{a:06d}", f"{b:06d}") for a, b in pairs)
    names, sizes = np.unique(list(sets.values()), return_counts=True)
    largest = [(int(k), groups[int(name)]) for k, name in sorted(zip(sizes, names, strict=True), reverse=True)[:3]]
    print(f"{len(files)} photos: thumbnails {1000*small/len(files):.2f} ms each, comparing {seconds:.0f} s; {len(pairs)} pairs alike, "
          f"{strangers} of them of different groups; {len(sizes)} sets of {len(sets)} photos, the largest {largest}\n")

    def ours(many, near=False):
        "Found among all photos; near: looked at as neighbours by name or time."
        found = set()
        for a, b in find_alike(np.concatenate([thumbs, np.stack([thumbnail(p) for p in many])]), len(files),
                               [(i, len(files) + k) for k, i in enumerate(chosen)] if near else ()):
            if b >= len(files) and a == chosen[b - len(files)]: found.add(b)
        return len(found)/len(chosen)

    columns = {"ours": [ours(many) for many in shots.values()], "ours, neighbours": [ours(many, True) for many in shots.values()]}
    for name, vectors in {"dHash": _dhash, "pHash": _phash, "16 × 16 grey": lambda p: _unit(_gray(p, 16).reshape(len(p), -1)),
                          **({"Lite0 features": _features} if features else {})}.items():
        all_of = vectors(pictures)
        likeness = np.concatenate([np.sort(s[groups[i:i + 512, None] != groups])[-2*strangers - 2:]
                                   for i in range(0, len(all_of), 512) for s in [all_of[i:i + 512] @ all_of.T]])
        least = np.sort(likeness)[-2*strangers - 1]  # each pair stands there twice
        columns[name] = [((vectors(many)*all_of[chosen]).sum(1) > least).mean() for many in shots.values()]
    table("cpu", ["second shot, found", *columns], [[kind, *(f"{100*c[i]:.1f} %" for c in columns.values())] for i, kind in enumerate(shots)])


if __name__ == "__main__": tyro.cli(main)
