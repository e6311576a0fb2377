"""Maps: closed forms on small networks, the papers' own formulas, and captum where it is installed."""

import pytest
import torch
from torch import nn

from resdx.data.tasks import Ordinal
from resdx.evaluation.saliency.methods import (
    absent,
    attributions,
    class_activation,
    class_odds,
    enlarge,
    grad_cam,
    grad_cam_plus_plus,
    grade_odds,
    integrated_gradients,
    label_odds,
    occlusion,
    window,
)
from resdx.models.heads.specs import Linear, Mlp
from resdx.models.network import build, pool
from resdx.models.specs import Net, ResNet


def network(head=None, *, outputs=3, last_stride=2, seed=0):
    """A small network whose blocks and head do something: as built, they start near the identity and near 0."""
    torch.manual_seed(seed)
    net = build(Net(ResNet(18, last_stride=last_stride), head or Linear()), outputs).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.5)
    return net


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


TARGETS = torch.tensor([0, 2, 1])


class Sum(nn.Module):
    """A toy network without a backbone: two logits, the second a weighted sum of the pixels."""

    def __init__(self, size):
        super().__init__()
        self.weight = torch.randn(3, size, size, generator=torch.Generator().manual_seed(2))

    def forward(self, x):
        value = (x * self.weight).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(value), value], 1)


def test_for_a_linear_head_the_map_is_the_classic_class_activation_map(images):
    net = network()
    with torch.no_grad():
        classic = torch.einsum("be,behw->bhw", net.head.linear.weight[TARGETS], net.maps(images)).relu()
    torch.testing.assert_close(class_activation(net, images, TARGETS, score=label_odds), classic)


def test_with_two_classes_the_map_weighs_by_the_difference_of_their_weights(images):
    net, weight = network(outputs=2), None
    weight = net.head.linear.weight.detach()
    expected = torch.einsum("e,behw->bhw", weight[1] - weight[0], net.maps(images).detach()).relu()
    found = class_activation(net, images, torch.ones(3, dtype=torch.long))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("head", [Linear(), Mlp(16)])
def test_gradients_through_the_pooled_head_give_the_same_map_up_to_scale(images, head):
    net = network(head)
    forward, backward = class_activation(net, images, TARGETS), grad_cam(net, images, TARGETS)
    assert forward.max() > 0
    torch.testing.assert_close(backward * 4, forward, rtol=1e-4, atol=1e-5)  # 2 x 2 places share the gradient of their mean


def test_grad_cam_of_an_earlier_stage_is_what_hooks_on_that_stage_give(images):
    net, kept = network(), []
    handle = net.backbone.layer3.register_forward_hook(lambda module, given, gave: kept.append(gave))
    value = class_odds(net(images), TARGETS).sum()
    handle.remove()
    gradient = torch.autograd.grad(value, kept[0])[0]
    expected = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1).relu().detach()
    torch.testing.assert_close(grad_cam(net, images, TARGETS, stage="layer3"), expected)


@pytest.mark.parametrize("head", [Linear(), Mlp(16)])
def test_grad_cam_plus_plus_is_the_papers_formula_up_to_scale(images, head):
    net = network(head)
    maps = net.maps(images).detach().requires_grad_()
    g = torch.autograd.grad(class_odds(net.head(pool(maps)), TARGETS).sum(), maps)[0]
    bottom = 2 * g**2 + maps.sum((2, 3), keepdim=True) * g**3
    alpha = torch.where(g > 0, g**2 / torch.where(g > 0, bottom, torch.ones_like(g)), torch.zeros_like(g))
    paper = ((alpha * g.relu()).sum((2, 3), keepdim=True) * maps).sum(1).relu().detach()
    found = grad_cam_plus_plus(net, images, TARGETS)
    torch.testing.assert_close(found / found.amax((1, 2), True), paper / paper.amax((1, 2), True), rtol=1e-4, atol=1e-5)


def test_last_stride_one_gives_maps_twice_as_fine(images):
    net = network(last_stride=1)
    assert class_activation(net, images, TARGETS).shape == grad_cam_plus_plus(net, images, TARGETS).shape == (3, 4, 4)


def test_occlusion_of_a_linear_network_is_the_weighted_loss_of_each_window(images):
    net = Sum(64)
    loss = (images - absent(images)) * net.weight
    found = occlusion(net, images, torch.ones(3, dtype=torch.long), cells=4)
    for row in range(4):
        for column in range(4):
            expected = loss[:, :, window(row, 4, 64), window(column, 4, 64)].sum((1, 2, 3)).relu()
            torch.testing.assert_close(found[:, row, column], expected, rtol=1e-3, atol=1e-3)


def test_windows_are_centred_on_their_cells_and_cover_the_picture():
    windows = [window(cell, 7, 112) for cell in range(7)]
    assert windows[3] == slice(40, 72)
    assert (windows[0], windows[6]) == (slice(0, 24), slice(88, 112))
    assert set().union(*(range(one.start, one.stop) for one in windows)) == set(range(112))


def test_attributions_of_a_linear_network_are_weight_times_difference(images):
    net = Sum(64)
    expected = ((images - absent(images)) * net.weight).sum(1)
    torch.testing.assert_close(
        attributions(net, images, torch.ones(3, dtype=torch.long), steps=2), expected, atol=1e-5, rtol=1e-4
    )


def test_attributions_add_up_to_the_difference_from_the_baseline(images):
    net = network()
    with torch.no_grad():
        difference = class_odds(net(images), TARGETS) - class_odds(net(absent(images)), TARGETS)
    error = [(attributions(net, images, TARGETS, steps=n).sum((1, 2)) - difference).abs().max() for n in (4, 32)]
    assert error[1] < 0.02 * difference.abs().max()
    assert error[1] < error[0]


def test_blocks_of_integrated_gradients_keep_what_speaks_for_the_class(images):
    net = network()
    signed = attributions(net, images, TARGETS, steps=4)
    blocks = signed.view(3, 16, 4, 16, 4).sum((2, 4))
    torch.testing.assert_close(integrated_gradients(net, images, TARGETS, steps=4), blocks.relu(), rtol=1e-4, atol=1e-6)


def test_attributions_are_those_of_captum(images):
    captum = pytest.importorskip("captum.attr", reason="captum, the reference for integrated gradients, is not installed")
    net = network()
    reference = captum.IntegratedGradients(lambda x: class_odds(net(x), TARGETS))
    expected = reference.attribute(images, absent(images), n_steps=8, method="riemann_middle", internal_batch_size=3).sum(1)
    found = attributions(net, images, TARGETS, steps=8)
    torch.testing.assert_close(found, expected.float().detach(), rtol=1e-3, atol=1e-5)


def test_grad_cam_is_that_of_captum(images):
    captum = pytest.importorskip("captum.attr", reason="captum, the reference for Grad-CAM, is not installed")
    net = network()
    reference = captum.LayerGradCam(lambda x: class_odds(net(x), TARGETS), net.backbone.layer3)
    expected = reference.attribute(images, relu_attributions=True)[:, 0].detach()
    torch.testing.assert_close(grad_cam(net, images, TARGETS, stage="layer3"), expected, rtol=1e-3, atol=1e-6)


def test_log_odds_are_those_of_the_tasks_own_probabilities():
    logits = torch.tensor([[2.0, 0.5, -1.0], [0.3, -0.2, -2.0], [1.0, 0.9, 0.1]])
    three = logits.softmax(1).gather(1, TARGETS[:, None])[:, 0]
    torch.testing.assert_close(class_odds(logits, TARGETS).sigmoid(), three)
    grades = torch.tensor(Ordinal().probabilities(logits.numpy())).gather(1, TARGETS[:, None])[:, 0]
    torch.testing.assert_close(grade_odds(logits, TARGETS).sigmoid(), grades)


def test_weights_and_their_gradients_are_left_alone(images):
    net = network().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for method in (class_activation, grad_cam, grad_cam_plus_plus, integrated_gradients):
        found = method(net, images, TARGETS)
        assert found.dtype == torch.float32
        assert found.min() >= 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_flat_picture_stays_as_it_is_without_its_content():
    flat = torch.full((1, 3, 32, 32), 0.4)
    torch.testing.assert_close(absent(flat), flat)


def test_enlarging_keeps_the_centre_of_a_cell():
    spot = torch.zeros(1, 4, 4)
    spot[0, 1, 2] = 1
    large = enlarge(spot, 32)[0]
    assert large.argmax() in [row * 32 + column for row in (11, 12) for column in (19, 20)]
    torch.testing.assert_close(large.flip(0).flip(1), enlarge(spot.flip(1).flip(2), 32)[0])
