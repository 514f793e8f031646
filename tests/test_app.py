"Who may open what through the app, without a browser."
import os
import sys

import pytest
from PIL import Image

from portrait_gan import app as module
from portrait_gan.app import App

VOILA = dict(SERVER_SOFTWARE="voila/0.5.13", VOILA_REQUEST_URL="http://example.org/", VOILA_BASE_URL="/", VOILA_PREHEAT="False")
LAB = dict(JPY_SESSION_NAME="app.ipynb")


@pytest.fixture
def place(tmp_path, monkeypatch):
    "A server's folder with a photo and a run, and a function that opens the app in a kernel with these variables."
    monkeypatch.chdir(tmp_path)
    Image.new("L", (40, 40), 99).save(tmp_path/"secret.png")
    monkeypatch.setattr(module, "list_checkpoints", lambda path: ["epoch_0001"])
    (tmp_path/"work/private").mkdir(parents=True)
    for name in [n for n in os.environ if n.startswith("VOILA_") or n in ("SERVER_SOFTWARE", "JPY_SESSION_NAME")]: monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    fetched = []
    monkeypatch.setattr(module, "fetch", lambda url: fetched.append(url) or ("x.png", b""))
    def start(env, **options):
        for name, value in env.items(): monkeypatch.setenv(name, value)
        return App(**options), fetched
    return start


@pytest.mark.parametrize("env", [VOILA, dict(VOILA_PREHEAT="True"), VOILA | LAB, {}], ids=["voila", "preheated", "voila from a lab", "unknown"])
def test_served_to_others_it_takes_uploads_only(place, tmp_path, env):
    app, fetched = place(env)
    for where in (str(tmp_path/"secret.png"), "secret.png", "~/secret.png", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd"):
        app.where.value = where  # the field is not shown, but a visitor may know how widgets talk
    assert app.where not in app.children and app.portrait is None and fetched == []
    assert list(app.weights.options) == ["bundled weights"]
    app._on_upload(dict(new=({"name": "mine.png", "content": (tmp_path/"secret.png").read_bytes()},)))
    assert app.portrait.name == "mine.png"


def test_its_owner_may_open_paths_and_addresses(place, tmp_path):
    app, fetched = place(LAB)
    app.where.value = str(tmp_path/"secret.png")
    assert app.where in app.children and app.portrait.name == "secret.png"
    app.where.value = "https://example.org/x.png"
    assert fetched == ["https://example.org/x.png"] and list(app.weights.options) == ["bundled weights", "work/private"]


def test_colab_is_its_owners(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    app, _ = place({})
    assert app.where in app.children


@pytest.mark.parametrize("env, local", [(VOILA, True), (LAB, False)])
def test_who_says_so_decides(place, env, local):
    app, _ = place(env, local=local)
    assert (app.where in app.children) == local
