"Coloured files say so, once, in EXIF and XMP; what their owners wrote stays; no path is named. Read with Pillow and by the bytes of the file."
import importlib.util
import io
import re
import struct
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from skimage import data as skdata

from portrait_gan.colorize import Colorizer
from portrait_gan.folder import colorize_files
from portrait_gan.hints import Hint
from portrait_gan.photo import Photo, read_pages
from portrait_gan.save import marked, write_pages

HOLD = ["jpg", "png", "tif", "webp", "avif", *["heic"]*bool(importlib.util.find_spec("pillow_heif"))]
RDF, XAP = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}", "{http://ns.adobe.com/xap/1.0/}"
COLORIZED, TOOL = "{urn:portrait-gan:1.0#}Colorized", XAP + "CreatorTool"
SOURCE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
SOFTWARE = ExifTags.Base.Software
GRAY = np.asarray(Image.fromarray(skdata.astronaut()).convert("L").resize((96, 96)))
OWNERS = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="uuid:7" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:p="http://ns.adobe.com/photoshop/1.0/" xmp:CreatorTool="VueScan 9"
 tiff:Orientation="6" p:ColorMode="1" p:City="Zürich"><dc:subject><rdf:Bag><rdf:li>wedding</rdf:li></rdf:Bag></dc:subject>
<tiff:ImageWidth>5</tiff:ImageWidth></rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()


@pytest.fixture(scope="module")
def colorizer(): return Colorizer.from_pretrained()


def chunks(data, at):
    "Names and contents of a PNG's chunks, from byte 8, or a RIFF file's, from byte 12: one has the size first, and a check sum behind."
    png = at == 8
    while at < len(data):
        name, size = struct.unpack(">I4s", data[at:at + 8])[::-1] if png else struct.unpack("<4sI", data[at:at + 8])
        yield name, data[at + 8:at + 8 + size]
        at += 8 + size + (4 if png else size % 2)


def packets(path):
    "XMP by the formats' own rules, as exiftool finds it: every place a packet stands in."
    data = path.read_bytes()
    if data[:2] == b"\xff\xd8":  # JPEG: segments up to the picture
        at, found = 2, []
        while data[at] == 0xff and data[at + 1] != 0xda:
            size, = struct.unpack(">H", data[at + 2:at + 4])
            if data[at + 1] == 0xe1 and data[at + 4:].startswith(head := b"http://ns.adobe.com/xap/1.0/\0"):
                found.append(data[at + 4 + len(head):at + 2 + size])
            at += 2 + size
        return found
    if data[:4] == b"\x89PNG":
        return [content[22:] for name, content in chunks(data, 8) if name == b"iTXt" and content.startswith(b"XML:com.adobe.xmp\0")]
    if data[:4] == b"RIFF": return [content for name, content in chunks(data, 12) if name == b"XMP "]
    with Image.open(path) as im:
        if im.format == "TIFF": return [im.tag_v2[700]] if 700 in im.tag_v2 else []
        return [p] if (p := im.info.get("xmp")) else []  # AVIF and HEIC: boxes, which their libraries read


def said(path):
    "EXIF's Software; XMP's properties, each with all its values."
    with Image.open(path) as im: software = im.getexif().get(SOFTWARE)
    xmp = {}
    for packet in packets(path):
        for about in ET.fromstring(packet.strip(b"\0")).iter(RDF + "Description"):
            for name, value in about.items(): xmp.setdefault(name, []).append(value)
            for child in about: xmp.setdefault(child.tag, []).append("".join(child.itertext()).strip())
    return software, xmp


def colored(colorizer, path, out, **options):
    result, = colorize_files(colorizer, path, out, **options)
    assert result.problem is None
    return result.output


@pytest.mark.parametrize("suffix", HOLD)
def test_a_coloured_file_says_so(colorizer, tmp_path, suffix):
    Image.fromarray(GRAY).convert("RGB").save(tmp_path/f"x.{suffix}")
    software, xmp = said(colored(colorizer, tmp_path/f"x.{suffix}", tmp_path/"out"))
    assert re.fullmatch(r"portrait_gan( [\w.]+)? \(colorized: bundled weights\)", software.rstrip("\0"))
    assert xmp[COLORIZED] == ["bundled weights"] and re.fullmatch(r"portrait_gan( [\w.]+)?", *xmp[TOOL])
    assert xmp[SOURCE] == ["http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"]


@pytest.mark.parametrize("suffix", HOLD)
def test_what_owners_wrote_stays(colorizer, tmp_path, suffix):
    "EXIF and XMP, with our note beside it; not what says how the old file lay on the disk."
    exif = Image.Exif()
    exif[SOFTWARE], exif[ExifTags.Base.Artist] = "VueScan 9", "Ada"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "1931:05:01 12:00:00"
    with open(tmp_path/f"x.{suffix}", "w+b") as f:
        kind = dict(jpg="JPEG", tif="TIFF", heic="HEIF").get(suffix, suffix.upper())
        write_pages(f, [Photo(np.dstack([GRAY]*3), exif=exif, xmp=OWNERS)], kind)
    out = colored(colorizer, tmp_path/f"x.{suffix}", tmp_path/"out")
    software, xmp = said(out)
    assert software.startswith("VueScan 9; portrait_gan") and xmp[TOOL][0].startswith("VueScan 9; portrait_gan") and len(xmp[TOOL]) == 1
    assert xmp["{http://ns.adobe.com/photoshop/1.0/}City"] == ["Zürich"] and xmp["{http://purl.org/dc/elements/1.1/}subject"] == ["wedding"]
    assert set(xmp[RDF + "about"]) == {"uuid:7"}
    assert not [name for name in xmp if re.search("Orientation|ImageWidth|ColorMode", name)]
    with Image.open(out) as im:
        assert im.getexif()[ExifTags.Base.Artist] == "Ada"
        assert im.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "1931:05:01 12:00:00"


@pytest.mark.parametrize("suffix", HOLD)
def test_coloured_again_it_has_one_note(colorizer, tmp_path, suffix):
    Image.fromarray(GRAY).convert("RGB").save(tmp_path/f"x.{suffix}")
    first = colored(colorizer, tmp_path/f"x.{suffix}", tmp_path/"a")
    other = Colorizer(colorizer.generator, colorizer.size, colorizer.ab_scale)
    second = colored(other, first, tmp_path/"b", force=True)
    third = colored(other, second, tmp_path/"c", force=True)
    for path in (second, third):
        software, xmp = said(path)
        assert software.count("portrait_gan") == 1 and software.endswith("(colorized: own weights)")
        assert xmp[COLORIZED] == ["own weights"] and len(xmp[TOOL]) == len(xmp[SOURCE]) == 1 and xmp[TOOL][0].count("portrait_gan") == 1
        assert b"bundled" not in path.read_bytes()
    assert packets(third)[0].count(b"rdf:Description") == 1 and len(packets(third)[0]) == len(packets(second)[0]) < 1500  # it does not grow


@pytest.mark.parametrize("suffix", HOLD)
def test_no_mark(colorizer, tmp_path, suffix):
    Image.fromarray(GRAY).convert("RGB").save(tmp_path/f"x.{suffix}")
    out = colored(colorizer, tmp_path/f"x.{suffix}", tmp_path/"out", mark=False)
    assert said(out) == (None, {}) and b"portrait" not in out.read_bytes()


@pytest.mark.parametrize("suffix", ["bmp", "tga", "ppm", "jp2"])
def test_formats_without_a_place(colorizer, tmp_path, suffix):
    "They are written as before, and nothing is said to be lost that was never there; what was there is."
    Image.fromarray(GRAY).convert("RGB").save(tmp_path/f"x.{suffix}")
    result, = colorize_files(colorizer, tmp_path/f"x.{suffix}", tmp_path/"out")
    assert (result.problem, result.note) == (None, None)
    kind = dict(jp2="JPEG2000").get(suffix, suffix.upper())
    assert write_pages(io.BytesIO(), [Photo(np.dstack([GRAY]*3), xmp=OWNERS, colorized="x")], kind) == "without its XMP"


def test_python_says_so_too(colorizer, tmp_path):
    "`picture.save(path, **picture.info)` as in the README; a Photo; and the switch."
    Image.fromarray(GRAY).save(tmp_path/"x.jpg", xmp=OWNERS)
    for mark in (True, False):
        picture = colorizer.colorize(tmp_path/"x.jpg", mark=mark)
        picture.save(tmp_path/"y.jpg", **picture.info)
        software, xmp = said(tmp_path/"y.jpg")
        assert ("portrait_gan" in (software or "")) == (COLORIZED in xmp) == mark
        assert xmp["{http://ns.adobe.com/photoshop/1.0/}City"] == ["Zürich"]
        assert colorizer.colorize(next(read_pages(tmp_path/"x.jpg")), mark=mark).colorized == "bundled weights"*mark


def test_the_note_names_weights_and_hints(colorizer, tmp_path):
    from portrait_gan.checkpoint import save_generator
    from portrait_gan.generator import build_generator
    secret = tmp_path/"home of Ada"/"run"
    save_generator(build_generator("tu-tf_efficientnet_lite0", None, in_channels=4), secret, dict(size=64, ab_scale=110.))
    mine = Colorizer.from_pretrained(secret)
    assert re.fullmatch(r"weights [0-9a-f]{12}", mine.note()) and mine.note() == Colorizer.from_pretrained(secret).note()
    Image.fromarray(GRAY).save(tmp_path/"x.jpg")
    out = colored(mine, tmp_path/"x.jpg", tmp_path/"out", hints=[Hint(10, 10, "red"), Hint(40, 40, "olive")])
    software, xmp = said(out)
    assert xmp[COLORIZED] == [f"{mine.note()}, 2 hints"] and software.endswith(f"(colorized: {mine.note()}, 2 hints)")
    assert mine.note([Hint(1, 1, "red")]).endswith(", 1 hint") and len(software) < 100
    for word in ("Ada", "run", str(tmp_path), Path.home().name): assert word.encode() not in packets(out)[0]


def test_hub_weights_are_named(monkeypatch, tmp_path, colorizer):
    import huggingface_hub

    from portrait_gan.pretrained import find_weights
    folder = find_weights(None)[0].parent
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **kwargs: str(folder))
    assert Colorizer.from_pretrained("hf://ada/portraits").note() == "hf://ada/portraits"


def test_odd_xmp(colorizer, tmp_path):
    "Damaged, an attack, with a second part elsewhere, or longer than a JPEG can hold."
    for bad in (OWNERS[:-100], b"no XML", b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + OWNERS, b"<a/>"):
        Image.fromarray(GRAY).save(tmp_path/"x.jpg", xmp=bad)
        photo = next(read_pages(tmp_path/"x.jpg"))
        assert (photo.xmp, photo.left_out) == (None, "without its XMP, which is damaged")
    second = OWNERS.replace(b'p:City', b'xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="0123" p:City')
    Image.fromarray(GRAY).save(tmp_path/"x.jpg", xmp=second)
    photo = next(read_pages(tmp_path/"x.jpg"))
    assert photo.left_out == "only the first part of its XMP" and b"HasExtended" not in photo.xmp
    long = Photo(np.dstack([GRAY]*3), xmp=OWNERS.replace(b"wedding", b"w"*70_000), colorized="bundled weights")
    with open(tmp_path/"long.jpg", "w+b") as f: assert write_pages(f, [long], "JPEG") == "without its XMP, which is too long"
    assert said(tmp_path/"long.jpg")[1][COLORIZED] == ["bundled weights"]
    with open(tmp_path/"long.png", "w+b") as f: assert write_pages(f, [long], "PNG") == ""
    assert len(packets(tmp_path/"long.png")[0]) > 70_000
    utf16 = OWNERS.decode().encode("utf-16")
    assert "Zürich" in marked(Photo(GRAY, xmp=utf16, colorized="x")).xmp.decode()


def test_marking_changes_no_photo():
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ada"
    photo = Photo(GRAY, exif=exif, xmp=OWNERS, colorized="x")
    before = dict(exif), OWNERS
    marked(photo)
    assert (dict(photo.exif), photo.xmp) == before and marked(replace(photo, colorized="")).xmp == OWNERS


def test_every_page_of_an_album(colorizer, tmp_path):
    with open(tmp_path/"x.tif", "w+b") as f: write_pages(f, [Photo(np.dstack([GRAY]*3))]*2, "TIFF")
    out = colored(colorizer, tmp_path/"x.tif", tmp_path/"out")
    assert [b"Colorized" in page.xmp and "portrait_gan" in page.exif[SOFTWARE] for page in read_pages(out)] == [True, True]


def test_another_digital_source_stays(colorizer, tmp_path):
    theirs = "http://cv.iptc.org/newscodes/digitalsourcetype/negativeFilm"
    named = f'xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" e:DigitalSourceType="{theirs}" p:City'.encode()
    Image.fromarray(GRAY).save(tmp_path/"x.jpg", xmp=OWNERS.replace(b"p:City", named))
    assert said(colored(colorizer, tmp_path/"x.jpg", tmp_path/"out"))[1][SOURCE] == [theirs]


def test_two_tools_are_one_property():
    "Broken programs write a property twice."
    twice = OWNERS.replace(b"<dc:subject>", b"<xmp:CreatorTool>Scan 1</xmp:CreatorTool><dc:subject>")
    packet = marked(Photo(GRAY, xmp=twice, colorized="x")).xmp.decode()
    assert packet.count("CreatorTool") == 1 and 'CreatorTool="VueScan 9; Scan 1; portrait_gan' in packet


def test_the_app_says_so_too(colorizer, tmp_path):
    from portrait_gan.app import Portrait
    Image.fromarray(GRAY).save(tmp_path/"x.png")
    portrait = Portrait.read((tmp_path/"x.png").read_bytes(), "x.png")
    portrait.predict(colorizer, 64)
    name, data, _ = portrait.save(1.)
    (tmp_path/name).write_bytes(data)
    assert said(tmp_path/name)[1][COLORIZED] == ["bundled weights"]


def test_the_switch_on_the_command_line(command, tmp_path):
    Image.fromarray(GRAY).save(tmp_path/"x.jpg")
    for words, there in (((), True), (("--no-mark", "--overwrite"), False)):
        status, _, err = command("colorize", "x.jpg", "--out", "out", *words, cwd=tmp_path)
        assert (status, err) == (0, "") and (said(tmp_path/"out/x.jpg")[0] is not None) == there
