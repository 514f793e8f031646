"""Photos as they come out of shoeboxes, telephones and archives: what becomes of each, whole and damaged."""
import importlib.util
import io
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps
from skimage.color import rgb2lab

from portrait_gan.colorize import Colorizer
from portrait_gan.data import toy_portraits
from portrait_gan.files import TMP, PhotoError
from portrait_gan.folder import colorize_files
from portrait_gan.generator import build_generator
from portrait_gan.photo import read_pages

posix = pytest.mark.skipif(sys.platform == "win32", reason="names, links and signals as on POSIX")
GRAY = np.asarray(Image.fromarray(toy_portraits(1, 40)[0]).convert("L"))[:, :33]  # 33 × 40
DEEP = GRAY.astype(np.uint16)*257
COLOR = toy_portraits(1, 40, seed=2)[0]
NOISE = np.random.default_rng(1).integers(0, 256, (64, 64), np.uint8)
ARTIST = Image.Exif()
ARTIST[ExifTags.Base.Artist] = "Ada"
RESOLUTION = Image.Exif()
for tag, value in ((ExifTags.Base.XResolution, 300), (ExifTags.Base.YResolution, 300), (ExifTags.Base.ResolutionUnit, 2)): RESOLUTION[tag] = value
ALPHA = np.linspace(0, 255, 33*40).astype(np.uint8).reshape(40, 33)


@pytest.fixture(scope="module")
def colorizer():
    torch.manual_seed(0)
    return Colorizer(build_generator("resnet18", None), size=32, device="cpu")


# the table: file name -> how it is made, and what must become of it

CASES = {}


def case(name, bad=None, **expected):
    "A photo: bad is what its problem says, else `expected` differs from GRAY, opaque, eight bits, in the format of its name, nothing to note."
    def note(make):
        assert name not in CASES
        CASES[name] = make, bad, expected
        return make
    return note


def saved(name, picture, bad=None, expected=(), **options):
    im = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    usual = dict(like=GRAY if im.mode == "I;16" else np.asarray(im.convert("RGB"))) | (dict(dpi=96) if name.endswith(".bmp") else {})  # Pillow's own
    case(name, bad, **usual | dict(expected))(lambda path: im.save(path, **options))


LINEAR = imagecodecs.cms_profile("rgb", gamma=1., whitepoint=(.3127, .3290, 1), primaries=[.64, .33, 1, .30, .60, 1, .15, .06, 1])
ENCODED = (255*np.where(GRAY/255 <= .0031308, 12.92*GRAY/255, 1.055*(GRAY/255)**(1/2.4) - .055)).astype(np.uint8)
LINEAR = LINEAR.replace("RGB built-in".encode("utf-16-be"), "sRGB, linear".encode("utf-16-be"))


def block(tags):
    "EXIF of small numbers and words of three letters."
    rows = [struct.pack("<HHI4s", tag, 2, 4, v) if isinstance(v, bytes) else struct.pack("<HHII", tag, 3, 1, v) for tag, v in tags.items()]
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(rows)) + b"".join(rows) + bytes(4)


def dots(mode): return Image.fromarray(GRAY).convert(mode)
def three(x): return np.repeat(x[..., None], 3, 2)


def encoded(picture, suffix, **options):
    Image.fromarray(picture).save(buffer := io.BytesIO(), Image.registered_extensions()[suffix], **options)
    return buffer.getvalue()


# kinds of pixels
for name, mode in {"1.png": "1", "l.png": "L", "p.png": "P", "rgb.png": "RGB", "l.jpg": "L", "rgb.jpeg": "RGB", "1.tif": "1", "l.bmp": "L",
                   "1.bmp": "1", "p.bmp": "P", "rgb.tga": "RGB", "l.webp": "L", "l.jfif": "L", "l.jp2": "L", "l.avif": "L"}.items():
    saved(name, dots(mode))
saved("cmyk.jpg", dots("CMYK"))
if importlib.util.find_spec("pillow_heif"): saved("telephone.heic", dots("RGB"), expected=dict(artist="Ada"), exif=ARTIST.tobytes())
saved("cmyk.tif", dots("CMYK"))
saved("la.png", Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(ALPHA)]), expected=dict(alpha=True))
saved("rgba.png", Image.merge("RGBA", [Image.fromarray(GRAY)]*3 + [Image.fromarray(ALPHA)]), expected=dict(alpha=True))
saved("rgba.webp", Image.merge("RGBA", [Image.fromarray(GRAY)]*3 + [Image.fromarray(ALPHA)]), expected=dict(alpha=True), lossless=True)
saved("rgba.tif", Image.merge("RGBA", [Image.fromarray(GRAY)]*3 + [Image.fromarray(ALPHA)]), expected=dict(alpha=True))
saved("hole.png", dots("P"), expected=dict(alpha=True), transparency=0)
saved("key.png", Image.fromarray(GRAY), expected=dict(alpha=True), transparency=int(GRAY[0, 0]))
for bits in (2, 4): case(f"{bits}bit.png", like=0*GRAY)(lambda path, b=bits: path.write_bytes(png(33, 40, b, 0, bytes((33*b + 7)//8 + 1)*40)))
case("g16.png", bits=16)(lambda path: imagecodecs.imwrite(path, DEEP))
case("rgb16.png", bits=16)(lambda path: imagecodecs.imwrite(path, three(DEEP)))
case("rgba16.png", bits=16, alpha=True)(lambda path: imagecodecs.imwrite(path, np.dstack([three(DEEP), ALPHA.astype(np.uint16)*257])))
case("la16.png", bits=16, alpha=True)(lambda path: imagecodecs.imwrite(path, np.dstack([DEEP, ALPHA.astype(np.uint16)*257])))
case("g16.tif", bits=16)(lambda path: tifffile.imwrite(path, DEEP))
case("rgb16.tif", bits=16)(lambda path: tifffile.imwrite(path, three(DEEP), photometric="rgb"))
case("planar.tif", bits=16)(
    lambda path: tifffile.imwrite(path, np.moveaxis(three(DEEP), -1, 0), photometric="rgb", planarconfig="separate"))
case("motorola.tif", bits=16)(lambda path: tifffile.imwrite(path, DEEP, byteorder=">"))
case("white_is_zero.tif")(lambda path: tifffile.imwrite(path, 255 - GRAY, photometric="miniswhite"))
case("float.tif", bits=16, note="only 16 of its 32 bits")(lambda path: tifffile.imwrite(path, GRAY.astype(np.float32)/255))
case("int32.tif", bits=16, note="0 taken as black and 65535 as white")(lambda path: tifffile.imwrite(path, GRAY.astype(np.int32)*257))
if imagecodecs.__version__ >= "2026.3":  # older ones read packed bits, but do not write them
    case("12bit.tif", bits=16)(lambda path: tifffile.imwrite(path, DEEP >> 4, bitspersample=12))
    case("4bit.tif", like=(GRAY >> 4)*17)(lambda path: tifffile.imwrite(path, GRAY >> 4, bitspersample=4))
MULTIPLIED = (GRAY*(ALPHA/255)).round().astype(np.uint8)
case("multiplied.tif", alpha=True, like=(MULTIPLIED/np.maximum(ALPHA, 1)*255).clip(0, 255).round().astype(np.uint8))(
    lambda path: tifffile.imwrite(path, np.dstack([three(MULTIPLIED), ALPHA]), photometric="rgb", extrasamples=["assocalpha"]))
case("infrared.tif", note="without 1 more channel")(
    lambda path: tifffile.imwrite(path, np.dstack([three(GRAY), ALPHA]), photometric="rgb", extrasamples=["unspecified"]))
case("words.tif", artist="Ada")(lambda path: tifffile.imwrite(path, GRAY, bigtiff=True, extratags=[(315, "s", 0, "Ada", True)]))
case("layers.tif", artist="Ada")(
    lambda path: tifffile.imwrite(path, GRAY, extratags=[(315, "s", 0, "Ada", True), (37724, 7, 9, b"the old L", True), (281, 3, 1, 4095, True)]))
case("volume.tif", "not a photo")(
    lambda path: tifffile.imwrite(path, np.stack([GRAY]*3), volumetric=True, tile=(16, 16, 16), photometric="minisblack"))
case("spectrum.tif", "not a photo")(lambda path: tifffile.imwrite(path, np.stack([GRAY]*20, -1), photometric="minisblack", planarconfig="contig"))
case("many_channels.tif", alpha=True, note="without 2 more channels")(
    lambda path: tifffile.imwrite(path, np.dstack([three(GRAY), GRAY, ALPHA, GRAY]), photometric="rgb",
                                  extrasamples=["unspecified", "unassalpha", "unspecified"]))
case("bigtiff.tif")(lambda path: tifffile.imwrite(path, GRAY, bigtiff=True))
case("tiles.tif")(lambda path: tifffile.imwrite(path, GRAY, tile=(16, 16)))
for compression in ("lzw", "packbits", "deflate", "jpeg"):
    near = dict(near=.7) if compression == "jpeg" else {}
    case(f"{compression}.tif", **near)(lambda path, c=compression: tifffile.imwrite(path, GRAY, compression=c))
case("fax.tif", like=np.asarray(dots("1").convert("L")))(lambda path: dots("1").save(path, compression="group4"))
case("profile.png", like=ENCODED)(lambda path: Image.fromarray(GRAY).save(path, icc_profile=imagecodecs.cms_profile("gray", gamma=1.)))
case("srgb.jpg")(lambda path: dots("RGB").save(path, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()))
case("bad_profile.jpg", note="without its colour profile, which is damaged or does not fit")(
    lambda path: dots("RGB").save(path, icc_profile=b"this is no profile"*20))
saved("progressive.jpg", GRAY, progressive=True)
saved("black.png", 0*GRAY)
saved("white.png", 0*GRAY + 255)
saved("sepia.png", (three(GRAY/255)**(.8, 1.05, 1.5)*255).round().astype(np.uint8))
saved("cyanotype.jpg", (three(GRAY/255)**(1.4, 1., .8)*255).round().astype(np.uint8), quality=95)

# shapes
for w, h in ((1, 1), (1, 40), (2000, 1), (31, 37), (3, 500)):
    saved(f"{w}x{h}.png", np.random.default_rng(0).integers(0, 256, (h, w), np.uint8), expected=dict(size=(w, h)))

# how it was held
for k in range(1, 9):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Artist] = k, "Ada"
    (held := Image.fromarray(GRAY)).info["exif"] = exif.tobytes()
    turned = np.asarray(ImageOps.exif_transpose(held))
    saved(f"held_{k}.jpg", GRAY, expected=dict(size=turned.shape[::-1], like=turned, artist="Ada"), exif=exif.tobytes())
case("damaged_exif.jpg")(lambda path: Image.fromarray(GRAY).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xfe"*40))

# more than one picture
frames = [Image.fromarray(np.roll(GRAY, i, 0)) for i in range(3)]
for suffix in ("gif", "webp", "png"):
    kind = dict(out="frames.gif.png") if suffix == "gif" else {}
    saved(f"frames.{suffix}", frames[0], expected=kind | dict(note="only the first of its 3 pictures"), save_all=True, append_images=frames[1:])
saved("still.gif", GRAY, expected=dict(out="still.gif.png"))
case("album.tif", pages=3)(lambda path: tifffile.imwrite(path, np.stack([GRAY]*3), photometric="minisblack"))


@case("thumbnail.tif", pages=1)
def _(path):
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(GRAY)
        tiff.write(GRAY[::2, ::2], subfiletype=1)


case("only_a_copy.tif")(lambda path: tifffile.imwrite(path, GRAY, subfiletype=1))


@case("mask.tif", pages=1)
def _(path):
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(GRAY)
        tiff.write(GRAY > 100, subfiletype=4)


@case("cut_jpeg.tif", "premature end of data")
def _(path):
    tifffile.imwrite(path, NOISE, compression="jpeg")
    path.write_bytes(path.read_bytes()[:-1500])


@case("circle.tif")
def _(path):
    "Its list of pages leads from the first to the first."
    tifffile.imwrite(path, GRAY)
    data = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12*tags, at)
    path.write_bytes(data)


@case("one_in_colour.tif", "page 2 is already in colour")
def _(path):
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(GRAY)
        tiff.write(COLOR, photometric="rgb")


@case("one_damaged.tif", r"damaged or cut off \(page 2: ")
def _(path):
    tifffile.imwrite(path, np.stack([NOISE]*2), photometric="minisblack", compression="deflate")
    with tifffile.TiffFile(path) as tiff: at = tiff.pages[1].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[at:at + 2000] = bytes(2000)
    path.write_bytes(data)


# other formats
saved("l.pgm", GRAY, expected=dict(out="l.pgm.png"))
saved("deep.pgm", DEEP, expected=dict(out="deep.pgm.png", bits=16))
saved("deep.jp2", DEEP, expected=dict(note="only 8 of its 16 bits"))
case("deep_rgb.ppm", note="only 8 of its 16 bits")(
    lambda path: path.write_bytes(b"P6\n# a remark\n33 40\n65535\n" + three(DEEP).astype(">u2").tobytes()))
case("deep_key.png", alpha=True, bits=16)(
    lambda path: path.write_bytes(png(33, 40, 16, 0, b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP), chunk(b"tRNS", b"\0\0"))))
case("4bit_key.png", alpha=True, like=np.full((40, 33), 17, np.uint8))(
    lambda path: path.write_bytes(png(33, 40, 4, 0, (b"\0" + b"\x11"*17)*40, chunk(b"tRNS", b"\0\1"))))
case("odd_exif.jpg", size=(40, 33), like=np.rot90(GRAY, -1), artist="Ada", note="without 1 damaged part of its EXIF")(
    lambda path: Image.fromarray(GRAY).save(path, exif=block({274: 6, 297: b"one", 315: b"Ada"})))
case("odd_exif.webp", artist="Ada", note="without 1 damaged part of its EXIF")(
    lambda path: Image.fromarray(GRAY).save(path, exif=block({297: b"one", 315: b"Ada"})))
case("no_exif.webp", note="without its EXIF, which is damaged")(lambda path: Image.fromarray(GRAY).save(path, exif=b"Exif\0\0nothing of the kind"))
case("linear.png", like=ENCODED)(
    lambda path: Image.fromarray(three(GRAY)).save(path, icc_profile=LINEAR))
saved("dots.webp", GRAY, expected=dict(dpi=300), exif=RESOLUTION.tobytes())
saved("dots.bmp", GRAY, expected=dict(dpi=300), dpi=(300, 300))
saved("dots.png", GRAY, expected=dict(dpi=300), dpi=(300, 300))
saved("dots.jpg", GRAY, expected=dict(dpi=300), dpi=(300, 300))
saved("1.pbm", dots("1"), expected=dict(out="1.pbm.png"))
saved("rgb.ppm", dots("RGB"))
saved("tile.ico", Image.fromarray(GRAY).resize((32, 32)), expected=dict(out="tile.ico.png", size=(32, 32)), sizes=[(32, 32)])

# names that lie, or say nothing
saved("png_inside.jpg", GRAY, format="PNG")
saved("jpeg_inside.png", GRAY, expected=dict(like=np.asarray(Image.open(io.BytesIO(encoded(GRAY, ".jpg"))))), format="JPEG")
saved("scan", GRAY, expected=dict(out="scan.png"), format="PNG")
saved("LOUD.PNG", GRAY)
saved("two.dots.png", GRAY)
for name in ("фото 写真 🙂.png", "=1+2.png", "<img src=x onerror=alert(1)>.png", "a'b\"c.png", "-rf.png", "with\nbreak.png", "%s{0}$HOME.png",
             "é"*120 + ".png"):
    if sys.platform != "win32": saved(name, GRAY)

# in colour, and no photos
saved("colour.png", COLOR, "already in colour")
saved("colour.jpg", COLOR, "already in colour", quality=90)
case("empty.jpg", "not an image")(lambda path: path.touch())
case("letter.jpg", "not an image")(lambda path: path.write_text("Dear reader"))
case("page.jpg", "not an image")(lambda path: path.write_text("<html><body>404 Not Found</body></html>"))
case("drawing.svg", "not an image")(lambda path: path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>'))
case("book.pdf", "not an image")(lambda path: path.write_bytes(b"%PDF-1.4\n%%EOF"))
case("zeros.png", "not an image")(lambda path: path.write_bytes(bytes(5000)))


def cut(source, name, left, bad="damaged or cut off|not an image"):
    case(name, bad)(lambda path: path.write_bytes(encoded(source, Path(name).suffix)[:left]))


for name, left in {"cut.jpg": 1500, "cut.png": 2000, "cut.tif": 3000, "cut.webp": 900, "cut.bmp": 2000, "cut.gif": 900, "head.jpg": 20,
                   "head.png": 30}.items():
    cut(NOISE, name, left)


def chunk(name, data): return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
def png(w, h, depth, color, rows, extra=b""):
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, 0)) + extra
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


case("no_width.png", "damaged|not an image")(lambda path: path.write_bytes(png(0, 40, 8, 0, b"")))
case("too_few_rows.png", "damaged")(lambda path: path.write_bytes(png(33, 40, 8, 0, bytes(34)*20)))
case("too_few_rows_16.png", "damaged")(lambda path: path.write_bytes(png(33, 40, 16, 0, bytes(67)*20)))
case("bad_checksum.png", "damaged|not an image")(lambda path: path.write_bytes(png(33, 40, 8, 0, bytes(34)*40).replace(b"IHDR", b"IHDQ", 1)))
case("bomb.png", r"more than 1,000,000 pixels")(lambda path: path.write_bytes(png(30_000, 30_000, 1, 0, b"")))
case("bomb.tif", r"more than 1,000,000 pixels")(lambda path: tifffile.imwrite(path, np.zeros((1100, 1000), np.uint8), compression="deflate"))
case("text_bomb.png", "damaged|not an image")(
    lambda path: path.write_bytes(png(33, 40, 8, 0, bytes(34)*40, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000))))))
case("trailing.jpg")(lambda path: path.write_bytes(encoded(GRAY, ".jpg") + b"and what the camera wrote after it"*100))
case("leading.jpg", "not an image")(lambda path: path.write_bytes(b"junk" + encoded(GRAY, ".jpg")))
if sys.platform != "win32":
    case("dangling.jpg", "a link that leads nowhere")(lambda path: path.symlink_to("gone"))
    case("circle.jpg", "a link that leads nowhere")(lambda path: path.symlink_to(path.name))
    case("pipe.jpg", "not a regular file")(lambda path: os.mkfifo(path))
    case("device.jpg", "leads out|not a regular file")(lambda path: path.symlink_to("/dev/zero"))


def test_there_are_enough_of_them(): assert len(CASES) >= 60


# How far L* may move, in the mean over a picture: a quarter where every pixel is kept, for the answer is rounded to eight bits.
# Coders lose more, once in the photo and once in the answer: of 33 × 40 such pixels Pillow's JPEG 1.7, WebP 1.2, AVIF 1.0, HEIC 1.1.
NEAR = {".jpg": 2., ".jpeg": 2., ".jfif": 2., ".webp": 2.3, ".avif": 1.2, ".heic": 1.3}


def L_of(rgb): return rgb2lab(rgb/np.iinfo(rgb.dtype).max)[..., 0]


def check(name, result, out):
    "One row of the table: the output as it must be, or the problem."
    _, bad, expected = CASES[name]
    if bad:
        assert result.output is None and result.problem and "\n" not in str(result) and str(result).isprintable()
        assert re.search(bad, result.problem), result.problem
        return
    assert result.problem is None and result.output == out/expected.get("out", name)
    pages, near = list(read_pages(result.output)), NEAR.get(Path(name).suffix.lower(), .25)
    assert len(pages) == expected.get("pages", 1)
    for page in pages:
        assert page.pixels.shape == (*expected.get("size", (33, 40))[::-1], 3)
        assert page.pixels.dtype == (np.uint16 if expected.get("bits") == 16 else np.uint8)
        assert (page.alpha is not None) == expected.get("alpha", False)
        assert (page.exif or {}).get(ExifTags.Base.Artist) == expected.get("artist")
        assert 37724 not in (page.exif or {})  # Photoshop's layers, the old picture
        assert page.dpi == (pytest.approx((expected["dpi"],)*2, rel=1e-3) if "dpi" in expected else None)
        like = expected.get("like", GRAY)
        assert np.abs(L_of(page.pixels) - L_of(like if like.ndim == 3 else three(like))).mean() <= expected.get("near", near)
    notes = [expected["note"]] if "note" in expected else []
    if "out" in expected: notes.insert(0, f"written as PNG: {Path(name).suffix or 'a name without suffix'} is no format for 8-bit RGB here")
    assert (result.note or "") == "; ".join(notes)


@pytest.mark.parametrize("name", CASES)
def test_each_has_its_outcome(colorizer, tmp_path, name):
    "Named by itself."
    (tmp_path/"in").mkdir()
    CASES[name][0](tmp_path/"in"/name)
    (result,) = colorize_files(colorizer, tmp_path/"in"/name, tmp_path/"out", max_pixels=1_000_000)
    check(name, result, tmp_path/"out")
    left = [p.name for p in (tmp_path/"out").rglob("*")] if (tmp_path/"out").exists() else []
    assert left == ([result.output.name] if result.output else [])


def test_all_of_them_in_one_folder(colorizer, tmp_path):
    "None stops another; what a folder means by itself leaves out files that are not called like photos."
    (tmp_path/"in").mkdir()
    for name, (make, _, _) in CASES.items(): make(tmp_path/"in"/name)
    results = {r.source.name: r for r in colorize_files(colorizer, tmp_path/"in", tmp_path/"out", max_pixels=1_000_000)}
    assert CASES.keys() - results.keys() == {"scan", "drawing.svg", "book.pdf", "tile.ico"}
    for name, result in results.items(): check(name, result, tmp_path/"out")
    bad = [r for r in results.values() if r.problem]
    assert len((tmp_path/"out/errors.csv").read_text(encoding="utf-8").splitlines()) == len(bad) + 1
    assert not list((tmp_path/"out").rglob(".tmp-*"))


def test_a_comparison_that_cannot_be_written_is_a_note(colorizer, tmp_path):
    for name, gray in (("wide.png", GRAY[:4].repeat(1000, 1)), ("é"*122 + ".png", GRAY)): Image.fromarray(gray).save(tmp_path/name)
    results = colorize_files(colorizer, [tmp_path/"wide.png", tmp_path/("é"*122 + ".png")], tmp_path/"out", compare=True)
    assert all(r.output.exists() and r.problem is None for r in results)
    with Image.open(tmp_path/"out/wide.png.compare.jpg") as pair: assert pair.width < 65_500
    assert results[0].note is None and "no comparison" in results[1].note


def test_a_table_program_runs_no_name(colorizer, tmp_path, monkeypatch):
    (tmp_path/"in").mkdir()
    for name in ("=1+2.png", "+x.png", "@sum.png"): (tmp_path/"in"/name).touch()
    monkeypatch.chdir(tmp_path/"in")
    colorize_files(colorizer, ["=1+2.png", "+x.png", "@sum.png"], tmp_path/"out")
    rows = (tmp_path/"out/errors.csv").read_text().splitlines()[1:]
    assert len(rows) == 3 and all(row.startswith("'") for row in rows)


# any size, mode and metadata

@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(w=st.integers(1, 70), h=st.integers(1, 70), deep=st.booleans(), alpha=st.booleans(), orientation=st.integers(0, 9),
       artist=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20), dpi=st.floats(2, 5000),
       suffix=st.sampled_from(["png", "tif"]), seed=st.integers(0, 10))
def test_what_is_promised_holds_for_anything(colorizer, tmp_path, w, h, deep, alpha, orientation, artist, dpi, suffix, seed):
    "Size, depth, alpha, EXIF, dpi and lightness come back; formats that can hold all of it."
    top, rng = (65535, np.random.default_rng(seed)) if deep else (255, np.random.default_rng(seed))
    gray, mask = rng.integers(0, top + 1, (2, h, w)).astype(np.uint16 if deep else np.uint8)
    path = tmp_path/f"x.{suffix}"
    if suffix == "tif":
        extra = [(274, 3, 1, orientation, True)] + ([(315, "s", 0, artist, True)] if artist else [])
        tifffile.imwrite(path, np.dstack([three(gray), mask]) if alpha else gray, photometric="rgb" if alpha else "minisblack",
                         extrasamples=["unassalpha"] if alpha else None, resolution=(dpi, dpi), resolutionunit="INCH", extratags=extra, metadata=None)
    else:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        if artist: exif[ExifTags.Base.Artist] = artist
        data = imagecodecs.png_encode(np.dstack([gray, mask]) if alpha else gray)
        path.write_bytes(data[:33] + chunk(b"pHYs", struct.pack(">IIB", *[round(dpi/.0254)]*2, 1)) + chunk(b"eXIf", exif.tobytes()[6:]) + data[33:])
    (result,) = colorize_files(colorizer, path, tmp_path/"out", overwrite=True)
    assert result.problem is None
    page, = read_pages(result.output)
    before, = read_pages(path)
    assert page.pixels.shape[:2] == before.pixels.shape[:2] == ((w, h) if 5 <= orientation <= 8 else (h, w)) and page.pixels.dtype == gray.dtype
    assert (page.alpha is None) == (not alpha) and (not alpha or np.array_equal(page.alpha, before.alpha))
    assert (page.exif or {}).get(ExifTags.Base.Artist, "").rstrip("\0 ") == artist.rstrip("\0 ")
    assert abs(page.dpi[0] - dpi) < .02*dpi + .1
    eight = [three(p) if p.ndim == 2 else p for p in (before.pixels/top, page.pixels/top)]
    moved = np.abs(rgb2lab(eight[1])[..., 0] - rgb2lab(eight[0])[..., 0])
    assert np.percentile(moved, 99) <= 1 and moved.mean() <= .4


# damaged bytes

@pytest.mark.parametrize("tries", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_damaged_bytes_do_no_harm(colorizer, tmp_path, suffix, tries):
    "Random damage gives a picture or one line; no crash, no hang, nothing half-written."
    chance = random.Random(tries)
    whole = [encoded(x, suffix) for x in (GRAY, NOISE, three(GRAY))]
    for _ in range(tries):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.choice((1, 3, 30))):
            at = chance.randrange(len(data))
            damage = chance.randrange(4)
            if damage == 0: data[at] = chance.randrange(256)
            elif damage == 1: del data[at:at + chance.randrange(1, 50)]
            elif damage == 2: data[at:at] = chance.randbytes(chance.randrange(1, 50))
            else: data[at:at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
            if not data: data = bytearray(1)
        (tmp_path/f"x{suffix}").write_bytes(data)
        (result,) = colorize_files(colorizer, tmp_path/f"x{suffix}", tmp_path/"out", overwrite=True, force=True, max_pixels=1_000_000)
        assert "\n" not in str(result) and bool(result.output) != bool(result.problem)
        if result.output: list(read_pages(result.output))
        assert not list((tmp_path/"out").rglob(".tmp-*")) if (tmp_path/"out").exists() else True


# killed, and gone on with

@posix
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_run_is_finished_by_the_next(tmp_path, command, how):
    "Whatever was written is whole; the second run skips it, does the rest and sweeps up."
    (tmp_path/"in").mkdir()
    for i in range(40): Image.fromarray(np.tile(np.roll(GRAY, i, 0), (20, 20))).save(tmp_path/f"in/{i:02d}.png")
    args = ["colorize", "in", "--out", "out", "--compare"]
    program = Path(sys.executable).with_name("portrait-gan")
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    run = subprocess.Popen([program, *args], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    until = time.monotonic() + 600
    while len(list((tmp_path/"out").glob("[0-9][0-9].png"))) < 5 and time.monotonic() < until and run.poll() is None: time.sleep(.02)
    run.send_signal(how)
    _, err = run.communicate(timeout=600)
    done = {p.name for p in (tmp_path/"out").glob("[0-9][0-9].png")}
    assert 5 <= len(done) < 40, err
    if how == signal.SIGINT: assert run.returncode == 130 and err.count("\n") == 1 and "goes on" in err
    for name in done: list(read_pages(tmp_path/"out"/name))
    (tmp_path/f"out/{TMP}999999999-left.png").write_bytes(b"half")  # as one that was killed leaves it; no process has this number
    times = {name: (tmp_path/"out"/name).stat().st_mtime_ns for name in done}
    status, out, err = command(*args, cwd=tmp_path)
    assert status == 0 and f"{40 - len(done)} coloured, {len(done)} already there" in out, err
    assert times == {name: (tmp_path/"out"/name).stat().st_mtime_ns for name in done}
    assert sorted(p.name for p in (tmp_path/"out").glob("[0-9][0-9].png")) == [f"{i:02d}.png" for i in range(40)]
    assert not list((tmp_path/"out").glob(".tmp-*"))


def test_a_photo_that_is_no_photo_raises(colorizer, tmp_path):
    (tmp_path/"x.png").write_bytes(b"no")
    with pytest.raises(PhotoError): colorizer.colorize(tmp_path/"x.png")
