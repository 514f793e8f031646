"Several gloo processes on this CPU against one: the same losses, every photo once, one writer."
import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from portrait_gan.checkpoint import list_checkpoints, read_metrics, read_state
from portrait_gan.data import prepare, save_toys
from portrait_gan.training import share_of

ENV = dict(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1", PORTRAIT_GAN_PRESET="smoke")
CONFIG = dict(size=32, batch_size=3, epochs=3, encoder="tu-mobilenetv3_small_050", gan_share=.6)  # 49 photos: 15 steps of 3 and 2 of 2


@pytest.fixture(scope="module")
def project(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("distributed")
    assert prepare(save_toys(folder/"people", 60, 32), folder/"cache", 32)["train"] == 49
    out = start([root/"tests"/"double_precision.py", job("one")], folder)
    assert out.count("epoch ") == 3
    return folder


def job(out, **more): return json.dumps(dict(data="cache", out=out, config=CONFIG) | more)


def launcher(processes, module="torch.distributed.run", *options):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    accelerate = module.startswith("accelerate")
    return ["-m", module, "--num_processes" if accelerate else "--nproc_per_node", processes,
            "--main_process_port" if accelerate else "--master_port", port, *options]


def start(args, cwd, status=0, **env):
    "Python in a process group of its own, of which nothing stays; its stdout."
    child = subprocess.Popen([sys.executable, *map(str, args)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=os.environ | ENV | dict(ACCELERATE_USE_CPU="true") | env, start_new_session=True)
    try: out, err = child.communicate(timeout=1200)
    finally:
        if child.poll() is None: os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == status, err
    return out


def assert_same_curve(one, other, steps=51):
    "Every loss of every step within 1e-6; each line once and in order."
    curves = [read_metrics(run, "step") for run in (one, other)]
    assert [m["step"] for m in curves[1]] == [*range(1, steps + 1)]
    assert [m["epoch"] for m in read_metrics(other, "epoch")] == [1, 2, 3]
    for a, b in zip(*curves, strict=True):
        assert a.keys() == b.keys()
        names = [k for k in a if k.startswith("loss_")]
        np.testing.assert_array_less([abs(a[k] - b[k])/max(1, abs(a[k])) for k in names], 1e-6, err_msg=f"{a} {b}")
    assert "loss_g_gan" not in curves[0][0] and "loss_g_gan" in curves[0][-1], "both stages are compared"


def seen(run):
    "(epoch, photos, weight) of all processes."
    return [tuple(json.loads(line)) for file in sorted(run.glob("seen_*")) for line in file.read_text().splitlines()]


def assert_each_photo_once(run):
    for epoch in range(3):
        counted = [i for e, photos, weight in seen(run) if e == epoch and weight for i in photos]
        assert sorted(counted) == [*range(49)]


def test_two_processes_follow_the_curve_of_one(project, root):
    out = start([*launcher(2), root/"tests"/"double_precision.py", job("two")], project)
    assert out.count("epoch ") == 3, "one process reports"
    assert_same_curve(project/"one", project/"two")
    for run in ("one", "two"): assert_each_photo_once(project/run)
    shares = [seen_by.read_text().splitlines() for seen_by in sorted((project/"two").glob("seen_*"))]
    assert [len(s) for s in shares] == [51, 51], "both took part in every step"
    assert {weight for _, _, weight in seen(project/"two")} == {4/3, 2/3, 1.}, "weighted by their photos: 2 and 1, 1 and 1"


def test_one_process_then_two_then_three(project, root):
    "Stopped within an epoch and resumed by more processes; SIGTERM for one process of two stops both."
    worker = root/"tests"/"double_precision.py"
    start([worker, job("chain", stop=(0, 24))], project)
    assert [p.name for p in list_checkpoints(project/"chain", whole=False)] == ["epoch_0001", "epoch_0001_step_00000024"]
    out = start([*launcher(2), worker, job("chain", resume=True, stop=(1, 16))], project)
    assert "resuming from chain/checkpoints/epoch_0001_step_00000024" in out and "stopped after step 40 and saved" in out
    assert read_state(list_checkpoints(project/"chain", whole=False)[-1])["step"] == 40
    start([*launcher(3), worker, job("chain", resume=True)], project)
    assert_same_curve(project/"one", project/"chain")
    assert_each_photo_once(project/"chain")
    assert [len(photos) for _, photos, weight in seen(project/"chain") if not weight] == [1, 1], "2 photos for 3 processes: one that does not count"


@pytest.mark.parametrize("processes", range(1, 6))
@pytest.mark.parametrize("photos", range(1, 9))
def test_shares(photos, processes):
    "Averaged over processes, the weighted means of the shares are the mean of the batch."
    batch, value = np.arange(photos), np.random.default_rng(0).random(photos)
    shares = [share_of(batch, p, processes) for p in range(processes)]
    assert sorted(i for own, weight in shares if weight for i in own) == batch.tolist() and all(own for own, _ in shares)
    assert np.isclose(np.mean([weight*value[own].mean() for own, weight in shares]), value.mean())


def test_accelerate_launch(project):
    "The command as its readers start it: float32, BatchNorm awake, no hint that this is a CPU."
    launch = launcher(2, "accelerate.commands.launch", "--multi_gpu", "--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no")
    options = ["--recipe", "smoke", "--size", 32, "--epochs", 2, "--encoder", "tu-mobilenetv3_small_050", "--batch-size", 16]
    out = start([*launch, "-m", "portrait_gan.cli", "train", "cache", "--out", "real", *options], project, ACCELERATE_USE_CPU="false")
    assert [m["step"] for m in read_metrics(project/"real", "step")] == [*range(1, 9)]
    assert out.count("epoch 1 ") == out.count("epoch 2 ") == 1
    assert [read_state(p)["step"] for p in list_checkpoints(project/"real", whole=False)] == [4, 8]
