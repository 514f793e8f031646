"What a pile of real files can do to `prepare`."
import csv
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from portrait_gan.data import PhotoError, Portraits, prepare, read_photo, save_toys, toy_portraits


def test_invented_owners_never_cross_the_split(tmp_path):
    "Images-of-Groups names and a manifest, groups of very different sizes."
    src = tmp_path/"photos"
    for i, rgb in enumerate(toy_portraits(60, 48)):
        owner = f"{i % 7}@N0{i % 7}" if i < 40 else f"solo{i}"
        path = src/("Wed2a" if i % 2 else "Fam4a")/f"{1000+i}_ab{i:04x}_{i}_{owner}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb).save(path, quality=95)
    names = sorted(p.relative_to(tmp_path).as_posix() for p in src.rglob("*.jpg"))
    with open(tmp_path/"manifest.csv", "w", newline="") as f:
        csv.writer(f).writerows([("file", "group"), *((n, "same shoot") for n in names[:5])])
    report = prepare(src, tmp_path/"out", 48)
    rows = list(csv.DictReader(open(tmp_path/"out"/"split.csv")))
    sides = defaultdict(set)
    for r in rows: sides[r["group"]].add(r["split"])
    assert all(len(s) == 1 for s in sides.values())
    assert {r["group"] for r in rows if f"photos/{r['file']}" in names[:5]} == {"same shoot"}
    assert len(rows) == report["kept"] == 60 and report["groups"] < 35
    assert all(report[p] > 0 for p in ("train", "valid", "test"))


NASTY = {
    "zero bytes": lambda p: p.with_suffix(".jpg").write_bytes(b""),
    "text": lambda p: p.with_suffix(".png").write_text("this is no picture"),
    "html": lambda p: p.with_suffix(".jpg").write_text("<html>404</html>"),
    "cut jpeg": lambda p: (Image.fromarray(toy_portraits(1, 64)[0]).save(p.with_suffix(".jpg")),
                           p.with_suffix(".jpg").write_bytes(p.with_suffix(".jpg").read_bytes()[:1200])),
    "cut png": lambda p: (Image.fromarray(toy_portraits(1, 64)[0]).save(p.with_suffix(".png")),
                          p.with_suffix(".png").write_bytes(p.with_suffix(".png").read_bytes()[:3000])),
    "grey": lambda p: Image.fromarray(toy_portraits(1, 64)[0]).convert("L").save(p.with_suffix(".png")),
    "one pixel": lambda p: Image.new("RGB", (1, 1), "red").save(p.with_suffix(".png")),
    "bomb": lambda p: Image.new("1", (12000, 12000)).save(p.with_suffix(".png")),
}


def test_nasty_files_are_told_and_left_out(tmp_path):
    src = tmp_path/"it's a “mess” – ünïcode"
    save_toys(src, 12, 48)
    for name, make in NASTY.items(): make(src/name)
    (src/"folder.jpg").mkdir()
    (src/"line\nbreak, comma.png").write_bytes((src/"toy_0_0001.png").read_bytes())
    (src/"dangling.jpg").symlink_to("nowhere")
    report = prepare(src, tmp_path/"out", 48)
    assert report["kept"] == 12 and report["found"] == 12 + len(NASTY) + 1 == report["kept"] + report["not_used"]
    assert {n.rsplit(".")[0] for n in report["why_not"]} == {*NASTY, "toy_0_0001"}  # the copy with the odd name sorts first
    assert all(why and "\n" not in why for why in report["why_not"].values())
    assert [r["file"] for r in csv.DictReader(open(tmp_path/"out"/"split.csv", newline=""))][0] == "line\nbreak, comma.png"
    assert len(Portraits(tmp_path/"out", "train", 48)) == report["train"]
    assert not list((tmp_path/"out").glob(".tmp*"))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
@pytest.mark.parametrize("ext", ["png", "tif", "jpg", "gif", "webp"])
def test_modes(tmp_path, mode, ext):
    "Whatever Pillow can write in a mode comes back as RGB of the same size and brightness."
    rgb = Image.fromarray(toy_portraits(1, 48)[0])
    gray = np.asarray(rgb.convert("L"))
    if mode in ("I;16", "I", "F") and ext in ("gif", "webp", "jpg"): pytest.skip("Pillow itself clips these while writing")
    wide = {"I;16": gray.astype(np.uint16)*257, "I": gray.astype(np.int32)*257, "F": gray.astype(np.float32)/255}
    im = Image.fromarray(wide[mode]) if mode in wide else rgb.convert("P").convert("PA") if mode == "PA" else rgb.convert(mode)
    try: im.save(tmp_path/f"x.{ext}")
    except (OSError, KeyError, ValueError): pytest.skip(f"Pillow writes no {ext} of mode {mode}")
    back = read_photo(tmp_path/f"x.{ext}")
    assert (back.mode, back.size) == ("RGB", rgb.size)
    assert abs(np.asarray(back.convert("L")).mean() - gray.mean()) < 8


def test_sixteen_bit_png_keeps_its_greys(tmp_path):
    ramp = np.linspace(0, 65535, 64*64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path/"r.png")
    assert np.unique(np.asarray(read_photo(tmp_path/"r.png"))[..., 0]).size == 256


def test_transparency_lies_on_white(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path/"clear.png")
    assert np.asarray(read_photo(tmp_path/"clear.png")).min() == 255


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as on POSIX")
def test_unreadable(tmp_path, unprivileged):
    Image.new("RGB", (8, 8)).save(tmp_path/"x.png")
    (tmp_path/"x.png").chmod(0)
    with unprivileged(), pytest.raises(PhotoError, match="permissions"): read_photo(tmp_path/"x.png")


def test_killed_prepare_is_finished_by_a_second(tmp_path):
    save_toys(tmp_path/"photos", 600, 64)
    out = tmp_path/"out"
    code = f"from portrait_gan.data import prepare; prepare({str(tmp_path/'photos')!r}, {str(out)!r}, 48)"
    child = subprocess.Popen([sys.executable, "-c", code])
    while child.poll() is None and not (out/"journal.jsonl").exists(): time.sleep(.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (out/"split.csv").exists(), "killed too late to prove anything"
    report = prepare(tmp_path/"photos", out, 48)
    whole = prepare(tmp_path/"photos", tmp_path/"whole", 48)
    assert report == whole and (out/"split.csv").read_bytes() == (tmp_path/"whole"/"split.csv").read_bytes()
    for split in ("train", "valid", "test"):
        a, b = Portraits(out, split), Portraits(tmp_path/"whole", split)
        assert all((a.photo(i) == b.photo(i)).all() for i in range(len(b)))


def test_new_photos_join_and_changed_ones_are_read_again(tmp_path):
    src = save_toys(tmp_path/"photos", 12, 48)
    prepare(src, tmp_path/"out", 48)
    sides = {r["file"]: r["split"] for r in csv.DictReader(open(tmp_path/"out"/"split.csv"))}
    save_toys(src, 3, 48, seed=1)
    Image.fromarray(toy_portraits(1, 48, seed=2)[0]).save(src/"toy_0_0000.png")
    (src/"toy_0_0001.png").unlink()
    report = prepare(src, tmp_path/"out", 48)
    assert report["kept"] == 14
    now = {r["file"]: r["split"] for r in csv.DictReader(open(tmp_path/"out"/"split.csv"))}
    assert all(now[f] == side for f, side in sides.items() if f in now), "who was trained on is never tested on"
    shown = {}
    for split in ("train", "valid", "test"):
        part = Portraits(tmp_path/"out", split)
        shown |= {f: part.photo(i) for i, f in enumerate(part.files)}
    assert (shown["toy_0_0000.png"] == toy_portraits(1, 48, seed=2)[0]).all()


def test_real_portraits_are_kept_and_grey_ones_removed(portraits, tmp_path):
    with open(portraits/"manifest.csv", newline="", encoding="utf-8") as f:
        photos = sum(row["file"].startswith("photos/") for row in csv.DictReader(f))
    kept = prepare(portraits/"photos", tmp_path/"photos", 64)
    assert kept["found"] == photos > 8000 and kept["kept"] >= .985*photos
    gray = prepare(portraits/"gray", tmp_path/"gray", 64)
    assert gray["found"] == 205 and gray["not_used"] >= .95*205
