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
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from skimage import data as skdata

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--no-first-run"]
pytestmark = [pytest.mark.skipif(not CHROMIUM, reason="no Chromium here"),
              pytest.mark.skipif(not importlib.util.find_spec("playwright"), reason="playwright is not installed")]
CELL = "import ipywidgets\nfrom portrait_gan.app import App\nprint('ipywidgets', ipywidgets.__version__)\nApp()"


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
    page.set_default_timeout(600_000)
    yield page
    page.close()


@pytest.fixture
def photos(tmp_path):
    "What is uploaded: a grey photo, sixteen bits, a letter, one with an unfriendly name."
    gray = np.asarray(Image.fromarray(skdata.astronaut()).convert("L"))
    for name in ("granny.png", "<b>aunt & uncle</b>.png"): Image.fromarray(gray).save(tmp_path/name.replace("/", "_"))
    (tmp_path/"letter.png").write_text("Dear reader")
    Image.fromarray(gray).resize((1500, 1500)).save(tmp_path/"large.jpg")
    (tmp_path/"app.ipynb").write_text(json.dumps(dict(
        cells=[dict(cell_type="code", id="a", metadata={}, execution_count=None, outputs=[], source=CELL)], nbformat=4, nbformat_minor=5,
        metadata=dict(kernelspec=dict(display_name="python3", language="python", name="python3")))))
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


def upload(page, path):
    with page.expect_file_chooser() as chooser: page.click("button.widget-upload, .jupyter-widgets.widget-upload")
    chooser.value.set_files(path)


def slide(page, label, steps):
    "Move an ipywidgets slider with the keyboard, step by step: while the app works it is off, and a key is lost."
    slider, after = page.locator(f".widget-hslider:has-text('{label}')"), page.locator(".pg-after")
    for _ in range(abs(steps)):
        slider.locator(".noUi-target:not([disabled]), .ui-slider:not(.ui-slider-disabled)").wait_for()
        before = after.get_attribute("src")
        slider.locator(".noUi-handle, .ui-slider-handle").first.press("ArrowRight" if steps > 0 else "ArrowLeft")
        redrawn(page, before)
        says(page, "granny")


def redrawn(page, before):
    page.wait_for_function("b => document.querySelector('.pg-after') && document.querySelector('.pg-after').src != b", arg=before)


def saved_file(page):
    page.get_by_role("button", name="Make the file").click()
    page.wait_for_selector("a.pg-file")
    with page.expect_download() as download: page.click("a.pg-file")
    return download.value.suggested_filename, download.value.path()


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
    name, path = saved_file(page)
    with Image.open(path) as im: assert (name, im.size, im.mode) == ("granny in colour.png", (512, 512), "RGB")


def test_voila(page, photos):
    with served([sys.executable, "-m", "voila", "app.ipynb", "--no-browser", "--port={port}", "--Voila.ip=127.0.0.1"], photos) as url:
        page.goto(url, wait_until="domcontentloaded")
        walk(page, photos)
        # what is no photo is told, and the last photo stays
        before = page.locator(".pg-after").get_attribute("src")
        upload(page, photos/"letter.png")
        says(page, r"letter\.png: not an image")
        assert page.locator(".pg-after").get_attribute("src") == before
        # a name is text
        upload(page, next(photos.glob("<b>*")))
        says(page, "<b>aunt & uncle<.*, 512 × 512")
        assert page.locator(".pg-message b").count() == 0
        # Voila may serve it to anybody: what lies on this machine stays closed
        assert page.get_by_placeholder("a path, or https://…").count() == 0
        upload(page, photos/"large.jpg")
        says(page, r"large\.jpg, 1500 × 1500")
        name, path = saved_file(page)
        with Image.open(path) as im: assert (name, im.format, im.size) == ("large in colour.jpg", "JPEG", (1500, 1500))
        # the samples
        page.locator("select").first.select_option("the camera man")
        says(page, "the camera man.png, 512 × 512")
        assert page.locator("a.pg-file").count() == 0  # it was another photo's


def test_jupyterlab(page, photos):
    lab = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port={port}", "--IdentityProvider.token=",
           "--ServerApp.ip=127.0.0.1", "--LabApp.expose_app_in_browser=True"]
    with served(lab, photos, "/lab/tree/app.ipynb") as url:
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_function("window.jupyterapp !== undefined")
        page.evaluate("""async () => {
            const app = window.jupyterapp; await app.restored;
            let w = app.shell.currentWidget;
            for (let i = 0; i < 100 && !(w && w.context); i++) { await new Promise(r => setTimeout(r, 200)); w = app.shell.currentWidget }
            await w.context.ready; await w.sessionContext.ready; await w.revealed;
            app.commands.execute('notebook:run-all-cells') }""")
        walk(page, photos)
        # by path, by address, and neither
        field = page.get_by_placeholder("a path, or https://…")
        for where, answer in ((str(photos/"large.jpg"), r"large\.jpg, 1500 × 1500"), ("/nowhere.jpg", "no such file"),
                              ("ftp://x/y.jpg", "only addresses")):
            field.fill(where)
            field.press("Enter")
            says(page, answer)


def test_ipywidgets_7(page, photos):
    python = os.environ.get("PORTRAIT_GAN_IPYWIDGETS7")
    if not python: pytest.skip("PORTRAIT_GAN_IPYWIDGETS7 names no environment with ipywidgets 7")
    with served([python, "-m", "voila", "app.ipynb", "--no-browser", "--port={port}", "--Voila.ip=127.0.0.1"], photos) as url:
        page.goto(url, wait_until="domcontentloaded")
        walk(page, photos)
        assert page.locator("text=/ipywidgets 7/").count()


def test_gradio(page, photos, root):
    python = os.environ.get("PORTRAIT_GAN_DEMO") or (sys.executable if importlib.util.find_spec("gradio") else None)
    if not python: pytest.skip("the extra demo (gradio) is not installed")
    asked = []
    page.on("request", lambda r: asked.append(r.url))
    with served([python, str(root/"space/app.py")], photos) as url:
        page.goto(url, wait_until="domcontentloaded")
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
