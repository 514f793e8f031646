"A run that was killed, stopped, damaged or out of space ends, resumed, bit for bit where an unbroken one ends."
import csv
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from portrait_gan import checkpoint, cli
from portrait_gan.cache import prepare, save_toys
from portrait_gan.checkpoint import list_checkpoints, read_metrics, read_state
from portrait_gan.config import SMOKE
from portrait_gan.run import train

CONFIG = replace(SMOKE, epochs=2, encoder="tu-mobilenetv3_small_050", gan_share=.5, grow=.3, checkpoint_minutes=0)  # a checkpoint after every step
CPU = dict(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")  # one thread: quick however busy the other cores are
OPTIONS = "--recipe smoke --epochs 2 --encoder tu-mobilenetv3_small_050 --gan-share 0.5 --grow 0.3 --checkpoint-minutes 0".split()


@pytest.fixture(scope="module")
def project(tmp_path_factory, command):
    "A cache, and the unbroken run: 5 steps an epoch, three of squares of 32, the second epoch with the GAN."
    folder = tmp_path_factory.mktemp("resume")
    assert prepare(save_toys(folder/"people", 44, 64, seed=1), folder/"cache", 64)["train"] == 36
    status, _, err = command("train", "cache", "--out", "whole", *OPTIONS, cwd=folder, **CPU)
    assert status == 0, err
    return folder


def result(run):
    "What must be the same: the networks of the newest checkpoint, and the log."
    newest = list_checkpoints(run, whole=False)[-1]
    return {f"{newest.name}/{p.name}": p.read_bytes() for p in newest.glob("*.safetensors")} | dict(log=(run/"metrics.jsonl").read_bytes())


def assert_same_end(project, name):
    whole, other = result(project/"whole"), result(project/name)
    assert len(whole) == 4 and whole.keys() == other.keys()
    assert [k for k in whole if whole[k] != other[k]] == []
    assert {p.name for p in (project/name/"checkpoints").iterdir()} == {"epoch_0001", "epoch_0002"}, "nothing half-done is left"


def until(project, name, moment, *more, stop=signal.SIGKILL):
    return broken_off(["train", "cache", "--out", name, *OPTIONS, *more], project, project/name, moment, stop)


def broken_off(words, cwd, run, moment, stop=signal.SIGKILL):
    "Start the command; when the run's folder satisfies `moment`, signal its process group; its status and stderr."
    program = str(Path(sys.executable).with_name("portrait-gan"))
    child = subprocess.Popen([program, *words], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
                             env=os.environ | CPU)
    try:
        while child.poll() is None and not moment(run): time.sleep(.001)
        assert child.poll() is None, "it finished before it could be stopped"
        os.killpg(child.pid, stop)
        err = child.communicate(timeout=600)[1]
    finally:
        if child.poll() is None: os.killpg(child.pid, signal.SIGKILL)
    return child.returncode, err


def steps(n): return lambda run: len(read_metrics(run, "step")) >= n


def writing(run): return list_checkpoints(run, whole=False) and list((run/"checkpoints").glob(".tmp-*"))


def test_killed_three_times(project, command):
    "While a checkpoint is written, in the middle of the first epoch, in the second: each resumed run is the next victim."
    assert until(project, "killed", writing)[0] == -signal.SIGKILL
    assert list((project/"killed"/"checkpoints").glob(".tmp-*")), "half a checkpoint"
    assert until(project, "killed", steps(4), "--resume")[0] == -signal.SIGKILL
    assert until(project, "killed", steps(7), "--resume")[0] == -signal.SIGKILL
    status, out, err = command("train", "cache", "--out", "killed", *OPTIONS, "--resume", cwd=project, **CPU)
    assert status == 0, err
    assert "resuming from killed/checkpoints/epoch_0001" in out
    assert_same_end(project, "killed")


@pytest.mark.parametrize("stop, status, said", [(signal.SIGTERM, 0, ""), (signal.SIGINT, 130, "portrait-gan: interrupted\n")], ids=["TERM", "INT"])
def test_asked_to_stop(project, stop, status, said, resumed):
    "It finishes its step, saves, and says how it went."
    name = stop.name
    assert until(project, name, steps(2), "--checkpoint-minutes", "60", stop=stop) == (status, said)
    found, = [p for p in list_checkpoints(project/name, whole=False) if "step" in p.name]
    assert read_state(found)["step"] == len(read_metrics(project/name, "step")) >= 2
    resumed(name)
    assert_same_end(project, name)


@pytest.fixture
def resumed(project, monkeypatch, here):
    "train with resume=True in this process; what it reported."
    monkeypatch.chdir(project)
    def go(name):
        said = []
        train(CONFIG, "cache", project/name, resume=True, report=said.append)
        return said
    return go


def flip(file):
    "Damage the middle byte."
    with open(file, "r+b") as f:
        f.seek(file.stat().st_size//2)
        byte = f.read(1)[0]
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte ^ 1]))


def test_nothing_to_resume(project, resumed):
    assert not any("resum" in line or "warning: the" in line for line in resumed("fresh"))
    assert_same_end(project, "fresh")


@pytest.mark.parametrize("damaged, says", [(1, "resuming from"), (2, "no valid checkpoint; beginning anew")])
def test_damaged_checkpoints_are_passed_over(project, resumed, damaged, says):
    name = f"damaged{damaged}"
    shutil.copytree(project/"whole", project/name)
    newest = list_checkpoints(project/name)[::-1][:damaged]
    for folder in newest: flip(folder/"generator.safetensors")
    with open(project/name/"metrics.jsonl", "a") as f: f.write('{"kind": "step", "epo')  # torn
    said = resumed(name)
    assert said[:damaged] == [f"warning: {folder}: generator.safetensors is damaged: passed over" for folder in newest]
    assert says in said[damaged]
    assert_same_end(project, name)


def test_finished_run_is_left_alone(project, here, capsys):
    files = lambda: {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted((project/"whole").rglob("*")) if p.is_file()}
    before = files()
    with pytest.raises(SystemExit) as e: cli.main(["train", str(project/"cache"), "--out", str(project/"whole"), *OPTIONS, "--resume"])
    assert e.value.code == 0 and capsys.readouterr().err == ""
    assert files() == before


FULL = dict(weights=(checkpoint, "write_weights", 5), optimizers=(torch, "save", 2), log=(checkpoint, "open", 2))  # the call that finds no room


@pytest.mark.parametrize("case", FULL)
def test_full_disk(project, monkeypatch, resumed, case):
    "The write that finds no room ends the run with one line that names the place; what was saved before is whole."
    run, calls = project/f"full_{case}", []
    module, name, nth = FULL[case]
    real = getattr(module, name, open)
    def no_room(*args, **kwargs):
        calls.append(name)
        if len(calls) == nth: raise OSError(28, "No space left on device")
        return real(*args, **kwargs)
    with monkeypatch.context() as m:
        m.setattr(module, name, no_room, raising=False)
        with pytest.raises(OSError, match="No space left on device") as e: train(CONFIG, project/"cache", run, report=lambda _: None)
    assert str(run) in str(e.value) and "\n" not in str(e.value)
    assert [p.name for p in (run/"checkpoints").iterdir()] == ["epoch_0000_step_00000001"]
    assert read_state(run/"checkpoints"/"epoch_0000_step_00000001")["step"] == 1
    resumed(run.name)
    assert_same_end(project, run.name)


@pytest.mark.parametrize("megabytes, file", [(4, "generator.safetensors"), (12, "optimizers.pt")])
def test_files_that_may_not_grow(project, resumed, megabytes, file, capsys):
    "A real refusal of the system, through the command, in the file that is the first to need more."
    name = f"limit{megabytes}"
    shutil.copytree(project/"whole", project/name)
    shutil.rmtree(project/name/"checkpoints"/"epoch_0002")
    assert (project/name/"checkpoints"/"epoch_0001"/file).stat().st_size > megabytes*1e6
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes*10**6, limits[1]))
    try:
        with pytest.raises(SystemExit) as e: cli.main(["train", "cache", "--out", name, *OPTIONS, "--resume"])
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    err = capsys.readouterr().err
    assert e.value.code == 1 and err.count("\n") == 1, err
    assert err.startswith(f"portrait-gan: {name}/checkpoints/epoch_0001_step_00000006 cannot be written (File too large)"), err
    assert [p.name for p in (project/name/"checkpoints").iterdir()] == ["epoch_0001"]
    resumed(name)
    assert_same_end(project, name)


def test_read_only_run(project, resumed, unprivileged):
    shutil.copytree(project/"whole", project/"locked")
    shutil.rmtree(project/"locked"/"checkpoints"/"epoch_0002")
    (project/"locked"/"checkpoints").chmod(0o555)
    try:
        with unprivileged(), pytest.raises(OSError, match="checkpoints.*Permission denied"): resumed("locked")
        assert read_state(project/"locked"/"checkpoints"/"epoch_0001")
    finally: (project/"locked"/"checkpoints").chmod(0o755)
    resumed("locked")
    assert_same_end(project, "locked")


def recipe(root, drive, machine):
    "Page 13's cells for Colab, with folders in the place of Drive and the machine's disk, and a short run: what writes the manifest; the commands."
    page = json.loads((root/"nbs"/"13_change.ipynb").read_text(encoding="utf-8"))
    text = "".join(next(c["source"] for c in page["cells"] if c["id"] == "13-drive"))
    text = text.replace("/content/drive/MyDrive", str(drive)).replace("/content", str(machine)).replace("--minutes 60", " ".join(OPTIONS))
    _, manifest, commands = re.findall(r"```\w+\n(.*?)```", text, re.S)
    return manifest, [shlex.split(line)[1:] for line in commands.splitlines()]


def drive_of(folder):
    "Six people with a folder each, and an old photo."
    for i in range(6): save_toys(folder/"photos"/f"person {i}", 7, 64, seed=i)
    (folder/"old").mkdir()
    Image.open(folder/"photos"/"person 0"/"toy_0_0000.png").convert("L").save(folder/"old"/"grandmother.png")
    return folder


def test_photos_in_drive_and_sessions_that_die(root, tmp_path, command):
    "The machine dies while it trains, and its disk with it; the same cells on the next one end where an undisturbed session ends."
    drive = drive_of(tmp_path/"drive")
    manifest, (prepare_, train_, colorize) = recipe(root, drive, tmp_path/"first")
    exec(manifest, {})
    assert command(*prepare_, cwd=tmp_path)[0] == 0
    assert broken_off(train_, tmp_path, drive/"run", steps(4))[0] == -signal.SIGKILL
    shutil.rmtree(tmp_path/"first")

    def session(drive, machine):
        manifest, commands = recipe(root, drive, machine)
        exec(manifest, {})
        for words in commands:
            status, out, err = command(*words, cwd=tmp_path, **CPU)
            assert status == 0, err
            yield words[0], out
    said = dict(session(drive, tmp_path/"second"))
    assert f"resuming from {drive/'run'}" in said["train"]
    with open(tmp_path/"second"/"cache"/"split.csv", newline="") as f: rows = list(csv.DictReader(f))
    assert {(Path(r["file"]).parent.name, r["group"]) for r in rows} == {(f"person {i}",)*2 for i in range(6)}
    assert "resuming" not in dict(session(drive_of(tmp_path/"calm"), tmp_path/"third"))["train"]
    whole, other = result(tmp_path/"calm"/"run"), result(drive/"run")
    assert len(whole) == 4 and whole.keys() == other.keys() and [k for k in whole if whole[k] != other[k]] == []
    coloured, same = (np.asarray(Image.open(d/"old-in-colour"/"grandmother.png")).astype(int) for d in (drive, tmp_path/"calm"))
    assert (coloured == same).all() and np.ptp(coloured, axis=2).max() > 0
