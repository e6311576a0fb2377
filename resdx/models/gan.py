"""A generator of images and its discriminator (DCGAN, Radford et al. 2016).

With as many layers as the size asks for.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.parametrizations import spectral_norm

from ..errors import RecipeError

WIDEST = 8  # times `width`: channels of the smallest maps


class Generator(nn.Module):
    """Noise (B, latent) -> pictures (B, channels, size, size) from -1 to 1."""

    def __init__(self, size: int, latent: int, width: int, channels: int) -> None:
        super().__init__()
        depths = _depths(size, width)
        # The noise is a map of 1 x 1, which the first layer makes 4 x 4.
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent, depths[0], 4, bias=False), nn.BatchNorm2d(depths[0]), nn.ReLU()]
        for before, after in pairwise(depths):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(depths[-1], channels, 4, 2, 1), nn.Tanh())
        self.latent = latent
        self.apply(_begin)

    def forward(self, noise: Tensor) -> Tensor:
        return self.layers(noise[:, :, None, None])  # type: ignore[no-any-return]


class Judge(nn.Module):
    """Images (B, channels, size, size) in [-1, 1] -> logits (B,) of being real, and features (B, F).

    With `spectral` every weight has a largest singular value of 1 (Miyato et al. 2018), and BatchNorm is left out.
    """

    def __init__(self, size: int, width: int, channels: int, *, spectral: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for place, after in enumerate(_depths(size, width)[::-1]):
            layer = nn.Conv2d(before, after, 4, 2, 1, bias=spectral)
            layers += [spectral_norm(layer) if spectral else layer]
            # None on the first layer (Radford et al. 2016), and none beside spectral normalisation.
            layers += [] if spectral or not place else [nn.BatchNorm2d(after)]
            layers += [nn.LeakyReLU(0.2)]
            before = after
        self.layers = nn.Sequential(*layers)
        last = nn.Conv2d(before, 1, 4)
        self.last = spectral_norm(last) if spectral else last
        self.apply(_begin)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.layers(pictures)
        return self.last(maps).flatten(), maps.flatten(1)


def _depths(size: int, width: int) -> list[int]:
    """Channels from maps of 4 x 4 to those of half the size.

    Raises RecipeError for a size that is no power of two from 16 to 512.
    """
    if size not in (16, 32, 64, 128, 256, 512):
        raise RecipeError(f"a generator makes pictures of 16, 32, 64, 128, 256 or 512 pixels, not {size}")
    steps = size.bit_length() - 3  # maps of 4, 8 ... size / 2
    return [width * min(WIDEST, 2**k) for k in range(steps)][::-1]


def _begin(module: nn.Module) -> None:
    """The start of Radford et al.: deviations of 0.02."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        for weight in module.parameters():  # that of spectral normalisation lies deeper
            if weight.ndim > 1:
                nn.init.normal_(weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)


def matching(real: Tensor, made: Tensor) -> Tensor:
    """The squared distance between the mean features (B, F) of both, over F (Salimans et al. 2016)."""
    return (real.mean(0) - made.mean(0)).square().mean()


def judge_loss(real: Tensor, made: Tensor) -> Tensor:
    """Of the judge, from its logits (B,) of real and of made pictures."""
    return binary_cross_entropy_with_logits(real, torch.ones_like(real)) + binary_cross_entropy_with_logits(
        made, torch.zeros_like(made)
    )


def generator_loss(made: Tensor) -> Tensor:
    """Of the generator, from the judge's logits (B,) of what it made; it does not saturate."""
    return binary_cross_entropy_with_logits(made, torch.ones_like(made))
