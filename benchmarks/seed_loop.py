"""The seed's own data path and training loop, as somebody who follows it would write them, without its crashes.

Each item opens its JPEG, resizes, and goes through scikit-image to Lab, in the training process; two generator passes a step,
the default memory layout, plain Adam, BCE + 10 · L1 summed over the photo. Logits stand where the seed had sigmoid + BCELoss:
the same function. The other benchmarks import this; alone it shows losses and speed:

    python benchmarks/seed_loop.py --photos PHOTOS --size 256 --steps 20"""
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
import tyro
from common import clock, endless, jpegs, table
from PIL import Image
from skimage.color import rgb2lab
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.utils.data import DataLoader, Dataset

from portrait_gan.discriminator import PatchDiscriminator
from portrait_gan.generator import best_device, build_generator


class SeedPhotos(Dataset):
    "Item i is L (1,size,size) in [-1,1] and ab (2,size,size), a*b* divided by 128."
    def __init__(self,
        files: list[Path],
        size: int = 768,  # whole photos are squashed to this square
        training: bool = True,  # flip half of them
    ):
        self.files, self.size, self.training = files, size, training

    def __len__(self): return len(self.files)

    def __getitem__(self, i):
        photo = Image.open(self.files[i]).convert("RGB").resize((self.size, self.size))
        if self.training and torch.rand(()) < .5: photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        lab = torch.from_numpy(rgb2lab(np.asarray(photo)).astype(np.float32)).permute(2, 0, 1)
        return lab[:1]/50 - 1, lab[1:]/128


def seed_loader(files: list[Path], size: int = 768, batch: int = 3) -> DataLoader:
    "Training batches in random order."
    return DataLoader(SeedPhotos(files, size), batch, shuffle=True, num_workers=0, drop_last=len(files) > batch)


def lambda_l1_at(size: int) -> float:
    "The weight at which L1 and GAN stand to each other at `size` px as they do at the recipe's 768 px."
    return 10*(768/size)**2


@dataclass
class SeedNetworks:
    "The two networks and their optimizers."
    generator: nn.Module
    discriminator: nn.Module
    opt_g: torch.optim.Optimizer
    opt_d: torch.optim.Optimizer


def seed_networks(
    encoder: str = "efficientnet-b5",
    weights: str | None = None,  # of the encoder; "imagenet" goes through build_generator, which needs no network for Lite0
    device: str = "cpu",
    seed: int = 0,  # of the weights
) -> SeedNetworks:
    "U-Net and four-filter discriminator, Adam 1e-3 for both."
    torch.manual_seed(seed)
    generator = build_generator(encoder, weights) if weights else smp.Unet(encoder, encoder_weights=None, in_channels=1, classes=2)
    generator, discriminator = generator.to(device).train(), PatchDiscriminator((4, 4, 4, 4)).to(device).train()
    return SeedNetworks(generator, discriminator, *(torch.optim.Adam(m.parameters(), lr=1e-3) for m in (generator, discriminator)))


def seed_step(
    nets: SeedNetworks,
    L: Tensor,  # (N,1,H,W) in [-1,1]
    ab: Tensor,  # (N,2,H,W), a*b* divided by 128
    lambda_l1: float = 10.,  # weighs a sum over the photo, which grows with its size while the GAN's part does not
) -> tuple[Tensor, Tensor]:  # loss_d, loss_g; detached scalars
    "One step: a proposal to teach the discriminator with, another to teach the generator."
    fake = torch.cat([L, nets.generator(L).detach()], 1)
    logits = nets.discriminator(torch.cat([torch.cat([L, ab], 1), fake]))
    real = torch.zeros_like(logits)
    real[:len(L)] = 1
    loss_d = .5*bce(logits, real)
    nets.opt_d.zero_grad()
    loss_d.backward()
    nets.opt_d.step()

    fake_ab = nets.generator(L)
    logits = nets.discriminator(torch.cat([L, fake_ab], 1))
    loss_g = bce(logits, torch.ones_like(logits)) + lambda_l1*(fake_ab - ab).abs().sum()/len(L)
    nets.opt_g.zero_grad()
    loss_g.backward()
    nets.opt_g.step()
    return loss_d.detach(), loss_g.detach()


def main(
    photos: Path | None = None,  # a folder with JPEGs; none: toy portraits
    size: int = 256,  # side of the square, pixels
    batch: int = 3,
    encoder: str = "efficientnet-b5",
    weights: str | None = None,  # of the encoder, such as imagenet; none: random
    steps: int = 10,
    n: int = 30,  # photos
):
    "The seed's loop, a few steps of it."
    device = best_device()
    with tempfile.TemporaryDirectory() as tmp:
        what = jpegs(photos, Path(tmp)/"photos", n, min(size, 256))
        loader, nets = seed_loader(sorted(Path(tmp, "photos").iterdir()), size, batch), seed_networks(encoder, weights, device)
        rows, begun = [], clock(device)
        for step, (L, ab) in zip(range(1, steps + 1), endless(loader), strict=False):
            loss_d, loss_g = (v.item() for v in seed_step(nets, L.to(device), ab.to(device)))
            rows.append([step, f"{loss_d:.3f}", f"{loss_g:,.0f}", f"{clock(device) - begun:.2f}"])
            begun = clock(device)
    table(device, [f"step ({what}; {size} px, batch {batch})", "loss D", "loss G", "seconds"], rows)


if __name__ == "__main__": tyro.cli(main)
