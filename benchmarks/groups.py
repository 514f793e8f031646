"""Whom does a model colour well? Its scores by the photos' source and by how dark the skin looks, each against grey's.

The source is the file name up to `_`. How dark skin looks is told by its individual typology angle (Chardon et al. 1991), arctan of
(L* − 50)/b*, from the medians of the skin within a found face; it mixes a person's skin with the light it was photographed in, so the
classes are of pictures, not of people.

    python benchmarks/groups.py --cache CACHE --checkpoint RUN"""
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tyro
from skimage.color import rgb2lab

from portrait_gan.data import Portraits
from portrait_gan.evaluation import evaluate, gray_baseline
from portrait_gan.metrics import Scores, skin_mask
from portrait_gan.report import find_face, load_colorizer, read_photos, scores_markdown

TONES = {"light skin (over 41°)": 41, "intermediate (28–41°)": 28, "tan (10–28°)": 10, "brown and dark (under 10°)": -91}

SHOWN = ("ab_mae_ratio", "skin_ab_mae_ratio", "kid_ratio", "colorfulness_ratio", "flat_grad_ratio")


def skin_angle(photo: np.ndarray) -> float | None:  # degrees; None: no face, or less than a fifth of it is skin
    "Individual typology angle of the face."
    box = find_face(photo)
    if box is None or (skin := skin_mask(photo[box])).mean() < .2: return None
    L, _, b = np.median(rgb2lab(photo[box])[skin], 0)
    return float(np.degrees(np.arctan((L - 50)/max(b, 1e-6))))


def tone(angle: float | None) -> str:
    "Its class."
    return "no face, or little skin in it" if angle is None else next(name for name, least in TONES.items() if angle > least)


def by(labels: Iterable[str], ours: Scores, gray: Scores) -> dict[str, dict]:  # of each label and "all": n, summary, intervals
    "Scores of the photos that share a label."
    labels, rows = np.array(list(labels)), {}
    for label in ("all", *sorted(set(labels), key=lambda name: (list(TONES).index(name) if name in TONES else -1, name))):
        of = np.flatnonzero((labels == label) | (label == "all"))
        some, base = (Scores({k: v[of] for k, v in s.values.items()}, {k: t[np.ix_(of, of)] for k, t in s.terms.items()}) for s in (ours, gray))
        rows[f"{label}, {len(of)}"] = dict(n=len(of), **some.summary(base), intervals=some.intervals(base))
    return rows


def main(
    cache: Path,  # made by prepare
    checkpoint: Path | None = None,  # a run, a checkpoint or a .safetensors file; none: the bundled weights
    split: str = "test",
):
    "Print both tables."
    photos, files = read_photos(cache, split), Portraits(cache, split).files
    gray = evaluate(gray_baseline, photos, quick=True)
    ours = evaluate(load_colorizer(checkpoint)[0], photos, quick=True, reuse_features_from=gray)
    for labels in ((Path(f).name.split("_")[0] for f in files), map(tone, map(skin_angle, photos))):
        print("\n" + "\n".join(scores_markdown(by(labels, ours, gray), SHOWN)))


if __name__ == "__main__": tyro.cli(main)
