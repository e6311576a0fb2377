"""The teacher of a pre-training: the same view, larger, and the same answer from either library."""

import torch

from resdx.models.network import build
from resdx.models.specs import Net, ResNet
from resdx.training.pretraining.distillation import maps_of, taught


def test_the_teacher_sees_the_same_view_enlarged():
    teacher, views = build(Net(ResNet(18)), 1).eval(), torch.rand(2, 3, 64, 64)
    large = torch.nn.functional.interpolate(views, size=128, mode="bilinear", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(taught(teacher.maps, views, (1, 1))[:, :, 0, 0], teacher.embed(large))
        torch.testing.assert_close(taught(teacher.maps, views, (2, 2)).mean((2, 3)), teacher.embed(large))
    assert taught(teacher.maps, torch.rand(1, 3, 150, 150), (7, 7)).shape == (1, 512, 7, 7)  # 224 px, no more


def test_openvino_says_what_the_teacher_says_at_any_size():
    teacher = build(Net(ResNet(18)), 1).eval()
    quick = maps_of(teacher, torch.device("cpu"))
    for size in (64, 96):
        images = torch.rand(3, 3, size, size)
        with torch.no_grad():
            torch.testing.assert_close(quick(images), teacher.maps(images), atol=1e-4, rtol=1e-4)


def test_without_openvino_the_teacher_speaks_itself(monkeypatch):
    monkeypatch.setattr("resdx.training.pretraining.distillation.importlib.util.find_spec", lambda name: None)
    teacher = build(Net(ResNet(18)), 1).eval()
    assert maps_of(teacher, torch.device("cpu")) == teacher.maps
