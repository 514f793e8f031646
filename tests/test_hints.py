"Hints wherever a person colours: one photo, a folder, the command, either engine."
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from portrait_gan import cli
from portrait_gan.checkpoint import save_generator
from portrait_gan.colorize import Colorizer
from portrait_gan.data import toy_portraits
from portrait_gan.export import OnnxGenerator, export_onnx
from portrait_gan.folder import colorize_files
from portrait_gan.generator import LITE, build_generator, load_generator
from portrait_gan.hints import Hint, hint_planes, hints_path, read_hints, write_hints
from portrait_gan.lab import rgb_to_lab, to_tensor
from portrait_gan.lite import LiteGenerator
from portrait_gan.photo import Photo, read_pages
from portrait_gan.pixels import fit_gamut
from portrait_gan.save import write_pages

W, H = 60, 80  # of the photos


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    "Untrained, so every hint moves every colour; its answers are made as pale as a trained network's."
    torch.manual_seed(0)
    network = build_generator(LITE, None, 4)
    with torch.no_grad(): network.segmentation_head[0].weight *= .1
    return save_generator(network, tmp_path_factory.mktemp("weights"), dict(size=48, ab_scale=110.))


@pytest.fixture(scope="module")
def colorizer(weights): return Colorizer.from_pretrained(weights, "cpu")


@pytest.fixture(scope="module")
def one_plane(tmp_path_factory):
    torch.manual_seed(0)
    return save_generator(build_generator("resnet18", None), tmp_path_factory.mktemp("one_plane"), dict(size=32, ab_scale=110.))


@pytest.fixture(scope="module")
def onnx_file(weights, tmp_path_factory):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx")/"hints.onnx"
    assert export_onnx(load_generator(weights)[0], path, 48, 110.) < .01
    return path


@pytest.fixture
def gray():
    "Light of the middle, for which sRGB has all colours."
    return np.asarray(Image.fromarray(toy_portraits(1, 80, seed=1)[0]).convert("L"))[:, :W]//2 + 64


@pytest.fixture
def photo(tmp_path, gray):
    (tmp_path/"in").mkdir()
    Image.fromarray(gray).save(tmp_path/"in/x.png")
    return tmp_path/"in/x.png"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, weights):
    "The command `colorize` with --out out: its status, what it says and what it complains of."
    monkeypatch.chdir(tmp_path)
    def run(*args, checkpoint=weights):
        with pytest.raises(SystemExit) as e: cli.main(["colorize", *map(str, args), "--out", "out", "--checkpoint", str(checkpoint)])
        return e.value.code, *capsys.readouterr()
    return run


def lab(picture): return rgb_to_lab(to_tensor(np.asarray(picture)))[0].numpy()


def asked(picture, x, y, color):
    "How far the colour at a point is from what was asked, as far as sRGB has it there."
    L, *ab = lab(picture)[:, int(y), int(x)]
    return np.hypot(*(ab - fit_gamut(L, Hint(x, y, color).ab)))


def apart(a, b): return np.abs(np.asarray(a).astype(int) - np.asarray(b)).max()


def files(folder): return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# what is no hint, and hints that meet

@pytest.mark.parametrize("text", ["{", "[]", "["*9999, '{"hints": []}', '{"size": [1, 1], "hints": [{"x": 1}]}',
                                  '{"size": [1, 1], "hints": [{"x": 1' + "0"*999 + ', "y": 1, "color": "red"}]}',
                                  '{"size": [1, 1], "hints": [{"x": 1, "y": 1, "color": "red", "z": 2}]}'])
def test_a_file_that_holds_no_hints(tmp_path, text):
    (tmp_path/"x.hints.json").write_text(text)
    with pytest.raises(ValueError, match="x.hints.json holds no hints") as e: read_hints(tmp_path/"x.hints.json")
    assert "\n" not in str(e.value)


def test_of_two_hints_in_one_pixel_the_later_one_counts():
    flat, nothing = np.zeros((51, 75), np.float32), np.zeros((2, 51, 75), np.float32)
    both, last = (hint_planes([Hint(9, 9, c) for c in colors], nothing, flat, 75, 51) for colors in (("red", "blue"), ("blue",)))
    assert np.array_equal(both, last)


def test_hints_in_the_corners():
    L, auto = np.random.default_rng(0).uniform(-1, 1, (50, 70)).astype(np.float32), np.zeros((2, 50, 70), np.float32)
    for corner in ((0, 0), (699, 499), (699.9, 0), (0, 499.9)):
        planes = hint_planes([Hint(*corner, "red")], auto, L, 700, 500)
        assert planes.shape == (3, 50, 70) and np.isfinite(planes).all() and planes[2].max() > .3


# one photo

def test_the_light_network_loads_with_four_planes(colorizer, one_plane):
    assert isinstance(colorizer.generator, LiteGenerator) and colorizer.generator.in_channels == 4
    assert colorizer.takes_hints and not Colorizer.from_pretrained(one_plane, "cpu").takes_hints


def test_what_is_saved_takes_hints(colorizer, tmp_path):
    colorizer.save_pretrained(tmp_path/"saved")
    assert Colorizer.from_pretrained(tmp_path/"saved", "cpu").takes_hints


@pytest.mark.parametrize("tta", [False, True])
@pytest.mark.parametrize("x, y, color", [(30, 40, "#3060c0"), (5, 70, "olive"), (59.9, 0, "orange"), (0, 79, "green")])
def test_a_hint_is_followed_at_its_point(colorizer, gray, x, y, color, tta):
    told = colorizer.colorize(gray, tta=tta, hints=[Hint(x, y, color)])
    assert asked(told, x, y, color) < 3 < asked(colorizer.colorize(gray, tta=tta), x, y, color)
    assert np.percentile(np.abs(lab(told)[0] - lab(np.repeat(gray[..., None], 3, 2))[0]), 99) <= 1


def test_hints_reach_the_network(colorizer, gray, monkeypatch):
    "Not only the correction after it."
    monkeypatch.setattr("portrait_gan.colorize.follow_hints", lambda ab, *_: ab)
    plain, told = (colorizer.predict([gray], hints=h)[1] for h in (None, [[Hint(30, 40, "blue")]]))
    assert np.abs(plain - told).max() > 1
    seen = []
    monkeypatch.setattr(colorizer.generator, "forward", lambda x: seen.append(x.numpy()) or torch.zeros(len(x), 2, *x.shape[2:]))
    colorizer.predict([gray], hints=[[Hint(30, 40, "blue")]])
    assert [s.shape for s in seen] == [(1, 1, 64, 48), (1, 4, 64, 48)]  # first without, then with what that missed
    planes = hint_planes([Hint(30, 40, "blue")], np.zeros((2, 64, 48), np.float32), seen[0][0, 0], W, H)
    assert np.allclose(seen[1][0, 1:], planes/np.float32([110, 110, 1])[:, None, None]) and seen[1][0, 3].max() > .8


def test_no_hints_are_no_hints(colorizer, gray):
    plain = colorizer.colorize(gray)
    for hints in ([], None): assert apart(colorizer.colorize(gray, hints=hints), plain) == 0
    for hints in ([], [[]], [None], None): assert np.array_equal(colorizer.predict([gray], hints=hints)[1], colorizer.predict([gray])[1])


def test_mirrored_photo_and_hints_give_the_mirrored_answer(colorizer, gray):
    hints = [Hint(20.5, 30.5, "olive"), Hint(50.5, 60.5, "#3060c0", 4)]
    mirrored = [Hint(W - h.x, h.y, h.color, h.radius) for h in hints]
    one = np.asarray(colorizer.colorize(gray, tta=True, hints=hints, size=80))
    other = np.asarray(colorizer.colorize(gray[:, ::-1].copy(), tta=True, hints=mirrored, size=80))
    assert apart(one[:, ::-1], other) <= 1 and apart(one, colorizer.colorize(gray, tta=True, size=80)) > 10


def test_a_list_of_photos_has_a_list_of_lists(colorizer, gray, photo):
    hints = [[Hint(30, 40, "olive")], [], None, [Hint(10, 10, "blue"), Hint(20, 70, "red")]]
    photos = [gray, gray, Image.fromarray(gray), photo]
    for p, h, out in zip(photos, hints, colorizer.colorize(photos, hints=hints), strict=True):
        assert apart(out, colorizer.colorize(p, hints=h)) == 0
    with pytest.raises(ValueError): colorizer.colorize([gray, gray], hints=[[Hint(1, 1, "red")]])
    with pytest.raises(ValueError): colorizer.predict([gray, gray], hints=[[Hint(1, 1, "red")]])


def test_a_batch_is_a_row_of_single_photos(colorizer, gray):
    hints = [[Hint(30, 40, "olive")], [], [Hint(10, 10, "blue"), Hint(20, 70, "red")]]
    _, ab = colorizer.predict([gray]*3, hints=hints)
    for i, h in enumerate(hints): assert np.abs(ab[i:i + 1] - colorizer.predict([gray], hints=[h])[1]).max() < .02


BAD = [([Hint(W, 5, "red")], f"60,5 lies outside the photo, which has {W} × {H} pixels"), ([Hint(5, 80.5, "red")], "outside the photo"),
       ([Hint(1, 1, "red")]*10_000, "10000 hints are too many")]


@pytest.mark.parametrize("hints, why", BAD)
def test_bad_hints_are_one_line_that_names_the_photo(colorizer, gray, photo, hints, why):
    with pytest.raises(ValueError, match=why) as e: colorizer.colorize(photo, hints=hints)
    assert str(e.value).startswith(f"{photo}: ") and "\n" not in str(e.value)
    for given in (gray, Image.fromarray(gray), Photo(gray)):
        with pytest.raises(ValueError, match=why): colorizer.colorize(given, hints=hints)
    with pytest.raises(ValueError, match=why): colorizer.predict([gray], hints=[hints])


@pytest.mark.parametrize("bad", [dict(x=float("nan")), dict(y=float("inf")), dict(x=-1), dict(radius=float("nan")),
                                 dict(color="greenish"), dict(color=""), dict(color=None), dict(radius="wide"), dict(x="3"), dict(x=True)])
def test_what_is_no_hint(bad):
    with pytest.raises(ValueError, match="a hint's") as e: Hint(**dict(x=1, y=1, color="red") | bad)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_network_of_one_plane_refuses(one_plane, gray, photo, tmp_path, monkeypatch, backend):
    monkeypatch.setattr("portrait_gan.export.pooch.os_cache", lambda name: tmp_path/"cache")
    if backend == "onnx": pytest.importorskip("onnxscript")
    deaf = Colorizer.from_pretrained(one_plane, "cpu", backend)
    for call in (lambda: deaf.colorize(gray, hints=[Hint(1, 1, "red")]), lambda: deaf.predict([gray], hints=[[Hint(1, 1, "red")]]),
                 lambda: deaf.colorize([photo], hints=[[Hint(1, 1, "red")]])):
        with pytest.raises(ValueError, match="was trained without hints.*leave them out") as e: call()
        assert str(one_plane) in str(e.value) and "\n" not in str(e.value)
    with pytest.raises(ValueError, match="without hints"): colorize_files(deaf, photo, tmp_path/"out", hints=[Hint(1, 1, "red")])
    assert not (tmp_path/"out").exists()
    assert apart(deaf.colorize(gray, hints=[]), deaf.colorize(gray)) == 0


# ONNX

def test_onnx_has_the_same_colours_with_hints_and_without(colorizer, onnx_file, gray):
    engine = Colorizer.from_pretrained(onnx_file)
    assert engine.takes_hints and engine.generator.in_channels == 4 and (engine.size, engine.ab_scale) == (48, 110.)
    for hints in (None, [[Hint(30, 40, "olive"), Hint(3, 70, "blue", 9)]]):
        for size, tta in ((48, False), (80, True), (33, False)):
            assert np.abs(engine.predict([gray], size, tta, hints)[1] - colorizer.predict([gray], size, tta, hints)[1]).max() < .01
    assert apart(engine.colorize(gray, hints=[Hint(30, 40, "olive")]), colorizer.colorize(gray, hints=[Hint(30, 40, "olive")])) <= 1


def test_onnx_pads_what_is_missing(weights, onnx_file):
    engine, network = OnnxGenerator(onnx_file), load_generator(weights)[0]
    x = torch.randn(2, 4, 50, 70, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(): whole, alone = network(x).numpy(), network(x[:, :1]).numpy()
    assert np.abs(engine(x.numpy()) - whole).max() < 1e-4 and np.abs(engine(x[:, :1].numpy()) - alone).max() < 1e-4
    assert np.abs(whole - alone).max() > 1e-3


class Planes(nn.Module):
    "Exported in a moment."
    def __init__(self, planes, noise=0.):
        super().__init__()
        self.in_channels, self.noise, self.conv = planes, noise, nn.Conv2d(planes, 2, 1)

    def forward(self, L):
        if (missing := self.in_channels - L.shape[1]) > 0: L = nn.functional.pad(L, (0, 0, 0, 0, 0, missing))
        return self.conv(L) + self.noise*torch.rand_like(L[:, :1])*L[:, -1:]


def test_a_file_of_one_plane_drops_no_hints(tmp_path):
    pytest.importorskip("onnxscript")
    export_onnx(Planes(1), tmp_path/"one.onnx", 64, 110.)
    engine, x = OnnxGenerator(tmp_path/"one.onnx"), np.zeros((1, 4, 40, 40), np.float32)
    assert engine.in_channels == 1 and engine(x[:, :1]).shape == (1, 2, 40, 40)
    with pytest.raises(ValueError, match="takes 1 plane, got 4"): engine(x)


def test_the_check_of_an_export_fills_all_planes(tmp_path):
    pytest.importorskip("onnxscript")
    export_onnx(Planes(4), tmp_path/"x.onnx", 64, 110.)
    with pytest.raises(RuntimeError, match="not written"): export_onnx(Planes(4, noise=1.), tmp_path/"noise.onnx", 64, 110.)
    assert files(tmp_path) == ["x.onnx"]


def test_a_hint_by_onnx_imports_no_torch(photo, onnx_file):
    code = """import sys
from portrait_gan.cli import main
try: main(sys.argv[1:])
except SystemExit as e: print(e.code, [m for m in ("torch", "matplotlib", "skimage", "huggingface_hub") if m in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code, "colorize", str(photo), "--out", "out", "--checkpoint", str(onnx_file),
                           "--hint", "30,40,olive"],
                          cwd=photo.parent.parent, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []" and asked(Image.open(photo.parent.parent/"out/x.png"), 30, 40, "olive") < 3


# files

def test_hints_are_in_pixels_of_the_upright_photo(colorizer, gray, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me by 90° to the right"
    Image.fromarray(np.rot90(gray)).save(tmp_path/"x.png", exif=exif)
    hints = [Hint(10, 75, "#3060c0")]  # lies below the file's own rows
    assert apart(colorizer.colorize(tmp_path/"x.png", hints=hints), colorizer.colorize(gray, hints=hints)) == 0
    (result,) = colorize_files(colorizer, tmp_path/"x.png", tmp_path/"out", hints=hints)
    picture = Image.open(result.output)
    assert picture.size == (W, H) and asked(picture, 10, 75, "#3060c0") < 3
    with pytest.raises(ValueError, match="outside"): colorizer.colorize(tmp_path/"x.png", hints=[Hint(75, 10, "red")])


def test_sixteen_bits_stay_sixteen(colorizer, gray, tmp_path):
    deep, hints = gray.astype(np.uint16)*257 + 100, [Hint(30, 40, "olive")]
    Image.fromarray(deep).save(tmp_path/"x.tif")
    told = colorizer.colorize(next(read_pages(tmp_path/"x.tif")), hints=hints)
    assert told.pixels.dtype == np.uint16 and len(np.unique(told.pixels)) > 256
    (result,) = colorize_files(colorizer, tmp_path/"x.tif", tmp_path/"out", hints=hints)
    written = next(read_pages(result.output)).pixels
    assert np.array_equal(written, told.pixels) and asked((written//257).astype(np.uint8), 30, 40, "olive") < 3


def test_hints_belong_to_the_first_picture_of_a_file(colorizer, gray, tmp_path):
    with open(tmp_path/"x.tif", "w+b") as f: write_pages(f, [Photo(np.repeat(gray[..., None], 3, 2))]*2, "TIFF")
    (result,) = colorize_files(colorizer, tmp_path/"x.tif", tmp_path/"out", hints=[Hint(30, 40, "olive")])
    first, second = (p.pixels for p in read_pages(result.output))
    assert apart(first, colorizer.colorize(gray, hints=[Hint(30, 40, "olive")])) <= 1 and apart(second, colorizer.colorize(gray)) <= 1


def test_a_folder_gives_each_photo_its_own(colorizer, gray, tmp_path):
    "In batches of one shape, those with hints beside those without, each as it would be alone."
    (tmp_path/"in").mkdir()
    hints = {i: [Hint(10 + i, 20, "olive"), Hint(40, 5*i, "blue")] for i in (1, 4, 9)}
    for i in range(11):
        Image.fromarray(gray + i).save(tmp_path/f"in/{i}.png")
        if i in hints: write_hints(hints_path(tmp_path/f"in/{i}.png"), hints[i], (W, H))
    results = colorize_files(colorizer, tmp_path/"in", tmp_path/"out")
    assert [r.problem or r.note for r in results] == [None]*11 and results.left_out == {}
    for r in results:
        i = int(r.source.stem)
        assert apart(Image.open(r.output), colorizer.colorize(gray + i, hints=hints.get(i))) <= 1
        assert (read_hints(hints_path(r.output)) if i in hints else None) == hints.get(i)
    assert files(tmp_path/"out") == sorted([f"{i}.png" for i in range(11)] + [hints_path(f"{i}.png").name for i in hints])
    before = {p: p.stat().st_mtime_ns for p in (tmp_path/"out").iterdir()}
    assert all(r.skipped and not r.note for r in colorize_files(colorizer, tmp_path/"in", tmp_path/"out"))
    assert {p: p.stat().st_mtime_ns for p in (tmp_path/"out").iterdir()} == before


def test_hints_are_no_photos(colorizer, photo, tmp_path):
    "Neither when a folder is walked, nor for a pattern, nor when the shell names all files; those of no photo are counted as other files are."
    write_hints(hints_path(photo), [Hint(30, 40, "olive")], (W, H))
    for inputs in (photo.parent, f"{photo.parent}/*", sorted(photo.parent.iterdir())):
        results = colorize_files(colorizer, inputs, tmp_path/"out")
        assert [(r.source, r.problem) for r in results] == [(photo, None)] and results.left_out == {}
    write_hints(photo.with_name("gone.hints.json"), [Hint(30, 40, "olive")], (W, H))
    assert colorize_files(colorizer, photo.parent, tmp_path/"out").left_out == {".json": 1}


def test_an_answer_can_be_made_anew_from_what_lies_beside_it(colorizer, photo, tmp_path):
    write_hints(hints_path(photo), [Hint(30, 40, "olive")], (W, H))
    (result,) = colorize_files(colorizer, photo, tmp_path/"out", hints=[Hint(5, 5, "blue", 4)])
    assert read_hints(hints_path(result.output), (W, H)) == [Hint(30, 40, "olive"), Hint(5, 5, "blue", 4)]
    shutil.copy(hints_path(result.output), hints_path(photo))
    (again,) = colorize_files(colorizer, photo, tmp_path/"again")
    assert again.output.read_bytes() == result.output.read_bytes()


def test_hints_that_are_there_are_replaced_only_when_results_are(colorizer, photo, tmp_path):
    kept = hints_path(tmp_path/"out/x.png")
    write_hints(kept, [Hint(1, 2, "red")], (W, H))
    (result,) = colorize_files(colorizer, photo, tmp_path/"out", hints=[Hint(5, 5, "blue")])
    assert "holds other hints; --overwrite" in result.problem and str(kept) in result.problem
    assert files(tmp_path/"out") == [kept.name] and read_hints(kept) == [Hint(1, 2, "red")]
    (result,) = colorize_files(colorizer, photo, tmp_path/"out", hints=[Hint(5, 5, "blue")], overwrite=True)
    assert (result.problem, result.note) == (None, None) and read_hints(kept) == [Hint(5, 5, "blue")]
    (result,) = colorize_files(colorizer, photo, tmp_path/"out", overwrite=True)
    assert result.note == f"{kept.name} beside it is not of this result" and read_hints(kept) == [Hint(5, 5, "blue")]
    result.output.unlink()  # as if it had been stopped between the two
    (result,) = colorize_files(colorizer, photo, tmp_path/"out", hints=[Hint(5, 5, "blue")])
    assert result.output.exists() and result.note is None


def test_an_inputs_hints_are_never_replaced(colorizer, gray, tmp_path):
    "The result, a PNG beside its JPEG, would have the photo's own hints file."
    Image.fromarray(gray).save(tmp_path/"x.jpg")
    beside = hints_path(tmp_path/"x.jpg")
    write_hints(beside, [Hint(1, 2, "red")], (W, H))
    if hints_path(tmp_path/"x.png") == beside:
        (result,) = colorize_files(colorizer, tmp_path/"x.jpg", tmp_path, format="png", overwrite=True, hints=[Hint(5, 5, "blue")])
        assert "is not replaced" in result.problem and not (tmp_path/"x.png").exists()
    (result,) = colorize_files(colorizer, tmp_path/"x.jpg", tmp_path, format="png", overwrite=True)
    assert result.problem is None and read_hints(beside) == [Hint(1, 2, "red")]


def test_newer_hints_are_told(colorizer, photo, tmp_path):
    (result,) = colorize_files(colorizer, photo, tmp_path/"out")
    os.utime(result.output, (2e9, 2e9))
    write_hints(hints_path(photo), [Hint(30, 40, "olive")], (W, H))
    (again,) = colorize_files(colorizer, photo, tmp_path/"out")
    assert again.skipped and again.note is None
    os.utime(hints_path(photo), (2e9 + 10, 2e9 + 10))
    (again,) = colorize_files(colorizer, photo, tmp_path/"out")
    assert again.skipped and again.note == "its hints have changed since; --overwrite makes it anew"
    assert colorize_files(colorizer, photo, tmp_path/"out", hint_files=False)[0].note is None


# the command

def test_hints_on_the_command_line(run, photo, tmp_path):
    status, out, err = run(photo, "--hint", "30,40,olive", "--hint", "5,5,#3060c0,4")
    assert (status, err) == (0, "")
    picture = Image.open("out/x.png")
    assert asked(picture, 30, 40, "olive") < 3 and asked(picture, 5, 5, "#3060c0") < 3
    assert json.loads(hints_path(tmp_path/"out/x.png").read_text()) == dict(
        size=[W, H], hints=[dict(x=30, y=40, color="olive"), dict(x=5, y=5, color="#3060c0", radius=4)])


def test_hints_beside_a_photo(run, photo, tmp_path):
    write_hints(hints_path(photo), [Hint(30, 40, "olive")], (W, H))
    assert run("in")[0::2] == (0, "")
    assert asked(Image.open("out/x.png"), 30, 40, "olive") < 3
    assert run("in", "--hint", "5,5,#3060c0", "--overwrite")[0::2] == (0, "")
    assert asked(Image.open("out/x.png"), 30, 40, "olive") < 3 and asked(Image.open("out/x.png"), 5, 5, "#3060c0") < 3
    shutil.rmtree("out")
    assert run("in", "--no-hints")[0::2] == (0, "")
    assert asked(Image.open("out/x.png"), 30, 40, "olive") > 3 and files(tmp_path/"out") == ["x.png"]


BROKEN = {"no JSON": "olive at the top", "another size": '{"size": [80, 60], "hints": []}', "a list": "[]", "no colour":
          '{"size": [60, 80], "hints": [{"x": 1, "y": 2}]}', "not a number": '{"size": [60, 80], "hints": [{"x": NaN, "y": 2, "color": "red"}]}',
          "outside": '{"size": [60, 80], "hints": [{"x": 60, "y": 2, "color": "red"}]}',
          "too many": json.dumps(dict(size=[60, 80], hints=[dict(x=1, y=2, color="red")]*10_000)), "no text": "\udcff"}


@pytest.mark.parametrize("text", [pytest.param(t, id=name) for name, t in BROKEN.items()])
def test_a_broken_file_fails_its_photo_only(run, photo, gray, text):
    Image.fromarray(gray).save(photo.with_name("y.png"))
    hints_path(photo).write_text(text, errors="surrogateescape")
    status, out, err = run("in")
    assert status == 1 and err.count("\n") == 1 and err.startswith("portrait-gan: in/x.png: ") and "1 coloured, 1 failed" in out
    assert sorted(os.listdir("out")) == ["errors.csv", "y.png"]
    assert run("in", "--no-hints")[0] == 0


def test_a_hints_file_that_cannot_be_read(run, photo):
    hints_path(photo).mkdir()
    status, _, err = run(photo)
    assert status == 1 and f"{hints_path(photo)} is not readable (Is a directory)" in err and not os.path.exists("out/x.png")


def test_hints_that_cannot_be_kept(run, photo, tmp_path):
    hints_path(tmp_path/"out/x.png").mkdir(parents=True)
    status, _, err = run(photo, "--hint", "30,40,olive", "--overwrite")
    assert status == 1 and err.count("\n") == 1 and f"cannot write {hints_path('out/x.png')}" in err and not os.path.exists("out/x.png")


@pytest.mark.parametrize("hint, why", [("30,40", "is no hint; write X,Y,COLOUR"), ("a,b,red", "is no hint"), ("1,2,greenish", "'greenish'"),
                                       ("nan,2,red", "nan"), ("-3,2,red", "-3"), ("1,2,red,inf", "inf"), ("", "is no hint")])
def test_what_is_no_hint_on_the_command_line(run, photo, hint, why):
    status, out, err = run(photo, "--hint", hint)
    assert (status, out, err.count("\n")) == (2, "", 1) and why in err and not os.path.exists("out")


def test_hints_are_for_one_photo(run, photo, gray):
    Image.fromarray(gray).save(photo.with_name("y.png"))
    for inputs in (["in"], ["in/x.png", "in/y.png"], ["in/*.png"]):
        status, out, err = run(*inputs, "--hint", "30,40,olive")
        assert (status, out, err.count("\n")) == (2, "", 1) and "hints are for one photo, not for 2" in err
    assert not os.path.exists("out")
    assert run("in/x.png", "in/x.png", "--hint", "30,40,olive")[0] == 0  # named twice is meant once


def test_a_hint_outside_the_photo(run, photo):
    status, _, err = run(photo, "--hint", "300,40,olive")
    assert status == 1 and err.count("\n") == 1 and f"{photo}: the hint at 300,40 lies outside the photo" in err and not os.path.exists("out/x.png")


def test_hints_and_a_network_of_one_plane(run, photo, one_plane):
    status, out, err = run(photo, "--hint", "30,40,olive", checkpoint=one_plane)
    assert (status, out, err.count("\n")) == (2, "", 1) and str(one_plane) in err and "trained without hints" in err and not os.path.exists("out")
    hints_path(photo).write_text("even if it is broken")
    status, out, err = run(photo, checkpoint=one_plane)
    assert status == 0 and err.count("\n") == 1 and f"{hints_path(photo).name} is not followed: {one_plane} was trained without hints" in err
    assert os.listdir("out") == ["x.png"]
    assert run(photo, "--no-hints", "--overwrite", checkpoint=one_plane)[0::2] == (0, "")
