"Weights written and read again: the same answers, nothing half, and every failure in one line."
import json

import pytest
import torch

from portrait_gan import generator as module
from portrait_gan.checkpoint import save_generator, write_weights
from portrait_gan.generator import build_generator, load_generator
from portrait_gan.pretrained import CONFIG, EMA_WEIGHTS, WEIGHTS

UNITS = dict(ab_scale=110., size=256)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_generator("resnet18", None).eval()


@pytest.fixture
def saved(network, tmp_path): return save_generator(network, tmp_path/"saved", UNITS)


@torch.inference_mode()
def answer(network): return network(torch.rand(1, 1, 40, 70, generator=torch.Generator().manual_seed(0))*2 - 1)


def test_the_names_of_version_0_1_are_still_there():
    assert module.save_generator is save_generator and module.write_weights is write_weights
    with pytest.raises(AttributeError, match="nothing"): module.nothing  # noqa: B018


def test_there_and_back_bit_for_bit(network, saved, monkeypatch):
    monkeypatch.setattr("socket.socket", lambda *a, **k: pytest.fail("no network here"))
    loaded, config = load_generator(saved)
    assert torch.equal(answer(loaded), answer(network)) and not loaded.training
    assert config == dict(encoder="resnet18", in_channels=1, classes=2) | UNITS
    assert sorted(f.name for f in saved.iterdir()) == [CONFIG, WEIGHTS]  # nothing temporary left


def test_half_precision_halves_the_file(network, saved, tmp_path):
    small = save_generator(network, tmp_path/"half", UNITS, half=True)
    loaded, _ = load_generator(small/WEIGHTS)  # the file itself will do
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert (answer(loaded) - answer(network)).norm() < .01*answer(network).norm()
    assert (small/WEIGHTS).stat().st_size < .55*(saved/WEIGHTS).stat().st_size


def test_the_average_is_read_where_there_is_one(network, saved):
    torch.manual_seed(1)
    other = build_generator("resnet18", None).eval()
    write_weights(other, saved/EMA_WEIGHTS)
    assert torch.equal(answer(load_generator(saved)[0]), answer(other))


BROKEN = dict(
    weights=(WEIGHTS, b"half a file", "cannot be read"), prose=(CONFIG, b"encoder: b5", "is no JSON"),
    lacking=(CONFIG, b'{"encoder": "resnet18"}', "lacks ab_scale, size"),
    other=(CONFIG, json.dumps(dict(encoder="resnet34") | UNITS).encode(), "does not fit a U-Net with resnet34"),
    negative=(CONFIG, json.dumps(dict(encoder="resnet18", ab_scale=-1, size=256)).encode(), "positive number"),
    fractional=(CONFIG, json.dumps(dict(encoder="resnet18", ab_scale=110, size=256.5)).encode(), "positive whole number"))


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_told_in_one_line(saved, case):
    name, content, why = BROKEN[case]
    (saved/name).write_bytes(content)
    with pytest.raises(ValueError, match=why) as e: load_generator(saved)
    assert "\n" not in str(e.value) and str(saved) in str(e.value)


def test_what_is_not_there(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="no generator at"): load_generator(tmp_path/"nowhere")
    with pytest.raises(ValueError, match="is not a .safetensors file"): load_generator(tmp_path/"model.pth")
    (saved/CONFIG).unlink()
    with pytest.raises(FileNotFoundError, match="holds no config.json"): load_generator(saved)


def test_numbers_that_are_none(network, tmp_path):
    torch.manual_seed(0)
    bad = build_generator("resnet18", None)
    with torch.no_grad(): bad.segmentation_head[0].bias[0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity in 1 tensor.*segmentation_head.0.bias"):
        load_generator(save_generator(bad, tmp_path, UNITS))


def test_units_are_wanted(network, tmp_path):
    with pytest.raises(ValueError, match="ab_scale"): save_generator(network, tmp_path/"x", {})
    assert not (tmp_path/"x").exists()


def test_the_mean_of_networks_that_is_bundled(network, saved, tmp_path, root, monkeypatch):
    "Weight by weight; one that is named twice counts twice, and what is counted in integers stays."
    monkeypatch.syspath_prepend(str(root/"benchmarks"))
    from bundle import mean_of
    torch.manual_seed(1)
    other = build_generator("resnet18", None)
    for layer in other.modules():
        if isinstance(layer, torch.nn.BatchNorm2d): layer.num_batches_tracked += 7
    mean, config = mean_of([saved, saved, save_generator(other, tmp_path/"other", UNITS | dict(size=64))])
    assert config["size"] == 256
    for name, value in mean.state_dict().items():
        a, b = network.state_dict()[name], other.state_dict()[name]
        assert torch.equal(value, a) if name.endswith("tracked") else torch.allclose(value, (2*a + b)/3, atol=1e-6), name
