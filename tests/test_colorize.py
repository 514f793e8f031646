"""Colorizer and colorize_files on photos as they are: any size, any name, damaged, linked, in the way."""
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps
from skimage.color import rgb2lab

from portrait_gan import folder
from portrait_gan.checkpoint import save_generator
from portrait_gan.colorize import Colorizer
from portrait_gan.data import toy_portraits
from portrait_gan.files import TMP, PhotoError
from portrait_gan.folder import Result, colorize_files
from portrait_gan.generator import WEIGHTS, build_generator
from portrait_gan.photo import Photo, read_pages
from portrait_gan.save import write_pages

posix = pytest.mark.skipif(sys.platform == "win32", reason="names and links as on POSIX")


@pytest.fixture(scope="module")
def colorizer():
    "A tiny untrained generator: its colours are loud and wrong, which is the harder case for everything tested here."
    torch.manual_seed(0)
    return Colorizer(build_generator("resnet18", None), size=32, device="cpu")


@pytest.fixture
def photo():
    return Image.fromarray(toy_portraits(1, 48)[0]).convert("L")


@pytest.fixture
def box(tmp_path, photo):
    "A folder with one good photo."
    (tmp_path/"in").mkdir()
    photo.save(tmp_path/"in/good.png")
    return tmp_path/"in"


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()) if folder.exists() else []


def one_problem(results):
    assert len(results) == 1 and results[0].output is None and "\n" not in str(results[0])
    return results[0].problem


# one photo

def L_star(picture):
    return rgb2lab(np.asarray(Image.fromarray(np.asarray(picture)).convert("RGB")))[..., 0]


def pictures():
    rng = np.random.default_rng(0)
    for h, w in ((1, 1), (1, 300), (33, 57), (400, 300)):
        yield f"noise {h}x{w}", rng.integers(0, 256, (h, w), np.uint8)
        yield f"black and white {h}x{w}", rng.choice(np.array([0, 255], np.uint8), (h, w))
        yield f"colour {h}x{w}", rng.integers(0, 256, (h, w, 3), np.uint8)
    portrait = Image.fromarray(toy_portraits(1, 300, seed=1)[0])
    yield "portrait", np.asarray(portrait.convert("L"))
    yield "portrait in colour", np.asarray(portrait)
    yield "ramp", np.tile(np.arange(256, dtype=np.uint8), (20, 1))


@pytest.mark.parametrize("size", [None, 8])
@pytest.mark.parametrize("picture", [pytest.param(p, id=name) for name, p in pictures()])
def test_lightness_is_kept_in_a_png(colorizer, tmp_path, picture, size):
    Image.fromarray(picture).save(tmp_path/"x.png")
    (result,) = colorize_files(colorizer, tmp_path/"x.png", tmp_path/"out", size=size, force=True)
    out = Image.open(result.output)
    assert (out.format, out.mode, out.size) == ("PNG", "RGB", picture.shape[1::-1])
    assert np.percentile(np.abs(L_star(out) - L_star(picture)), 99) <= 1


def test_saturation_and_size_reach_the_network(colorizer, photo):
    gray = np.asarray(photo)
    assert np.abs(np.asarray(colorizer.colorize(photo, saturation=0)).astype(int) - gray[..., None]).max() <= 1
    assert not np.array_equal(colorizer.colorize(photo, size=16), colorizer.colorize(photo))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_pillow_pictures_of_any_mode(colorizer, photo, mode):
    out = colorizer.colorize(photo.convert(mode))
    assert (out.mode, out.size) == ("RGB", photo.size)


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)])
def test_other_arrays_are_refused(colorizer, bad):
    with pytest.raises(ValueError, match="expected uint8"): colorizer.colorize(bad)


@pytest.mark.parametrize("values", [
    dict(size=0), dict(size=-3), dict(saturation=-1), dict(saturation=float("nan")), dict(saturation=float("inf")), dict(saturation=3e38)])
def test_values_that_mean_nothing_are_refused(colorizer, box, photo, values):
    with pytest.raises(ValueError): colorizer.colorize(photo, **values)
    with pytest.raises(ValueError): colorize_files(colorizer, box, box.parent/"out", **values)
    assert not (box.parent/"out").exists()


def test_the_generator_is_left_in_eval_mode(colorizer, photo):
    colorizer.colorize(photo)
    assert not colorizer.generator.training


def test_several_threads_may_use_one_colorizer(colorizer):
    photos = [np.random.default_rng(i).integers(0, 256, (30 + i, 40), np.uint8) for i in range(12)]
    alone = [np.asarray(colorizer.colorize(p)) for p in photos]
    with ThreadPoolExecutor(4) as pool: together = list(pool.map(colorizer.colorize, photos))
    for a, b in zip(alone, together, strict=True): assert np.abs(a.astype(int) - np.asarray(b)).max() <= 1


# where weights come from

@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    for epoch in (1, 2):
        made = folder/f"checkpoints/epoch_000{epoch}"
        save_generator(build_generator("resnet18", None), made, dict(ab_scale=100. + epoch, size=64))
        (made/"state.json").write_text("{}")
    return folder


@pytest.mark.parametrize("path, ab_scale", [("", 102), ("checkpoints/epoch_0001", 101), (f"checkpoints/epoch_0001/{WEIGHTS}", 101)])
def test_from_pretrained(run, path, ab_scale):
    loaded = Colorizer.from_pretrained(run/path, device="cpu")
    assert (loaded.ab_scale, loaded.size) == (ab_scale, 64)


def test_a_hub_id_is_asked_for_only_when_no_path_has_that_name(run, tmp_path, monkeypatch):
    asked = []
    def snapshot_download(repo, allow_patterns):
        asked.append((repo, allow_patterns))
        return str(run/"checkpoints/epoch_0001")
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    assert Colorizer.from_pretrained("owner/name", "cpu").ab_scale == 101
    assert asked == [("owner/name", ["generator.safetensors", "generator_ema.safetensors", "config.json"])]
    for path in ("owner/name/deep", "name", "../name", "/owner/name", "owner/name.safetensors"):
        with pytest.raises((FileNotFoundError, ValueError)): Colorizer.from_pretrained(path)
    (tmp_path/"owner").mkdir()
    (tmp_path/"owner/name").symlink_to(run)
    assert Colorizer.from_pretrained("owner/name", "cpu").ab_scale == 102
    assert len(asked) == 1


@pytest.mark.parametrize("path", ["runs/typo", "work/run", "mine/best", "anything/epoch_0003", "somewhere/checkpoints"])
def test_what_looks_local_is_never_asked_of_the_hub(run, tmp_path, monkeypatch, capsys, path):
    asked = []
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repo, **_: asked.append(repo) or str(run/"checkpoints/epoch_0001"))
    monkeypatch.chdir(tmp_path)
    (tmp_path/"mine").mkdir()
    with pytest.raises(FileNotFoundError, match=f"{path}: no such run .* hf://{path}") as told: Colorizer.from_pretrained(path)
    assert "\n" not in str(told.value) and asked == [] and capsys.readouterr().out == ""
    assert Colorizer.from_pretrained(f"hf://{path}", "cpu").ab_scale == 101  # who says so means the hub
    assert asked == [path] and capsys.readouterr().out == f"weights: {path} from the Hugging Face hub, revision epoch_0001\n"


@pytest.mark.parametrize("error", [ConnectionError("no\nnetwork"), ValueError("bad id"), OSError()])
def test_a_hub_that_does_not_answer_is_one_line(monkeypatch, error):
    def snapshot_download(*_, **__): raise error
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(FileNotFoundError, match="owner/name.*hub") as told: Colorizer.from_pretrained("owner/name")
    assert "\n" not in str(told.value)


def test_an_unknown_device_is_one_line(run):
    with pytest.raises(ValueError, match="device toaster") as told: Colorizer.from_pretrained(run, "toaster")
    assert "\n" not in str(told.value)


def test_any_kind_of_photo_is_the_same_photo(colorizer, photo, tmp_path):
    gray = np.asarray(photo)
    photo.save(tmp_path/"x.png")
    expected = colorizer(gray)
    path, planes = tmp_path/"x.png", np.repeat(gray[..., None], 3, 2)
    for same in (path, str(path), photo, photo.convert("RGB"), planes, next(read_pages(path))):
        out = colorizer.colorize(same)
        assert np.abs(np.asarray(getattr(out, "pixels", out)).astype(int) - expected).max() <= 1
    assert [np.array_equal(a, expected) for a in colorizer.colorize([photo, gray])] == [True, True]


def test_what_a_picture_cannot_hold_is_warned_of_and_a_photo_keeps_it(colorizer, photo, tmp_path):
    "Sixteen bits, transparency, date, resolution."
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime] = "1931:05:01 12:00:00"
    gray = np.asarray(photo)
    scan = Photo(np.repeat(gray[..., None], 3, 2).astype(np.uint16)*257, np.full(gray.shape, 65535, np.uint16), exif, (300., 300.))
    scan.alpha[:9, :9] = 0
    with open(tmp_path/"scan.png", "w+b") as f: write_pages(f, [scan], "PNG")
    with pytest.warns(UserWarning, match="only 8 of its 16 bits; white where it was transparent"): picture = colorizer.colorize(tmp_path/"scan.png")
    picture.save(tmp_path/"coloured.jpg", **picture.info)
    back = Image.open(tmp_path/"coloured.jpg")
    assert (back.info["dpi"], back.getexif()[ExifTags.Base.DateTime]) == ((300, 300), "1931:05:01 12:00:00")
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    whole = colorizer.colorize(next(read_pages(tmp_path/"scan.png")))
    assert (whole.pixels.dtype, round(whole.dpi[0]), dict(whole.exif)) == (np.uint16, 300, dict(exif)) and np.array_equal(whole.alpha, scan.alpha)


def test_bad_values_are_one_line(colorizer, photo, tmp_path):
    for values, told in ((dict(size=0), "at least 1"), (dict(saturation=float("nan")), "saturation is nan"), (dict(saturation=-1), "saturation")):
        with pytest.raises(ValueError, match=told): colorizer.colorize(photo, **values)
    save_generator(build_generator("resnet18", None, classes=3), tmp_path/"three", dict(ab_scale=128., size=64))
    for path, told in ((tmp_path/"nowhere", "no such run"), (tmp_path/"three", "does not turn L into")):
        with pytest.raises((FileNotFoundError, ValueError), match=told) as error: Colorizer.from_pretrained(path)
        assert "\n" not in str(error.value)


def test_the_other_engine_proposes_the_same_colours(run, photo, tmp_path, monkeypatch):
    "After an export the first time; from a file it needs no weights beside it."
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("portrait_gan.export.pooch.os_cache", lambda _: tmp_path/"cache")
    ours, by_onnx = Colorizer.from_pretrained(run, "cpu"), Colorizer.from_pretrained(run, backend="onnx")
    from_file = Colorizer.from_pretrained(next((tmp_path/"cache").iterdir()))
    gray = np.asarray(photo)
    for engine in (by_onnx, from_file):
        assert (engine.size, engine.ab_scale, engine.takes_hints) == (64, 102., False)
        assert np.abs(engine.predict([gray])[1] - ours.predict([gray])[1]).max() < .13  # 0.001 of the scale; untrained weights are loud
    for given, told in (((run, "cuda", "onnx"), "computes on the CPU"), ((run, None, "abacus"), "torch or onnx")):
        with pytest.raises(ValueError, match=told): Colorizer.from_pretrained(*given)
    with pytest.raises(ValueError, match="no weights to save"): by_onnx.save_pretrained(tmp_path/"saved")


# one bad file among good ones

def nothing(path): path.touch()
def text(path): path.write_text("I am not a photo")
def truncated(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-900])
def header_only(path): path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
def loop(path): path.symlink_to(path.name)
def dangling(path): path.symlink_to("gone.jpg")
def outside(path):
    (path.parent.parent/"secret").mkdir()
    Image.new("L", (8, 8)).save(path.parent.parent/"secret/s.jpg")
    path.symlink_to("../secret/s.jpg")
def pipe(path): os.mkfifo(path)


@posix
@pytest.mark.parametrize("make, reason", [
    (nothing, "not an image that Pillow can read"), (text, "not an image that Pillow can read"), (truncated, r"damaged or cut off \(.+\)"),
    (header_only, r"not an image that Pillow can read|damaged or cut off \(.+\)"), (loop, "a link that leads nowhere"),
    (dangling, "a link that leads nowhere"), (outside, "a link that leads out of .+/in is not followed"),
    (pipe, "not a regular file")], ids=lambda v: getattr(v, "__name__", ""))
def test_a_bad_file_is_one_line_and_the_rest_is_done(colorizer, box, make, reason):
    make(box/"bad.jpg")
    bad, good = colorize_files(colorizer, box, box.parent/"out")
    assert bad.source == box/"bad.jpg" and bad.output is None
    assert re.fullmatch(reason, bad.problem)
    assert "\n" not in str(bad) and str(bad).count("bad.jpg: ") == 1
    assert good == Result(box/"good.png", box.parent/"out/good.png")
    assert files(box.parent/"out") == ["errors.csv", "good.png"]


def test_a_bomb(colorizer, box):
    Image.new("1", (300, 300)).save(box/"bomb.png")
    bad, good = colorize_files(colorizer, box, box.parent/"out", max_pixels=10_000)
    assert "300 × 300 is more than 10,000 pixels" in bad.problem and good.output


@posix
def test_an_unreadable_file_and_folder(colorizer, box, photo, unprivileged):
    (box/"closed").mkdir()
    for p in (box/"a.png", box/"closed/b.png"): photo.save(p)
    (box/"a.png").chmod(0)
    (box/"closed").chmod(0)
    try:
        with unprivileged(): results = colorize_files(colorizer, box, box.parent/"out")
    finally: (box/"closed").chmod(0o755)
    assert ["not readable" in (r.problem or "") for r in results] == [True, False, True]


def test_a_folder_that_cannot_be_listed_is_told(colorizer, box, monkeypatch):
    walk = os.walk
    def failing(top, onerror):
        yield from walk(top, onerror=onerror)
        onerror(PermissionError(13, "Permission denied", str(box/"closed")))
    monkeypatch.setattr(folder.os, "walk", failing)
    good, closed = colorize_files(colorizer, box, box.parent/"out")
    assert good.output and closed == Result(box/"closed", problem="folder not readable: Permission denied")


@pytest.mark.parametrize("error", [
    MemoryError(), RuntimeError("not enough\nmemory"), KeyError("x"), OSError(28, "No space left on device")])
def test_whatever_goes_wrong_stays_with_its_photo(colorizer, box, photo, monkeypatch, error):
    photo.crop((0, 0, 30, 30)).save(box/"a.png")
    predict = colorizer.predict
    def sometimes(photos, *args):
        if photos[0].shape == (30, 30): raise error
        return predict(photos, *args)
    monkeypatch.setattr(colorizer, "predict", sometimes)
    bad, good = colorize_files(colorizer, box, box.parent/"out")
    assert bad.problem and "\n" not in bad.problem and good.output


class Sometimes(torch.nn.Module):
    "A network that answers `value` for dark photos, and grey for others."
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, L):
        dark = L.mean((1, 2, 3), keepdim=True) < -.5
        return torch.where(dark, self.value, 0.).expand(-1, 2, *L.shape[2:]).clone()


@pytest.mark.parametrize("tta", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e37])
def test_an_answer_that_is_no_colour_is_one_problem_and_writes_nothing(box, value, tta):
    "The photos have one shape, so they go through the network together."
    colorizer = Colorizer(Sometimes(value), size=32, device="cpu")
    Image.new("L", (48, 48), 10).save(box/"dark.png")
    Image.new("L", (48, 48), 200).save(box/"light.png")
    Image.new("L", (48, 48), 200).save(box/"good.png")
    with pytest.raises(ValueError, match="not finite"): colorizer.colorize(box/"dark.png", tta=tta)
    bad, *good = colorize_files(colorizer, box, box.parent/"out", tta=tta)
    assert bad.source.name == "dark.png" and bad.output is None and "not finite" in bad.problem
    assert [r.output.name for r in good] == ["good.png", "light.png"]
    assert files(box.parent/"out") == ["errors.csv", "good.png", "light.png"]


def test_weights_that_overflow_write_no_black_picture(box):
    "Finite weights, as an overflow in half precision or a run that ran away leaves them."
    torch.manual_seed(0)
    generator = build_generator("resnet18", None)
    with torch.no_grad():
        for p in generator.parameters(): p.mul_(1e20)
    assert "not finite" in one_problem(colorize_files(Colorizer(generator, size=32, device="cpu"), box, box.parent/"out"))
    assert files(box.parent/"out") == []


# which files are meant

def test_what_a_folder_holds_besides_is_counted_once(colorizer, box):
    for name in ("a.dng", "b.DNG", "sub/c.jxl", "letter.pdf", "README", ".hidden.dng", ".git/x.dng"):
        (box/name).parent.mkdir(exist_ok=True)
        (box/name).touch()
    results = colorize_files(colorizer, box, box.parent/"out")
    assert [r.problem for r in results] == [None]
    assert results.left_out == {".dng": 2, ".jxl": 1, ".pdf": 1, "without suffix": 1}
    assert colorize_files(colorizer, f"{box}/*.png", box.parent/"out").left_out == {}  # a pattern means what fits it


@pytest.mark.parametrize("env", [dict(WORLD_SIZE="2"), dict(RANK="1"), dict(RANK="2", WORLD_SIZE="2"), dict(RANK="-1", WORLD_SIZE="2"),
                                 dict(RANK="one", WORLD_SIZE="2"), dict(RANK="0", WORLD_SIZE="many"), dict(RANK="0", WORLD_SIZE="0")])
def test_a_share_that_is_not_clear_is_refused(colorizer, box, monkeypatch, env):
    for name in ("RANK", "WORLD_SIZE"): monkeypatch.delenv(name, raising=False)
    for name, value in env.items(): monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="set both"): colorize_files(colorizer, box, box.parent/"out")
    assert not (box.parent/"out").exists()


@pytest.mark.parametrize("env", [{}, dict(RANK="0"), dict(WORLD_SIZE="1"), dict(RANK="0", WORLD_SIZE="1"), dict(RANK="", WORLD_SIZE="")])
def test_one_process_alone_colours_all(colorizer, box, photo, monkeypatch, env):
    for name in ("RANK", "WORLD_SIZE"): monkeypatch.delenv(name, raising=False)
    for name, value in env.items(): monkeypatch.setenv(name, value)
    for i in range(4): photo.save(box/f"{i}.png")
    assert [bool(r.output) for r in colorize_files(colorizer, box, box.parent/"out")] == [True]*5

def test_a_folder_is_mirrored_and_only_photos_are_taken(colorizer, box, photo):
    for name in ("a/b/deep.JPG", "a/.hidden.png", ".git/x.png", "notes.txt", "a/archive.zip", "dir.jpg/inside.bmp"):
        (box/name).parent.mkdir(parents=True, exist_ok=True)
        photo.save(box/name, "PNG")
    results = colorize_files(colorizer, box, box.parent/"out")
    assert [r.problem for r in results] == [None]*3
    assert files(box.parent/"out") == ["a/b/deep.JPG", "dir.jpg/inside.bmp", "good.png"]


@posix
def test_links_inside_are_files_and_folders_in_a_circle_are_not_walked(colorizer, box):
    (box/"again.png").symlink_to("good.png")
    (box/"sub").mkdir()
    (box/"sub/up").symlink_to("..")
    results = colorize_files(colorizer, [box, f"{box}/**/*.png"], box.parent/"out")
    assert [r.problem for r in results] == [None]*2 and files(box.parent/"out") == ["again.png", "good.png"]


@posix
def test_two_circles_are_walked_once(colorizer, box, photo):
    (box/"sub").mkdir()
    photo.save(box/"sub/x.png")
    for name in ("a", "b", "sub/a", "sub/b"): (box/name).symlink_to(box)  # forty links deep there are 2 to the 40th ways
    for given, expected in ((box, 2), (f"{box}/**/*.png", 2), (f"{box}/**", 2), (f"{box}/**/sub/**/x.png", 1), (f"{box}/a/*.png", 1)):
        results = colorize_files(colorizer, given, box.parent/"out", overwrite=True)
        assert [r.problem for r in results] == [None]*expected


@posix
def test_a_linked_folder_outside_is_told(colorizer, box, photo):
    (box.parent/"else").mkdir()
    photo.save(box.parent/"else/x.png")
    (box/"link").symlink_to("../else")
    assert ["leads out" in (r.problem or "") for r in colorize_files(colorizer, box, box.parent/"out")] == [False, True]
    assert "leads out" in one_problem(colorize_files(colorizer, f"{box}/*/x.png", box.parent/"out"))
    assert colorize_files(colorizer, box/"link", box.parent/"out2")[0].output  # named, it is meant


def test_globs(colorizer, box, photo):
    for name in ("a/x.png", "b/x.png", "b/y.png", ".hid.png", ".git/x.png"):
        (box/name).parent.mkdir(exist_ok=True)
        photo.save(box/name)
    for pattern, expected in (("*.png", ["good.png"]), ("*/x.png", ["a/x.png", "b/x.png"]), ("b/[xy].png", ["x.png", "y.png"]),
                              ("**/*.png", ["a/x.png", "b/x.png", "b/y.png", "good.png"]), ("**/b/**", ["b/x.png", "b/y.png"]),
                              ("**/.h*", [".hid.png"]), ("[!b]/**/*.png", ["a/x.png"]), ("?/?.*", ["a/x.png", "b/x.png", "b/y.png"])):
        out = box.parent/f"out{len(files(box.parent))}"
        assert all(r.output for r in colorize_files(colorizer, f"{box}/{pattern}", out))
        assert files(out) == expected


def test_a_name_with_brackets_is_a_file_first(colorizer, box, photo):
    photo.save(box/"x[1].png")
    assert colorize_files(colorizer, str(box/"x[1].png"), box.parent/"out")[0].output.name == "x[1].png"


@pytest.mark.parametrize("given, reason", [
    ("gone.jpg", "no such file or folder"), ("*.tif", "no file matches"), ("", "no such file"), ("none", "no photos")])
def test_an_input_without_photos_is_one_problem(colorizer, tmp_path, monkeypatch, given, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path/"none").mkdir()
    assert reason in one_problem(colorize_files(colorizer, [given], tmp_path/"out"))
    assert not (tmp_path/"out").exists()


def test_a_named_file_is_always_tried(colorizer, box, photo):
    photo.save(box/".scan", "PNG")
    (result,) = colorize_files(colorizer, box/".scan", box.parent/"out")
    assert result.output == box.parent/"out/.scan.png" and "PNG" in result.note
    (box/"notes.txt").write_text("x")
    assert "not an image" in one_problem(colorize_files(colorizer, box/"notes.txt", box.parent/"out"))


@posix
@pytest.mark.parametrize("name", [
    "with space.jpg", "фото 写真 🙂.png", "two\nlines.png", "-dash.png", "a'b\"c.png", "x.y.z.png",
    b"\xff.png".decode(errors="surrogateescape")])
def test_names(colorizer, box, photo, name):
    try: photo.save(box/name)
    except (OSError, UnicodeError): pytest.skip("this file system has no such names")
    (box/"good.png").unlink()
    for given, out in ((box, "out1"), (box/name, "out2"), (f"{box}/*", "out3")):
        (result,) = colorize_files(colorizer, given, box.parent/out)
        assert result.output == box.parent/out/name and result.output.exists()
        assert str(result).isprintable() and str(result).encode()


def test_the_same_file_named_twice_is_one(colorizer, box):
    assert len(colorize_files(colorizer, [box/"good.png", str(box/"good.png"), box], box.parent/"out")) == 1


# what is written

@pytest.mark.parametrize("name, format, out, kind", [
    ("a.jpg", None, "a.jpg", "JPEG"), ("a.JPEG", None, "a.JPEG", "JPEG"), ("a.tif", None, "a.tif", "TIFF"),
    ("a.webp", None, "a.webp", "WEBP"), ("a.bmp", None, "a.bmp", "BMP"), ("a.gif", None, "a.gif.png", "PNG"),
    ("a.pgm", None, "a.pgm.png", "PNG"), ("a.ico", None, "a.ico.png", "PNG"), ("scan", None, "scan.png", "PNG"),
    ("a.jpg", "png", "a.png", "PNG"), ("a.JPEG", "jpg", "a.JPEG", "JPEG"), ("a.b", ".PNG", "a.b.png", "PNG"),
    ("a.png", "tif", "a.tif", "TIFF")])
def test_formats(colorizer, tmp_path, photo, name, format, out, kind):
    photo.save(tmp_path/name, "PNG")
    (result,) = colorize_files(colorizer, tmp_path/name, tmp_path/"out", format=format)
    assert result.output == tmp_path/"out"/out and files(tmp_path/"out") == [out]
    assert (result.note is not None) == (format is None and kind == "PNG")
    with Image.open(result.output) as im:
        assert (im.format, im.mode, im.size) == (kind, "RGB", photo.size)
        if kind == "JPEG":  # quality 95, no subsampling
            assert max(im.quantization[0]) <= 12 and im.layer[0][1:3] == im.layer[1][1:3] == (1, 1)


@pytest.mark.parametrize("format", ["docx", "gif", "", "."])
def test_formats_that_cannot_be_written_are_refused_before_any_work(colorizer, box, format):
    with pytest.raises(ValueError, match="cannot be written"): colorize_files(colorizer, box, box.parent/"out", format=format)
    assert not (box.parent/"out").exists()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(colorizer, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.new("L", (48, 32), 64)
    stored.paste(255, (0, 0, 24, 16))  # one white quadrant tells which way is up
    stored.save(tmp_path/"x.jpg", exif=exif)
    (result,) = colorize_files(colorizer, tmp_path/"x.jpg", tmp_path/"out", saturation=0)
    with Image.open(result.output) as im, Image.open(tmp_path/"x.jpg") as given:
        upright = ImageOps.exif_transpose(given).convert("L")
        assert im.size == upright.size == ((48, 32) if orientation < 5 else (32, 48)) and 0x0112 not in im.getexif()
        assert np.abs(np.asarray(im).astype(int) - np.asarray(upright)[..., None]).max() <= 4


# what is never lost

def test_an_output_is_replaced_only_when_asked(colorizer, box):
    out = box.parent/"out/good.png"
    out.parent.mkdir()
    out.write_bytes(b"old")
    assert colorize_files(colorizer, box, out.parent) == [Result(box/"good.png", out, skipped=True)] and out.read_bytes() == b"old"
    assert colorize_files(colorizer, box, out.parent, overwrite=True)[0].output == out
    assert Image.open(out).mode == "RGB" and files(out.parent) == ["good.png"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_replaced(colorizer, box, photo, overwrite):
    before = (box/"good.png").read_bytes()
    (box/"sub").mkdir()
    photo.transpose(Image.Transpose.ROTATE_90).save(box/"sub/good.png")
    assert "not replaced" in one_problem(colorize_files(colorizer, box/"good.png", box, overwrite=overwrite))
    results = colorize_files(colorizer, [box/"sub/good.png", box/"good.png"], box, overwrite=overwrite)  # the one would replace the other
    assert [r.output for r in results] == [None, None] and (box/"good.png").read_bytes() == before


@posix
def test_an_input_is_never_replaced_under_another_name(colorizer, box):
    before, out = (box/"good.png").read_bytes(), box.parent/"out"
    out.mkdir()
    (out/"good.png").symlink_to(box/"good.png")
    (box.parent/"alias").symlink_to(box)
    for where in (out, box.parent/"alias", box/".."/"in"):
        assert "not replaced" in one_problem(colorize_files(colorizer, box/"good.png", where, overwrite=True))
    assert (box/"good.png").read_bytes() == before


def test_two_inputs_of_one_output(colorizer, box, photo):
    photo.save(box/"good.jpg")
    results = colorize_files(colorizer, [box/"good.png", box/"good.jpg"], box.parent/"out", format="png", overwrite=True)
    assert results[0].output and "already that of" in results[1].problem


@posix
def test_nothing_is_written_outside(colorizer, box, photo):
    out = box.parent/"out"
    (box/"sub").mkdir()
    photo.save(box/"sub/x.png")
    (box.parent/"elsewhere").mkdir()
    out.mkdir()
    (out/"sub").symlink_to("../elsewhere")
    good, bad = colorize_files(colorizer, box, out)
    assert good.output and "outside" in bad.problem and files(box.parent/"elsewhere") == []
    photo.save(box.parent/"x.png")
    assert "no file matches" in one_problem(colorize_files(colorizer, f"{box}/s*/../../x.png", out))
    assert files(out) == ["errors.csv", "good.png"]  # the list of the first run; a single problem writes none


def test_outputs_inside_the_input_folder_are_no_inputs(colorizer, box):
    for _ in range(2): results = colorize_files(colorizer, box, box/"coloured", overwrite=True)
    assert len(results) == 1 and files(box) == ["coloured/good.png", "good.png"]


def test_out_is_a_file(colorizer, box):
    with pytest.raises(NotADirectoryError): colorize_files(colorizer, box, box/"good.png")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_interrupted_write_leaves_what_was_there(colorizer, box, monkeypatch, error, old):
    out = box.parent/"out"
    out.mkdir()
    if old: (out/"good.png").write_bytes(old)
    def write_pages(f, *args):
        f.write(b"half a picture")
        raise error
    monkeypatch.setattr(folder, "write_pages", write_pages)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt): colorize_files(colorizer, box, out, overwrite=True)
    else: assert "No space left" in one_problem(colorize_files(colorizer, box, out, overwrite=True))
    assert files(out) == (["good.png"] if old else []) and (not old or (out/"good.png").read_bytes() == old)


def test_a_full_disk_costs_no_result(colorizer, box, photo, monkeypatch, capsys):
    "Not a byte more fits, neither of a photo nor of the list of what failed."
    photo.save(box/"second.png")
    def full(fd): raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "fsync", full)
    results = colorize_files(colorizer, box, box.parent/"out", compare=True)
    assert [r.problem for r in results] == [f"cannot write {box.parent/'out'/name}: No space left on device" for name in ("good.png", "second.png")]
    err = capsys.readouterr().err
    assert err == f"portrait-gan: no list of the errors in {box.parent/'out'}: No space left on device\n" and files(box.parent/"out") == []


def test_a_folder_that_lets_nothing_go_costs_no_result(colorizer, box, monkeypatch):
    "What a dead process left, and the list of an earlier run, cannot be removed."
    out = box.parent/"out"
    (box/"bad.png").touch()
    colorize_files(colorizer, box, out)
    (box/"bad.png").unlink()
    (out/f"{TMP}999999999-x.png").touch()
    def closed(path, missing_ok=False): raise PermissionError(13, "Permission denied", str(path))
    monkeypatch.setattr(Path, "unlink", closed)
    (box/"new.png").write_bytes((box/"good.png").read_bytes())
    assert [(r.problem, r.skipped) for r in colorize_files(colorizer, box, out)] == [(None, True), (None, False)]


def test_a_second_run_into_the_photos_own_folder_finds_its_results(colorizer, box, photo):
    "They are there already: neither photos to colour nor errors, and nothing replaces them."
    photo.save(box/"good.jpg")
    (box/"good.png").unlink()
    Image.new("L", (48, 48), 90).save(box/"pair.tif")
    options = dict(format="png", compare=True)
    assert [r.problem for r in colorize_files(colorizer, box, box, **options)] == [None]*2
    made = {name: (box/name).read_bytes() for name in ("good.png", "good.png.compare.jpg", "pair.png", "pair.png.compare.jpg")}
    photo.save(box/"later.jpg")
    for given in (box, f"{box}/*", [box/name for name in files(box)]):
        again = colorize_files(colorizer, given, box, **options)
        assert [(r.source.name, r.problem, r.skipped) for r in again if r.source.name != "later.jpg"] == [
            ("good.jpg", None, True), ("pair.tif", None, True)]
        assert again.left_out["results of an earlier run"] >= 4
    assert (box/"later.png").exists()
    assert all("not replaced" in r.problem for r in colorize_files(colorizer, box, box, overwrite=True, **options))
    assert all((box/name).read_bytes() == data for name, data in made.items())


def test_a_grey_photo_of_the_outputs_name_is_no_result_of_an_earlier_run(colorizer, box, photo):
    "Two scans of one picture: the one without colour is a photo, and that the other was not coloured is told."
    photo.save(box/"good.jpg")
    before = (box/"good.png").read_bytes()
    results = colorize_files(colorizer, box, box, format="png")
    assert [r.output for r in results] == [None]*2 and "not replaced" in results[0].problem and results.left_out == {}
    assert (box/"good.png").read_bytes() == before


def test_a_photo_that_changed_since_is_told_and_not_replaced(colorizer, box, photo):
    out = box.parent/"out/good.png"
    colorize_files(colorizer, box, out.parent)
    before = out.read_bytes()
    assert colorize_files(colorizer, box, out.parent) == [Result(box/"good.png", out, skipped=True)]
    os.utime(out, (1e9, 1e9))  # an output of 2001
    (newer,) = colorize_files(colorizer, box, out.parent)
    photo.crop((0, 0, 30, 40)).save(box/"good.png")  # another photo, moved here with its old date
    os.utime(box/"good.png", (1e9, 1e9))
    os.utime(out, (2e9, 2e9))
    (other,) = colorize_files(colorizer, box, out.parent)
    assert all(r.skipped and "changed since; --overwrite" in r.note for r in (newer, other)) and out.read_bytes() == before


def test_report_hears_each_result_as_it_comes(colorizer, box):
    (box/"a.jpg").touch()
    heard = []
    assert colorize_files(colorizer, box, box.parent/"out", report=heard.append) == heard and len(heard) == 2


def test_a_single_photo_raises_instead(colorizer, tmp_path):
    with pytest.raises(PhotoError, match="no such file"): colorizer.colorize(Path(tmp_path/"gone.jpg"))


def test_a_comparison_beside_a_missing_input(colorizer, box):
    colorize_files(colorizer, [box/"good.png", box/"nowhere.png"], box.parent/"out", compare=True)
    assert files(box.parent/"out") == ["errors.csv", "good.png", "good.png.compare.jpg"]
    colorize_files(colorizer, box/"good.png", box.parent/"out")
    assert "errors.csv" in files(box.parent/"out")  # one photo more is no reason to forget


def test_a_comparison_replaces_no_photo(colorizer, box, photo):
    photo.save(box/"good.png.compare.jpg")
    before = (box/"good.png.compare.jpg").read_bytes()
    colorize_files(colorizer, [box/"good.png", box/"good.png.compare.jpg"], box.parent/"out", compare=True)
    with Image.open(box.parent/"out/good.png.compare.jpg") as im: assert im.size == photo.size  # the photo of that name, in colour
    photo.save(box/"sub.png")
    colorize_files(colorizer, [box/"sub.png", box/"good.png.compare.jpg"], box, compare=True, overwrite=True)
    assert (box/"good.png.compare.jpg").read_bytes() == before
