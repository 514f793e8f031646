"The commands as a user types them, each in a process of its own."
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from portrait_gan.data import save_toys, toy_portraits


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


BAD = {
    "no command": ([], 2, ""),
    "unknown command": (["paint"], 2, ""),
    "unknown recipe": (["train", "cache", "--out", "x", "--recipe", "finest"], 2, "finest"),
    "unknown option": (["train", "cache", "--out", "x", "--speed", "9"], 2, "speed"),
    "no input": (["colorize", "--out", "x"], 2, ""),
    "no such photo": (["colorize", "nowhere.jpg", "--out", "x"], 1, "nowhere.jpg"),
    "no such checkpoint": (["colorize", "people", "--out", "x", "--checkpoint", "nowhere/at/all"], 2, "nowhere/at/all"),
    "checkpoint is a photo": (["colorize", "people", "--out", "x", "--checkpoint", "people/toy_0_0000.png"], 2, "toy_0_0000.png"),
    "prepare nothing": (["prepare", "nowhere", "x"], 1, "nowhere"),
    "prepare an empty folder": (["prepare", "empty", "x1"], 1, "empty"),
    "prepare too few owners": (["prepare", "two", "x2"], 1, "groups"),
    "prepare grey photos only": (["prepare", "grey", "x3"], 1, "colour"),
    "prepare into a file": (["prepare", "people", "people/toy_0_0000.png"], 1, "toy_0_0000.png"),
    "train on nothing": (["train", "nowhere", "--out", "x"], 1, "portrait-gan prepare"),
    "train over a run": (["train", "cache", "--out", "run", "--recipe", "smoke"], 1, "--resume"),
    "train larger than prepared": (["train", "cache", "--out", "x", "--recipe", "seed"], 1, "--size 768"),
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
    left = [p for p in project.rglob("*") if p not in before and p.is_file() and p.name not in ("pixels.bin", "journal.jsonl")]
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
def test_demo_learns(tmp_path):
    "Offline, from what a plain install has: drawn people never trained on, better than both lazy answers by a margin."
    planned = "from portrait_gan import cli, training; training.plan_steps = lambda *args: 250; cli.main(['demo'])"  # whatever the machine's speed
    done = subprocess.run([sys.executable, "-c", planned], cwd=tmp_path, env=os.environ | dict(HF_HUB_OFFLINE="1"), capture_output=True, text=True)
    out = done.stdout
    assert done.returncode == 0, done.stderr
    against_gray, against_mean = map(float, re.search(r"([\d.]+) × leaving them grey, ([\d.]+) × the mean", out).groups())
    assert against_gray < .6 and against_mean < .8
    sizes = {p.name: Image.open(p).size for p in (tmp_path/"portrait-gan-demo").glob("*.jpg")}
    assert sizes == {"astronaut.jpg": (1536, 512), "camera.jpg": (1024, 512)}
