"""Every network does what every other does: learn, freeze, answer by stages, draw maps, become a graph."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from resdx.data.tasks import Classify
from resdx.evaluation.saliency import methods as maps
from resdx.evaluation.saliency.checks import randomised
from resdx.inference.engines.graph import Graph
from resdx.models.freeze import freeze, frozen_stages
from resdx.models.heads.specs import Linear, Mlp
from resdx.models.network import build, pool
from resdx.models.specs import (
    AlexNet,
    Cnn,
    KerasResNet,
    LeNet,
    MobileNetV1,
    Net,
    ResidualAttention,
    ResNet,
    RowsRnn,
    StridedNet,
)
from resdx.records import from_record, to_record
from resdx.report.sections import network as in_words
from resdx.studies.export import write_graph

SIZE = 64
NETS = {
    "cnn": Net(Cnn((4, 8), norm=False), Linear()),
    "lenet": Net(LeNet(32), Linear(0.2)),
    "alexnet": Net(AlexNet(63), Linear()),
    "stridednet": Net(StridedNet(32), Mlp(8)),
    "mobilenet": Net(MobileNetV1(0.125), Linear()),
    "rows": Net(RowsRnn(32, hidden=8, channels=(4,)), Linear()),
    "attention": Net(ResidualAttention((4, 8)), Linear()),
    "joined": Net(ResNet(18, multi_scale=True), Linear()),
    "extra": Net(ResNet(18, extra=8), Mlp(8, 0.5, norm=True)),
    "keras": Net(KerasResNet(recolour=True), Mlp(8, 0.5, norm=True)),
}
every = pytest.mark.parametrize("name", NETS)


def pictures(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def made(name: str):
    torch.manual_seed(0)
    return build(NETS[name], 2)


@every
def test_spec_is_the_same_after_being_stored_and_is_named_in_the_report(name):
    net = NETS[name]
    assert from_record(to_record(net)) == net
    assert in_words(net.backbone).startswith(type(net.backbone).__name__)


@every
def test_stages_in_turn_are_the_whole_and_hold_every_parameter_once(name):
    network = made(name).eval()
    stages = list(network.backbone.stages())
    x = network.normalise(pictures())
    with torch.no_grad():
        maps_, state = network.maps(pictures()), x
        for stage in stages:
            state = network.backbone.stage(stage, state)
        torch.testing.assert_close(state, maps_)
        half = network.run_stages(x, stages[0], last=stages[len(stages) // 2 - 1])
        torch.testing.assert_close(network.run_stages(half, stages[len(stages) // 2]), maps_)
        torch.testing.assert_close(network(pictures()), network.head(pool(maps_)))
    assert maps_.shape[:2] == (2, network.channels)
    held = [parameter for _, group in network.parameter_groups() for parameter in group]
    assert len({id(parameter) for parameter in held}) == len(held) == len(list(network.parameters()))


@every
def test_a_step_moves_what_is_free_and_nothing_that_is_frozen(name):
    network = made(name)
    first = next(iter(network.backbone.stages()))
    freeze(network.backbone, first)
    network.train()
    frozen = {id(value) for module in network.backbone.stages()[first] for value in (*module.parameters(), *module.buffers())}
    before = [(key, value, value.clone()) for key, value in network.state_dict(keep_vars=True).items()]
    torch.nn.functional.cross_entropy(network(pictures(4)), torch.tensor([0, 1, 0, 1])).backward()
    torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1).step()
    moved = {key for key, value, old in before if not torch.equal(value, old)}
    assert not {key for key, value, _ in before if id(value) in frozen} & moved
    assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)
    assert "head.linear.weight" in moved and frozen_stages(network.backbone) == (first,)


@every
def test_maps_show_the_class_and_random_weights_change_the_answer(name):
    network = made(name).eval()
    targets = torch.tensor([0, 1])
    for method in (maps.class_activation, maps.grad_cam, maps.grad_cam_plus_plus):
        heat = method(network, pictures(), targets)
        assert heat.ndim == 3 and len(heat) == 2 and heat.min() >= 0 and torch.isfinite(heat).all()
    places = maps.attributions(network, pictures(), targets, steps=2)
    assert places.shape == (2, SIZE, SIZE) and places.abs().max() > 0
    other = randomised(network, pictures(), seed=1)
    with torch.no_grad():
        assert not torch.equal(other.embed(pictures()), network.embed(pictures()))


@every
def test_learns_in_bfloat16_on_a_processor_too(name):
    network = made(name).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        network(pictures().contiguous(memory_format=torch.channels_last)).float().square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
    assert torch.isfinite(copy.deepcopy(network).eval()(pictures())).all()


@pytest.mark.parametrize("name", ["rows", "joined"])
def test_exported_graph_answers_as_the_network_for_any_number_of_pictures(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net, size = {"rows": (Net(RowsRnn(16, hidden=4)), 16), "joined": (Net(ResNet(18, multi_scale=True)), 32)}[name]
    torch.manual_seed(0)
    graph = Graph(build(net, 2).eval(), Classify(), (1, 1), (0, 0), (0,))
    write_graph(graph, size, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for count in (1, 3):
        image = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        with torch.no_grad():
            expected = graph(torch.from_numpy(image))
        for ours, theirs in zip(session.run(None, {"image": image}), expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)


def test_normed_head_is_batchnorm_dropout_dense_batchnorm_dropout_dense():
    torch.manual_seed(0)
    head = build(Net(Cnn((4,)), Mlp(6, 0.0, norm=True)), 2).train().head
    x = torch.randn(5, 4)
    first = nn.functional.batch_norm(x, None, None, training=True, eps=1e-3)
    hidden = torch.relu(head.hidden[2](first))
    expected = head.linear(nn.functional.batch_norm(hidden, None, None, training=True, eps=1e-3))
    torch.testing.assert_close(head(x), expected)


def test_normed_head_drops_before_both_dense_layers():
    head = build(Net(Cnn((4,)), Mlp(6, 0.4, norm=True)), 2).head
    assert [layer.p for layer in head.modules() if isinstance(layer, nn.Dropout)] == [0.4, 0.4]
