"Who may open what through the app, without a browser."
import io
import json
import os
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError
from unittest import mock

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from portrait_gan import app as module
from portrait_gan.app import App
from portrait_gan.checkpoint import save_generator
from portrait_gan.generator import load_generator

VOILA = dict(SERVER_SOFTWARE="voila/0.5.13", VOILA_REQUEST_URL="http://example.org/", VOILA_BASE_URL="/", VOILA_PREHEAT="False")
LAB = dict(JPY_SESSION_NAME="app.ipynb")


def from_browser(app, buffers=(), **content): app._handle_custom_msg(content, buffers)


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
    app.view = app.view | dict(local=True, weights=["work/private"])  # what the browser is shown, a visitor may change
    for where in (str(tmp_path/"secret.png"), "secret.png", "~/secret.png", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd"):
        from_browser(app, do="open", where=where)  # the field is not shown, but a visitor may know how widgets talk
    from_browser(app, do="weights", name="work/private")
    assert not app.local and app.portrait is None and fetched == []
    assert list(app.weights) == ["bundled weights"] and app.chosen == "bundled weights"
    from_browser(app, [(tmp_path/"secret.png").read_bytes()], do="upload", name="mine.png", part=0, parts=1)
    assert app.portrait.name == "mine.png"


def test_its_owner_may_open_paths_and_addresses(place, tmp_path):
    app, fetched = place(LAB)
    from_browser(app, do="open", where=str(tmp_path/"secret.png"))
    assert app.view["local"] and app.portrait.name == "secret.png"
    from_browser(app, do="open", where="https://example.org/x.png")
    assert fetched == ["https://example.org/x.png"] and list(app.weights) == ["bundled weights", "work/private"]


def test_colab_is_its_owners(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    app, _ = place({})
    assert app.local


@pytest.mark.parametrize("env, local", [(VOILA, True), (LAB, False)])
def test_who_says_so_decides(place, env, local):
    app, _ = place(env, local=local)
    assert app.local == app.view["local"] == local


@pytest.fixture
def app(place, tmp_path):
    "The owner's app with weights that take hints, and a photo in colour bands of light on its table."
    save_generator(load_generator()[0], tmp_path/"hinted", dict(ab_scale=110., size=64))
    bands = np.repeat(np.uint8([[40, 90, 150, 220]]), 25, 1).repeat(80, 0)
    Image.fromarray(bands).save(tmp_path/"granny.png")
    app, _ = place(LAB, weights=str(tmp_path/"hinted"))
    from_browser(app, do="open", where=str(tmp_path/"granny.png"))
    return app


def at(app, x, y):
    "a*b* of the photo as it would be saved."
    (_, data), *_ = app.result()[0]
    with Image.open(io.BytesIO(data)) as im: return rgb2lab(np.asarray(im))[y, x, 1:]


def test_a_hint_is_followed_moved_taken_back_and_kept(app, tmp_path):
    before, plain = app.after, at(app, 60, 40)
    from_browser(app, do="add", x=60, y=40)
    assert np.abs(at(app, 60, 40) - plain).max() < 3 and app.view["selected"] == 0  # as it is, until somebody says more
    from_browser(app, do="color", i=0, ab=[-30, 30])
    assert np.abs(at(app, 60, 40) - (-30, 30)).max() < 3 and app.after != before
    from_browser(app, do="radius", i=0, radius=4)
    from_browser(app, do="move", i=0, x=500, y=-7)
    (hint,) = app.portrait.hints
    assert (hint.x, hint.y, hint.radius) == (99.9, 0, 4)
    files, note = app.result()
    assert [name for name, _ in files] == ["granny in colour.png", "granny.hints.json"] and note == ""
    for _ in range(5): from_browser(app, do="undo")  # one more than there are
    assert app.portrait.hints == [] and app.after == before and not app.view["undo"]
    for _ in range(5): from_browser(app, do="redo")
    assert app.portrait.hints == [hint]
    from_browser(app, do="restart")
    assert app.portrait.hints == [] and app.view["undo"]
    # beside the photo, they are found again
    (tmp_path/"granny.hints.json").write_bytes(files[1][1])
    from_browser(app, do="open", where=str(tmp_path/"granny.png"))
    assert app.portrait.hints == [hint] and len(app.photos) == 2
    # a hint on one photo is none of the other's
    from_browser(app, do="show", i=0)
    assert app.portrait.hints == [] and app.view["undo"]


def test_what_the_palette_offers_exists_there(app):
    for x, L_star in ((10, 16.), (90, 87.6)):
        from_browser(app, do="add", x=x, y=40)
        assert app.view["light"] == pytest.approx(L_star, abs=2)
        with Image.open(io.BytesIO(app.palette)) as im: colors = np.asarray(im)
        offered = rgb2lab(colors[..., :3])[colors[..., 3] > 0]
        assert len(offered) > 100 and np.abs(offered[:, 0] - app.view["light"]).max() < 2.5
        for c in app.view["suggested"] + [r["shown"] for r in app.view["recent"]]:
            assert abs(rgb2lab(np.uint8([[[*bytes.fromhex(c[1:])]]]))[0, 0, 0] - app.view["light"]) < 2.5
        from_browser(app, do="color", i=app.view["selected"], color="red")
    assert app.recent == ["red"]


def test_a_mishap_is_one_line_and_changes_nothing(app, tmp_path):
    from_browser(app, do="add", x=60, y=40)
    kept = app.portrait.hints, app.after
    wide = json.dumps(dict(size=[9, 9], hints=[dict(x=1, y=1, color="red")])).encode()
    for message, buffers, what in (
            ("no such file", [], dict(do="open", where=str(tmp_path/"nowhere.png"))),
            ("write #rrggbb or a CSS name", [], dict(do="color", i=0, color="no colour")),
            ("cannot be written", [], dict(do="format", value="exe")),
            ("granny.hints.json was made for a photo of 9 × 9", [wide], dict(do="upload", name="granny.hints.json", part=0, parts=1)),
            ("aunt.hints.json: open the photo that it belongs to", [wide], dict(do="upload", name="aunt.hints.json", part=0, parts=1)),
            ("letter.txt: not an image", [b"Dear reader"], dict(do="upload", name="letter.txt", part=0, parts=1))):
        from_browser(app, buffers, **what)
        assert message in app.message and app.view["failed"] and not app.view["busy"]
    for what in (dict(do="remove", i=7), dict(do="move", i=7, x=1, y=1), dict(do="select", i=7), dict(do="show", i=7)): from_browser(app, **what)
    assert (app.portrait.hints, app.after) == kept
    monstrous = [b"x"*999_999]
    for part in range(202): from_browser(app, monstrous, do="upload", name="big.png", part=part, parts=500)
    assert "more than 200 MB" in app.message and sum(map(len, app._coming["big.png"].values())) == 200*999_999
    from_browser(app, [b"x"], do="upload", name="big.png", part=499, parts=500)  # the last would fit again
    assert "big.png: a part of it was lost" in app.message and (app.portrait.hints, app.after) == kept


def test_pieces_of_two_uploads_do_not_mix(app, tmp_path):
    whole = (tmp_path/"granny.png").read_bytes()
    def piece(name, part, parts, data): from_browser(app, [data], do="upload", name=name, part=part, parts=parts)
    def names(): return [p["name"] for p in app.photos]
    piece("a.png", 0, 2, whole[:50])
    piece("b.png", 1, 2, whole[50:])  # its first piece is late: JupyterLab sends a session's first message by another thread
    assert names() == ["granny.png"]
    piece("a.png", 1, 2, whole[50:])
    piece("b.png", 0, 2, whole[:50])
    assert names() == ["granny.png", "a.png", "b.png"] and app._coming == {}
    piece("c.png", 3, 4, whole)  # with no beginning
    assert "c.png: a part of it was lost; choose it again" in app.message and app.view["failed"]
    piece("c.png", 0, 4, b"broke off")
    piece("c.png", 0, 1, whole)  # chosen again
    assert names()[3:] == ["c.png"]


def test_uploads_that_broke_off_take_no_more_room_than_one_may(app, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 100)
    for name in "abc": from_browser(app, [b"x"*60], do="upload", name=name, part=0, parts=2)
    assert list(app._coming) == ["c"]


def test_photos_that_come_at_once_all_stay(app, tmp_path):
    "By several threads, as JupyterLab's subshells bring them."
    whole = (tmp_path/"granny.png").read_bytes()
    reading, together = Barrier(2), module.Portrait.read
    def read(data, name):
        with suppress(BrokenBarrierError): reading.wait(2)  # both read at once, if nothing keeps them apart
        return together(data, name)
    with mock.patch.object(module.Portrait, "read", read), ThreadPoolExecutor() as threads:
        list(threads.map(lambda name: from_browser(app, [whole], do="upload", name=name, part=0, parts=1), ("a.png", "b.png")))
    assert sorted(p["name"] for p in app.photos) == ["a.png", "b.png", "granny.png"]


def test_what_was_meant_for_one_photo_is_not_done_to_another(app, tmp_path):
    for name in "ab":
        from_browser(app, [(tmp_path/"granny.png").read_bytes()], do="upload", name=f"{name}.png", part=0, parts=1)
        from_browser(app, do="add", x=60, y=40)
    seen = app.view["photo"]
    for _ in range(2): from_browser(app, do="close", photo=seen)  # a double click
    assert [p["name"] for p in app.photos] == ["granny.png", "a.png"] and len(app.portrait.hints) == 1
    kept, view = app.portrait.hints, app.view
    for what in (dict(do="move", i=0, x=1, y=1), dict(do="remove", i=0), dict(do="restart"), dict(do="undo"), dict(do="add", x=9, y=9),
                 dict(do="detail", box=[900, 900, 990, 990]), dict(do="download")): from_browser(app, photo=seen, **what)
    assert (app.portrait.hints, app.view) == (kept, view)
    from_browser(app, do="undo", photo=view["photo"])
    assert app.portrait.hints == []


def test_a_choice_draws_nothing_anew(app):
    from_browser(app, do="add", x=60, y=40)
    from_browser(app, do="detail", box=[0, 0, 50, 50])
    near = app.detail
    from_browser(app, do="select", i=None)
    assert app.view["selected"] is None and app.detail is near
    from_browser(app, do="select", i=0)
    assert app.view["selected"] == 0 and app.detail is near


def test_a_failure_of_the_network_leaves_undo_as_it_was(app, monkeypatch):
    from_browser(app, do="add", x=60, y=40)
    from_browser(app, do="color", i=0, color="red")
    def fail(*_): raise MemoryError("Unable to allocate 9 GiB")
    with monkeypatch.context() as patch:
        patch.setattr(app.colorizer, "follow", fail)
        for what in (dict(do="undo"), dict(do="add", x=9, y=9)):
            from_browser(app, **what)
            assert app.message == "Unable to allocate 9 GiB" and app.view["failed"] and not app.view["busy"]
            assert [h.color for h in app.portrait.hints] == ["red"] and app.view["undo"] and not app.view["redo"]
    from_browser(app, do="undo")
    from_browser(app, do="redo")
    assert [h.color for h in app.portrait.hints] == ["red"]


def test_a_telephone_s_photo_brings_its_remedy(app, monkeypatch):
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)  # as without the extra `heic`
    monkeypatch.setattr(Image, "ID", [kind for kind in Image.ID if kind != "HEIF"])
    from_browser(app, [b"Dear reader"], do="upload", name="aunt.heic", part=0, parts=1)
    assert app.message.startswith("aunt.heic: not an image") and "portrait-gan[heic]" in app.message


def test_weights_without_hints_say_so(app, deaf_weights):
    from_browser(app, do="add", x=60, y=40)
    app.weights["another network"] = str(deaf_weights)
    from_browser(app, do="weights", name="another network")
    assert app.view["no_hints"].startswith("No hints: another network") and len(app.result()[0]) == 1
    assert "hint" not in app.portrait.photo.colorized  # and no word of a hint that was not followed
    after = app.after
    for what in (dict(do="add", x=1, y=1), dict(do="color", i=0, color="red"), dict(do="remove", i=0), dict(do="undo")): from_browser(app, **what)
    assert len(app.portrait.hints) == 1 and app.after == after


def test_a_closer_look_is_the_photo_itself(app):
    from_browser(app, do="detail", box=[-50, 10, 70, 400])
    assert app.detail["box"] == [0, 10, 70, 80]
    with Image.open(io.BytesIO(app.detail["after"])) as im: near = np.asarray(im).astype(int)
    (_, data), = app.result()[0]
    with Image.open(io.BytesIO(data)) as im: whole = np.asarray(im).astype(int)
    assert near.shape == (70, 70, 3) and np.abs(near - whole[10:80, :70]).mean() < 3


def test_a_hint_that_undo_gave_another_number_is_left_alone(app):
    for x, color in ((10, "red"), (30, "yellow")):
        from_browser(app, do="add", x=x, y=40)
        from_browser(app, do="color", i=app.selected, color=color)
    colors = lambda: [h.color for h in app.portrait.hints]
    from_browser(app, do="remove", i=0, turn=app.view["turn"])
    seen = app.view["turn"]
    from_browser(app, do="undo", turn=seen)
    from_browser(app, do="remove", i=0, turn=seen)  # the browser still saw yellow there
    assert colors() == ["red", "yellow"]
    from_browser(app, do="remove", i=0, turn=app.view["turn"])
    assert colors() == ["yellow"]
    from_browser(app, do="select", i=0)
    from_browser(app, do="undo")
    assert colors() == ["red", "yellow"] and app.selected == 1  # it is still yellow that is chosen
    from_browser(app, do="select", i=0)
    from_browser(app, do="redo")
    assert colors() == ["yellow"] and app.selected is None
    from_browser(app, do="select", i=0)
    from_browser(app, do="color", i=0, color="blue")
    from_browser(app, do="undo")
    assert colors() == ["yellow"] and app.selected == 0  # a colour that is undone leaves its hint chosen
    seen = app.view["turn"]
    from_browser(app, do="restart")
    from_browser(app, do="add", x=20, y=20)
    from_browser(app, do="remove", i=0, turn=seen)
    assert len(colors()) == 1
    from_browser(app, do="remove", i=0, turn=app.view["turn"], turn_after=.5)
    assert colors() == [] and app.view["turn"] == .5


def test_an_answer_that_repeats_the_last_is_sent(app):
    views = []
    app.observe(lambda change: views.append(change.new), "view")
    for _ in range(2): from_browser(app, do="open", where="/nowhere.jpg")
    assert [v["message"] for v in views] == ["/nowhere.jpg: no such file"]*2


def test_hints_are_not_lost_with_one_click(app):
    from_browser(app, do="add", x=60, y=40)
    from_browser(app, do="close")
    assert "Close again to lose 1 hint; Download keeps them" in app.message and len(app.portraits) == 1
    from_browser(app, do="add", x=30, y=40)
    from_browser(app, do="close")
    assert "lose 2 hints" in app.message and len(app.portraits) == 1
    from_browser(app, do="download")
    from_browser(app, do="undo")
    from_browser(app, do="add", x=90, y=40)  # as many as were downloaded, but others
    from_browser(app, do="close")
    assert "lose 2 hints" in app.message and len(app.portraits) == 1
    from_browser(app, do="add", x=20, y=40)
    from_browser(app, do="download")
    from_browser(app, do="close")
    assert app.portraits == []


def test_what_is_refused_is_told_after_those_that_are_not(app, tmp_path):
    whole = (tmp_path/"granny.png").read_bytes()
    def give(name, data, batch): from_browser(app, [data], do="upload", name=name, part=0, parts=1, batch=batch)
    for name, data in (("a.png", whole), ("empty.png", b""), ("letter.png", b"Dear reader"), ("b.png", whole)): give(name, data, .5)
    assert app.message.startswith("b.png, ") and "empty.png: " in app.message and "letter.png: not an image" in app.message and app.view["failed"]
    give("c.png", whole, .7)
    assert "letter" not in app.message and not app.view["failed"]
    for part in (0, 2, 3): from_browser(app, [b"x"], do="upload", name="torn.png", part=part, parts=4, batch=.71)
    assert app.message == "torn.png: a part of it was lost; choose it again"
    from_browser(app, do="refuse", batch=.71, why="large.png: more than 200 MB")
    for part in (1, 0): from_browser(app, [(whole[:50], whole[50:])[part]], do="upload", name="d.png", part=part, parts=2, batch=.71)
    assert app.message.startswith("d.png, ") and app.message.endswith("torn.png: a part of it was lost; choose it again; large.png: more than 200 MB")
    give("notes.json", b"{}", .8)
    assert app.message == "notes.json: the hints of photo.jpg are called photo.hints.json"
    made = json.dumps(dict(size=app.portrait.size, hints=[dict(x=1, y=1, color="red")])).encode()
    give("c.hints (1).json", made, .9)  # as a browser calls the second one that it saves
    assert app.message.endswith("; 1 hint from c.hints.json")


def test_an_interrupt_is_told(app, monkeypatch):
    def stop(*args): raise KeyboardInterrupt
    monkeypatch.setattr(app.colorizer, "follow", stop)
    with pytest.raises(KeyboardInterrupt): from_browser(app, do="add", x=60, y=40)
    assert app.message == "interrupted" and app.view["failed"] and not app.view["busy"]
