"""The page that needs no Python (docs/try), in a real browser: its colours are the package's, and the photo stays at home.

Needs Chromium and playwright, npm (which brings ONNX Runtime Web) and the extra `onnx`; without them the tests skip."""
import base64
import importlib.util
import json
import os
import re
import shutil
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from skimage import data as skdata
from test_browser import ARGS, CHROMIUM

from portrait_gan.colorize import Colorizer
from portrait_gan.data import toy_portraits
from portrait_gan.hints import Hint, follow_hints, hint_planes, read_hints, write_hints
from portrait_gan.lab import rgb_to_lab, to_tensor
from portrait_gan.pixels import has_color, join_lab, lightness, shrink, working_size

pytestmark = [pytest.mark.skipif(not CHROMIUM, reason="no Chromium here"),
              pytest.mark.skipif(not importlib.util.find_spec("playwright"), reason="playwright is not installed"),
              pytest.mark.skipif(not shutil.which("npm"), reason="no npm here, which brings ONNX Runtime Web"),
              pytest.mark.skipif(not importlib.util.find_spec("onnxscript"), reason="the extra onnx is not installed")]
GRAY = np.asarray(Image.fromarray(skdata.astronaut()).convert("L").resize((300, 360)))


# ---- the site, a server that is also the browser's only way out, a page ----

@pytest.fixture(scope="session")
def sites(root, deaf_weights, tmp_path_factory):
    "The page with the bundled network and with one that takes no hints, made once for all workers."
    spec = importlib.util.spec_from_file_location("build_try", root/"docs/try/build.py")
    spec.loader.exec_module(tool := importlib.util.module_from_spec(spec))
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(base/"try.lock"):
        if not (base/"try/deaf/done").exists():
            try: tool.build(base/"try/bundled")
            except RuntimeError as e:
                if "npm did not give" in str(e): pytest.skip(str(e))
                raise
            shutil.copytree(base/"try/bundled", base/"try/deaf", dirs_exist_ok=True)
            model = tool.network(base/"try/deaf", deaf_weights) | dict(bytes=1)
            (base/"try/deaf/model.json").write_text(json.dumps(model))
            (base/"try/deaf/done").touch()
    return base/"try"


class Watched(SimpleHTTPRequestHandler):
    "Serves a folder whatever the host is called, the network once its `gate` is open, if not `lost`; notes what was `asked` and how much `sent`."
    def do_GET(self):
        self.server.asked.append(self.path)
        self.path = urlsplit(self.path).path
        if self.path.endswith(".onnx.gz"):
            self.server.gate.wait(60)
            if self.server.lost: return self.send_error(404)
        super().do_GET()

    def do_CONNECT(self):  # https, to anybody
        self.server.asked.append(self.path)
        self.send_error(403)

    do_POST = do_PUT = do_HEAD = do_OPTIONS = do_CONNECT

    def copyfile(self, source, outputfile):
        self.server.sent += os.fstat(source.fileno()).st_size
        super().copyfile(source, outputfile)

    def log_message(self, *args): pass


@pytest.fixture(scope="module")
def playwright():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p: yield p


@pytest.fixture(scope="module")
def visit(playwright, sites):
    "A context: a page of a site in a browser of its own; its `server` is the page's proxy, so that nothing escapes it."
    @contextmanager
    def run(site, path="/", gate=True, **viewport):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Watched, directory=sites/site))
        server.asked, server.sent, server.gate, server.lost = [], 0, threading.Event(), False
        if gate: server.gate.set()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        try:
            page = browser.new_page(viewport=dict(width=1280, height=900) | viewport, proxy=dict(server=address))
            page.set_default_timeout(60_000)
            errors = []
            page.on("pageerror", lambda e: errors.append(e))
            page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
            page.goto(address + path)
            page.server, page.errors = server, errors
            yield page
        finally:
            browser.close()
            server.shutdown()
            server.server_close()
    return run


@pytest.fixture
def opened(visit):
    @contextmanager
    def run(site, path="/", **viewport):
        with visit(site, path, **viewport) as page:
            says(page, "^Ready")
            yield page
            assert not page.errors, page.errors
    return run


def says(page, what): page.locator("#message", has_text=re.compile(what)).wait_for()


def colored(page): page.locator("#stage[aria-busy=false]").wait_for()


def give(page, path, name=None):
    page.locator("#file").set_input_files(path)
    says(page, re.escape(name or os.path.basename(path)) + ".*coloured in")


def downloaded(page, button="Download"):
    with page.expect_download() as download: page.get_by_role("button", name=button, exact=True).click()
    return download.value.suggested_filename, download.value.path()


def place(page, x, y, photo):
    "Where a pixel of the photo is on the screen."
    box, (height, width) = page.locator("#stage").bounding_box(), photo.shape[:2]
    return box["x"] + (x + .5)/width*box["width"], box["y"] + (y + .5)/height*box["height"]


def same(ours, theirs, most=1, share=1.):
    "Eight-bit pictures are equal, ± 1."
    off = np.abs(ours.astype(int) - theirs)
    assert off.max() <= most and (off <= 1).mean() >= share, (off.max(), (off <= 1).mean())


# ---- the mathematics, one to one ----

def pack(array): return dict(kind=array.dtype.name, data=base64.b64encode(np.ascontiguousarray(array).tobytes()).decode())


def unpack(text, dtype, *shape): return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


ARRAYS = """const kinds = {uint8: Uint8Array, float32: Float32Array};
const read = ({kind, data}) => new kinds[kind](Uint8Array.from(atob(data), c => c.charCodeAt(0)).buffer);
const write = array => { let s = ""; for (const v of new Uint8Array(array.buffer)) s += String.fromCharCode(v); return btoa(s) };
const {lab, pixels, hints} = Object.fromEntries(await Promise.all(
    ["lab", "pixels", "hints"].map(async n => [n, await import(`/${n}.js`)])));
"""


def ask(page, code, **given):
    "Run JavaScript with the page's modules `lab`, `pixels`, `hints`; arrays travel by `read` and `write`."
    return page.evaluate(f"async given => {{ {ARRAYS} {code} }}", {k: pack(v) if isinstance(v, np.ndarray) else v for k, v in given.items()})


def rgba(photo):
    rgb = np.stack([photo]*3, -1) if photo.ndim == 2 else photo
    return np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 255, np.uint8)], -1)


def ten_pictures():
    rng, ramp = np.random.default_rng(0), np.arange(256, dtype=np.uint8)
    y, x = np.mgrid[:64, :96]
    return [*toy_portraits(3, 96, seed=3), np.asarray(Image.fromarray(skdata.astronaut()).resize((160, 160))), skdata.camera()[::4, ::4],
            rng.integers(0, 256, (70, 53, 3), np.uint8), np.uint8(np.stack([x*2.6, y*4, 255 - x*2.6], -1)), np.stack([ramp]*40),
            np.stack([np.where(np.arange(256) % 3 == c, ramp, 0) for c in range(3)], -1)[None].repeat(9, 0).astype(np.uint8),
            rng.integers(0, 2, (33, 47, 3), np.uint8)*255]


@pytest.mark.parametrize("n", range(10))
def test_lab_both_ways(calculator, n):
    "Light, colour, and the picture joined of both at its own resolution, are the package's."
    photo = ten_pictures()[n]
    H, W = photo.shape[:2]
    full = rgba(photo)[..., :3]
    lab = rgb_to_lab(to_tensor(full).double())[0].movedim(0, -1).numpy()
    answer = ask(calculator, """const rgba = read(given.rgba), n = rgba.length/4, all = new Float32Array(3*n), back = new Uint8ClampedArray(4*n);
        for (let i = 0; i < n; i++) {
            const Lab = lab.rgbToLab(...rgba.subarray(4*i, 4*i + 3));
            all.set(Lab, 3*i);
            lab.putLab(back, 4*i, ...Lab);
        }
        return [write(all), write(back), write(lab.lightness(rgba, 0, n))]""", rgba=rgba(photo))
    assert np.abs(unpack(answer[0], np.float32, H, W, 3) - lab).max() < 1e-4
    same(unpack(answer[1], np.uint8, H, W, 4)[..., :3], full)
    assert np.abs(unpack(answer[2], np.float32, H, W) - lightness(photo)[0, 0]).max() < 1e-3
    # colours from a small copy, also such as sRGB does not have
    h, w = working_size(H, W, 24)
    ab = np.stack([np.asarray(Image.fromarray(np.float32(lab[..., c])).resize((w, h))) for c in (1, 2)])
    for saturation in (1, 2.5):
        picture = ask(calculator, """const photo = {width: given.W, height: given.H, rgba: read(given.rgba)};
            const ready = pixels.prepareJoin(photo, {w: given.w, h: given.h, a: read(given.a), b: read(given.b)});
            return [write(pixels.joinRows(ready, given.saturation, 0, 5)), write(pixels.joinRows(ready, given.saturation, 5, given.H))]""",
                      rgba=rgba(photo), W=W, H=H, w=w, h=h, a=ab[0], b=ab[1], saturation=saturation)
        parts = [unpack(p, np.uint8, -1, W, 4)[..., :3] for p in picture]
        same(np.concatenate(parts), join_lab(lightness(photo), ab[None], saturation))


@pytest.fixture(scope="module")
def calculator(visit):
    "A page with the site's modules at hand and nothing else."
    with visit("bundled", "/onnxruntime/LICENSE.txt") as page: yield page


@pytest.mark.parametrize("W,H,size", [(300, 360, 192), (61, 47, 256), (640, 31, 24), (97, 350, 64)])
def test_hints_are_carried_as_in_the_package(calculator, W, H, size):
    "The copy that the network sees, the planes beside it, and what is corrected afterwards."
    rng = np.random.default_rng(W)
    photo = np.asarray(Image.fromarray(GRAY).resize((W, H)))
    L = shrink(lightness(photo), size)[0, 0]
    h, w = L.shape
    smooth = lambda n: np.asarray(Image.fromarray(rng.normal(0, 20, (n, n)).astype(np.float32)).resize((w, h)))
    auto, answer = np.stack([smooth(5), smooth(4)]), np.stack([smooth(5), smooth(3)])
    colors = ["#204010", "#ff0000", "#0000ff", "#808080", "#ffe0c0"]
    hints = [Hint(int(rng.integers(W)), int(rng.integers(H)), c, r) for c, r in zip(colors, (None, 3, None, 20, 0), strict=True)]
    hints.append(Hint(hints[0].x, hints[0].y, "#00ff00"))  # two in one pixel
    given = [{k: v for k, v in vars(p).items() if v is not None} for p in hints]
    found = ask(calculator, """const photo = {width: given.W, height: given.H, rgba: read(given.rgba)}, copy = pixels.shrink(photo, given.size);
        const {w, h} = copy, [auto, answer] = [given.auto, given.answer].map(p => read(p)).map(p => (
            {w, h, a: p.slice(0, w*h), b: p.slice(w*h)}));
        const planes = hints.hintPlanes(given.hints, auto, copy, photo), {a, b} = hints.followHints(answer, given.hints, copy, photo);
        return [w, h, ...[copy.L, ...planes, a, b].map(write)]""", rgba=rgba(photo), W=W, H=H, size=size, auto=auto, answer=answer, hints=given)
    assert found[:2] == [w, h]
    theirs = [unpack(p, np.float32, h, w) for p in found[2:]]
    assert np.abs(theirs[0] - L).max() < 1e-4
    planes, followed = hint_planes(hints, auto, L, W, H), follow_hints(answer, L, hints, W, H)
    assert np.abs(planes).max() > 5 and np.abs(np.stack(theirs[1:4]) - planes).max() < .01
    assert np.abs(followed - answer).max() > 5 and np.abs(np.stack(theirs[4:]) - followed).max() < .01


def test_colour_is_noticed_as_in_the_package(calculator):
    "All over, in a painted spot, or not at all; a tone that follows lightness is none."
    gray = np.asarray(Image.fromarray(GRAY).resize((200, 240)))
    sepia = np.uint8(np.stack([gray*.5 + 100, gray*.55 + 60, gray*.5 + 30], -1))
    painted = np.stack([gray]*3, -1)
    painted[40:60, 60:90] = np.clip(painted[40:60, 60:90] + np.int16([60, -20, -20]), 0, 255)
    pixel = np.stack([gray]*3, -1)
    pixel[100, 100] = 255, 0, 0
    photos = [*ten_pictures(), gray, sepia, painted, pixel, gray[:1, :1], gray[:300, :3], np.full((40, 50), 128, np.uint8)]
    found = [ask(calculator, "return pixels.hasColor({width: given.W, height: given.H, rgba: read(given.rgba)})",
                 rgba=rgba(p), W=p.shape[1], H=p.shape[0]) for p in photos]
    assert found == [has_color(rgba(p)[..., :3]) for p in photos] and found[10:] == [False, False, True, False, False, False, False]


# ---- the page, as somebody uses it ----

def test_nobody_else_is_asked(visit):
    "Whatever its code tries: neither the page nor the worker, which has the photo, reaches another address."
    with visit("bundled") as page:
        says(page, "^Ready")
        loaded, (worker,) = list(page.server.asked), page.workers
        for place in (page, worker):
            assert place.evaluate("fetch('http://elsewhere.test/').then(r => r.status, e => e.name)") == "TypeError"
            assert place.evaluate(f"fetch('{page.url}model.json').then(r => r.status)") == 200
        assert [path for path in page.server.asked[len(loaded):] if not path.endswith("/model.json")] == []


@pytest.mark.parametrize("site,hints", [("deaf", 0), ("bundled", 1)])
def test_impatient(visit, tmp_path, site, hints):
    "A photo, its hints and its saturation may come before the network; when they are undone, it works at the size it was trained at."
    Image.fromarray(GRAY).save(path := tmp_path/"niece.png")
    write_hints(tmp_path/"niece.hints.json", [Hint(20, 30, "olive")], (300, 360))
    with visit(site, gate=False) as page:
        page.locator("#file").set_input_files(path)
        says(page, r"niece\.png, 300 × 360 pixels: the network is still being loaded")
        assert page.get_by_role("button", name="Add a hint").is_hidden() and page.get_by_role("button", name="Download").is_disabled()
        page.locator("#file").set_input_files(tmp_path/"niece.hints.json")
        page.locator("#saturation").fill("1.5")
        page.server.gate.set()
        says(page, "coloured in" if hints else "niece.hints.json gives no hints: this network takes no hints")
        colored(page)
        add = page.get_by_role("button", name="Add a hint")
        assert page.locator(".point").count() == hints and page.locator("#nohints").is_hidden() == add.is_visible() == bool(hints)
        if not hints: page.mouse.click(*place(page, 20, 20, GRAY))
        assert page.locator(".point").count() == hints
        undo = page.get_by_role("button", name="Undo")
        for _ in range(1 + hints): undo.click()
        assert undo.is_disabled() and page.get_by_role("button", name="Start over").is_disabled()
        assert page.locator("#size option:checked").inner_text().endswith("as trained")
        with Image.open(downloaded(page)[1]) as im: picture, note = np.asarray(im.convert("RGB")), im.info["xmp"].decode()
        same(picture, np.asarray(Colorizer.from_pretrained().colorize(GRAY)), 3, .999)
        assert re.search('portrait_gan:Colorized="bundled weights"' if hints else 'portrait_gan:Colorized="weights [0-9a-f]{12}"', note)
        assert not page.errors


@pytest.mark.parametrize("change,why", [("data.data[0] ^= 1", "hides a photo's pixels"),
                                        ("if (area[2] > 8) data.data.fill(0)", "megapixels are too many for a canvas")])
def test_browsers_that_keep_pixels_to_themselves(opened, sites, tmp_path, change, why):
    "Noise against fingerprinting, and a canvas too large to be more than empty: said, not coloured."
    shutil.copytree(sites/"bundled", tmp_path/"odd")
    Image.fromarray(GRAY).save(path := tmp_path/"x.png")
    worker = tmp_path/"odd/worker.js"
    worker.write_text(worker.read_text() + """
        const pens = OffscreenCanvasRenderingContext2D.prototype, read = pens.getImageData;
        pens.getImageData = function (...area) { const data = read.apply(this, area); CHANGE; return data };""".replace("CHANGE", change))
    with opened(tmp_path/"odd") as page:
        page.locator("#file").set_input_files(path)
        says(page, f"x.png: .*{why}")
        assert page.locator("#work").is_hidden()


def test_bundled_network_by_keyboard_alone(opened, tmp_path):
    "Everything from the keyboard; the colours of the package; 20 MB to load, 3 seconds to wait; nothing asked for after loading."
    Image.fromarray(GRAY).save(path := tmp_path/"granny.old.png")
    with opened("bundled") as page:
        assert page.server.sent < 20e6
        assert page.get_by_role("group", name="Hints").is_hidden()  # there is no photo yet
        loaded = list(page.server.asked)
        page.on("filechooser", lambda chooser: None)  # from now on none opens on the screen
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.id") == "file"
        with page.expect_file_chooser() as chooser: page.keyboard.press("Enter")
        chooser.value.set_files(path)
        says(page, r"granny\.old\.png, 300 × 360 pixels: coloured in")

        def tab_to(role, name):
            there = page.get_by_role(role, name=name, exact=True)
            for _ in range(40):
                if there.evaluate("x => x === document.activeElement"): return there
                page.keyboard.press("Tab")
            raise AssertionError(f"Tab does not reach {name}")
        tab_to("slider", "The line between before and after")
        page.keyboard.press("Home")
        assert page.locator("#after").evaluate("x => x.style.clipPath") == "inset(0px 0px 0px 0%)"
        undo, again = (page.get_by_role("button", name=n) for n in ("Undo", "Redo"))
        assert undo.is_disabled() and again.is_disabled()
        tab_to("slider", re.compile("Saturation"))
        for _ in range(4): page.keyboard.press("ArrowRight")
        assert page.locator("#amount").inner_text() == "1.20"
        page.keyboard.press("Control+z")
        assert page.locator("#amount").inner_text() == "1.00"
        page.keyboard.press("Control+Shift+Z")
        assert page.locator("#amount").inner_text() == "1.20"
        tab_to("combobox", "Working size")
        page.keyboard.type("256")
        colored(page)
        assert float(re.search(r"coloured in ([\d.]+) s", page.locator("#message").inner_text())[1]) <= 3
        tab_to("button", "Download")
        with page.expect_download() as download: page.keyboard.press("Enter")
        assert download.value.suggested_filename == "granny.old in colour.png"
        with Image.open(download.value.path()) as im: picture, note = np.asarray(im.convert("RGB")), im.info["xmp"].decode()
        same(picture, np.asarray(Colorizer.from_pretrained().colorize(GRAY, 256, 1.2)), 3, .999)
        assert 'portrait_gan:Colorized="bundled weights"' in note and re.search('xmp:CreatorTool="portrait_gan[ .\\w]*"', note)
        # unless it shall not
        tab_to("checkbox", "Note in the file that it was coloured")
        page.keyboard.press("Space")
        with Image.open(downloaded(page)[1]) as im: assert "xmp" not in im.info and (np.asarray(im.convert("RGB")) == picture).all()
        page.get_by_role("button", name="Try this portrait").click()
        says(page, r"Eileen Collins\.jpg, 512 × 512 pixels: coloured in")
        assert page.server.asked == loaded, page.server.asked[len(loaded):]


def test_hints(opened, tmp_path):
    "Add, choose, drag, remove, undo, take home; the file is what the package makes of the same hints; nothing is asked for."
    Image.fromarray(GRAY).save(path := tmp_path/"aunt.png")
    with opened("bundled") as page:
        loaded = list(page.server.asked)
        page.context.set_offline(True)
        give(page, path)
        points, undo = page.locator(".point"), page.get_by_role("button", name="Undo", exact=True)
        assert page.get_by_text("This network takes no hints").is_hidden()
        canvas = lambda: page.locator("#after").evaluate("""x => [...x.getContext("2d").getImageData(0, 0, x.width, x.height).data]""")
        gray_hints = canvas()
        # a click adds a hint with the colour that stands there; the palette has only what sRGB shows at this light
        page.mouse.click(*place(page, 60, 200, GRAY))
        assert points.count() == 1
        palette = page.get_by_role("group", name="Colours that this place can have").get_by_role("button")
        L = lightness(GRAY)[0, 0]
        offered = palette.evaluate_all("all => all.map(x => x.style.background.match(/\\d+/g).map(Number))")
        assert len(offered) == 24 and all(abs(lightness(np.uint8([[c]]))[0, 0, 0, 0] - L[200, 60]) < .5 for c in offered)
        palette.and_(page.get_by_label("strong green", exact=True)).click()
        colored(page)
        assert canvas() != gray_hints
        # the second hint has the same colour; dragged it is one step for undo
        page.mouse.click(*place(page, 250, 40, GRAY))
        colored(page)
        start, end = place(page, 250, 40, GRAY), place(page, 150, 120, GRAY)
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move(*[(a + b)/2 for a, b in zip(start, end, strict=True)])
        page.mouse.move(*end)
        page.mouse.up()
        where = lambda i: [int(v) for v in re.search(r"at (\d+), (\d+)", points.nth(i).get_attribute("aria-label")).groups()]
        assert where(1) == [150, 120]
        undo.click()
        assert where(1) == [250, 40]
        page.get_by_role("button", name="Redo").click()
        assert where(1) == [150, 120]
        # from the keyboard: one more in the middle, moved, coloured, removed
        page.get_by_role("button", name="Add a hint").press("Enter")
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("ArrowUp")
        assert where(2) == [135, 178]
        page.locator("#color").fill("#aa2211")
        colored(page)
        name, file = downloaded(page, "Save the hints")
        assert name == "aunt.hints.json"
        hints = read_hints(file, (300, 360))
        assert [(p.x, p.y) for p in hints] == [(60, 200), (150, 120), (135, 178)] and hints[2].color == "#aa2211"
        # both engines
        name, file = downloaded(page)
        assert name == "aunt in colour.png"
        with Image.open(file) as im: picture, note = np.asarray(im.convert("RGB")), im.info["xmp"].decode()
        assert 'portrait_gan:Colorized="bundled weights, 3 hints"' in note
        expected = np.asarray(Colorizer.from_pretrained().colorize(GRAY, hints=hints))
        same(picture, expected, 3, .999)
        # three ways to remove; undo brings back
        points.nth(1).press("Delete")
        assert points.count() == 2
        points.nth(1).click(button="right")
        assert points.count() == 1
        points.nth(0).focus()
        page.get_by_role("button", name="Remove it").click()
        assert points.count() == 0 and page.locator("#chooser").is_hidden()
        for _ in range(3): page.keyboard.press("Control+z")
        assert points.count() == 3
        page.get_by_role("button", name="Start over").click()
        colored(page)
        assert points.count() == 0 and canvas() == gray_hints
        # hints of the package
        write_hints(tmp_path/"aunt.hints.json", [Hint(10.5, 20, "olive", 5)], (300, 360))
        page.locator("#file").set_input_files(tmp_path/"aunt.hints.json")
        points.wait_for()
        colored(page)
        with Image.open(downloaded(page)[1]) as im: picture = np.asarray(im.convert("RGB"))
        same(picture, np.asarray(Colorizer.from_pretrained().colorize(GRAY, hints=[Hint(10.5, 20, "olive", 5)])), 3, .999)
        (tmp_path/"other.json").write_text("{}")
        page.locator("#file").set_input_files(tmp_path/"other.json")
        says(page, "other.json gives no hints: it lacks a photo's size, or hints")
        write_hints(tmp_path/"aunt.hints.json", [], (30, 36))
        page.locator("#file").set_input_files(tmp_path/"aunt.hints.json")
        says(page, "aunt.hints.json gives no hints: made for a photo of 30 × 36 pixels, this one has 300 × 360")
        # what is black can have no colour; its hints are not another photo's
        Image.fromarray(np.zeros_like(GRAY)).save(tmp_path/"night.png")
        give(page, tmp_path/"night.png")
        assert points.count() == 0 and undo.is_disabled()
        page.get_by_role("button", name="Add a hint").click()
        assert "it can have no colour" in page.locator("#which").inner_text() and palette.count() == 0
        assert page.server.asked == loaded, page.server.asked[len(loaded):]


def test_a_photo_of_twelve_megapixels(opened, tmp_path):
    "Upright as its EXIF says, coloured whole, and the page never freezes; what is no photo is told, and the last one stays."
    exif = Image.Exif()
    exif[0x112] = 6  # to be turned by 90 degrees
    Image.fromarray(GRAY).resize((4000, 3000)).save(path := tmp_path/"large.jpg", exif=exif, quality=90)
    with opened("deaf") as page:
        page.evaluate("""() => { let last = performance.now(); window.longest = 0;
            setInterval(() => { const now = performance.now(); longest = Math.max(longest, now - last); last = now }, 20) }""")
        give(page, path)
        says(page, "3000 × 4000")
        page.locator("#saturation").fill("1.5")
        colored(page)
        name, file = downloaded(page)
        with Image.open(file) as im:
            assert (name, im.format, im.size, im.getexif().get(0x112)) == ("large in colour.jpg", "JPEG", (3000, 4000), None)
            assert b'portrait_gan:Colorized="weights ' in im.info["xmp"]
            small = np.asarray(im.resize((300, 400))).astype(int)
        upright = np.asarray(Image.fromarray(GRAY).resize((400, 300)).transpose(Image.Transpose.ROTATE_270)).astype(int)
        assert np.abs(small @ [.3, .59, .11] - upright).mean() < 4 and np.ptp(small, -1).mean() > 4
        assert page.evaluate("longest") < 1500  # milliseconds, on a machine that does other work too
        # a letter comes while the photo is being coloured: that goes on to its last row, the error stays on the screen
        off = lambda: page.evaluate("""() => {
            const [gray, color] = [before, after].map(x => x.getContext("2d").getImageData(0, x.height - 9, x.width, 1).data);
            return Math.max(...gray.map((v, i) => Math.abs(v - color[i])))}""")
        (tmp_path/"letter.png").write_text("Dear reader")
        assert off() > 10
        page.locator("#saturation").fill("0")
        page.locator("#file").set_input_files(tmp_path/"letter.png")
        says(page, "letter.png: this browser cannot read it as a photo")
        colored(page)
        assert off() <= 1 and "letter.png" in page.locator("#message").inner_text()
        # and while it is being opened: it is still the photo's name that the file gets
        page.locator("#file").set_input_files(path)
        page.locator("#file").set_input_files(tmp_path/"letter.png")
        says(page, "letter.png: this browser cannot read it as a photo")
        page.locator("#download:enabled").wait_for()
        assert downloaded(page)[0] == "large in colour.jpg"
        assert page.locator("#before").evaluate("x => [x.width, x.height]") == [3000, 4000]
        (tmp_path/"large.hints.json").write_text("{}")
        page.locator("#file").set_input_files(tmp_path/"large.hints.json")
        says(page, "gives no hints: this network takes no hints")


def test_what_is_unusual_is_told(visit, opened, tmp_path):
    "Colour that is replaced, transparency, photos that were left; a wrong file while the network loads; hints that are none; no network."
    rgb = skdata.astronaut()[:300, :200]
    Image.fromarray(rgb).save(tmp_path/"colour.png")
    Image.fromarray(np.dstack([GRAY, np.where(np.arange(300) < 99, 0, 255)[None].repeat(360, 0).astype(np.uint8)]), "LA").save(tmp_path/"cut.png")
    (tmp_path/"letter.jpg").write_text("Dear reader")
    with opened("bundled") as page:
        give(page, tmp_path/"colour.png")
        says(page, "colour.png, 200 × 300 pixels; it had colour, which is replaced: coloured in")
        page.locator("#file").set_input_files([tmp_path/"cut.png", tmp_path/"colour.png"])
        says(page, "cut.png, 300 × 360 pixels; white where it was transparent; one photo at a time: the others were left: coloured in")
        assert page.locator("#before").evaluate("x => [...x.getContext('2d').getImageData(50, 50, 1, 1).data]") == [255]*4
        hints = lambda hint: f'{{"size": [300, 360], "hints": [{hint}]}}'
        for text, why in (("not json", "it is no JSON"), ("null", "it lacks a photo's size"), (hints("null"), "needs x, y and a color"),
                          (hints('{"x": 1, "y": 1}'), "needs x, y and a color"), (hints('{"x": 999, "y": 1, "color": "red"}'), "outside the photo")):
            (tmp_path/"cut.hints.json").write_text(text)
            page.locator("#file").set_input_files(tmp_path/"cut.hints.json")
            says(page, f"cut.hints.json gives no hints: .*{why}")
        # a long press does not remove the hint that a finger holds
        page.mouse.click(*place(page, 150, 200, GRAY))
        press = """(point, pointerType) => {
            point.dispatchEvent(new PointerEvent("pointerdown", {pointerType, button: 2}));
            point.dispatchEvent(new MouseEvent("contextmenu", {bubbles: true, cancelable: true})) }"""
        page.locator(".point").evaluate(press, "touch")
        assert page.locator(".point").count() == 1
        page.locator(".point").evaluate(press, "mouse")
        assert page.locator(".point").count() == 0
    with visit("bundled", gate=False) as page:
        page.locator("#file").set_input_files(tmp_path/"letter.jpg")
        says(page, "letter.jpg: this browser cannot read it as a photo")
        page.server.gate.set()
        page.locator("#loading").wait_for(state="hidden")
        assert "letter.jpg" in page.locator("#message").inner_text()
    with visit("bundled", gate=False) as page:
        page.server.lost = True
        page.server.gate.set()
        says(page, "The network could not be loaded: model.onnx.gz is missing")
        page.locator("#file").set_input_files(tmp_path/"colour.png")
        page.locator("#work").wait_for()
        assert "could not be loaded" in page.locator("#message").inner_text()


def test_narrow_and_named(opened, tmp_path):
    "At 375 pixels, in a folder of a larger site, nothing is cut off, and everything that can be used has a name; a photo is dropped with hints."
    Image.fromarray(GRAY).save(path := tmp_path/"uncle.png")
    write_hints(hints := tmp_path/"uncle.hints.json", [Hint(200, 300, "olive")], (300, 360))
    with opened(".", "/bundled/", width=375, height=800) as page:
        page.evaluate("""files => {
            const dropped = new DataTransfer();
            for (const [name, data] of files) dropped.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], name));
            document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
        }""", [(p.name, base64.b64encode(p.read_bytes()).decode()) for p in (hints, path)])
        page.get_by_label("Hint 1 at 200, 300").wait_for()
        says(page, r"uncle\.png, 300 × 360 pixels: coloured in")
        page.mouse.click(*place(page, 100, 100, GRAY))
        page.get_by_label("pale red", exact=True).click()
        colored(page)
        wide = page.evaluate("() => document.documentElement.scrollWidth")
        assert wide <= 375
        page.get_by_role("button", name="1:1").click()  # pixel for pixel, and scrolled within
        assert page.locator("#stage").bounding_box()["width"] == 300 and page.evaluate("() => document.documentElement.scrollWidth") == wide
        small = page.locator("button:visible, select:visible, input:visible:not(.unseen)").evaluate_all(
            "all => all.map(x => [x.id || x.className, x.getBoundingClientRect()]).filter(([_, r]) => r.width < 24 || r.height < 24)")
        assert not small, small
        spoken = page.locator("body").aria_snapshot()
        assert not re.findall(r"^\s*- (?:button|slider|combobox|textbox)(?:$|:| \[)", spoken, re.M), spoken
        for name in ("img \"The photo before\"", "img \"The photo in colour\"", 'status: "uncle.png'): assert name in spoken
        assert re.search(r"Hint 2 at (99|100|101), (99|100|101):", spoken)  # the mouse has whole pixels of the screen, one is 0.9 of the photo's
