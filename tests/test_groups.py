"Who belongs together, whatever a spreadsheet, a camera or a user does to the files."
import csv
import json
import re
import shutil
import unicodedata
from collections import defaultdict

import numpy as np
import pytest
from PIL import ExifTags, Image

from portrait_gan.cache import prepare
from portrait_gan.data import Portraits, toy_portraits
from portrait_gan.groups import find_alike, find_groups, thumbnail

PEOPLE = {f"photos/{who}/Ä {i}.jpg": who for who in ("anna", "bob", "Çelik", "dora") for i in range(3)}


def rows(sign=",", head=("file", "group"), path=str, end="\n"):
    return end.join(sign.join(r) for r in (head, *((path(f), who) for f, who in PEOPLE.items()))) + end


MANIFESTS = {
    "plain": rows().encode(),
    "byte-order mark": rows().encode("utf-8-sig"),
    "UTF-16": rows("\t").encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + rows(",").encode("utf-16-be"),
    "semicolons": rows(";").encode("utf-8-sig"),
    "tabs": rows("\t").encode(),
    "a note to Excel": ("sep=;\r\n" + rows(";", end="\r\n")).encode(),
    "empty lines": ("\n \n" + rows().replace("\n", "\n\n")).encode(),
    "header as people write it": rows(head=(" File ", "GROUP")).encode(),
    "quotes and spaces": rows('", "', head=('"file', 'group"')).replace("\n", '"\n"').encode()[:-1].replace(b'""', b'"'),
    "backslashes": rows(path=lambda f: f.replace("/", "\\")).encode(),
    "from here": rows(path=lambda f: ".\\" + f.replace("/", "\\")).encode(),
    "Excel's own letters": rows(";").encode("cp1252"),
    "letters in pieces": unicodedata.normalize("NFD", rows()).encode(),
    "returns alone": rows(end="\r").encode(),
    "more columns, cells that lack": b"file,year,group,note\n" + b"".join(f"{f},,{who}\n".encode() for f, who in PEOPLE.items()),
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_manifest_is_read_as_spreadsheets_write_it(tmp_path, kind):
    (tmp_path/"Manifest.CSV").write_bytes(MANIFESTS[kind])
    for src, files in ((tmp_path, [*PEOPLE]), (tmp_path/"photos", [f.removeprefix("photos/") for f in PEOPLE])):  # in the folder, and beside it
        found = [unicodedata.normalize("NFC", g) for g in find_groups(src, files)]
        assert found == [*PEOPLE.values()]


def test_a_manifest_below_counts_too_and_two_groups_of_one_file_are_one(tmp_path):
    (tmp_path/"album").mkdir()
    (tmp_path/"album"/"manifest.csv").write_text("file,group\na.jpg,anna\nboth.jpg,anna\nboth.jpg,bob\nb.jpg,bob\n")
    files = ["album/a.jpg", "album/b.jpg", "album/both.jpg", "b.jpg"]
    assert find_groups(tmp_path, files) == ["anna", "anna", "anna", "b.jpg"]


@pytest.mark.parametrize("text, line", [
    (rows(path=lambda f: "elsewhere/" + f), "names 0 of the 12 files here.*elsewhere/photos/anna.*paths must begin"),
    (rows(head=("picture", "who")), "must name the columns file and group"),
    (rows().split("\n", 1)[1], "must name the columns file and group"),
    ("", "must name the columns file and group"),
    (rows(path=lambda f: f if "anna" in f else f.upper()), "names 3 of the 12 files here"),
])
def test_a_manifest_that_does_not_fit_stops_before_any_work(tmp_path, text, line):
    for i, f in enumerate(PEOPLE):
        (tmp_path/"src"/f).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(toy_portraits(1, 48, seed=i)[0]).save(tmp_path/"src"/f)
    (tmp_path/"src"/"manifest.csv").write_text(text)
    with pytest.raises(ValueError, match=line) as e: prepare(tmp_path/"src", tmp_path/"out", 48)
    assert "\n" not in str(e.value) and not (tmp_path/"out"/"journal.jsonl").exists()


def test_a_manifest_beside_may_speak_of_other_folders(tmp_path):
    for f in ("gray/a.jpg", "gray/b.jpg", "photos/c.jpg"):
        (tmp_path/f).parent.mkdir(exist_ok=True)
        (tmp_path/f).touch()
    (tmp_path/"manifest.csv").write_text("file,group\nphotos/c.jpg,1\ngray/a.jpg,2\ngray/b.jpg,2\n")
    assert find_groups(tmp_path/"gray", ["a.jpg", "b.jpg"]) == ["2", "2"]
    (tmp_path/"new").mkdir()
    assert find_groups(tmp_path/"new", ["d.jpg"]) == ["d.jpg"]


def table(out): return {r["file"]: r for r in csv.DictReader(open(out/"split.csv", newline=""))}


def people(folder, n=20, size=96, first=0):
    "Toys without look-alikes, under names without numbers."
    folder.mkdir(exist_ok=True)
    for i in range(first, first + n):
        Image.fromarray(toy_portraits(1, size, seed=1000 + i)[0]).save(folder/f"{'abcdefghij'[i//10]}{'abcdefghij'[i%10]}.png")
    return folder


SHOTS = {
    "mirrored": lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cropped": lambda im: im.crop((5, 8, 92, 94)),
    "small": lambda im: im.resize((48, 48)),
    "turned": lambda im: im.rotate(3, Image.Resampling.BICUBIC).crop((4, 4, 92, 92)),
    "bright": lambda im: im.point(lambda v: min(255, round(1.25*v))),
    "shifted": lambda im: im.resize((102, 102)).crop((1, 4, 97, 100)),
}


def test_shots_of_one_moment_stay_together_in_a_plain_folder(tmp_path):
    src = people(tmp_path/"photos")
    alone = prepare(src, tmp_path/"alone", 96)
    assert (alone["alike"], alone["groups"]) == (0, 20)
    for i, (kind, make) in enumerate(SHOTS.items()):
        original = sorted(src.glob("??.png"))[i]
        make(Image.open(original)).save(src/f"{original.stem} {kind}.png")
    report = prepare(src, tmp_path/"out", 96)
    rows = table(tmp_path/"out")
    for f in rows: assert rows[f]["group"] == min(g for g in rows if g[:2] == f[:2]), f
    assert (report["kept"], report["groups"], report["alike"], report["alike_groups"]) == (26, 20, 12, 6)
    assert len({(r["group"], r["split"]) for r in rows.values()}) == 20
    before = {p.name: p.read_bytes() for p in (tmp_path/"out").iterdir()}
    assert prepare(src, tmp_path/"out", 96) == report
    assert {p.name: p.read_bytes() for p in (tmp_path/"out").iterdir()} == before


def test_later_shots_join_and_training_wins(tmp_path):
    "Copies of a photo from each side come later: they go where it is; a copy that joins two sides takes both to training."
    src, out = people(tmp_path/"photos"), tmp_path/"out"
    prepare(src, out, 96)
    was = table(out)
    one = {side: next(f for f in was if was[f]["split"] == side) for side in ("train", "valid", "test")}
    for side, f in one.items(): SHOTS["cropped"](Image.open(src/f)).save(src/f"{side}.png")
    report = prepare(src, out, 96)
    now = table(out)
    assert {side: now[f"{side}.png"]["split"] for side in one} == {side: side for side in one}
    assert all(now[f]["split"] == was[f]["split"] for f in was) and report["moved"] == 0
    (src/"manifest.csv").write_text(f"file,group\n{one['train']},family\ntest.png,family\n")
    report = prepare(src, out, 96)
    now = table(out)
    assert {now[f]["split"] for f in (one["train"], one["test"], "train.png", "test.png")} == {"train"}
    assert report["moved"] == 1 and {now[f]["group"] for f in (one["train"], "test.png")} == {"family"}
    (src/"manifest.csv").unlink()
    prepare(src, out, 96)
    assert table(out)["test.png"]["split"] == "train", "seen in training once"


def sides(out): return {f: r["split"] for f, r in table(out).items()}


def test_once_trained_on_never_tested_on(tmp_path):
    src, out = people(tmp_path/"photos"), tmp_path/"out"
    prepare(src, out, 96)
    was = sides(out)
    trained = {f for f, s in was.items() if s == "train"}
    for f in was:
        if was[f] != "train": (src/f).unlink()  # the old test and validation photos go
    report = prepare(src, out, 96)
    assert (report["train"], report["valid"], report["test"]) == (len(trained), 0, 0)
    for k, f in enumerate(sorted(trained)): (src/f).rename(src/f"renamed {'abcdefghijklmnopqrst'[k]}.png")
    prepare(src, out, 96)
    assert set(sides(out).values()) == {"train"}, "the same pictures under other names"
    for k, p in enumerate(sorted(src.iterdir())):
        SHOTS["bright"](Image.open(p)).save(src/f"edited {'abcdefghijklmnopqrst'[k]}.png")
        p.unlink()
    prepare(src, out, 96)
    assert set(sides(out).values()) == {"train"}, "the same moments after an edit"
    people(src, 10, first=30)
    report = prepare(src, out, 96)
    assert report["test"] > 0 and report["valid"] > 0
    assert all(side == "train" for f, side in sides(out).items() if f.startswith("edited"))
    for f in was:
        if was[f] == "test": Image.fromarray(toy_portraits(1, 96, seed=1000 + sorted(was).index(f))[0]).save(src/f)
    prepare(src, out, 96)
    assert {sides(out)[f] for f in was if was[f] == "test"} == {"test"}, "who comes back stands where they stood"


def test_another_seed_is_another_split_and_the_first_one_comes_back(tmp_path):
    src, out = people(tmp_path/"photos"), tmp_path/"out"
    prepare(src, out, 96)
    first = sides(out)
    people(src, 5, first=20)
    prepare(src, out, 96, seed=1)
    assert {f: s for f, s in sides(out).items() if f in first} != first
    prepare(src, out, 96)
    assert {f: s for f, s in sides(out).items() if f in first} == first


def test_a_cache_of_version_0_1_opens_and_is_completed_from_its_pixels(tmp_path):
    src, out = people(tmp_path/"photos"), tmp_path/"out"
    SHOTS["cropped"](Image.open(src/"aa.png")).save(src/"zz.png")
    report = prepare(src, out, 96)
    whole = {p.name: p.read_bytes() for p in out.iterdir()}
    for name in ("alike.jsonl", "thumbs.bin", "sides.json"): (out/name).unlink()
    (out/"split.csv").write_text("file,group,split\n" + "".join(f"{f},{f},{'test' if f == 'zz.png' else 'train'}\n" for f in sides(out)))
    old = {k: v for k, v in report.items() if k not in ("alike", "alike_groups", "moved")}
    (out/"report.json").write_text(json.dumps(old))
    assert len(Portraits(out, "train", 48)) == 20
    for p in src.glob("*.png"): p.touch()  # nothing may have to be decoded for it
    journal = [r | ({"stamp": [(src/r["file"]).stat().st_size, (src/r["file"]).stat().st_mtime_ns]} if "file" in r else {})
               for r in map(json.loads, (out/"journal.jsonl").read_text().splitlines())]
    (out/"journal.jsonl").write_text("".join(json.dumps(r) + "\n" for r in journal))
    report = prepare(src, out, 96)
    assert (out/"thumbs.bin").read_bytes() == whole["thumbs.bin"] and (out/"pixels.bin").read_bytes() == whole["pixels.bin"]
    now = table(out)
    assert now["aa.png"]["group"] == now["zz.png"]["group"] and now["zz.png"]["split"] == "train" and report["moved"] == 1
    assert all(now[f]["split"] == "train" for f in now if f != "zz.png")


def test_neighbours_by_name_and_time_need_less_likeness(tmp_path):
    "One moment with much movement: by itself below the threshold, as a neighbour above it; strangers stay strangers."
    rng = np.random.default_rng(0)
    photo = toy_portraits(1, 128, seed=77)[0]
    for noise in range(30, 200, 5):  # film grain, until likeness alone no longer tells
        second = (photo + rng.normal(0, noise, photo.shape)).clip(0, 255).astype(np.uint8)
        pair = np.stack([thumbnail(photo), thumbnail(second)])
        if not find_alike(pair): break
    assert find_alike(pair, 0, [(0, 1)]) == [(0, 1)]
    strangers = np.stack([thumbnail(t) for t in toy_portraits(12, 128, seed=5)])
    assert find_alike(strangers, 0, [(i, i + 1) for i in range(11)]) == []

    def folder(name, names, times):
        src = people(tmp_path/name, 6, 128)
        for file, rgb, time in zip(names, (photo, second), times, strict=True):
            exif = Image.Exif()
            exif[ExifTags.Base.Make] = "a camera"
            if time: exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = time
            Image.fromarray(rgb).save(src/file, exif=exif)
        return prepare(src, tmp_path/f"{name} out", 128)["alike"]

    assert folder("plain", ("x.png", "y.png"), (None, None)) == 0
    assert folder("numbered", ("IMG_0099.png", "IMG_0100.png"), (None, None)) == 2
    assert folder("timed", ("x.png", "y.png"), ("2001:05:06 10:00:00", "2001:05:06 10:00:04")) == 2
    assert folder("another day", ("x.png", "y.png"), ("2001:05:06 10:00:00", "2001:05:07 10:00:00")) == 0


def test_copies_join_the_groups_that_a_manifest_tells(tmp_path):
    src = people(tmp_path/"photos", 12)
    shutil.copy(src/"aa.png", src/"copy of aa.png")
    (src/"manifest.csv").write_text("file,group\nab.png,anna\ncopy of aa.png,anna\n")
    prepare(src, tmp_path/"out", 96)
    assert table(tmp_path/"out")["aa.png"]["group"] == "anna"


def test_real_people_are_not_glued_together(portraits):
    "Every fourth of three sources, with thresholds that were chosen on them too: few strangers are joined, and no chain forms."
    rows = [r for r in csv.DictReader(open(portraits/"manifest.csv")) if re.match("photos/(wiki|aaf|pixabay)", r["file"])][::4]
    thumbs = np.stack([thumbnail(np.asarray(Image.open(portraits/r["file"]).convert("RGB"))) for r in rows])
    pairs, size = find_alike(thumbs), defaultdict(int)
    for a, b in pairs: size[a] += 1; size[b] += 1
    strangers = [p for p in pairs if rows[p[0]]["group"] != rows[p[1]]["group"]]
    assert len(strangers) <= len(rows)//500 and max(size.values(), default=0) <= 5
