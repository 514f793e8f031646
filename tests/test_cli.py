"The commands as a user types them, each in a process of its own."
import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import portrait_gan
from portrait_gan import cli
from portrait_gan.cache import save_toys
from portrait_gan.checkpoint import save_generator
from portrait_gan.config import TrainConfig
from portrait_gan.data import toy_portraits
from portrait_gan.generator import build_generator


@pytest.fixture(scope="module")
def project(tmp_path_factory, command):
    "Photos, a cache and a trained run, made by the commands themselves."
    folder = tmp_path_factory.mktemp("project")
    save_toys(folder/"people", 48, 64)
    assert command("prepare", "people", "cache", "--size", 64, cwd=folder)[0] == 0
    status, out, err = command("train", "cache", "--out", "run", "--recipe", "smoke", cwd=folder)
    assert status == 0, err
    assert out.count("epoch ") >= 3
    return folder


def test_version(command, tmp_path, root):
    version = re.search(r"^version = (.+)$", (root/"settings.ini").read_text(encoding="utf-8"), re.M)[1]
    assert command("--version", cwd=tmp_path) == (0, f"portrait-gan {version}\n", "") and portrait_gan.__version__ == version
    assert "--version" in command("--help", cwd=tmp_path)[1]


def test_evaluate(project, command):
    status, out, err = command("evaluate", "run", "--out", "scores", cwd=project)
    assert status == 0, err
    report = json.loads((project/"scores"/"report.json").read_text())
    assert {"grey", "mean colour", "ours"} == set(report["scores"]["photos"]) == set(report["scores"]["old prints"])
    assert (project/"scores"/"report.md").read_text().strip() in out
    assert json.loads((project/"run"/"chosen.json").read_text())["checkpoint"] in os.listdir(project/"run"/"checkpoints")


def test_colorize_folder_and_glob(project, command):
    album = project/"my album"
    album.mkdir()
    for i, rgb in enumerate(toy_portraits(3, 70)): Image.fromarray(rgb[:, :50+i]).convert("L").save(album/f"grandma {i}.png")
    status, out, err = command("colorize", "my album", "--out", "done", cwd=project)
    assert (status, err) == (0, "")
    for i in range(3):
        before, after = (np.asarray(Image.open(f/f"grandma {i}.png").convert("L")).astype(int) for f in (album, project/"done"))
        assert before.shape == after.shape
        assert np.percentile(abs(before - after), 99) <= 6 and np.ptp(np.asarray(Image.open(project/"done"/f"grandma {i}.png")), -1).max() > 10
    assert command("colorize", "my album/*.png", "--out", "done2", "--checkpoint", "run", cwd=project)[0] == 0
    assert len(list((project/"done2").iterdir())) == 3
    status, out, err = command("colorize", "my album", "--out", "done", cwd=project)
    assert (status, err) == (0, "") and "0 coloured, 3 already there (--overwrite" in out
    assert command("colorize", "my album", "--out", "done", "--overwrite", cwd=project)[0] == 0


def test_two_processes_share_a_folder(project, command):
    "As accelerate launch and torchrun start them: each colours its own photos, all together all of them, and names its own problems."
    (project/"shared").mkdir()
    for i, rgb in enumerate(toy_portraits(8, 40)): Image.fromarray(rgb).convert("L").save(project/f"shared/{i}.png")
    for i in range(8): (project/f"shared/bad {i}.png").touch()
    counts = []
    for rank in (0, 1):
        status, out, err = command("colorize", "shared", "--out", "together", cwd=project, WORLD_SIZE="2", RANK=str(rank))
        assert status == 1 and err.count("not an image") >= 1
        counts.append(int(out.split(" coloured")[0]))
    assert sum(counts) == 8 and min(counts) > 0
    made = sorted(p.name for p in (project/"together").iterdir())
    assert made == [f"{i}.png" for i in range(8)] + ["errors-0.csv", "errors-1.csv"]


def test_processes_protect_each_others_photos(project, command):
    "An input that falls to another process is replaced by none, and of two photos with one output one is told."
    (project/"mixed").mkdir()
    gray = Image.fromarray(toy_portraits(1, 40)[0]).convert("L")
    for i in range(6):
        for suffix in ("jpg", "png"): gray.save(project/f"mixed/{i}.{suffix}")
    before = {p.name: p.read_bytes() for p in (project/"mixed").iterdir()}
    for rank in (0, 1):
        command("colorize", "mixed", "--out", "mixed", "--format", "png", "--overwrite", cwd=project, WORLD_SIZE="2", RANK=str(rank))
    assert {p.name: p.read_bytes() for p in (project/"mixed").iterdir() if p.suffix != ".csv"} == before


def test_a_world_without_a_rank_is_refused_before_any_work(project, command):
    status, out, err = command("colorize", "people", "--out", "x", cwd=project, WORLD_SIZE="4")
    assert (status, out) == (2, "") and err.startswith("portrait-gan: WORLD_SIZE=4 ") and err.count("\n") == 1
    assert not (project/"x").exists()


def test_what_a_folder_holds_besides_is_told_once(tmp_path, command):
    (tmp_path/"in").mkdir()
    Image.fromarray(toy_portraits(1, 40)[0]).convert("L").save(tmp_path/"in/a.png")
    for name in ("a.dng", "b.dng", "letter.pdf"): (tmp_path/"in"/name).touch()
    status, out, err = command("colorize", "in", "--out", "done", cwd=tmp_path)
    assert (status, err) == (0, "") and out.count("left out") == 1 and "left out of folders: 2 .dng, 1 .pdf " in out


def test_a_network_that_answers_nothing_fails(tmp_path, command):
    torch.manual_seed(0)
    generator = build_generator("resnet18", None)
    with torch.no_grad():
        for p in generator.parameters(): p.mul_(1e20)
    save_generator(generator, tmp_path/"model", dict(ab_scale=110., size=64))
    Image.fromarray(toy_portraits(1, 40)[0]).convert("L").save(tmp_path/"a.png")
    status, out, err = command("colorize", "a.png", "--out", "done", "--checkpoint", "model", cwd=tmp_path)
    assert status == 1 and "0 coloured, 1 failed" in out and err.startswith("portrait-gan: a.png: ") and err.count("\n") == 1
    assert not list(tmp_path.glob("done/*"))


# telling never fails the work

@pytest.mark.skipif(sys.platform == "win32", reason="names as on POSIX")
@pytest.mark.parametrize("encoding, name", [("cp1252", "Φωτο 🙂"), ("utf-8:strict", "out_\udcff")])
def test_a_terminal_that_cannot_show_a_sign(tmp_path, command, encoding, name):
    "What cannot be shown is escaped; the status says what became of the work."
    folder = tmp_path/name
    folder.mkdir()
    Image.fromarray(toy_portraits(1, 40)[0]).convert("L").save(folder/"a.png")
    status, out, err = command("colorize", folder/"a.png", "--out", folder/"done", cwd=tmp_path, PYTHONIOENCODING=encoding)
    escaped = name.encode(encoding.split(":")[0], "backslashreplace").decode()
    assert (status, err) == (0, "") and f"1 coloured, 0 failed; results in {tmp_path}/{escaped}/done\n" == out
    assert os.listdir(folder/"done") == ["a.png"]
    status, out, err = command("prepare", folder, folder/"cache", cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert status == 1 and err.startswith("portrait-gan: ") and err.count("\n") == 1


def test_help_on_a_terminal_of_few_signs(tmp_path, command):
    status, out, err = command("colorize", "--help", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (status, err) == (0, "") and "usage: portrait-gan" in out


@pytest.mark.skipif(sys.platform == "win32", reason="pipes as on POSIX")
def test_nobody_listens(tmp_path):
    "Both pipes are closed on the other side; the photo is coloured, and its status is that of the work."
    Image.fromarray(toy_portraits(1, 40)[0]).convert("L").save(tmp_path/"a.png")
    for words, expected in ((["a.png"], 0), (["nowhere.png"], 1)):
        read, write = os.pipe()
        os.close(read)
        program = [str(Path(sys.executable).with_name("portrait-gan")), "colorize", *words, "--out", "done"]
        assert subprocess.run(program, cwd=tmp_path, stdout=write, stderr=write, timeout=300).returncode == expected
        os.close(write)
    assert os.listdir(tmp_path/"done") == ["a.png"]


# help

def test_the_help_of_train_is_grouped_as_its_source(tmp_path, command):
    "Every option once, under the comment that stands above it in TrainConfig, with its own help and the recipe's default."
    status, out, _ = command("train", "--recipe", "smoke", "--help", cwd=tmp_path, COLUMNS="80", PYTHONIOENCODING="utf-8")
    assert status == 0
    shown, group = {}, None
    for line in out.splitlines():
        if title := re.match(r"\W+ ([^│]+): options \W+$", line): group = title[1]
        elif option := re.match(r"│ --([a-z0-9-]+)[ ,].*", line): shown.setdefault(option[1].replace("-", "_"), []).append(group)
    expected, group = {}, "recipe"
    source = "\n".join(inspect.getsource(c) for c in reversed(TrainConfig.__mro__) if is_dataclass(c))  # its fields may stand in several
    for line in source.splitlines():
        if comment := re.fullmatch(r"    # (.+)", line): group = comment[1]
        elif option := re.match(r"    (\w+): ", line): expected[option[1]] = [group]
    assert list(expected) == [f.name for f in fields(TrainConfig)] and len({g for (g,) in expected.values()}) >= 6
    assert {name: groups for name, groups in shown.items() if name not in ("out", "resume")} == expected
    said = " ".join(out.replace("│", " ").split())
    assert "decay of the averaged generator that is validated and exported (Yazici et al. 2019); 0: none (default: 0.9)" in said
    assert "(default: 8 16 16 16)" in said


@pytest.mark.parametrize("old, new", [("--recipe seed", "--recipe original"), ("--recipe=seed", "--recipe=original"),
                                      ("--gan-least 7", "--min-gan-steps 7"), ("--gan_least=7", "--min_gan_steps=7")])
def test_old_names_of_options_are_understood(old, new):
    before, after = (cli.parse(["train", "cache", "--out", "run", *words.split()]).config for words in (old, new))
    assert before == after != TrainConfig()


BAD = {
    "no command": ([], 2, ""),
    "unknown command": (["paint"], 2, ""),
    "unknown recipe": (["train", "cache", "--out", "x", "--recipe", "finest"], 2, "finest"),
    "unknown option": (["train", "cache", "--out", "x", "--speed", "9"], 2, "speed"),
    "no input": (["colorize", "--out", "x"], 2, ""),
    "no such photo": (["colorize", "nowhere.jpg", "--out", "x"], 1, "nowhere.jpg"),
    "a name that looks local": (["colorize", "people", "--out", "x", "--checkpoint", "mine/best"], 2, "mine/best: no such run or checkpoint here"),
    "no such checkpoint": (["colorize", "people", "--out", "x", "--checkpoint", "nowhere/at/all"], 2, "nowhere/at/all"),
    "checkpoint is a photo": (["colorize", "people", "--out", "x", "--checkpoint", "people/toy_0_0000.png"], 2, "toy_0_0000.png"),
    "prepare nothing": (["prepare", "nowhere", "gone"], 1, "nowhere"),
    "prepare an empty folder": (["prepare", "empty", "x1"], 1, "empty"),
    "prepare too few owners": (["prepare", "two", "x2"], 1, "groups"),
    "prepare grey photos only": (["prepare", "grey", "x3"], 1, "colour"),
    "prepare into a file": (["prepare", "people", "people/toy_0_0000.png"], 1, "toy_0_0000.png"),
    "train on nothing": (["train", "nowhere", "--out", "x"], 1, "portrait-gan prepare"),
    "train over a run": (["train", "cache", "--out", "run", "--recipe", "smoke"], 1, "--resume"),
    "train larger than prepared": (["train", "cache", "--out", "x", "--recipe", "original"], 1, "--size 768"),
    "train from nothing": (["train", "cache", "--out", "x", "--recipe", "smoke", "--start", "nowhere"], 1, "nowhere"),
    "quality of nothing": (["colorize", "people", "--out", "x", "--quality", "0"], 2, "quality is 0"),
    "no such backend": (["colorize", "people", "--out", "x", "--backend", "abacus"], 2, "abacus"),
    "export nothing": (["export", "nowhere", "--out", "x.onnx"], 1, "nowhere"),
    "export to another format": (["export", "run", "--out", "x.pt"], 1, ".onnx"),
    "export over a file": (["export", "run", "--out", "cache/split.csv"], 1, "--overwrite"),
    "evaluate nothing": (["evaluate", "nowhere"], 1, "nowhere"),
}


IN_TURN = """import io, json, sys, traceback
from contextlib import redirect_stderr, redirect_stdout
from portrait_gan.cli import main
answers = []
for args in json.load(sys.stdin):
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try: status = main(args)
        except SystemExit as e: status = e.code
        except BaseException: status = traceback.print_exc()
    answers.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(answers))"""


@pytest.fixture(scope="module")
def answers(project):
    "What each bad usage got, one after the other in one process, and the files they left behind."
    for folder in ("empty", "two", "grey"): (project/folder).mkdir(exist_ok=True)
    save_toys(project/"two", 2, 48)
    Image.fromarray(toy_portraits(1, 48)[0]).convert("L").save(project/"grey"/"g.png")
    before = set(project.rglob("*"))
    done = subprocess.run([sys.executable, "-c", IN_TURN], cwd=project, input=json.dumps([args for args, _, _ in BAD.values()]), text=True,
                          capture_output=True, check=True, env=os.environ | dict(PORTRAIT_GAN_PRESET="smoke"))
    answers = dict(zip(BAD, json.loads(done.stdout), strict=True))
    # what prepare has cached, its next run goes on from
    cached = "pixels.bin", "journal.jsonl", "thumbs.bin", "alike.jsonl", ".lock"
    left = [p for p in project.rglob("*") if p not in before and p.is_file() and p.name not in cached]
    left += [p for p in (project/"gone",) if p.exists()]  # the source was not there: not even a folder
    return answers, left


@pytest.mark.parametrize("case", BAD)
def test_bad_usage_is_one_clear_line(answers, case):
    _, status, said = BAD[case]
    got, out, err = answers[0][case]
    assert got == status, err
    assert said in err and "Traceback" not in err
    if status == 1 or "checkpoint" in case: assert err.count("\n") == 1 and err.startswith("portrait-gan: ")


def test_bad_usage_leaves_nothing(answers): assert answers[1] == []


@pytest.mark.slow
def test_demo_learns(command, tmp_path):
    "Offline, from what a plain install has: drawn people never trained on, better than both lazy answers by a margin."
    planned = "from portrait_gan import cli, run; run.plan_steps = lambda *args: 250; cli.main(['demo'])"  # whatever the machine's speed
    done = subprocess.run([sys.executable, "-c", planned], cwd=tmp_path, env=os.environ | dict(HF_HUB_OFFLINE="1"), capture_output=True, text=True)
    out = done.stdout
    assert done.returncode == 0, done.stderr
    against_gray, against_mean = map(float, re.search(r"([\d.]+) × leaving them grey, ([\d.]+) × the mean", out).groups())
    assert against_gray < .6 and against_mean < .8
    sizes = {p.name: Image.open(p).size for p in (tmp_path/"portrait-gan-demo").glob("*.jpg")}
    assert sizes == {"astronaut.jpg": (2048, 512), "camera.jpg": (1024, 512)}
    # a second demonstration replaces the first, but nothing that came to it since
    out = tmp_path/"portrait-gan-demo"
    (out/"toys/mine.txt").write_text("precious")
    (out/"letter.txt").write_text("mine too")
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    status, _, err = command("demo", "--overwrite", cwd=tmp_path)
    assert status == 1 and "toys/mine.txt is not as a demonstration made it" in err and err.count("\n") == 1
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    (out/"toys/mine.txt").unlink()
    cli._clear(out)
    assert [p.name for p in out.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("name", ["toys/mine.txt", "toys/checkpoints/epoch_0001/state.json", "toys", "astronaut.jpg", "camera.jpg"])
def test_demo_replaces_only_what_a_demonstration_made(tmp_path, name, monkeypatch):
    "Whatever stands there under one of its names was made by somebody else."
    (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path/name).write_text("precious")
    monkeypatch.setattr(cli.Demo, "_show_and_train", lambda self: pytest.fail("began"))
    with pytest.raises(FileExistsError, match=re.escape(f"{tmp_path/name} is not as a demonstration made it")):
        cli.Demo(tmp_path, overwrite=True)()
    assert (tmp_path/name).read_text() == "precious"


def test_a_demonstration_that_was_changed_stays(tmp_path):
    for name in ("toys/log.txt", "astronaut.jpg"):
        (tmp_path/name).parent.mkdir(exist_ok=True)
        (tmp_path/name).write_text("made")
    cli._list_made(tmp_path)
    (tmp_path/"astronaut.jpg").write_text("made better")
    with pytest.raises(FileExistsError, match="astronaut.jpg"): cli._clear(tmp_path)
    assert (tmp_path/"toys/log.txt").exists()
