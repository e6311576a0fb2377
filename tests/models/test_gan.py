"""A generator and its judge: shapes, losses by hand, spectral normalisation, and what feature matching is."""

import math

import pytest
import torch
from torch import nn

from resdx.errors import RecipeError
from resdx.models.gan import Generator, Judge, generator_loss, judge_loss, matching


@pytest.mark.parametrize("size", [16, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_have_the_size_that_is_asked_for(size, channels):
    generator, judge = Generator(size, 10, 4, channels).eval(), Judge(size, 4, channels).eval()
    pictures = generator(torch.randn(3, 10))
    assert pictures.shape == (3, channels, size, size) and pictures.abs().max() <= 1
    logit, features = judge(pictures)
    assert logit.shape == (3,) and features.shape[0] == 3 and features.shape[1] % 16 == 0
    with torch.inference_mode():
        assert torch.allclose(judge(pictures[1:2])[0], logit[1:2], atol=1e-5)


def test_losses_by_hand():
    real, made = torch.tensor([2.0, -1.0]), torch.tensor([0.5])
    softplus = torch.nn.functional.softplus
    assert judge_loss(real, made).item() == pytest.approx((softplus(-real).mean() + softplus(made).mean()).item())
    assert generator_loss(made).item() == pytest.approx(math.log(1 + math.exp(-0.5)))


def test_matching_is_nothing_where_means_are_equal():
    real = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert matching(real, real.flip(0)).item() == 0
    assert matching(real, torch.tensor([[2.0, 4.0]])).item() == 0
    assert matching(real, torch.zeros(5, 2)).item() == pytest.approx((4 + 16) / 2)


def test_judge_has_singular_values_of_one_after_training():
    torch.manual_seed(0)
    judge = Judge(16, 8, 1)
    optimiser = torch.optim.Adam(judge.parameters(), 1e-3)
    for _ in range(60):
        loss = judge_loss(judge(torch.randn(8, 1, 16, 16))[0], judge(torch.rand(8, 1, 16, 16))[0])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    judge.eval()
    largest = [
        torch.linalg.matrix_norm(module.weight.flatten(1), 2).item()
        for module in judge.modules()
        if isinstance(module, nn.Conv2d)
    ]
    assert len(largest) == 3 and largest == pytest.approx([1] * 3, abs=0.05)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in judge.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in Judge(32, 8, 1, spectral=False).modules())


def test_layers_begin_as_in_the_paper():
    torch.manual_seed(0)
    generator = Generator(64, 100, 16, 1)
    deviations = [m.weight.std().item() for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert deviations[:-1] == pytest.approx([0.02] * (len(deviations) - 1), rel=0.05)


def test_odd_sizes_are_refused():
    with pytest.raises(RecipeError, match="16, 32, 64, 128, 256 or 512 pixels, not 100"):
        Generator(100, 10, 4, 1)
