"Discriminators that were saved by version 0.1 load, and compute what they did."
import pytest
import torch

from portrait_gan.discriminator import FeatureDiscriminator, PatchDiscriminator

CONV, NORM = ("weight", "bias"), ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
SPECTRAL = ("bias", "parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v")
FORMS = {  # what stands at which place of `layers`
    "original": (lambda: PatchDiscriminator(), {0: CONV, 1: NORM, 3: CONV, 4: NORM, 6: CONV, 7: NORM, 9: CONV, 10: NORM, 12: CONV}),
    "pix2pix": (lambda: PatchDiscriminator.pix2pix((8, 8, 16, 16)),
                {0: CONV, 2: ("weight",), 3: NORM, 5: ("weight",), 6: NORM, 8: ("weight",), 9: NORM, 11: CONV}),
    "spectral": (lambda: PatchDiscriminator.pix2pix((8, 8, 16, 16), spectral=True), {i: SPECTRAL for i in (0, 2, 4, 6, 8)}),
}


@pytest.mark.parametrize("form", FORMS)
def test_names_of_version_0_1(form):
    build, places = FORMS[form]
    assert list(build().state_dict()) == [f"layers.{i}.{name}" for i, names in places.items() for name in names]


@pytest.mark.parametrize("form, mean", [("original", 0.332967), ("pix2pix", 0.119975), ("spectral", 0.0319592)])
def test_drawn_as_in_version_0_1(form, mean):
    torch.manual_seed(0)
    model = FORMS[form][0]().train()
    x = torch.linspace(-1, 1, 3*64*64).view(1, 3, 64, 64)
    with torch.inference_mode(): assert model(x).abs().mean().item() == pytest.approx(mean, rel=1e-3)


def test_gradients_reach_every_parameter():
    for build, _ in FORMS.values():
        model = build()
        model(torch.randn(2, 3, 64, 64)).square().mean().backward()
        assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_spectral_norm_keeps_pictures_apart():
    "In training mode too, a photo's logits do not depend on what is beside it; its singular values are 1."
    torch.manual_seed(0)
    model = PatchDiscriminator.pix2pix((8, 8, 16, 16), spectral=True).train()
    real, fake = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 64).requires_grad_()
    model(torch.cat([real, fake]))[0].sum().backward()
    assert fake.grad.abs().max() == 0
    for _ in range(20): model(real)
    values = [torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2).item() for m in model.layers if isinstance(m, torch.nn.Conv2d)]
    assert values == pytest.approx([1]*5, abs=.1)


def test_heads_look_at_lightness_and_alone_learn():
    torch.manual_seed(0)
    judge = FeatureDiscriminator().requires_grad_(False).requires_grad_(True).train()
    assert {n.split(".")[0] for n, p in judge.named_parameters() if p.requires_grad} == {"heads"}
    assert not judge.features.network.training
    lab = torch.randn(1, 3, 64, 64)*.3
    with torch.no_grad(): assert (judge(lab) - judge(lab - torch.tensor([.5, 0, 0]).view(1, 3, 1, 1))).abs().max() > 1e-3
