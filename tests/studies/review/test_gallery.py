"""The gallery: every figure is drawn, from phantoms, on a page that loads nothing."""

import itertools
import re

import numpy as np
import pytest
from PIL import Image

from resdx.models.specs import Cnn, Net, ResNet
from resdx.studies.review.gallery import NETWORKS, SHOWN, gallery, strips, told


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return gallery(tmp_path_factory.mktemp("gallery"))


def test_every_picture_is_on_the_page_and_beside_it(page):
    text = page.read_text()
    drawn = [one for strip in strips() for one in strip.pictures]
    assert text.count("data:image/webp") == len(drawn) == len(list(page.parent.glob("*.webp")))
    assert not re.search(r'(?:src|href)="http|<script', text)
    assert all(name in text for name in NETWORKS)
    assert Image.open(page.parent / "radiograph-0.webp").size == (256, 256)


def test_each_step_changes_its_picture():
    for strip in strips():
        pictures = [picture for _, picture in strip.pictures]
        assert all(one.shape != other.shape or np.abs(one - other).max() > 0.01 for one, other in itertools.pairwise(pictures))


def test_stages_are_those_of_the_network():
    found = told(Net(ResNet(50)))
    sizes = [(one["channels"], one["height"]) for one in found["stages"]]
    assert sizes == [(64, SHOWN // 4), (256, 56), (512, 28), (1024, 14), (2048, 7)]
    assert found["parameters"] == 23_508_032 == sum(one["parameters"] for one in found["stages"])
    assert "64 × 56 × 56" in found["drawing"]
    assert len(told(Net(Cnn((8, 16))))["stages"]) == 2
