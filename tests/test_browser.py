"""The app in a real browser: Voila, JupyterLab, ipywidgets 7 and Gradio, each as somebody with a photo uses it.

Needs Chromium (CHROMIUM names it, else the usual places); without one the tests skip. PORTRAIT_GAN_IPYWIDGETS7 names the Python of an
environment with ipywidgets 7, voila < 0.4 and this package; the Gradio page needs the extra `demo`, in the Python that
PORTRAIT_GAN_DEMO names, else in this one."""
import importlib.util
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from skimage import data as skdata
from skimage.color import rgb2lab

from portrait_gan.hints import Hint, read_hints, write_hints
from portrait_gan.pixels import color_ab, fit_gamut

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--no-first-run"]
pytestmark = [pytest.mark.skipif(not CHROMIUM, reason="no Chromium here"),
              pytest.mark.skipif(not importlib.util.find_spec("playwright"), reason="playwright is not installed")]
VOILA = ["voila", "--no-browser", "--port={port}", "--Voila.ip=127.0.0.1"]
LAB = ["jupyterlab", "--no-browser", "--allow-root", "--port={port}", "--IdentityProvider.token=", "--ServerApp.ip=127.0.0.1",
       "--LabApp.expose_app_in_browser=True"]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport=dict(width=1000, height=1200), accept_downloads=True)
    page.set_default_timeout(120_000)
    yield page
    page.close()


def notebook(weights=""):
    source = f"import ipywidgets\nfrom portrait_gan.app import App\nprint('ipywidgets', ipywidgets.__version__)\nApp({weights})"
    return json.dumps(dict(
        cells=[dict(cell_type="code", id="a", metadata={}, execution_count=None, outputs=[], source=source)], nbformat=4, nbformat_minor=5,
        metadata=dict(kernelspec=dict(display_name="python3", language="python", name="python3"))))


@pytest.fixture
def photos(tmp_path, deaf_weights):
    "What is uploaded: a grey photo, a large one, a letter, one with an unfriendly name; the app without and with hints."
    gray = np.asarray(Image.fromarray(skdata.astronaut()).convert("L"))
    for name in ("granny.png", "<b>aunt & uncle</b>.png"): Image.fromarray(gray).save(tmp_path/name.replace("/", "_"))
    (tmp_path/"letter.png").write_text("Dear reader")
    Image.fromarray(gray).resize((1500, 1500)).save(tmp_path/"large.jpg")
    (tmp_path/"app.ipynb").write_text(notebook(repr(str(deaf_weights))))
    (tmp_path/"hints.ipynb").write_text(notebook())
    return tmp_path


@contextmanager
def served(command, cwd, path="/", **env):
    "A server on a free port, stopped afterwards: its address."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = os.environ | dict(HF_HUB_OFFLINE="1", GRADIO_SERVER_PORT=str(port), GRADIO_SERVER_NAME="127.0.0.1") | env
    with open(cwd/"server.log", "w") as log:
        server = subprocess.Popen([c.format(port=port) for c in command], cwd=cwd, stdout=log, stderr=log, env=env)
        try:
            for _ in range(1200):
                try: urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=2)
                except urllib.error.HTTPError: break
                except OSError: time.sleep(.5)
                else: break
                assert server.poll() is None, (cwd/"server.log").read_text()
            yield f"http://127.0.0.1:{port}{path}"
        finally:
            server.terminate()
            try: server.wait(20)
            except subprocess.TimeoutExpired: server.kill()


def says(page, what): page.wait_for_function("what => new RegExp(what).test(document.querySelector('.pg-message')?.innerText)", arg=what)


def button(page, name): return page.locator(".pg-app").get_by_role("button", name=name)


def upload(page, *paths):
    with page.expect_file_chooser() as chooser: button(page, "Choose photos").click()
    chooser.value.set_files(paths)


def source(page): return page.locator(".pg-after").get_attribute("src")


def redrawn(page, before): page.wait_for_function("b => document.querySelector('.pg-after').src != b", arg=before)


def slide(page, label, steps):
    "Move a slider with the keyboard, step by step."
    for _ in range(abs(steps)):
        before = source(page)
        page.get_by_label(label).press("ArrowRight" if steps > 0 else "ArrowLeft")
        redrawn(page, before)
        says(page, "granny")


def downloads(page, click, count):
    "What a click brings home."
    found = []
    def take(download): found.append(download)
    page.on("download", take)
    click()
    says(page, "the file is ready")
    for _ in range(300):
        if len(found) == count: break
        page.wait_for_timeout(100)
    page.remove_listener("download", take)
    assert len(found) == count == page.locator("a.pg-file").count()
    return [(f.suggested_filename, f.path()) for f in found]


def saved_files(page, count=1): return downloads(page, button(page, "Download").click, count)


def walk(page, photos):
    "Upload, colour, the line, both sliders, the file."
    says(page, "Choose a photo")
    upload(page, photos/"granny.png")
    says(page, r"granny\.png, 512 × 512")
    after = page.locator(".pg-after")
    assert "50%" in after.evaluate("x => x.style.clipPath")
    page.locator("input.pg-line").evaluate("x => { x.value = 20; x.dispatchEvent(new Event('input', {bubbles: true})) }")
    assert "20%" in after.evaluate("x => x.style.clipPath")
    for label, steps in (("saturation", 2), ("working size", -2)): slide(page, label, steps)
    (name, path), = saved_files(page)
    with Image.open(path) as im: assert (name, im.size, im.mode) == ("granny in colour.png", (512, 512), "RGB")


def marks(page): return page.locator(".pg-mark")


def click(page, x, y, **options):
    "On the photo, at shares of its sides."
    box = page.locator(".pg-sheet").bounding_box()
    page.locator(".pg-sheet").click(position=dict(x=x*box["width"], y=y*box["height"]), **options)


def hint_walk(page, photos):
    "Photo, click, colour, undo, file; drag, wheel, right click, restart; the line stays where it was."
    says(page, "Choose a photo")
    upload(page, photos/"granny.png")
    says(page, r"granny\.png, 512 × 512")
    page.locator("input.pg-line").evaluate("x => { x.value = 20; x.dispatchEvent(new Event('input', {bubbles: true})) }")
    plain = source(page)
    click(page, .35, .8)
    says(page, "hint 1 holds the colour")
    page.get_by_label("colour", exact=True).fill("seagreen")
    page.get_by_label("colour", exact=True).press("Enter")
    says(page, "hint 1 is seagreen")
    colored = source(page)
    assert colored != plain
    box = page.locator(".pg-palette").bounding_box()
    page.locator(".pg-palette").click(position=dict(x=box["width"]*.3, y=box["height"]*.2))
    says(page, "hint 1 is #")
    button(page, "Undo").click()
    says(page, "undone")
    (name, path), (beside, hints) = saved_files(page, 2)
    assert (name, beside) == ("granny in colour.png", "granny.hints.json")
    (hint,) = read_hints(hints, (512, 512))
    assert (hint.color, round(hint.x/512, 2), round(hint.y/512, 2)) == ("seagreen", .35, .8)
    with Image.open(path) as im: L, *ab = rgb2lab(np.asarray(im))[round(hint.y), round(hint.x)]
    assert np.abs(fit_gamut(L, hint.ab) - ab).max() < 5  # light differs a little from the copy's, and so does the gamut
    # another, dragged, widened, removed
    click(page, .8, .1)
    says(page, "hint 2 holds")
    box = marks(page).nth(1).bounding_box()
    page.mouse.move(box["x"] + 9, box["y"] + 9)
    page.mouse.down()
    page.mouse.move(box["x"] - 40, box["y"] + 60, steps=4)
    page.mouse.up()
    says(page, "hint 2 moved")
    label = marks(page).nth(1).get_attribute("aria-label")
    page.mouse.move(box["x"] - 40, box["y"] + 60)
    page.mouse.wheel(0, -100)
    says(page, "hint 2 has a radius of 7")
    assert marks(page).nth(1).get_attribute("aria-label").split(", radius")[0] == label.split(", radius")[0]
    marks(page).nth(1).click(button="right")
    says(page, "hint 2 removed")
    button(page, "Restart").click()
    says(page, "all hints removed")
    page.wait_for_function("document.querySelectorAll('.pg-mark').length == 0")
    assert page.locator("input.pg-line").input_value() == "20" and "20%" in page.locator(".pg-after").evaluate("x => x.style.clipPath")


def keyboard_walk(page, photos):
    "The same with no mouse: every step by Tab, arrows, Enter and Ctrl+Z."
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # from the start: asked for together with a key, a busy machine misses it
    says(page, "Choose a photo")
    page.keyboard.press("Tab")
    def reach(name):
        for _ in range(60):
            is_called = "(e => e == document.body ? '' : e.ariaLabel || e.innerText || e.labels?.[0]?.innerText || '')(document.activeElement)"
            if name in page.evaluate(is_called): return
            page.keyboard.press("Tab")
        raise AssertionError(f"{name}: no way there by Tab")
    reach("Choose photos")
    page.keyboard.press("Enter")
    for _ in range(300):
        if choosers: break
        page.wait_for_timeout(100)
    (chooser,) = choosers
    chooser.set_files(photos/"granny.png")
    says(page, r"granny\.png, 512 × 512")
    reach("Arrow keys move a cross")
    for _ in range(9): page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    says(page, "hint 1 holds the colour")
    reach("colour: left green")  # the palette comes to the keyboard
    before = source(page)
    for _ in range(4): page.keyboard.press("ArrowRight")
    says(page, "hint 1 is #")
    assert source(page) != before
    page.keyboard.press("Escape")
    reach("Arrow keys move a cross")
    reach("hint 1 of 1")
    for key, answer in (("ArrowLeft", "hint 1 moved"), ("]", "hint 1 has a radius"), ("Delete", "hint 1 removed")):
        page.keyboard.press(key)
        says(page, answer)
    assert marks(page).count() == 0
    page.keyboard.press("Control+z")
    says(page, "undone")
    page.wait_for_function("document.querySelectorAll('.pg-mark').length == 1")
    reach("the line between before and after")
    page.keyboard.press("ArrowRight")
    assert "51%" in page.locator(".pg-after").evaluate("x => x.style.clipPath")
    reach("Download")
    files = downloads(page, lambda: page.keyboard.press("Enter"), 2)
    assert [name for name, _ in files] == ["granny in colour.png", "granny.hints.json"]


def run(page):
    "All cells of a notebook that JupyterLab shows."
    page.wait_for_function("window.jupyterapp !== undefined")
    page.evaluate("""async () => {
        const app = window.jupyterapp; await app.restored;
        let w = app.shell.currentWidget;
        for (let i = 0; i < 100 && !(w && w.context); i++) { await new Promise(r => setTimeout(r, 200)); w = app.shell.currentWidget }
        await w.context.ready; await w.sessionContext.ready; await w.revealed;
        app.commands.execute('notebook:run-all-cells') }""")


def test_voila(page, photos):
    with served([sys.executable, "-m", *VOILA, "app.ipynb"], photos) as url:
        page.goto(url, wait_until="domcontentloaded")
        walk(page, photos)
        # these weights take no hints, and a line says so
        before = source(page)
        assert page.locator("text=cannot follow any").count() == 1
        click(page, .5, .5)
        assert page.get_by_label("colour", exact=True).is_hidden() and button(page, "Undo").is_disabled()
        # what is no photo is told, and the last photo stays
        upload(page, photos/"letter.png")
        says(page, r"letter\.png: not an image")
        assert source(page) == before and marks(page).count() == 0
        # a name is text
        upload(page, next(photos.glob("<b>*")))
        says(page, "<b>aunt & uncle<.*, 512 × 512")
        assert page.locator(".pg-app b").count() == 0
        # Voila may serve it to anybody: what lies on this machine stays closed
        assert page.get_by_placeholder("a path, or https://…").is_hidden()
        upload(page, photos/"large.jpg")
        says(page, r"large\.jpg, 1500 × 1500")
        (name, path), = saved_files(page)
        with Image.open(path) as im: assert (name, im.format, im.size) == ("large in colour.jpg", "JPEG", (1500, 1500))
        page.get_by_label("format").select_option("png")
        (name, path), = saved_files(page)
        with Image.open(path) as im: assert (name, im.format) == ("large in colour.png", "PNG")
        # the samples
        page.get_by_label("or a sample").select_option("the camera man")
        says(page, "the camera man.png, 512 × 512")
        assert page.locator("a.pg-file").count() == 0  # it was another photo's
        # the filmstrip
        assert page.locator(".pg-film button").count() == 4
        button(page, "photo 1 of 4: granny.png").click()
        says(page, r"granny\.png, 512 × 512")
        button(page, "Close").click()
        says(page, "<b>aunt.*, 512 × 512")
        assert page.locator(".pg-film button").count() == 3


def test_hints_in_voila(page, photos):
    with served([sys.executable, "-m", *VOILA, "hints.ipynb"], photos) as url:
        page.goto(url, wait_until="domcontentloaded")
        hint_walk(page, photos)
        # closer: pixels of the photo itself, and the way back
        upload(page, photos/"large.jpg")
        says(page, r"large\.jpg, 1500 × 1500")
        button(page, "1:1").click()
        page.wait_for_function("document.querySelectorAll('.pg-near:not([hidden])').length == 2")
        near = page.locator(".pg-near").first
        page.wait_for_function("x => x.naturalWidth > 300", arg=near.element_handle())
        assert abs(near.evaluate("x => x.naturalWidth") - near.bounding_box()["width"]) < 2
        sheet, stage = page.locator(".pg-sheet"), page.locator(".pg-stage")
        assert sheet.bounding_box()["width"] == pytest.approx(1500, abs=1)
        start, box = stage.evaluate("x => x.scrollLeft"), stage.bounding_box()
        page.mouse.move(box["x"] + 300, box["y"] + 300)
        page.mouse.down()
        page.mouse.move(box["x"] + 200, box["y"] + 250, steps=4)
        page.mouse.up()
        assert stage.evaluate("x => x.scrollLeft") == pytest.approx(start + 100, abs=2) and marks(page).count() == 0  # panned, no hint
        button(page, "Fit").click()
        assert sheet.bounding_box()["width"] < 1000
        # photo and hints, dropped
        write_hints(photos/"granny.hints.json", [Hint(100, 100, "olive"), Hint(300, 300, "navy")], (512, 512))
        page.evaluate("""files => {
            const data = new DataTransfer();
            for (const [name, text] of files) data.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));
            document.querySelector('.pg-stage').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})) }""",
            [[n, b64encode((photos/n).read_bytes()).decode()] for n in ("granny.hints.json", "granny.png")])
        says(page, "2 hints from granny.hints.json")
        assert marks(page).count() == 2
        # faster than Python answers: two hints moved, then one removed twice, with two right clicks on one place
        labels = marks(page).evaluate_all("all => all.map(e => e.ariaLabel)")
        press = "e.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))"
        marks(page).evaluate_all(f"all => all.forEach(e => {press})")
        says(page, "hint 2 moved")
        page.wait_for_function("document.querySelector('.pg-app').ariaBusy == 'false'")
        found = marks(page).evaluate_all("all => all.map(e => e.ariaLabel)")
        assert [a == b for a, b in zip(labels, found, strict=True)] == [False, False]
        marks(page).first.evaluate("""mark => { const {x, y} = mark.getBoundingClientRect(); for (let n = 0; n < 2; n++)
            document.elementFromPoint(x + 9, y + 9).dispatchEvent(new MouseEvent('contextmenu', {bubbles: true, cancelable: true})) }""")
        says(page, "hint 1 removed")
        page.wait_for_timeout(1000)  # a second removal would have come by now
        assert marks(page).count() == 1
        # a double click closes one photo, and no two; those who use keys are not lost when the last one is gone
        several = page.locator(".pg-film button").count()
        button(page, "Close").evaluate("b => { b.click(); b.click() }")
        page.wait_for_function("n => document.querySelectorAll('.pg-film button').length == n", arg=several - 1)
        page.wait_for_timeout(1000)
        assert page.locator(".pg-film button").count() == several - 1
        for left in range(several - 2, -1, -1):
            page.wait_for_function("document.querySelector('.pg-app').ariaBusy == 'false'")
            button(page, "Close").press("Enter")
            if left: page.wait_for_function("n => document.querySelectorAll('.pg-film button').length == n", arg=left)
        says(page, "Choose a photo")
        assert page.evaluate("document.activeElement.innerText") == "Choose photos"
        # two drops at once: their pieces do not mix
        noise = np.random.default_rng(0).integers(0, 256, (1500, 1500), np.uint8)
        for name in ("one.png", "two.png"): Image.fromarray(noise).save(photos/name)
        assert (photos/"one.png").stat().st_size > 2 << 20
        page.evaluate("""files => {
            for (const [name, text] of files) {
                const data = new DataTransfer();
                data.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));
                document.querySelector('.pg-app').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})) } }""",
            [[n, b64encode((photos/n).read_bytes()).decode()] for n in ("one.png", "two.png")])
        says(page, r"two\.png, 1500 × 1500")
        assert page.locator(".pg-film button").count() == 2


def test_impatient_hands(page, photos):
    "While the network is slow: nothing that was meant for one hint is done to another; and the wheel belongs to the page that it scrolls."
    slow = notebook().replace("App()", "import time\\n"
        "app = App()\\nfollow = app.colorizer.follow\\napp.colorizer.follow = lambda *a: [time.sleep(1.5), follow(*a)][1]\\napp")
    (photos/"slow.ipynb").write_text(slow)
    Image.fromarray(np.zeros((100, 3000), np.uint8)).save(photos/"wide.png")
    with served([sys.executable, "-m", *VOILA, "slow.ipynb"], photos) as url:
        page.goto(url, wait_until="domcontentloaded")
        says(page, "Choose a photo")
        upload(page, photos/"granny.png")
        says(page, r"granny\.png, 512 × 512")
        colors = lambda: [re.search("#[0-9a-f]{6}", label)[0] for label in marks(page).evaluate_all("all => all.map(e => e.ariaLabel)")]
        ready = lambda: page.wait_for_function("document.querySelector('.pg-app').ariaBusy == 'false'")
        palette = page.locator(".pg-palette")
        click(page, .2, .2, click_count=2)  # a double click is one hint, which its second half chooses
        says(page, "hint 1: choose its colour")
        page.wait_for_timeout(300)
        assert marks(page).count() == 1
        palette.click(position=dict(x=20, y=20))
        says(page, "hint 1 is #")
        one = colors()[0]
        click(page, .5, .9)
        assert marks(page).count() == 2  # seen at once
        palette.click(position=dict(x=90, y=90), force=True)  # before the new hint has an answer
        says(page, "hint 2 holds")
        ready()
        assert colors()[0] == one
        # a hint that is gone is not shown again by an answer to something earlier
        click(page, .8, .5)
        says(page, "hint 3 holds")
        ready()
        palette.click(position=dict(x=20, y=20))
        page.evaluate("""() => { const line = document.querySelector('.pg-message'); window.said = [];
            new MutationObserver(() => said.push(line.textContent)).observe(line, {childList: true}) }""")
        marks(page).last.click(button="right")
        page.wait_for_function("said.some(text => text.startsWith('hint 3 is'))")  # for a moment: the removal is next
        page.wait_for_timeout(200)
        marks(page).last.click(button="right")
        says(page, "hint 3 removed")
        ready()
        assert len(colors()) == 2
        # undo gives the hints other numbers
        marks(page).first.click(button="right")
        says(page, "hint 1 removed")
        ready()
        button(page, "Undo").click()
        marks(page).first.click(button="right")  # it is still the second one that is seen there
        says(page, "undone")
        ready()
        assert len(colors()) == 2 and colors()[0] == one
        # the keyboard's place: Undo is greyed at the end, the keys go on
        for _ in range(20):
            if button(page, "Undo").is_disabled(): break
            button(page, "Undo").press("Enter")
            page.wait_for_timeout(300)
            ready()
        assert marks(page).count() == 0 and "pg-stage" in page.evaluate("document.activeElement.className")
        page.keyboard.press("Control+y")
        says(page, "done again")
        ready()
        # the page scrolls, and a hint comes under the mouse
        radius = marks(page).first.get_attribute("aria-label").split("radius ")[1]
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<div style=height:3000px></div>')")
        page.set_viewport_size(dict(width=1000, height=500))
        box = marks(page).first.bounding_box()
        page.mouse.move(box["x"] + 9, box["y"] + 200)
        for _ in range(12):
            page.mouse.wheel(0, 50)
            page.wait_for_timeout(60)
        page.wait_for_timeout(500)
        assert marks(page).first.get_attribute("aria-label").split("radius ")[1] == radius
        assert marks(page).first.bounding_box()["y"] < box["y"] - 300
        page.set_viewport_size(dict(width=1000, height=1200))
        upload(page, photos/"wide.png")
        says(page, r"wide\.png, 3000 × 100")
        button(page, "1:1").click()
        page.wait_for_function("document.querySelector('.pg-stage').clientHeight >= 100")  # all of it that the screen has room for


def test_keyboard_only(page, photos):
    with served([sys.executable, "-m", *VOILA, "hints.ipynb"], photos) as url:
        page.goto(url, wait_until="domcontentloaded")
        keyboard_walk(page, photos)


@pytest.mark.parametrize("width", [375, 1280])
def test_it_fits_the_screen_and_everything_has_a_name(page, photos, width):
    page.set_viewport_size(dict(width=width, height=800))
    with served([sys.executable, "-m", *VOILA, "hints.ipynb"], photos) as url:
        page.goto(url, wait_until="domcontentloaded")
        says(page, "Choose a photo")
        upload(page, photos/"granny.png", photos/"large.jpg")
        says(page, r"large\.jpg, 1500 × 1500")
        click(page, .3, .7)
        says(page, "hint 1 holds")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        beyond = "[...document.querySelectorAll('.pg-app *')].filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth)"
        assert page.evaluate(beyond + ".map(e => e.className)") == []
        nameless = """[...document.querySelectorAll('.pg-app :is(button, input, select, [tabindex="0"])')]
            .filter(e => e.tabIndex >= 0 && !(e.ariaLabel || e.innerText?.trim() && e.tagName == 'BUTTON' || e.labels?.[0]?.innerText.trim()))"""
        assert page.evaluate(nameless + ".map(e => e.outerHTML)") == []
        small = "[...document.querySelectorAll('.pg-app button')].filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 18)"
        assert page.evaluate(small + ".length") == 0


def test_jupyterlab(page, photos):
    with served([sys.executable, "-m", *LAB], photos, "/lab/tree/hints.ipynb", JUPYTERLAB_WORKSPACES_DIR=str(photos)) as url:
        page.goto(url, wait_until="domcontentloaded")
        run(page)
        says(page, "Choose a photo")
        several = [photos/"granny.png", photos/"large.jpg", next(photos.glob("<b>*"))]
        upload(page, *several)  # the first message takes another thread than the next
        for left in (3, 2, 1):
            page.wait_for_function("n => document.querySelectorAll('.pg-film button').length == n", arg=left)
            page.wait_for_function("document.querySelector('.pg-app').ariaBusy == 'false'")
            button(page, "Close").click()
        hint_walk(page, photos)
        # by path, by address, and neither
        field = page.get_by_placeholder("a path, or https://…")
        for where, answer in ((str(photos/"large.jpg"), r"large\.jpg, 1500 × 1500"), ("/nowhere.jpg", "no such file"),
                              ("ftp://x/y.jpg", "only addresses")):
            field.fill(where)
            field.press("Enter")
            says(page, answer)
        # more than a websocket's message may hold
        noise = np.random.default_rng(0).integers(0, 65536, (2600, 2600), np.uint16)
        Image.fromarray(noise).save(photos/"heavy.png")
        assert (photos/"heavy.png").stat().st_size > 12e6
        upload(page, photos/"heavy.png")
        says(page, r"heavy\.png, 2600 × 2600")
        # keys are the app's, not the notebook's: "a" and "d d" would add and delete cells
        cells = page.locator(".jp-Notebook .jp-Cell").count()
        page.locator(".pg-stage").focus()
        for key in "abddxz1+-0": page.keyboard.press(key)
        assert page.locator(".jp-Notebook .jp-Cell").count() == cells and page.locator(".pg-app").is_visible()
        # the kernel dies
        page.evaluate("""() => { const {kernel} = window.jupyterapp.shell.currentWidget.sessionContext.session;
            kernel.requestExecute({code: 'import os; os._exit(9)'}) }""")
        page.get_by_role("button", name="Ok").click()  # JupyterLab says that it restarts
        page.locator(".pg-stage").press("Control+z")
        says(page, "Python has stopped: run the cell again")


def test_ipywidgets_7(page, photos):
    python = os.environ.get("PORTRAIT_GAN_IPYWIDGETS7")
    if not python: pytest.skip("PORTRAIT_GAN_IPYWIDGETS7 names no environment with ipywidgets 7")
    for name, way in ("app.ipynb", walk), ("hints.ipynb", hint_walk), ("hints.ipynb", keyboard_walk):
        with served([python, "-m", *VOILA, "--enable_nbextensions=True", name], photos) as url:
            page.goto(url, wait_until="domcontentloaded")
            way(page, photos)
            assert page.locator("text=/ipywidgets 7/").count()


@pytest.fixture
def space(photos, root):
    "The address of the Gradio page."
    python = os.environ.get("PORTRAIT_GAN_DEMO") or (sys.executable if importlib.util.find_spec("gradio") else None)
    if not python: pytest.skip("the extra demo (gradio) is not installed")
    with served([python, str(root/"space/app.py")], photos) as url: yield url


def test_gradio(page, photos, space):
    asked = []
    page.on("request", lambda r: asked.append(r.url))
    page.goto(space, wait_until="domcontentloaded")
    page.wait_for_selector("text=Working size")
    page.locator("input[type=file]").first.set_input_files(photos/"granny.png")
    page.wait_for_selector("[data-testid=imageslider] img, .slider-wrap img")
    shown = "[...document.querySelectorAll('[data-testid=imageslider] img, .slider-wrap img')].map(i => i.src).join()"
    before = page.evaluate(shown)
    page.get_by_label("number input for Saturation").fill("1.5")
    page.get_by_label("number input for Saturation").press("Enter")
    page.wait_for_function(f"b => {shown} != b", arg=before)
    page.get_by_role("button", name="Make the file").click()
    link = page.wait_for_selector("a[download*='in colour'], a[href*='in%20colour'], a[href*='in colour']")
    with page.expect_download() as download: link.click()
    with Image.open(io.BytesIO(download.value.path().read_bytes())) as im: assert im.size == (512, 512)
    outside = [u for u in asked if not re.match(r"(https?://127\.0\.0\.1|data:|blob:)", u)]
    assert not outside, outside


def test_gradio_with_hints(page, photos, space):
    page.goto(space, wait_until="domcontentloaded")
    page.wait_for_selector("text=Click where you know a colour")
    page.locator("input[type=file]").first.set_input_files(photos/"granny.png")
    marked, field = page.locator("[data-testid=image] img, .image-container img, .image-frame img").last, page.get_by_label("Hints, one a line")
    marked.wait_for()
    def becomes(act):
        before = marked.get_attribute("src")
        act()
        page.wait_for_function("([e, b]) => e.isConnected && e.src != b && e.complete", arg=[marked.element_handle(), before])
    def files():
        page.get_by_role("button", name="Make the file").click()
        link = page.wait_for_selector("a[download*='in colour'], a[href*='in%20colour'], a[href*='in colour']")
        with page.expect_download() as download: link.click()
        with Image.open(download.value.path()) as im: return rgb2lab(np.asarray(im)), page.locator("text=granny.hints").count()
    box = marked.bounding_box()
    becomes(lambda: marked.click(position=dict(x=box["width"]*.35, y=box["height"]*.8)))
    lab, beside = files()
    L, *ab = lab[int(.8*512), int(.35*512)]
    assert np.abs(fit_gamut(L, color_ab((0x2e, 0x8b, 0x57))) - ab).max() < 5 and beside
    by_mouse = field.input_value()
    becomes(lambda: page.get_by_role("button", name="Undo hint").click())
    assert field.input_value() == ""
    becomes(lambda: page.get_by_role("button", name="Redo hint").click())
    assert field.input_value() == by_mouse
    becomes(lambda: page.get_by_role("button", name="Clear hints").click())
    lab, beside = files()
    assert not beside and np.hypot(*(lab[int(.8*512), int(.35*512), 1:] - ab)) > 10
    # the field is left by a click on the photo: what was typed and what was clicked both count
    field.fill("100, 100, navy, 20")
    box = marked.bounding_box()
    becomes(lambda: marked.click(position=dict(x=box["width"]*.35, y=box["height"]*.8), delay=100))
    page.wait_for_function("e => e.value.split('\\n').length == 2", arg=field.element_handle())
    assert field.input_value().startswith("100, 100, navy, 20\n")
    # hints of another day
    write_hints(photos/"granny.hints.json", [Hint(100, 100, "navy", 20)], (512, 512))
    becomes(lambda: page.locator("input[type=file][accept*=json]").set_input_files(photos/"granny.hints.json"))
    assert field.input_value() == "100, 100, navy, 20"
    # what is no photo is told
    page.get_by_label("Clear").or_(page.get_by_label("Remove")).first.click()
    page.locator("input[type=file]").first.set_input_files(photos/"letter.png")
    page.wait_for_selector("text=letter.png: not an image")
    assert not page.locator("text=/^Error$/").count() and field.input_value() == ""


def test_gradio_by_keyboard_only(page, photos, space):
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    page.goto(space, wait_until="domcontentloaded")
    page.wait_for_selector("text=Click where you know a colour")
    marked, field = page.locator("[data-testid=image] img, .image-container img, .image-frame img").last, page.get_by_label("Hints, one a line")
    def reach(there, steps=80):
        for _ in range(steps):
            page.keyboard.press("Tab")
            if page.evaluate("e => e == document.activeElement", there.element_handle()): return
        raise AssertionError(f"{there}: no way there by Tab")
    reach(page.get_by_role("button", name=re.compile("upload", re.I)).first)
    page.keyboard.press("Enter")
    for _ in range(300):
        if choosers: break
        page.wait_for_timeout(100)
    choosers[0].set_files(photos/"granny.png")
    marked.wait_for()
    def becomes(key):
        before = marked.get_attribute("src")
        page.keyboard.press(key)
        page.wait_for_function("([e, b]) => e.src != b && e.complete", arg=[marked.element_handle(), before])
    def write(text):
        reach(field)
        page.keyboard.press("Control+a")
        page.keyboard.type(text)
    for text, key in (("200, 400, seagreen", "Tab"), ("200, 400, navy, 30", "Shift+Enter")):  # a hint, and a change of it
        write(text)
        becomes(key)
        assert field.input_value() == text
    write("no hint")
    page.keyboard.press("Tab")
    page.wait_for_selector("text=is no hint; write X,Y,COLOUR")
    reach(page.get_by_role("button", name="Undo hint"))
    becomes("Enter")
    assert field.input_value() == "200, 400, seagreen"
    reach(page.get_by_role("button", name="Make the file"))
    page.keyboard.press("Enter")
    link = page.locator("a[download*='in colour'], a[href*='in%20colour'], a[href*='in colour']").first
    link.wait_for()
    reach(link)
    with page.expect_download() as download: page.keyboard.press("Enter")
    with Image.open(download.value.path()) as im: L, *ab = rgb2lab(np.asarray(im))[400, 200]
    assert np.abs(fit_gamut(L, color_ab((0x2e, 0x8b, 0x57))) - ab).max() < 5
