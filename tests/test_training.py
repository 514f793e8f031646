"What crosses the pages: settings that may change a run's speed or memory, but not what it learns; what a run says."
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import is_tensorboard_available
from double_precision import double_precision
from safetensors.torch import load_file

from portrait_gan import training
from portrait_gan.checkpoint import list_checkpoints, read_metrics
from portrait_gan.data import Portraits, prepare, save_toys
from portrait_gan.training import SMOKE, train

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
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: now[0]))  # a clock that only fetching moves
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


def test_no_compiler_is_no_obstacle(trained, monkeypatch, tmp_path):
    "The same run without torch.compile, and one warning; the next run may try again."
    plain, _ = trained("plain")
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/no/compiler/here",))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path/"inductor"))
    run, said = trained("compiled", compile=True)
    assert sum("torch.compile does not work here" in line for line in said) == 1
    assert losses(run) == losses(plain)
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
