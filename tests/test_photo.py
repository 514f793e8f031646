"""One reader for every photo file: formats × kinds of pixels × depths × orientations × profiles, each against values that are known.

All files are made here, by tifffile, imagecodecs, Pillow or by hand."""
import importlib
import io
import itertools
import os
import struct
import subprocess
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageOps

from portrait_gan.photo import MAX_PIXELS, Photo, PhotoError, as_image, eight_bits, read_pages, read_photo, to_rgb
from portrait_gan.save import write_pages

H, W = 24, 40
yy, xx = np.mgrid[:H, :W]
GRAY = (8 + 230*xx/(W - 1)*(.7 + .3*np.cos(yy/4))).round().astype(np.uint8)
RGB = np.stack([GRAY, 255 - GRAY//2, (40 + 6*yy).astype(np.uint8)], -1)
ALPHA = (30 + 9*yy).astype(np.uint8)
PIXELS = {"gray": GRAY, "rgb": RGB}


def deep(x, bits=16): return ((x.astype(np.uint64)*(2**bits - 1) + 127)//255).astype(np.uint16 if bits <= 16 else np.uint32)
def three(x): return np.repeat(x[..., None], 3, 2)


def srgb(light):
    "Linear light 0…1 as 0…255; source: IEC 61966-2-1."
    return 255*np.where(light <= .0031308, 12.92*light, 1.055*np.maximum(light, 1e-9)**(1/2.4) - .055)


def of_lightness(L): return srgb(np.where(L > 8, ((L + 16)/116)**3, L/903.3))


def values(photo):
    "A photo's pixels on the scale 0…255."
    return photo.pixels/(257 if photo.pixels.dtype == np.uint16 else 1)


def same(got, want, within=.6):
    got = values(got) if isinstance(got, Photo) else np.asarray(got, float)
    want = np.asarray(want, float)
    if got.ndim != want.ndim: got, want = (three(x) if x.ndim == 2 else x for x in (got, want))
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= within, np.abs(got - want).max()


def read(path, **expected):
    "The only picture of a file; what it says beyond its pixels is as expected."
    photo, = read_pages(path)
    assert photo.left_out == expected.get("left_out", ""), photo.left_out
    return photo


def turned(x, k):
    "As Pillow turns it."
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = k
    (im := Image.fromarray(x)).info["exif"] = exif.tobytes()
    return np.asarray(ImageOps.exif_transpose(im))


# TIFF

LAYOUTS = [dict(), dict(rowsperstrip=5), dict(tile=(16, 16))]
COMPRESSIONS = [None, "lzw", "deflate", "packbits", "zstd"]


def store(path, x, **options): tifffile.imwrite(path, x, metadata=None, **options)


@pytest.mark.parametrize("kind", ["gray", "white_is_zero", "rgb", "planar", "gray_alpha", "rgba", "planar_rgba", "palette", "cmyk"])
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_layouts(tmp_path, kind, bits):
    "Byte order, classic and big, strips and tiles, every compression."
    def of(x): return x if bits == 8 else deep(x)
    color, alpha = PIXELS["rgb" if kind in ("rgb", "planar", "rgba", "planar_rgba", "cmyk") else "gray"], None
    if kind == "white_is_zero": x, options = of(255 - GRAY), dict(photometric="miniswhite")
    elif kind == "palette": x, options = (GRAY if bits == 8 else GRAY.astype(np.uint16)), dict(photometric="palette")
    elif kind == "cmyk": x, options = np.dstack([of(255 - RGB), of(0*GRAY)]), dict(photometric="separated")
    elif kind.endswith("rgba"): x, alpha, options = np.dstack([of(RGB), of(ALPHA)]), ALPHA, dict(photometric="rgb", extrasamples=["unassalpha"])
    elif kind == "gray_alpha":
        x, alpha, options = np.dstack([of(GRAY), of(ALPHA)]), ALPHA, dict(photometric="minisblack", extrasamples=["unassalpha"])
    else: x, options = of(color), dict(photometric="minisblack" if kind == "gray" else "rgb")
    if kind == "palette":
        table = np.zeros((3, 2**bits), np.uint16)
        table[:, :256] = np.arange(256)*257
        options["colormap"] = table
    if kind.startswith("planar"): x, options = np.moveaxis(x, -1, 0), options | dict(planarconfig="separate")
    elif x.ndim == 3: options["planarconfig"] = "contig"
    for layout, compression, byteorder, big in itertools.product(LAYOUTS, COMPRESSIONS, "<>", (False, True)):
        if big and compression not in (None, "lzw"): continue
        store(tmp_path/"x.tif", x, compression=compression, predictor=compression in ("lzw", "deflate") and kind != "palette",
              byteorder=byteorder, bigtiff=big, **layout, **options)
        photo = read(tmp_path/"x.tif")
        same(photo, color, 0)
        assert photo.pixels.dtype == (np.uint16 if bits == 16 and kind != "palette" else np.uint8)
        if alpha is None: assert photo.alpha is None
        else: assert np.array_equal(photo.alpha, of(alpha))


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
def test_tiff_odd_depths(tmp_path, bits, photometric):
    color = RGB if photometric == "rgb" else GRAY
    stored = ((color.astype(int)*(2**bits - 1) + 127)//255).astype(np.uint8 if bits < 8 else np.uint16)
    want = 255*(stored/(2**bits - 1))
    if photometric == "miniswhite": stored = 2**bits - 1 - stored
    for byteorder in "<>":  # values lie bit by bit from the highest, whatever the order of bytes; each row begins with a byte
        n = 3 if photometric == "rgb" else 1
        tags = {258: (3, [bits]*n), 262: (3, [["miniswhite", "minisblack", "rgb"].index(photometric)]), 277: (3, [n])}
        handmade(tmp_path/"x.tif", b"".join(packed(row, bits) for row in stored), tags, byteorder)
        photo = read(tmp_path/"x.tif")
        same(photo, want, .002 if bits > 8 else .5)
        assert photo.bits == (bits if bits > 8 else 0)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("fillorder", [1, 2])
@pytest.mark.parametrize("white", [0, 1])
def test_tiff_fax(tmp_path, compression, fillorder, white):
    "As Pillow's libtiff packs it; bits from the lowest, and black exchanged with white."
    Image.fromarray(GRAY > 100).save(tmp_path/"x.tif", compression=compression)
    with tifffile.TiffFile(tmp_path/"x.tif") as tiff:
        page = tiff.pages[0]
        (at,), (n,), tags = page.dataoffsets, page.databytecounts, {c: (4, [page.tags[c].value]) for c in (292, 293) if c in page.tags}
        seen = (GRAY > 100) == (page.photometric == white)
        tags |= {258: (3, [1]), 259: (3, [page.compression]), 262: (3, [white]), 266: (3, [fillorder])}
    data = (tmp_path/"x.tif").read_bytes()[at:at + n]
    if fillorder == 2: data = bytes(int(f"{b:08b}"[::-1], 2) for b in data)
    handmade(tmp_path/"y.tif", data, tags)
    same(read(tmp_path/"y.tif"), 255*seen, 0)


@pytest.mark.parametrize("k", range(1, 9))
@pytest.mark.parametrize("mode", ["1", "L", "I;16", "LA", "RGB", "RGBA", "P", "CMYK", "YCbCr", "LAB"])
def test_tiff_orientations(tmp_path, k, mode):
    "Uncompressed, Pillow would map some into memory with width and height exchanged."
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = k
    if mode == "I;16": im = Image.fromarray(deep(GRAY))
    elif mode == "LAB": im = Image.merge("LAB", [Image.fromarray(GRAY), *[Image.fromarray(0*GRAY + 128)]*2])
    else: im = Image.fromarray(GRAY).convert("L" if mode == "LA" else mode)
    if mode == "LA": im.putalpha(Image.fromarray(ALPHA))
    want = GRAY
    if mode == "1": want = np.asarray(im.convert("L"))
    if mode == "LAB": want = of_lightness(GRAY/2.55)
    for compression in (None, "tiff_lzw"):
        if compression and mode == "LAB": continue
        im.save(tmp_path/"x.tif", exif=exif, compression=compression)
        photo = read(tmp_path/"x.tif")
        same(photo, turned(np.asarray(want, np.float32), k), 2 if mode in ("YCbCr", "LAB") else .6)
        if mode in ("LA", "RGBA"): assert np.array_equal(photo.alpha, turned(ALPHA if mode == "LA" else 0*ALPHA + 255, k))
        if mode not in ("1", "LA", "RGBA", "LAB", "YCbCr"):
            with Image.open(tmp_path/"x.tif") as lazy: same(np.asarray(to_rgb(lazy))[..., 0], turned(np.asarray(want, np.float32), k), 2)


def packed(row, bits):
    "Values of a row, each with so many bits, as bytes."
    return np.packbits((row.reshape(-1, 1).astype(int) >> np.arange(bits)[::-1] & 1).astype(np.uint8).ravel()).tobytes()


def handmade(path, data, tags, order="<"):
    "A TIFF of one strip, tag by tag: code -> (type, values)."
    tags = {256: (4, [W]), 257: (4, [H]), 259: (3, [1]), 273: (4, [0]), 277: (3, [1]), 278: (4, [H]), 279: (4, [len(data)])} | tags
    at, body, far = 8 + 2 + 12*len(tags) + 4, b"", b""
    for code, (kind, numbers) in sorted(tags.items()):
        value = struct.pack(f"{order}{len(numbers)}{'_BsHIQ'[kind]}", *numbers)
        if len(value) > 4: far, value = far + value, struct.pack(order + "I", at + len(far))
        body += struct.pack(order + "HHI", code, kind, len(numbers)) + value.ljust(4, b"\0")
    body = body.replace(struct.pack(order + "HHII", 273, 4, 1, 0), struct.pack(order + "HHII", 273, 4, 1, at + len(far)))
    path.write_bytes((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags)) + body + bytes(4) + far + data)


def pack_ycbcr(ycc, across, down):
    "The data units of TIFF 6.0, section 21: some of Y, then a Cb and a Cr."
    rows = []
    for y in range(0, H, down):
        for x in range(0, W, across):
            rows.append(ycc[y:y + down, x:x + across, 0].tobytes())
            rows.append(ycc[y:y + down, x:x + across, 1:].astype(float).mean((0, 1)).round().astype(np.uint8).tobytes())
    return b"".join(rows)


@pytest.mark.parametrize("across, down", [(1, 1), (2, 1), (2, 2), (4, 2)])
@pytest.mark.parametrize("compression", [1, 5, 8])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_tiff_ycbcr(tmp_path, across, down, compression, k):
    "Without JPEG; chroma at every fineness."
    flat = np.stack([GRAY, 0*GRAY + 100, 0*GRAY + 180], -1)  # one colour, so that its fineness does not matter
    data = {1: bytes, 5: imagecodecs.lzw_encode, 8: imagecodecs.zlib_encode}[compression](pack_ycbcr(flat, across, down))
    tags = {258: (3, [8]*3), 259: (3, [compression]), 262: (3, [6]), 274: (3, [k]), 277: (3, [3]), 530: (3, [across, down])}
    handmade(tmp_path/"x.tif", data, tags)
    same(read(tmp_path/"x.tif"), turned(ycbcr_to_rgb(flat), k), 2)
    (tmp_path/"cut.tif").write_bytes((tmp_path/"x.tif").read_bytes()[:-60])
    with pytest.raises(PhotoError, match="cut.tif: damaged or cut off"): list(read_pages(tmp_path/"cut.tif"))


def ycbcr_to_rgb(x):
    y, cb, cr = x[..., 0].astype(float), x[..., 1] - 128., x[..., 2] - 128.
    return np.stack([y + 1.402*cr, y - .344136*cb - .714136*cr, y + 1.772*cb], -1).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("photometric", ["minisblack", "rgb", "separated"])
def test_tiff_jpeg(tmp_path, photometric):
    "In one piece, in strips and in tiles; RGB is stored as YCbCr."
    color = dict(minisblack=GRAY, separated=np.dstack([255 - RGB, 0*GRAY])).get(photometric, RGB)
    for layout in ({}, dict(rowsperstrip=8), dict(tile=(16, 16))):
        store(tmp_path/"x.tif", color, photometric=photometric, compression="jpeg", compressionargs=dict(level=98), **layout)
        same(read(tmp_path/"x.tif"), imagecodecs.tiff_decode((tmp_path/"x.tif").read_bytes(), asrgb=True)[..., :3], 2)
        with tifffile.TiffFile(tmp_path/"x.tif") as tiff: at, n = tiff.pages[0].dataoffsets[-1], tiff.pages[0].databytecounts[-1]
        data = bytearray((tmp_path/"x.tif").read_bytes())
        data[at + n//2:at + n] = b"\xff\xd9" + bytes(n - n//2 - 2)  # the second half of the last strip
        (tmp_path/"lost.tif").write_bytes(data)
        with pytest.raises(PhotoError, match="lost.tif: damaged or cut off"): list(read_pages(tmp_path/"lost.tif"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("photometric", [8, 9])
def test_tiff_cielab(tmp_path, dtype, photometric):
    "Black to white, and a red whose CIELAB is known."
    lab = np.zeros((H, W, 3))
    lab[..., 0] = np.linspace(0, 100, W)
    lab[:4] = 53.24, 78.13, 62.24  # (255, 33, 17) adapted to D50, about
    signed = photometric == 8
    if dtype == np.float32: stored = lab.astype(dtype)
    else:
        full, unit = (255, 1) if dtype == np.uint8 else (65535, 256)
        ab = (lab[..., 1:]*unit).round().astype(int) + (0 if signed else (full + 1)//2)
        stored = np.concatenate([(lab[..., :1]*full/100).round().astype(int), ab % (full + 1)], 2).astype(dtype)
    store(tmp_path/"x.tif", stored, photometric="cielab" if signed else "icclab")
    photo = read(tmp_path/"x.tif")
    same(values(photo)[4:], of_lightness(lab[4:, :, 0]), 1.5)
    assert np.abs(values(photo)[0, 0] - (255, 0, 0)).max() < 45 and values(photo)[0, 0, 0] > 245
    assert photo.pixels.dtype == (np.uint8 if dtype == np.uint8 else np.uint16)


def test_tiff_alpha_and_more(tmp_path):
    "Premultiplied alpha, channels that are no colour, five inks."
    for x, full in ((RGB, 255), (deep(RGB), 65535)):
        alpha = ALPHA if full == 255 else deep(ALPHA)
        multiplied = (x.astype(float)*alpha[..., None]/full).round().astype(x.dtype)
        store(tmp_path/"x.tif", np.dstack([multiplied, alpha]), photometric="rgb", extrasamples=["assocalpha"])
        same(read(tmp_path/"x.tif"), RGB, 5 if full == 255 else .6)
    store(tmp_path/"x.tif", np.dstack([GRAY, GRAY//2, ALPHA]), photometric="minisblack", planarconfig="contig",
          extrasamples=["unspecified", "unassalpha"])
    photo = read(tmp_path/"x.tif", left_out="without 1 more channel")
    same(photo, GRAY, 0)
    assert np.array_equal(photo.alpha, ALPHA)
    store(tmp_path/"x.tif", np.dstack([255 - RGB, 0*GRAY, ALPHA]), photometric="separated", extrasamples=["unassalpha"])
    photo = read(tmp_path/"x.tif")
    same(photo, RGB, 0)
    assert np.array_equal(photo.alpha, ALPHA)


@pytest.mark.parametrize("scale", [1, 256, 257])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_tiff_colormaps(tmp_path, scale, bits):
    "Sixteen bits, as some writers fill them, and the eight of old writers (libtiff: 'Assuming 8-bit colormap')."
    n = 2**bits
    stored, grays = GRAY.astype(int)*(n - 1)//255, np.linspace(0, 255, n).round().astype(int)
    rows = b"".join(packed(row, bits) for row in stored)
    colors = np.concatenate([grays, 255 - grays, grays//2])*scale
    handmade(tmp_path/"x.tif", rows, {258: (3, [bits]), 262: (3, [3]), 320: (3, colors.tolist())})
    same(read(tmp_path/"x.tif"), np.stack([grays, 255 - grays, grays//2], -1)[stored], 0)


# values of other types than a photo's

@pytest.mark.parametrize("value", [None, 1.02, 1e30, -7., np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_float_with_one_odd_value(tmp_path, value, color):
    x = PIXELS[color].astype(np.float32)/255
    if value is not None: x[0, 0] = value
    store(tmp_path/"x.tif", x, photometric="minisblack" if color == "gray" else "rgb")
    n = 1 if color == "gray" else 3
    wild = f"; {n} value{'s'*(n > 1)} beyond black and white, or no number{'s'*(n > 1)}"
    photo = read(tmp_path/"x.tif", left_out="only 16 of its 32 bits" + wild*(value is not None))
    same(values(photo)[1:], PIXELS[color][1:], .01)
    assert photo.pixels.dtype == np.uint16 and len(np.unique(photo.pixels)) > 50
    assert np.all(photo.pixels[0, 0] == (65535 if value in (1.02, 1e30, np.inf) else 0)) or value is None


@pytest.mark.parametrize("low, high, bottom, top", [
    (0, 1, 0, 1), (0, .05, 0, 1), (0, 1.5, 0, 1.5), (0, 255, 0, 255), (0, 65535, 0, 65535), (-1, 1, -1, 1), (-.05, 1, 0, 1), (0, 4095, 0, 4095),
    (-1000, 3000, -1000, 3000), (0, 1e6, 0, 1e6)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_ranges(tmp_path, low, high, bottom, top, dtype):
    "0 to 1, 255 or 65535, where the values say so; else what there is."
    x = np.linspace(low, high, H*W).reshape(H, W).astype(dtype)
    store(tmp_path/"x.tif", x)
    photo, = read_pages(tmp_path/"x.tif")
    same(photo, 255*((x - bottom)/(top - bottom)).clip(0, 1), .6)
    assert f"only 16 of its {8*x.itemsize} bits" in photo.left_out
    assert ("taken as black" in photo.left_out) == ((bottom, top) != (0, 1))


def test_half_floats_lose_nothing(tmp_path):
    store(tmp_path/"x.tif", (GRAY/255).astype(np.float16))
    same(read(tmp_path/"x.tif"), GRAY, .2)


@pytest.mark.parametrize("dtype, of, note", [
    (np.uint32, lambda x: deep(x, 32), "only 16 of its 32 bits"), (np.uint32, lambda x: deep(x), "0 taken as black and 65535 as white"),
    (np.int32, lambda x: deep(x), "0 taken as black and 65535 as white"), (np.int32, lambda x: x, "0 taken as black and 255 as white"),
    (np.int16, lambda x: deep(x) >> 1, "0 taken as black and 32767 as white"),
    (np.int16, lambda x: deep(x).astype(int) - 32768, "-32768 taken as black and 32767 as white"),
    (np.int16, lambda x: x, "0 taken as black and 255 as white"), (np.int8, lambda x: x >> 1, "0 taken as black and 127 as white"),
    (np.int8, lambda x: x.astype(int) - 128, "-128 taken as black and 127 as white"),
    (np.int32, lambda x: (x.astype(np.int64)*2**24) - 2**31, "only 16 of its 32 bits; -2.14748e+09 taken as black and 2.14748e+09 as white"),
    (np.uint64, lambda x: x.astype(np.uint64)*(2**64//255), "only 16 of its 64 bits")])
@pytest.mark.parametrize("byteorder", "<>")
def test_integers_of_other_sizes(tmp_path, dtype, of, note, byteorder):
    gray = GRAY.copy()
    gray[0, :2] = 0, 255
    gray[1, :2] = 0, 255
    store(tmp_path/"x.tif", of(gray).astype(dtype), photometric="minisblack", byteorder=byteorder)
    same(read(tmp_path/"x.tif", left_out=note), gray, 1.1)


def test_nothing_but_no_numbers_is_no_photo(tmp_path):
    store(tmp_path/"x.tif", np.full((H, W), np.nan, np.float32))
    with pytest.raises(PhotoError, match="x.tif: .*no number"): list(read_pages(tmp_path/"x.tif"))


# profiles

PRIMARIES = dict(srgb=[.64, .33, 1, .30, .60, 1, .15, .06, 1], adobe=[.64, .33, 1, .21, .71, 1, .15, .06, 1])


def profile(space, gamma, primaries="srgb"):
    if space == "gray": return imagecodecs.cms_profile("gray", gamma=gamma)
    return imagecodecs.cms_profile("rgb", gamma=gamma, whitepoint=(.3127, .3290, 1), primaries=PRIMARIES[primaries])


def with_profile(path, x, alpha, icc):
    "An 8- or 16-bit picture with a profile, in whatever the name asks for."
    suffix = path.suffix
    if suffix == ".tif":
        stacked = x if alpha is None else np.dstack([x, alpha])
        store(path, stacked, photometric="rgb" if x.ndim == 3 else "minisblack", iccprofile=icc, planarconfig="contig" if stacked.ndim == 3 else None,
              extrasamples=None if alpha is None else ["unassalpha"])
    elif suffix == ".png":
        data = imagecodecs.png_encode(x if alpha is None else np.dstack([x, alpha]))
        path.write_bytes(data[:33] + chunk(b"iCCP", b"x\0\0" + zlib.compress(icc)) + data[33:])
    elif suffix == ".jp2":
        path.write_bytes(jp2_with_profile(imagecodecs.jpeg2k_encode(x, level=0, codecformat="jp2", bitspersample=8*x.itemsize), icc))
    else:
        im = Image.fromarray(x)
        if alpha is not None: im.putalpha(Image.fromarray(alpha))
        options = {".webp": dict(lossless=True, exact=True), ".jpg": dict(quality=100, subsampling=0)}.get(suffix, dict(quality=100))
        im.save(path, icc_profile=icc, **options)


def chunk(name, data): return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def jp2_with_profile(data, icc):
    "Its colr box, which names sRGB or grey, exchanged for one that holds a profile (ISO 15444-1, I.5.3.3)."
    at = data.index(b"colr") - 4
    (size,) = struct.unpack_from(">I", data, at)
    new = struct.pack(">I", 11 + len(icc)) + b"colr" + b"\2\0\0" + icc
    data = bytearray(data[:at] + new + data[at + size:])
    header = data.index(b"jp2h") - 4
    struct.pack_into(">I", data, header, struct.unpack_from(">I", data, header)[0] + len(new) - size)
    return bytes(data)


@pytest.mark.parametrize("suffix, bits", [*itertools.product(("tif", "png", "jp2"), (8, 16)), ("webp", 8), ("jpg", 8), ("avif", 8), ("heic", 8)])
@pytest.mark.parametrize("gamma", [1., 1.8, "srgb"])
def test_profiles_in_every_container(tmp_path, suffix, bits, gamma):
    "Grey and RGB, with alpha and without: as the formula says."
    if suffix == "heic": pytest.importorskip("pillow_heif")
    want = GRAY if gamma == "srgb" else srgb((GRAY/255)**gamma)
    of = (lambda x: x) if bits == 8 else deep
    for space, alpha in itertools.product(("gray", "rgb"), (None, ALPHA)):
        if alpha is not None and suffix in ("jpg", "jp2") or space == "gray" and suffix in ("webp", "heic"): continue
        icc = profile(space, gamma) if gamma != "srgb" else imagecodecs.cms_profile("srgb")
        if gamma == "srgb" and space == "gray": continue
        x = of(GRAY if space == "gray" else three(GRAY))
        path = tmp_path/f"{space}.{suffix}"
        with_profile(path, x, None if alpha is None else of(alpha), icc)
        photo, = read_pages(path)
        lossy = suffix in ("jpg", "avif", "heic")
        same(photo, want, .6 if not lossy else 14 if gamma == 1 else 5)  # the first steps of linear light are far apart
        assert (photo.alpha is not None) == (alpha is not None)
        assert photo.left_out == ""
        same(np.asarray(read_photo(path)).astype(float) if alpha is None else values(photo), want, 1.1 if not lossy else 14)


def test_pictures_in_memory_obey_their_profile():
    "Of every mode that can hold one; values 1 and 2 of linear light are 13 and 22."
    want = srgb(GRAY/255)
    for mode in ("L", "LA", "P", "RGB", "RGBA", "I;16"):
        im = Image.fromarray(deep(GRAY)) if mode == "I;16" else Image.fromarray(GRAY).convert(mode)
        im.info["icc_profile"] = profile("gray" if mode in ("L", "LA", "I;16") else "rgb", 1.)
        same(np.asarray(to_rgb(im)), want, .6)
    steps = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps.info["icc_profile"] = profile("gray", 1.)
    assert np.asarray(to_rgb(steps))[0, 1:5, 0].tolist() == [13, 22, 28, 34]


@pytest.mark.parametrize("bits", [8, 16])
def test_wide_gamut(tmp_path, bits):
    "Adobe RGB to sRGB by its matrices; deep green and red lie outside and are cut off."
    inside = (RGB//3 + 80)
    light = (inside/255)**2.2
    xyz = np.array([[.57667, .18556, .18823], [.29734, .62736, .07529], [.02703, .07069, .99134]])
    back = np.array([[3.24045, -1.53714, -.49853], [-.96927, 1.87601, .04156], [.05564, -.20403, 1.05723]])
    want = srgb(light @ xyz.T @ back.T).clip(0, 255)
    with_profile(tmp_path/"x.png", inside if bits == 8 else deep(inside), None, profile("rgb", 2.2, "adobe"))
    same(read(tmp_path/"x.png"), want, 1.1 if bits == 8 else .6)


def test_a_palette_obeys_its_profile(tmp_path):
    want = srgb(GRAY/255)
    im = Image.fromarray(GRAY).convert("P")
    for path in (tmp_path/"x.png", tmp_path/"x.tif"):
        im.save(path, icc_profile=profile("rgb", 1.))
        same(read(path), want)


def test_inks_obey_their_profile(tmp_path):
    "A CMYK profile made here: a table whose corners are the inks, between them straight lines."
    icc = cmyk_profile()
    x = np.dstack([0*GRAY, 0*GRAY, 0*GRAY, 255 - GRAY])
    for name in ("x.tif", "x.jpg"):
        im = Image.merge("CMYK", [Image.fromarray(np.ascontiguousarray(x[..., i])) for i in range(4)])
        im.save(tmp_path/name, icc_profile=icc, **(dict(quality=100) if name == "x.jpg" else {}))
        photo = read(tmp_path/name)
        same(photo, of_lightness(GRAY/2.55), 1.5 if name == "x.tif" else 6)  # in that table paper has L* = 100 and black L* = 0
    im.info["icc_profile"] = icc
    same(np.asarray(to_rgb(im)), of_lightness(GRAY/2.55), 1.5)


def cmyk_profile():
    "ICC.1:2010: a header, an A2B0 table from CMYK to Lab with two steps an ink, and what else must be there."
    grid = np.array([[255*(1 - k), 128, 128] if not (c or m or y) else [255*(1 - k)*(1 - (c + m + y)/3.6), 128, 128]
                     for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]).round().astype(np.uint8)
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536) + ramp*4 + grid.tobytes() + ramp*3
    text = b"text" + bytes(4) + b"none\0"
    desc = b"desc" + bytes(4) + struct.pack(">I", 5) + b"inks\0" + bytes(4 + 4 + 2 + 1 + 67)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    parts = [(b"desc", desc), (b"cprt", text), (b"wtpt", white), (b"A2B0", table)]
    at, tags, body = 128 + 4 + 12*len(parts), b"", b""
    for name, data in parts:
        data += bytes(-len(data) % 4)
        tags += name + struct.pack(">II", at + len(body), len(data))
        body += data
    header = struct.pack(">I4xI4s4s4s12x4s28xI3i", at + len(body), 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp", 0, 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(parts)) + tags + body


@pytest.mark.parametrize("icc", [b"this is no profile"*20, imagecodecs.cms_profile("lab4")])
def test_a_profile_that_does_not_fit_is_told(tmp_path, icc):
    for name, x in (("x.tif", GRAY), ("x.png", RGB), ("y.png", deep(RGB)), ("y.tif", deep(GRAY))):
        with_profile(tmp_path/name, x, None, icc)
        same(read(tmp_path/name, left_out="without its colour profile, which is damaged or does not fit"), x/(257 if x.dtype == np.uint16 else 1), 0)


# PNG

def png(w, h, bits, color, rows, *extra, interlaced=0):
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, bits, color, 0, 0, interlaced))
    return head + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rows_of(x, bits):
    "Filter 0 before each row; several values in a byte where they are small."
    x = x.reshape(len(x), -1)
    return b"".join(b"\0" + packed(row, bits) for row in x)


KINDS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # colour type: depths
ADAM7 = (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)


@pytest.mark.parametrize("bits, color", [(bits, color) for color, depths in KINDS.items() for bits in depths])
@pytest.mark.parametrize("key", [False, True])
@pytest.mark.parametrize("interlaced", [0, 1])
def test_png_of_every_kind(tmp_path, bits, color, key, interlaced):
    "Colour types and depths of the PNG specification, section 11.2.2, and a colour that means transparent."
    top = 2**bits - 1
    def scaled(x): return ((x.astype(int)*top + 127)//255)
    stored, extra, want = scaled({0: GRAY, 2: RGB, 3: GRAY, 4: np.dstack([GRAY, ALPHA]), 6: np.dstack([RGB, ALPHA])}[color]), [], None
    if color == 3:
        table = np.stack([np.linspace(0, 255, top + 1).round(), np.linspace(255, 0, top + 1).round(), np.full(top + 1, 9)], -1).astype(np.uint8)
        extra, want = [chunk(b"PLTE", table.tobytes())], table[stored]
    else: want = 255*(stored[..., :{4: 1, 6: 3}.get(color)] if color in (4, 6) else stored)/top
    if want.ndim == 3 and want.shape[2] == 1: want = want[..., 0]
    alpha = stored[..., -1] if color in (4, 6) else None
    if key and color in (0, 2, 3):
        if color == 3: extra, alpha = [*extra, chunk(b"tRNS", b"\0")], np.where(stored == 0, 0, 255)
        else:
            first = np.atleast_1d(stored[0, 0])
            extra.append(chunk(b"tRNS", struct.pack(f">{len(first)}H", *first)))
            alpha = np.where((stored == stored[0, 0]).reshape(H, W, -1).all(-1), 0, top)
    passes = [stored[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [stored]
    rows = b"".join(rows_of(x, bits) for x in passes)
    (tmp_path/"x.png").write_bytes(png(W, H, bits, color, rows, *extra, interlaced=interlaced))
    photo = read(tmp_path/"x.png")
    same(photo, want)
    assert photo.pixels.dtype == (np.uint16 if bits == 16 else np.uint8)
    if alpha is None: assert photo.alpha is None
    else: assert np.array_equal(photo.alpha, alpha*(255//top) if bits < 8 and color == 0 else alpha)


def test_png_that_is_whole_where_it_counts(tmp_path):
    data, path = png(W, H, 8, 0, rows_of(GRAY, 8), chunk(b"tEXt", b"a\0b")), tmp_path/"x.png"
    at, pixels = data.index(b"tEXt"), data.index(b"IDAT")
    def try_(changed, **expected):
        path.write_bytes(changed)
        same(read(path, **expected), GRAY, 0)
    try_(data[:at + 7] + b"\0\0\0\0" + data[at + 11:], left_out="without its 'tEXt', damaged")
    try_(data[:-12], left_out="read although its end mark is lost")
    try_(data[:-14], left_out="read although its end mark is lost")
    try_(data + b"trailing"*100)
    profile_chunk = chunk(b"iCCP", b"x\0\0" + zlib.compress(profile("gray", 1.)))
    bad = bytearray(profile_chunk)
    bad[-1] ^= 1
    try_(data[:33] + bytes(bad) + data[33:], left_out="without its 'iCCP', damaged")
    for changed in (data[:pixels + 20] + bytes([data[pixels + 20] ^ 1]) + data[pixels + 21:], data[:pixels + 60], data[:33] + data[-12:]):
        path.write_bytes(changed)
        with pytest.raises(PhotoError, match="x.png: damaged or cut off"): list(read_pages(path))


# JPEG

def jpeg(x, **options):
    Image.fromarray(x).save(b := io.BytesIO(), "JPEG", **dict(quality=95) | options)
    return b.getvalue()


NOISE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


@pytest.mark.parametrize("options", [dict(), dict(progressive=True), dict(subsampling=0), dict(restart_marker_rows=1)])
@pytest.mark.parametrize("gray", [False, True])
def test_jpeg_that_lost_its_end_and_jpeg_that_lost_pixels(tmp_path, options, gray):
    x = NOISE[..., 0] if gray else NOISE
    data, path = jpeg(x, **options), tmp_path/"x.jpg"
    want = np.asarray(Image.open(io.BytesIO(data)))
    path.write_bytes(data)
    same(read(path), want, 0)
    for changed, note in ((data[:-2], "read although its end mark is lost"), (data[:-1], "read although its end mark is lost"),
                          (data + b"\0"*500, ""), (data + b"a film behind it"*9, ""),
                          (data[:-2] + bytes(40) + data[-2:], "read although odd bytes stand before its end")):
        path.write_bytes(changed)
        same(read(path, left_out=note), want, 0)
    begin = data.rindex(b"\xff\xda") + 200
    for changed in (data[:-2002] + data[-2:], data[:-2002], data[:begin] + data[begin + 2000:]):
        path.write_bytes(changed)
        with pytest.raises(PhotoError, match="x.jpg: damaged or cut off"): list(read_pages(path))


@pytest.mark.parametrize("bits", [12])
@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_jpeg_of_twelve_bits(tmp_path, bits, color):
    x = deep(PIXELS[color], bits)
    try: data = imagecodecs.jpeg8_encode(x, bitspersample=bits, level=99)
    except ValueError: pytest.skip("this imagecodecs knows no JPEG of twelve bits")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Artist] = 6, "Ada"
    block = exif.tobytes()
    (tmp_path/"x.jpg").write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:])
    photo = read(tmp_path/"x.jpg")
    same(photo, np.rot90(PIXELS[color], -1), 8)
    assert photo.pixels.dtype == np.uint16 and photo.bits == 12 and photo.exif[ExifTags.Base.Artist] == "Ada"
    for lost in (data[:-202], data[:-202] + data[-2:]):
        (tmp_path/"x.jpg").write_bytes(lost)
        with pytest.raises(PhotoError, match="x.jpg: damaged or cut off"): read_photo(tmp_path/"x.jpg")
    (tmp_path/"x.jpg").write_bytes(data[:-2])
    same(next(read_pages(tmp_path/"x.jpg")), PIXELS[color], 8)


def test_jpeg_pixels_are_those_of_pillow(tmp_path):
    "To the bit: what was prepared before stays what it was."
    for x, subsampling, progressive, quality in itertools.product((NOISE, NOISE[:33, :31]), (0, 1, 2), (False, True), (50, 95)):
        (tmp_path/"x.jpg").write_bytes(jpeg(x, subsampling=subsampling, progressive=progressive, quality=quality))
        assert np.array_equal(read_photo(tmp_path/"x.jpg"), Image.open(tmp_path/"x.jpg"))
    Image.fromarray(NOISE).convert("CMYK").save(tmp_path/"x.jpg", quality=95)
    assert np.array_equal(read_photo(tmp_path/"x.jpg"), Image.open(tmp_path/"x.jpg").convert("RGB"))


# other formats

@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("suffix", ["avif", "jp2", "heic", "ppm"])
@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_depths_of_other_formats(tmp_path, bits, suffix, color):
    "AVIF, JPEG 2000, HEIC and netpbm keep their bits."
    if suffix == "avif" and bits == 16 or suffix == "heic" and bits != 10: pytest.skip("there are none")
    path, x = tmp_path/f"x.{suffix}", PIXELS[color] if bits == 8 else deep(PIXELS[color], bits)
    if suffix == "heic":
        heif = pytest.importorskip("pillow_heif")
        heif.from_bytes(mode="RGB;16", size=(W, H), data=(deep(three(GRAY) if color == "gray" else RGB)).tobytes()).save(path, quality=-1, chroma=444)
    elif suffix == "avif": path.write_bytes(imagecodecs.avif_encode(x, level=100, bitspersample=bits))
    elif suffix == "jp2": path.write_bytes(imagecodecs.jpeg2k_encode(x, level=0, bitspersample=bits, codecformat="jp2"))
    else:
        head = f"P{5 if color == 'gray' else 6}\n# a remark\n{W} {H}\n{2**bits - 1}\n".encode()
        path.write_bytes(head + (x if bits == 8 else x.astype(">u2")).tobytes())
    photo = read(path)
    same(photo, PIXELS[color], 3 if suffix in ("heic", "avif") else .6)
    assert photo.pixels.dtype == (np.uint8 if bits == 8 else np.uint16) and photo.bits == (bits if bits in (10, 12) else 0)
    if suffix != "heic" or bits == 8: assert len(np.unique(photo.pixels)) <= 3*256


def test_netpbm_of_every_kind(tmp_path):
    path = tmp_path/"x.pnm"
    for data, want in (
            (f"P2\n{W} {H}\n255\n{' '.join(map(str, GRAY.ravel()))}\n", GRAY),
            (f"P3 # words\n{W} {H} 4095\n# and more\n{' '.join(map(str, deep(RGB, 12).ravel()))}", RGB),
            (f"P1\n{W} {H}\n{' '.join(map(str, (GRAY < 100).astype(int).ravel()))}\n", 255*(GRAY >= 100))):
        path.write_text(data)
        same(read(path), want)
    for head, x, want, alpha in (
            (f"Pf\n{W} {H}\n-1.0\n", (GRAY[::-1]/255).astype("<f4"), GRAY, None), (f"PF\n{W} {H}\n1.0\n", (RGB[::-1]/255).astype(">f4"), RGB, None),
            (f"P7\nWIDTH {W}\nHEIGHT {H}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n", np.dstack([RGB, ALPHA]), RGB, ALPHA),
            (f"P7\nWIDTH {W}\nHEIGHT {H}\nDEPTH 1\nMAXVAL 65535\nTUPLTYPE GRAYSCALE\nENDHDR\n", deep(GRAY).astype(">u2"), GRAY, None)):
        path.write_bytes(head.encode() + x.tobytes())
        photo, = read_pages(path)
        same(photo, want)
        assert (photo.alpha is None) == (alpha is None) and (alpha is None or np.array_equal(photo.alpha, alpha))
        path.write_bytes(head.encode() + x.tobytes()[:-9])
        with pytest.raises(PhotoError, match="x.pnm: damaged or cut off"): list(read_pages(path))
    path.write_bytes(b"P6 100000 100000 255\n")
    with pytest.raises(PhotoError, match="pixels"): list(read_pages(path))


@pytest.mark.parametrize("suffix, modes", [
    ("bmp", "1 L P RGB RGBA"), ("gif", "L P"), ("tga", "L LA P RGB RGBA"), ("webp", "RGB RGBA"), ("jp2", "L LA RGB RGBA"),
    ("png", "1 L LA P RGB RGBA"), ("avif", "L RGB RGBA"), ("ppm", "1 L RGB")])
@pytest.mark.parametrize("k", [1, 6])
def test_what_pillow_reads(tmp_path, suffix, modes, k):
    for mode in modes.split():
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = k
        im = Image.fromarray(RGB if mode in ("RGB", "RGBA") else GRAY).convert("L" if mode == "LA" else mode)
        if mode in ("LA", "RGBA"): im.putalpha(Image.fromarray(ALPHA))
        options = dict(webp=dict(lossless=True, exact=True), png={}, avif=dict(quality=100, subsampling="4:4:4")).get(suffix)
        im.save(tmp_path/f"x.{suffix}", **({} if options is None else options | dict(exif=exif)))
        photo = read(tmp_path/f"x.{suffix}")
        want = np.asarray(im.convert("L" if mode in ("1", "L", "LA") else "RGB"))
        same(photo, want if options is None else turned(want, k), 3 if suffix == "avif" else 0)
        if mode in ("LA", "RGBA") and suffix != "bmp": assert np.array_equal(photo.alpha, ALPHA if options is None else turned(ALPHA, k))


def test_a_targa_whose_alpha_was_never_filled(tmp_path):
    im = Image.fromarray(np.dstack([RGB, 0*GRAY]))
    im.save(tmp_path/"x.tga")
    data = bytearray((tmp_path/"x.tga").read_bytes())
    data[17] &= 0xF0
    (tmp_path/"x.tga").write_bytes(data)
    photo = read(tmp_path/"x.tga")
    same(photo, RGB, 0)
    assert photo.alpha is None


def test_bitmap_with_a_profile(tmp_path):
    "The fifth header of BMP holds one."
    icc = profile("rgb", 1.)
    rows = b"".join(row[:, ::-1].tobytes() for row in three(GRAY)[::-1])
    fields = struct.pack("<IiiHHIIiiII", 124, W, H, 1, 24, 0, len(rows), 2835, 2835, 0, 0)
    v5 = (fields + bytes(16) + b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + len(rows), len(icc), 0))
    assert len(v5) == 124
    (tmp_path/"x.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 14 + 124 + len(rows) + len(icc), 0, 0, 138) + v5 + rows + icc)
    same(read(tmp_path/"x.bmp"), srgb(GRAY/255))


@pytest.mark.parametrize("name, options", [
    ("x.gif", {}), ("x.bmp", {}), ("x.tga", {}), ("x.tga", dict(compression="tga_rle")), ("x.webp", {}), ("x.webp", dict(lossless=True)),
    ("x.avif", {}), ("x.jp2", {}), ("x.ppm", {})])
def test_what_was_cut_off_is_refused(tmp_path, name, options):
    "In every format; none fills what is lost with grey."
    Image.fromarray(NOISE).convert("P" if name == "x.gif" else "RGB").save(tmp_path/name, **options)
    data = (tmp_path/name).read_bytes()
    for share in (.5, .95):
        (tmp_path/name).write_bytes(data[:int(share*len(data))])
        with pytest.raises(PhotoError, match=name): list(read_pages(tmp_path/name))


# damage to lists and lengths

def patched(path, code, value):
    "The inline value of a tag of a little-endian TIFF's first page."
    with tifffile.TiffFile(path) as tiff: tag = tiff.pages[0].tags[code]
    data = bytearray(path.read_bytes())
    struct.pack_into("<H" if tag.dtype == 3 else "<I", data, tag.valueoffset, value)
    path.write_bytes(data)


@pytest.mark.parametrize("value", [4071696385, 2**31, W*H + 1, 0])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate"])
def test_tiff_strip_lengths(tmp_path, value, compression):
    "libtiff: 'Bogus StripByteCounts field, ignoring and calculating from imagelength'."
    store(tmp_path/"x.tif", GRAY, compression=compression, rowsperstrip=H)
    patched(tmp_path/"x.tif", 279, value)
    photo, = read_pages(tmp_path/"x.tif")
    same(photo, GRAY, 0)
    assert photo.left_out in ("read although lengths in it are wrong", "") and (value < 2**20 or photo.left_out)


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_tiff_words(tmp_path, byteorder, big):
    store(tmp_path/"x.tif", GRAY, byteorder=byteorder, bigtiff=big, extratags=[(315, "s", 0, "Ada", True)], resolution=(300, 300),
          resolutionunit="INCH")
    photo = read(tmp_path/"x.tif")
    assert photo.exif[ExifTags.Base.Artist] == "Ada" and photo.dpi == (300, 300)


def test_tiff_without_tags_that_can_be_guessed(tmp_path):
    "No PhotometricInterpretation, no StripByteCounts, no RowsPerStrip."
    for left_out in (262, 278, 279):
        handmade(tmp_path/"x.tif", GRAY.tobytes(), {258: (3, [8]), 262: (3, [1])})
        with tifffile.TiffFile(tmp_path/"x.tif") as tiff: at = tiff.pages[0].tags[left_out].offset
        data = bytearray((tmp_path/"x.tif").read_bytes())
        struct.pack_into("<H", data, at, 65000 + left_out)  # a private tag instead
        (tmp_path/"x.tif").write_bytes(data)
        photo, = read_pages(tmp_path/"x.tif")
        same(photo, GRAY, 0)
    handmade(tmp_path/"x.tif", RGB.tobytes(), {258: (3, [8]*3), 277: (3, [3])})
    same(read(tmp_path/"x.tif"), RGB, 0)


def test_tiff_whose_strips_are_lost(tmp_path):
    for compression in (None, "lzw", "deflate", "zstd", "packbits"):
        store(tmp_path/"x.tif", NOISE[..., 0], compression=compression)
        data = (tmp_path/"x.tif").read_bytes()
        with tifffile.TiffFile(tmp_path/"x.tif") as tiff: at = tiff.pages[0].dataoffsets[0]
        (tmp_path/"x.tif").write_bytes(data[:-500])
        assert at < len(data) - 500
        with pytest.raises(PhotoError, match="x.tif: damaged or cut off"): list(read_pages(tmp_path/"x.tif"))
    store(tmp_path/"x.tif", GRAY)
    patched(tmp_path/"x.tif", 273, 0)
    with pytest.raises(PhotoError, match="ends too early"): list(read_pages(tmp_path/"x.tif"))


@pytest.mark.parametrize("value", [0xFFFFFFF0, 1, -3])
def test_tiff_whose_list_of_pages_is_damaged(tmp_path, value):
    store(tmp_path/"x.tif", GRAY)
    data = bytearray((tmp_path/"x.tif").read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    (n,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12*n, value if value > 0 else len(data) + value)
    (tmp_path/"x.tif").write_bytes(data)
    same(read(tmp_path/"x.tif", left_out="its list of pages is damaged"), GRAY, 0)


def test_the_damaged_page_is_named(tmp_path):
    with tifffile.TiffWriter(tmp_path/"x.tif") as tiff:
        for x in (GRAY, NOISE): tiff.write(x, compression="deflate", metadata=None, photometric="minisblack" if x.ndim == 2 else "rgb")
    with tifffile.TiffFile(tmp_path/"x.tif") as tiff: at = tiff.pages[1].dataoffsets[0]
    data = bytearray((tmp_path/"x.tif").read_bytes())
    data[at:at + 500] = bytes(500)
    (tmp_path/"x.tif").write_bytes(data)
    pages = read_pages(tmp_path/"x.tif")
    same(next(pages), GRAY, 0)
    with pytest.raises(PhotoError, match=r"x.tif: damaged or cut off \(page 2: "): next(pages)


def test_gif_without_its_last_byte(tmp_path):
    Image.fromarray(GRAY).save(tmp_path/"x.gif")
    data = (tmp_path/"x.gif").read_bytes()
    (tmp_path/"x.gif").write_bytes(data[:-1])
    same(read(tmp_path/"x.gif"), GRAY, 0)


# what is told, and to whom

def test_decoders_say_nothing_by_themselves(tmp_path):
    "Odd and damaged files in a process of its own: nothing on stderr."
    data = png(W, H, 8, 0, rows_of(GRAY, 8), chunk(b"iCCP", b"x\0\0" + zlib.compress(b"junk"*50)), chunk(b"tEXt", b"a\0b"))
    (tmp_path/"a.png").write_bytes(data[:-20] + b"x"*9)
    (tmp_path/"b.png").write_bytes(data.replace(b"a\0b", b"a\0c"))
    (tmp_path/"c.jpg").write_bytes(jpeg(NOISE)[:-300] + b"\xff\xd9")
    (tmp_path/"d.jpg").write_bytes(jpeg(NOISE)[:-2])
    store(tmp_path/"e.tif", NOISE, photometric="rgb", compression="jpeg")
    (tmp_path/"e.tif").write_bytes((tmp_path/"e.tif").read_bytes()[:-900])
    tifffile.imwrite(tmp_path/"f.tif", NOISE, photometric="rgb")
    patched(tmp_path/"f.tif", 279, 4071696385)
    Image.fromarray(RGB).convert("YCbCr").save(tmp_path/"g.tif")
    (tmp_path/"i.png").write_bytes(png(5, 1, 16, 0, rows_of(deep(GRAY[:1, :1]), 16)*4, interlaced=1))
    (tmp_path/"h.tif").write_bytes((tmp_path/"g.tif").read_bytes()[:-900])
    code = """
import sys
from pathlib import Path
from portrait_gan.photo import read_pages
for p in sorted(Path(sys.argv[1]).iterdir()):
    try: print(p.name, [x.left_out for x in read_pages(p)])
    except ValueError as e: print(e)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=os.environ | dict(PYTHONWARNINGS="ignore"))
    assert done.returncode == 0 and done.stderr == "" and len(done.stdout.splitlines()) == 9, done.stderr


def test_lossless_webp_stays_lossless(tmp_path):
    for lossless in (True, False):
        Image.fromarray(RGB).save(tmp_path/"x.webp", lossless=lossless)
        photo = read(tmp_path/"x.webp")
        assert photo.lossless == lossless
        noisy = Photo(NOISE, lossless=photo.lossless)
        with open(tmp_path/"y.webp", "w+b") as f: assert write_pages(f, [noisy], "WEBP") == ""
        assert np.array_equal(next(read_pages(tmp_path/"y.webp")).pixels, NOISE) == lossless


def test_bits_that_a_format_cannot_hold_are_told(tmp_path):
    for bits, note in ((10, "only 8 of its 10 bits"), (0, "only 8 of its 16 bits")):
        assert write_pages(io.BytesIO(), [Photo(deep(RGB), bits=bits)], "JPEG") == note


def test_as_image_carries_what_save_takes(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ada"
    im = as_image(Photo(deep(RGB), deep(ALPHA), exif, (300., 300.)))
    assert im.mode == "RGB" and im.size == (W, H)
    mixed = RGB*(ALPHA[..., None]/255) + 255 - ALPHA[..., None].astype(float)
    same(np.asarray(im), mixed, 1)
    for suffix in ("jpg", "png", "tif", "webp"):
        im.save(tmp_path/f"x.{suffix}", **im.info)
        photo = read(tmp_path/f"x.{suffix}")
        assert photo.exif[ExifTags.Base.Artist] == "Ada" and (photo.dpi is None) == (suffix == "webp")


def test_a_telephones_photo_without_its_decoder_names_the_extra(tmp_path, monkeypatch):
    (tmp_path/"x.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr(Image, "ID", [kind for kind in Image.ID if kind != "HEIF"])
    with pytest.raises(PhotoError, match=r"portrait-gan\[heic\]"): read_photo(tmp_path/"x.heic")


# colouring from Python

@pytest.fixture(scope="module")
def colorizer():
    from portrait_gan.colorize import Colorizer
    from portrait_gan.generator import build_generator
    return Colorizer(build_generator("resnet18", None), size=32, device="cpu")


def test_colorize_reads_as_everybody_does(colorizer, tmp_path):
    "Deep, turned, inked, profiled: the API's light is that of the reader."
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    store(tmp_path/"white_is_zero.tif", 65535 - deep(GRAY), photometric="miniswhite")
    store(tmp_path/"floats.tif", np.where(GRAY == GRAY[0, 0], np.inf, GRAY/255).astype(np.float32))
    Image.fromarray(GRAY).convert("CMYK").save(tmp_path/"turned.tif", exif=exif)
    with_profile(tmp_path/"profile.png", three(GRAY), ALPHA*0 + 255, profile("rgb", 1.8))
    with pytest.warns(UserWarning):
        for name, want in (("white_is_zero.tif", GRAY), ("turned.tif", turned(GRAY, 6)), ("profile.png", srgb((GRAY/255)**1.8)),
                           ("floats.tif", np.where(GRAY == GRAY[0, 0], 255, GRAY))):
            same(np.asarray(colorizer.colorize(tmp_path/name, saturation=0)), want, 1.1)


def test_colorize_tells_what_an_image_cannot_hold(colorizer, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ada"
    scan = Photo(deep(three(GRAY)), deep(ALPHA), exif, (300., 300.))
    with open(tmp_path/"x.tif", "w+b") as f: write_pages(f, [scan, scan], "TIFF")
    with pytest.warns(UserWarning, match=r"x.tif: only 8 of its 16 bits; white where it was transparent; only the first of its 2 pictures"):
        picture = colorizer.colorize(tmp_path/"x.tif")
    assert picture.mode == "RGB"
    picture.save(tmp_path/"y.jpg", **picture.info)
    back, = read_pages(tmp_path/"y.jpg")
    assert back.exif[ExifTags.Base.Artist] == "Ada" and back.dpi == (300, 300)
    kept = colorizer.colorize(next(read_pages(tmp_path/"x.tif")), saturation=0)
    assert isinstance(kept, Photo) and kept.pixels.dtype == np.uint16
    same(kept, GRAY, .02)
    assert np.array_equal(kept.alpha, scan.alpha) and kept.exif[ExifTags.Base.Artist] == "Ada" and kept.dpi == (300, 300)


def test_colorize_of_an_ordinary_file_warns_of_nothing(colorizer, tmp_path, recwarn):
    Image.fromarray(GRAY).save(tmp_path/"x.jpg")
    colorizer.colorize(tmp_path/"x.jpg")
    assert not recwarn.list
    same(np.asarray(colorizer.colorize(deep(GRAY), saturation=0)), GRAY, 1.1)


# other decoders

def test_as_opencv_reads(tmp_path):
    "The same file by a decoder that shares nothing with ours but the standard."
    cv2 = pytest.importorskip("cv2")
    tried = 0
    for name in ("L.png", "RGB.png", "P.png", "1.png", "L.jpg", "RGB.jpg", "RGB.bmp", "L.tif", "RGB.tif", "1.tif", "YCbCr.tif", "P.tif", "CMYK.tif",
                 "RGB.webp", "RGB.jp2", "RGB.ppm", "P.gif"):
        path, mode = tmp_path/name, name.split(".")[0]
        Image.fromarray(RGB if mode in ("RGB", "YCbCr", "CMYK") else GRAY).convert(mode).save(path)
        theirs = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if theirs is None: continue
        tried += 1
        same(np.asarray(read_photo(path)), theirs[..., ::-1], 3)
    assert tried > 10


def test_large_pictures_are_refused_before_they_are_decoded(tmp_path):
    store(tmp_path/"x.tif", GRAY)
    for code, value in ((256, 60000), (257, 60000)): patched(tmp_path/"x.tif", code, value)
    with pytest.raises(PhotoError, match=f"more than {MAX_PIXELS:,} pixels"): list(read_pages(tmp_path/"x.tif"))


def test_eight_bits_round(): assert eight_bits(np.array([0, 128, 129, 65535], np.uint16)).tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("name, home", [("lost_as_image", "save"), ("upright", "save"), ("write_pages", "save"), ("PhotoError", "files"),
                                        ("MAX_PIXELS", "files"), ("photo_errors", "files"), ("GRAY_BELOW", "pixels"), ("color_spread", "pixels")])
def test_names_of_version_0_1_are_still_here(name, home):
    assert getattr(importlib.import_module("portrait_gan.photo"), name) is getattr(importlib.import_module(f"portrait_gan.{home}"), name)


def test_a_name_that_never_was_is_refused():
    name = "nothing"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"): getattr(importlib.import_module("portrait_gan.photo"), name)
