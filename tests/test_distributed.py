"Several gloo processes on this CPU against one: the same losses, every photo once, one writer."
import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from portrait_gan.cache import prepare, save_toys
from portrait_gan.checkpoint import list_checkpoints, read_metrics, read_state
from portrait_gan.config import build_networks, read_config
from portrait_gan.data import Portraits
from portrait_gan.run import epoch_batches, share_of
from portrait_gan.training import lr_scale, make_pair, train_step

ENV = dict(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1", PORTRAIT_GAN_PRESET="smoke")
CONFIG = dict(size=32, batch_size=5, epochs=3, encoder="tu-mobilenetv3_small_050", gan_share=.6)  # 49 photos: 9 steps of 5 and 1 of 4
SHORT = dict(size=32, batch_size=16, epochs=1, encoder_weights=None, valid_photos=4)  # a step of 13 and 3 of 12
FAMILIES = dict(  # of encoders, and every norm: with and without an activation, in the discriminator, spectral
    default=SHORT | dict(recipe="default", discriminator="patch", gan_share=.5, min_gan_steps=0),
    # two steps only: from wild colours, what ImageNet's features make of Adam's first signs grows a hundredfold a step
    features=SHORT | dict(recipe="default", gan_share=1., min_gan_steps=0, batch_size=25),
    seed=SHORT | dict(recipe="original", encoder="efficientnet-b0"),
    resnet=SHORT | dict(encoder="resnet18", gan_share=.5))


@pytest.fixture(scope="module")
def project(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("distributed")
    assert prepare(save_toys(folder/"people", 60, 32), folder/"cache", 32)["train"] == 49
    out = start([root/"tests"/"double_precision.py", job("one")], folder)
    assert out.count("epoch ") == 3
    return folder


def job(out, **more): return json.dumps(dict(data="cache", runs={out: CONFIG}) | more)


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


def assert_same_losses(one, other):
    curves = [read_metrics(run, "step") for run in (one, other)]
    for a, b in zip(*curves, strict=True):
        assert a.keys() == b.keys()
        names = [k for k in a if k.startswith("loss_")]
        np.testing.assert_array_less([abs(a[k] - b[k])/max(1, abs(a[k])) for k in names], 1e-6, err_msg=f"{a} {b}")
    return curves[1]


def assert_same_curve(one, other, steps=30):
    "Every loss of every step within 1e-6; each line once and in order."
    curve = assert_same_losses(one, other)
    assert [m["step"] for m in curve] == [*range(1, steps + 1)]
    assert [m["epoch"] for m in read_metrics(other, "epoch")] == [1, 2, 3]
    assert "loss_g_gan" not in curve[0] and "loss_g_gan" in curve[-1], "both stages are compared"


def seen(run):
    "(epoch, photos, weight) of all processes."
    return [tuple(json.loads(line)) for file in sorted(run.glob("seen_*")) for line in file.read_text().splitlines()]


def assert_each_photo_once(run):
    for epoch in range(3):
        assert sorted(i for e, photos, _ in seen(run) if e == epoch for i in photos) == [*range(49)]


def test_two_processes_follow_the_curve_of_one(project, root):
    out = start([*launcher(2), root/"tests"/"double_precision.py", job("two")], project)
    assert out.count("epoch ") == 3, "one process reports"
    assert_same_curve(project/"one", project/"two")
    for run in ("one", "two"): assert_each_photo_once(project/run)
    shares = [seen_by.read_text().splitlines() for seen_by in sorted((project/"two").glob("seen_*"))]
    assert [len(s) for s in shares] == [30, 30], "both took part in every step"
    assert {weight for _, _, weight in seen(project/"two")} == {6/5, 4/5, 1.}, "weighted by their photos: 3 and 2, 2 and 2"


def test_one_process_then_two_then_three(project, root):
    "Stopped within an epoch and resumed by more processes; SIGTERM for one process of two stops both."
    worker = root/"tests"/"double_precision.py"
    start([worker, job("chain", stop=(0, 14))], project)
    assert [p.name for p in list_checkpoints(project/"chain", whole=False)] == ["epoch_0001", "epoch_0001_step_00000014"]
    out = start([*launcher(2), worker, job("chain", resume=True, stop=(1, 9))], project)
    assert "resuming from chain/checkpoints/epoch_0001_step_00000014" in out and "stopped after step 23 and saved" in out
    assert read_state(list_checkpoints(project/"chain", whole=False)[-1])["step"] == 23
    start([*launcher(3), worker, job("chain", resume=True)], project)
    assert_same_curve(project/"one", project/"chain")
    assert_each_photo_once(project/"chain")
    assert {weight for _, photos, weight in seen(project/"chain") if photos} >= {6/5, 3/5, 3/4}, "2, 2 and 1 photos; 2, 1 and 1"


def test_two_processes_are_one_with_batchnorm_awake(project, root):
    "The recipes and a ResNet, each from its own first weights: the same losses, weights and running statistics; nobody waits for a gradient."
    run = lambda n: dict(data="cache", awake=True, runs={f"{name}{n}": config for name, config in FAMILIES.items()})
    for n, launch in (1, []), (2, launcher(2)): start([*launch, root/"tests"/"double_precision.py", json.dumps(run(n))], project)
    for name in FAMILIES:
        one, two = (project/f"{name}{n}" for n in (1, 2))
        steps, shares = (2, {13, 12}) if name == "features" else (4, {7, 6})
        assert len(assert_same_losses(one, two)) == steps and {len(photos) for _, photos, _ in seen(two)} == shares
        files = [sorted(list_checkpoints(run)[-1].glob("*.safetensors")) for run in (one, two)]
        assert [f.name for f in files[0]] == [f.name for f in files[1]] and len(files[0]) == (2 if name == "seed" else 3)
        for states in zip(*([load_file(f) for f in of] for of in files), strict=True):
            for (key, a), b in zip(states[0].items(), states[1].values(), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5, msg=lambda m, key=f"{name} {key}": f"{key}: {m}")


@pytest.mark.parametrize("processes", range(1, 6))
@pytest.mark.parametrize("photos", range(1, 9))
def test_shares(photos, processes):
    "Averaged over processes, the weighted means of the shares are the mean of the batch; no process is given what does not count."
    batch, value = np.arange(photos), np.random.default_rng(0).random(photos)
    if photos < processes:
        with pytest.raises(ValueError, match=f"^a step of {photos} photos cannot be shared by {processes} processes: pass --batch-size "):
            share_of(batch, 0, processes)
        return
    shares = [share_of(batch, p, processes) for p in range(processes)]
    assert sorted(i for own, _ in shares for i in own) == batch.tolist() and all(own for own, _ in shares)
    assert np.isclose(np.mean([weight*value[own].mean() for own, weight in shares]), value.mean())


@pytest.mark.parametrize("processes", range(2, 9))
def test_batch_size_that_the_refusal_recommends(processes):
    for photos in range(processes, 100):
        for batch in epoch_batches(photos, 2*processes, 0): share_of(batch, 0, processes)


def test_accelerate_launch(project, here):
    """The command as its readers start it: float32, BatchNorm awake, no hint that this is a CPU.

    Here BatchNorm knows only its process's photos, and the first process's running statistics are kept. One process can do the same:
    each step in two parts, which are the shares, after the second of which the statistics of the first come back."""
    launch = launcher(2, "accelerate.commands.launch", "--multi_gpu", "--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no")
    options = ["--recipe", "smoke", "--size", 32, "--epochs", 2, "--encoder", "tu-mobilenetv3_small_050", "--batch-size", 16,
               "--hints", 0]  # with them each process asks its own average, which knows its own photos
    out = start([*launch, "-m", "portrait_gan.cli", "train", "cache", "--out", "real", *options], project, ACCELERATE_USE_CPU="false")
    run = project/"real"
    assert [m["step"] for m in read_metrics(run, "step")] == [*range(1, 9)]
    assert out.count("epoch 1 ") == out.count("epoch 2 ") == 1
    assert [read_state(p)["step"] for p in list_checkpoints(run, whole=False)] == [4, 8]

    config, curve = read_config(run), read_metrics(run, "step")
    assert all(np.isfinite(v) for m in curve for k, v in m.items() if k != "kind") and "loss_d" in curve[-1]
    nets, photos = build_networks(config, Accelerator(cpu=True)), Portraits(project/"cache", "train", 32, True, config.squash, config.min_crop)
    first = []
    nets.generator.register_forward_hook(lambda module, *_: first.append([b.clone() for b in module.buffers()]))
    for step, batch in enumerate(epoch_batches(len(photos), config.batch_size, 0, config.seed)):
        parts = []
        for own, weight in (share_of(batch, p, 2) for p in range(2)):
            fetched = photos.fetch(own)
            parts.append((*make_pair(fetched["squares"], fetched["draws"], config.grays, config.jitter, config.old, config.ab_scale), weight/2))
        for group in nets.opt_g.param_groups: group["lr"] = group["full_lr"]*lr_scale(step, config.total_steps, config.warmup, config.lr_floor)
        logs, _ = train_step(nets, parts, config, gan=False)
        assert abs(logs["loss_g_l1"].item() - curve[step]["loss_g_l1"]) < 1e-5, step
        for b, was in zip(nets.generator.buffers(), first[-2], strict=True): b.copy_(was)
    saved = load_file(list_checkpoints(run)[0]/"generator.safetensors")
    ours = nets.generator.state_dict()
    assert saved.keys() == ours.keys()
    for k in saved: torch.testing.assert_close(ours[k], saved[k], rtol=1e-3, atol=1e-4, msg=lambda m, k=k: f"{k}: {m}")
