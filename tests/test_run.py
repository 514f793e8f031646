"Whose run it is, what it may forget, and what it says: settings, locks, numbers that are none, disks and terminals that fail."
import csv
import io
import json
import math
import os
import shutil
import socket
import subprocess
import sys
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch
from PIL import Image

from portrait_gan import checkpoint, cli
from portrait_gan import run as run_module
from portrait_gan.cache import prepare, save_toys
from portrait_gan.checkpoint import (
    find_checkpoint,
    list_checkpoints,
    log_line,
    new_checkpoint,
    newer_than,
    newest_valid,
    prune_checkpoints,
    read_metrics,
    training_curves,
)
from portrait_gan.config import SMOKE, TrainConfig, read_config
from portrait_gan.groups import refuse_seen
from portrait_gan.report import evaluate_run
from portrait_gan.run import train

CONFIG = replace(SMOKE, size=32, epochs=2, encoder="tu-mobilenetv3_small_050", gan_share=.5)  # 3 steps an epoch
OPTIONS = "--recipe smoke --size 32 --epochs 2 --encoder tu-mobilenetv3_small_050 --gan-share 0.5".split()
pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def photos(tmp_path_factory): return save_toys(tmp_path_factory.mktemp("run")/"people", 26, 64)


@pytest.fixture(scope="module")
def cache(photos):
    assert prepare(photos, photos.parent/"cache", 32)["train"] == 22
    return photos.parent/"cache"


@pytest.fixture
def whole(cache, tmp_path):
    "A finished run: trained once, then copied."
    first = cache.parent/"whole"
    if not first.exists(): train(CONFIG, cache, first, report=lambda _: None)
    return Path(shutil.copytree(first, tmp_path/"whole"))


def files(folder): return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"}


class Killed(BaseException): "What no run expects."


@pytest.fixture
def killed(cache, tmp_path, monkeypatch):
    "A run that ends in its second step, before any checkpoint."
    def go(config=CONFIG, **patches):
        calls, real = [], run_module.train_step
        def step(*args):
            calls.append(json.loads((tmp_path/"run"/"config.json").read_text()))  # there before the first step
            if len(calls) == 2: raise Killed
            return real(*args)
        with monkeypatch.context() as m:
            m.setattr(run_module, "train_step", step)
            for name, v in patches.items(): m.setattr(run_module, name, v)
            with pytest.raises(Killed): train(config, cache, tmp_path/"run", report=lambda _: None)
        assert not list_checkpoints(tmp_path/"run", whole=False) and len(read_metrics(tmp_path/"run", "step")) == 1
        return tmp_path/"run", calls[0]
    return go


def steps_log(run): return (run/"metrics.jsonl").read_bytes()


# its own settings

def test_a_run_has_its_settings_before_the_first_step(killed, whole, cache):
    "Killed before its first checkpoint and resumed by somebody who only knows the folder, it ends where an unbroken one ends."
    run, noted = killed()
    assert (noted["recipe"], noted["size"], noted["total_steps"]) == ("smoke", 32, 6)
    train(TrainConfig(), cache, run, resume=True, report=lambda _: None)
    assert read_config(run) == replace(CONFIG, total_steps=6)
    assert steps_log(run) == steps_log(whole)
    assert files(find_checkpoint(run)) == files(find_checkpoint(whole))


def test_planned_steps_are_planned_once(killed, cache):
    run, noted = killed(replace(CONFIG, minutes=.5), plan_steps=lambda *_: 4)
    assert noted["total_steps"] == 4
    with pytest.MonkeyPatch.context() as m:
        m.setattr(run_module, "plan_steps", lambda *_: pytest.fail("planned again"))
        train(replace(CONFIG, minutes=.5), cache, run, resume=True, report=lambda _: None)
    assert len(read_metrics(run, "step")) == 4


def test_killed_while_planning(cache, tmp_path, monkeypatch):
    def power_cut(*_): raise Killed
    with monkeypatch.context() as m:
        m.setattr(run_module, "plan_steps", power_cut)
        with pytest.raises(Killed): train(replace(CONFIG, minutes=.5), cache, tmp_path/"run")
    monkeypatch.setattr(run_module, "plan_steps", lambda *_: 1)
    with pytest.raises(ValueError, match="began with size 32, not 64"): train(replace(CONFIG, size=64), cache, tmp_path/"run", resume=True)
    train(TrainConfig(), cache, tmp_path/"run", resume=True, report=lambda _: None)
    assert (read_config(tmp_path/"run").recipe, read_config(tmp_path/"run").total_steps) == ("smoke", 1)


OTHER = [("--size", "64", "size 32, not 64"), ("--recipe", "seed", "recipe smoke, not original"),
         ("--recipe", "default", "recipe smoke, not default"), ("--epochs", "3", "epochs 2, not 3"),
         ("--lr", "0.5", "lr 0.001, not 0.5"), ("--seed", "4", "seed 0, not 4"), ("--filters", "4", "filters (8, 16, 16, 16), not (4,)")]


@pytest.mark.parametrize("moment", ["begun", "trained"])
def test_what_contradicts_a_run_is_refused_by_name(killed, whole, cache, capsys, moment):
    run = killed()[0] if moment == "begun" else whole
    before = files(run)
    for flag, value, told in OTHER:
        with pytest.raises(SystemExit) as e: cli.main(["train", str(cache), "--out", str(run), "--resume", flag, value])
        err = capsys.readouterr().err
        assert e.value.code == 1 and err.count("\n") == 1, err
        assert f"{run} began with " in err and told in err and flag in err and "--out" in err, err
    assert files(run) == before


def test_how_it_is_computed_may_change(killed, cache):
    run, _ = killed()
    train(replace(CONFIG, keep_last=1, workers=0), cache, run, resume=True, report=lambda _: None)
    assert (read_config(run).keep_last, read_config(run).workers) == (1, 0)
    assert [p.name for p in list_checkpoints(run)] == ["epoch_0002"]


def test_the_words_a_run_began_with_resume_it(whole, cache, tmp_path):
    "Also where a start, or the machine, has decided what they left open or asked for in vain."
    words, said = replace(CONFIG, start=str(whole), encoder="resnet18", ab_scale=128., epochs=1), []
    run = train(words, cache, tmp_path/"run", report=said.append)
    assert said[0].startswith(f"beginning with {whole}, whose encoder {CONFIG.encoder} ") and read_config(run).ab_scale == CONFIG.ab_scale
    train(words, cache, run, resume=True, report=said.append)
    assert said[-1] == f"{run} is finished: 3 steps"


# its own photos

def test_a_smaller_cache_is_refused(whole, killed, photos, tmp_path):
    prepare(photos, tmp_path/"small", 32)
    big = tmp_path/"big"
    prepare(photos, big, 64)
    run = train(replace(CONFIG, size=64, total_steps=1, epochs=1), big, tmp_path/"run64", report=lambda _: None)
    before = files(run)
    with pytest.raises(ValueError, match="small was prepared at 32 px, .*run64 sees 64: run portrait-gan prepare SRC OUT --size 64$"):
        train(SMOKE, tmp_path/"small", run, resume=True)
    assert files(run) == before


def test_other_photos_offer_a_way_on(whole, photos, tmp_path):
    "One photo more: going on would not be exact, but what was learnt is not lost. No photos: say where they were."
    more = tmp_path/"more"
    more.mkdir()
    for p in photos.iterdir(): os.link(p, more/p.name)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(more/"new.png")
    prepare(more, tmp_path/"cache", 32)
    resume = lambda data: train(CONFIG, data, whole, resume=True)
    with pytest.raises(ValueError, match=f"split.csv differs.*--out ANOTHER --start {whole}"): resume(tmp_path/"cache")
    train(replace(CONFIG, start=str(whole), total_steps=1, epochs=1), tmp_path/"cache", tmp_path/"another", report=lambda _: None)
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder; .* prepared in .*cache$"): resume(tmp_path/"nowhere")
    with pytest.raises(FileNotFoundError, match="not prepared"): resume(more)


# never scored on what it has learnt

def test_photos_trained_on_are_not_scored(whole, cache, photos, tmp_path, capsys):
    "By their pixels, wherever they are; from a run, a checkpoint in it, a file of it, a copy of it."
    dealt = tmp_path/"dealt"
    prepare(photos, dealt, 32, seed=1)
    newest = find_checkpoint(whole)
    copied = tmp_path/"copied"
    copied.mkdir()
    for name, content in files(newest).items(): (copied/name).write_bytes(content)
    before = files(whole)
    for path in (whole, newest, newest/"generator.safetensors", copied):
        with pytest.raises(ValueError, match=r"was trained on \d of the test photos in .*dealt \(first: toy_.*--seed"):
            evaluate_run(path, dealt, tmp_path/"out")
    assert not (tmp_path/"out").exists() and files(whole) == before
    with pytest.raises(SystemExit) as e: cli.main(["evaluate", str(whole), "--data", str(dealt)])
    assert e.value.code == 1 and "was trained on" in capsys.readouterr().err
    for split in ("valid", "test"): refuse_seen(whole, cache, split)
    prepare(photos, tmp_path/"larger", 48)
    for split in ("valid", "test"): refuse_seen(whole, tmp_path/"larger", split)  # the same photos, dealt alike


def test_what_it_began_with_counts(whole, cache, photos, tmp_path):
    "A second run on the other half of the photos has seen both halves."
    prepare(photos, tmp_path/"dealt", 32, seed=1)
    second = train(replace(CONFIG, start=str(whole), epochs=1, total_steps=1), tmp_path/"dealt", tmp_path/"second", report=lambda _: None)
    for data in (cache, tmp_path/"dealt"):
        with pytest.raises(ValueError, match="was trained on"): refuse_seen(find_checkpoint(second), data, "test")


def test_groups_trained_on_are_not_scored(tmp_path):
    "Another picture of a person with a name is refused; another folder's IMG_0001 is not."
    rng = np.random.default_rng(0)
    names = [f"IMG_{i:04}.png" for i in range(12)]
    def album(name, named, seed=0):
        (tmp_path/name).mkdir()
        for p in names: Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(tmp_path/name/p)
        if named: (tmp_path/name/"manifest.csv").write_text("file,group\n" + "".join(f"{p},person {i//2}\n" for i, p in enumerate(names)))
        prepare(tmp_path/name, tmp_path/f"{name}_cache", 32, .3, seed)
        return tmp_path/f"{name}_cache"
    def people(cache, split): return {r["group"] for r in csv.DictReader(open(cache/"split.csv")) if r["split"] == split}
    first = album("people", True)
    run, outcomes = train(replace(CONFIG, epochs=1, total_steps=1), first, tmp_path/"run", report=lambda _: None), set()
    for seed in range(6):
        refuse_seen(run, album(f"strangers{seed}", False, seed), "test")
        later = album(f"later{seed}", True, seed)
        known = bool(people(later, "test") & people(first, "train"))
        with pytest.raises(ValueError, match="was trained on") if known else nullcontext(): refuse_seen(run, later, "test")
        outcomes.add(known)
    assert outcomes == {False, True}


# one process a folder

def test_a_run_in_use_is_left_alone(whole, cache):
    "A second process is told whose it is; when the first is killed, the run is free."
    code = "import sys, time; from portrait_gan.files import exclusive\nwith exclusive(sys.argv[1]): print('held', flush=True); time.sleep(100)"
    other = subprocess.Popen([sys.executable, "-c", code, str(whole)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        before = files(whole)
        with pytest.raises(BlockingIOError, match=f"whole is in use by process {other.pid} on {socket.gethostname()}"):
            train(CONFIG, cache, whole, resume=True)
        assert files(whole) == before
    finally:
        other.kill()
        other.communicate()
    said = []
    train(CONFIG, cache, whole, resume=True, report=said.append)
    assert said[-1] == f"{whole} is finished: 6 steps"


def test_a_run_holds_its_folder(cache, tmp_path):
    "From before the first step to the end, also where it ends badly."
    tried = []
    def intrude(_):
        with pytest.raises(BlockingIOError, match=f"process {os.getpid()} "): train(CONFIG, cache, tmp_path/"run", resume=True)
        tried.append(1)
        if len(tried) == 2: raise Killed
    with pytest.raises(Killed): train(CONFIG, cache, tmp_path/"run", report=intrude)
    train(CONFIG, cache, tmp_path/"run", resume=True, report=lambda _: None)
    assert len(tried) == 2 and len(read_metrics(tmp_path/"run", "epoch")) == 2


# order

def test_checkpoints_are_ordered_by_number(tmp_path):
    def note(epoch, step, whole=True):
        with new_checkpoint(tmp_path, dict(epoch=epoch, step=step, whole=whole)) as f: (f/"w").write_text("w")
    for epoch in (2, 9999, 10000, 10001): note(epoch, 10*epoch)
    for step in (99_999_999, 100_000_000): note(10001, step, whole=False)
    names = ["epoch_0002", "epoch_9999", "epoch_10000", "epoch_10001", "epoch_10001_step_99999999", "epoch_10001_step_100000000"]
    assert [p.name for p in list_checkpoints(tmp_path, whole=False)] == names
    assert newest_valid(tmp_path) == find_checkpoint(tmp_path) == tmp_path/"checkpoints"/names[-1]
    assert [p.name for p in newer_than(tmp_path, tmp_path/"checkpoints"/"epoch_9999")] == names[2:]
    prune_checkpoints(tmp_path, keep_last=2, keep_every=9999)
    assert [p.name for p in list_checkpoints(tmp_path, whole=False)] == [*names[1:4], names[-1]]


# nothing is lost

def unreadable_state(m, real=Path.read_text):
    def read(self, *args, **kwargs):
        if self.name == "state.json": raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **kwargs)
    m.setattr(Path, "read_text", read)
    return "state.json"


def unreadable_weights(m):
    def no_answer(path): raise OSError(5, "Input/output error", path)
    m.setattr(pooch, "file_hash", no_answer)
    return "config.json"


def unreadable_folder(m, real=os.listdir):
    def no_answer(path):
        if Path(path).name.startswith("epoch_"): raise OSError(116, "Stale file handle", str(path))
        return real(path)
    m.setattr(os, "listdir", no_answer)
    return "epoch_"


@pytest.mark.parametrize("trouble", [unreadable_state, unreadable_weights, unreadable_folder])
def test_what_cannot_be_read_is_not_damaged(whole, monkeypatch, trouble):
    "A network disk's hiccup: resuming stops, names the file, and everything is as it was."
    before, warned = files(whole), []
    with monkeypatch.context() as m:
        file = trouble(m)
        with pytest.raises(OSError, match=f"{file}.* cannot be read .*then --resume"): newest_valid(whole, warned.append)
    assert warned == [] and files(whole) == before


def test_damage_is_moved_aside_not_deleted(whole, cache):
    "All checkpoints damaged: the run begins anew, and what it was is still there, byte for byte."
    end = steps_log(whole)
    for folder in list_checkpoints(whole): (folder/"state.json").write_text("{}")
    old, said = files(whole), []
    train(CONFIG, cache, whole, resume=True, report=said.append)
    aside, = whole.glob("aside-*")
    for name, content in old.items():
        if "checkpoints" in name.parts: assert (aside/name.relative_to("checkpoints")).read_bytes() == content
        if name.parts[0] in ("metrics.jsonl", "timings.jsonl", "samples"): assert (aside/name).read_bytes() == content
    assert any("beginning anew" in line for line in said) and any(str(aside) in line for line in said)
    assert steps_log(whole) == end and [p.name for p in list_checkpoints(whole)] == ["epoch_0001", "epoch_0002"]


def test_a_damaged_newest_is_moved_aside(whole, cache):
    (whole/"checkpoints"/"epoch_0002"/"state.json").unlink()
    weights, said = (whole/"checkpoints"/"epoch_0002"/"generator.safetensors").read_bytes(), []
    train(CONFIG, cache, whole, resume=True, report=said.append)
    aside, = whole.glob("aside-*")
    assert (aside/"epoch_0002"/"generator.safetensors").read_bytes() == weights == (find_checkpoint(whole)/"generator.safetensors").read_bytes()
    assert f"what was in the way is in {aside}" in said[1]


def test_another_attempt_without_resume(killed, cache):
    "It failed before its first checkpoint and is begun again with other settings: its log is kept, not continued."
    run, _ = killed()
    log = steps_log(run)
    train(replace(CONFIG, epochs=1, seed=1), cache, run, report=lambda _: None)
    aside, = run.glob("aside-*")
    assert (aside/"metrics.jsonl").read_bytes() == log
    assert [m["step"] for m in read_metrics(run, "step")] == [1, 2, 3] and read_config(run).seed == 1


# numbers that are none

def strict(file):
    "JSON as other programs read it."
    def refuse(word): raise AssertionError(f"{file} holds {word}")
    return [json.loads(line, parse_constant=refuse) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_epoch_without_numbers_is_no_checkpoint(cache, tmp_path, monkeypatch, value):
    scores, real = [], run_module.validate
    def validate(*args):
        scores.append(real(*args))
        return scores[-1] | (dict(valid_mae=value) if len(scores) == 2 else {})
    monkeypatch.setattr(run_module, "validate", validate)
    run = tmp_path/"run"
    with pytest.raises(RuntimeError, match="validation after epoch 2 gave no numbers.*last good checkpoint is .*epoch_0001: .*--start .*_0001") as e:
        train(CONFIG, cache, run, report=lambda _: None)
    assert "\n" not in str(e.value)
    assert list_checkpoints(run, whole=False) == [run/"checkpoints"/"epoch_0001"] and find_checkpoint(run).name == "epoch_0001"
    assert [m["valid_mae"] for m in strict(run/"metrics.jsonl") if m["kind"] == "epoch"] == [round(scores[0]["valid_mae"], 8), None]
    strict(run/"timings.jsonl")
    training_curves(run)


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_weights_without_numbers_are_not_saved(cache, tmp_path, monkeypatch, network):
    "Broken in step 4, within the second epoch, where every step would be saved."
    real, calls = run_module.train_step, []
    def step(nets, *args):
        out = real(nets, *args)
        calls.append(1)
        if len(calls) == 4:
            with torch.no_grad(): next(getattr(nets, network).parameters()).fill_(torch.nan)
        return out
    monkeypatch.setattr(run_module, "train_step", step)
    with pytest.raises(RuntimeError, match="weights after step 4 are no numbers.*last good checkpoint is .*epoch_0001"):
        train(replace(CONFIG, checkpoint_minutes=0), cache, tmp_path/"run", report=lambda _: None)
    assert [p.name for p in list_checkpoints(tmp_path/"run", whole=False)] == ["epoch_0001"]


def test_the_log_is_json(tmp_path):
    log_line(tmp_path, dict(kind="step", epoch=1, step=1, a=math.nan, b=-math.inf, c=.5))
    with open(tmp_path/"metrics.jsonl", "a") as f: f.write('{"kind": "step", "epoch": 1, "step": 2, "a": NaN}\n')  # an older version's
    checkpoint.truncate_log(tmp_path, 1, 2)
    assert strict(tmp_path/"metrics.jsonl") == [dict(kind="step", epoch=1, step=1, a=None, b=None, c=.5), dict(kind="step", epoch=1, step=2, a=None)]


# what it says

def test_a_terminal_that_cannot_show_it(cache, tmp_path):
    "The epoch's line holds a ×, the folder's name a byte that is no text."
    run = os.path.join(os.fsencode(tmp_path), "rün × ".encode() + b"\xff")
    words = [sys.executable, "-m", "portrait_gan.cli", "train", str(cache), "--out", run, *OPTIONS, "--epochs", "1"]
    done = subprocess.run(words, capture_output=True, env=os.environ | dict(PYTHONIOENCODING="ascii", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"epoch 1  step 3/3") and rb" \xd7 grey" in done.stdout
    assert [p.name for p in list_checkpoints(os.fsdecode(run))] == ["epoch_0001"]


@pytest.mark.parametrize("terminal", ["cp1252", "gone"])
def test_resuming_where_nothing_can_be_told(whole, cache, monkeypatch, terminal):
    "Every line would fail: names that are no text for a terminal, a pipe whose reader has left."
    run = whole.rename(whole.with_name(os.fsdecode(b"run \xff")))
    (run/"checkpoints"/"epoch_0002").rename(run/"lost")
    if terminal == "cp1252": out = io.TextIOWrapper(io.BytesIO(), "cp1252", write_through=True)
    else:
        read, write = os.pipe()
        os.close(read)
        out = os.fdopen(write, "w", buffering=1)
    monkeypatch.setattr(sys, "stdout", out)
    train(CONFIG, cache, run, resume=True)
    assert [p.name for p in list_checkpoints(run)] == ["epoch_0001", "epoch_0002"]
    if terminal == "cp1252": assert rb"resuming from " in out.buffer.getvalue() and rb"run \udcff" in out.buffer.getvalue()
    monkeypatch.undo()
    with suppress(OSError): out.close()


def test_saving_comes_before_telling(cache, tmp_path):
    def report(line): raise Killed
    with pytest.raises(Killed): train(CONFIG, cache, tmp_path/"run", report=report)
    assert [p.name for p in list_checkpoints(tmp_path/"run")] == ["epoch_0001"] and len(read_metrics(tmp_path/"run", "epoch")) == 1


def test_no_speed_without_a_step(cache, tmp_path, monkeypatch):
    "Stopped after an epoch's last step, before its end: what is left of it are no steps to time."
    caught, real = [], run_module.train_step
    def step(*args):
        steps.append(1)
        if len(steps) == 3: caught.append(15)
        return real(*args)
    steps, said = [], []
    with monkeypatch.context() as m:
        m.setattr(run_module, "train_step", step)
        m.setattr(run_module, "stop_requests", lambda: nullcontext(caught))
        train(CONFIG, cache, tmp_path/"run", report=said.append)
    assert said == ["stopped after step 3 and saved; --resume goes on from there"]
    train(CONFIG, cache, tmp_path/"run", resume=True, report=said.append)
    first, second = (line for line in said if line.startswith("epoch "))
    assert first.startswith("epoch 1  step 3/6  loss_g ") and first.endswith(" × grey)")
    assert second.startswith("epoch 2  step 6/6  ") and second.endswith(" images/s  0 s left")
