"""Filter response normalisation and the residual attention network, against closed forms."""

import pytest
import torch

from resdx.errors import RecipeError
from resdx.models.backbones.attention import Attention, FilterResponseNorm, ThresholdedLinear, build_backbone
from resdx.models.specs import ResidualAttention


def test_normalised_maps_are_divided_by_their_root_mean_square():
    norm = FilterResponseNorm(2)
    torch.nn.init.constant_(norm.weight, 3.0)
    torch.nn.init.constant_(norm.bias, 0.5)
    x = torch.tensor([[3.0, -4.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]).view(1, 2, 2, 2)
    expected = torch.tensor([[3 * 3 / 2.5 + 0.5, 3 * -4 / 2.5 + 0.5, 0.5, 0.5], [3.5] * 4]).view(1, 2, 2, 2)
    torch.testing.assert_close(norm(x), expected, atol=1e-5, rtol=1e-5)


def test_mean_square_of_a_normalised_map_is_one_and_its_scale_does_not_matter():
    norm, x = FilterResponseNorm(3), torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(norm(x).square().mean((2, 3)), torch.ones(2, 3), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(norm(7 * x), norm(x), atol=1e-4, rtol=1e-4)


def test_epsilon_counts_by_its_size_and_is_learnt_where_asked_for():
    norm = FilterResponseNorm(1, learnt=True)
    assert norm.epsilon.item() == pytest.approx(1e-4)
    torch.nn.init.constant_(norm.epsilon, -1.0)
    assert norm(torch.full((1, 1, 1, 1), 2.0)).item() == pytest.approx(2 / 5**0.5)
    norm(torch.ones(1, 1, 1, 1)).sum().backward()
    assert norm.epsilon.grad.item() != 0
    assert FilterResponseNorm(1).epsilon is None


def test_a_small_number_format_keeps_its_format_and_the_digits_of_the_sum():
    norm, x = FilterResponseNorm(1), torch.randn(1, 1, 64, 64)
    half = norm(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), norm(x), atol=0.03, rtol=0.02)


def test_threshold_is_the_larger_of_map_and_tau_and_starts_as_relu():
    unit, x = ThresholdedLinear(2), torch.tensor([-2.0, -0.5, 0.0, 3.0]).view(1, 1, 2, 2).expand(1, 2, 2, 2)
    torch.testing.assert_close(unit(x), x.relu())
    with torch.no_grad():
        unit.tau.copy_(torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(unit(x)[0, :, 0], torch.tensor([[-1.0, -0.5], [1.0, 1.0]]))


def test_mask_raises_what_the_backbone_gives_by_up_to_its_double():
    block, x = Attention(4).eval(), torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        plain, weighed = block.backbone(x), block(x)
        some = plain.abs() > 1e-3
        ratio = (weighed / plain)[some]
    assert 1 < ratio.min() < ratio.max() < 2


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return build_backbone(ResidualAttention((8, 16)), weights="")


def test_an_answer_depends_on_its_own_picture_alone_and_not_on_the_mode(backbone):
    x = torch.randn(3, 3, 33, 33)
    with torch.no_grad():
        together = backbone.train().features(x)
        torch.testing.assert_close(backbone.eval().features(x), together)
        torch.testing.assert_close(backbone.features(x[1:2]), together[1:2], atol=1e-5, rtol=1e-4)
    assert together.shape == (3, 16, 5, 5)


def test_default_is_small_enough_for_a_processor_and_takes_the_smallest_pictures():
    backbone = build_backbone(ResidualAttention(), weights="")
    assert sum(parameter.numel() for parameter in backbone.parameters()) < 6e6
    with torch.no_grad():
        assert torch.isfinite(backbone.features(torch.rand(1, 3, 16, 16))).all()


def test_wrong_channels_are_refused():
    with pytest.raises(
        RecipeError,
        match=r"ResidualAttention\.channels cannot (be|hold) .*: it takes a tuple of 1 to 8 whole numbers of at least 1",
    ):
        ResidualAttention(())
