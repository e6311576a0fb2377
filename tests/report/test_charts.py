"""Charts as SVG: well formed, ticks round, curves where the figures say."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from resdx.report import charts


def test_svg_of_a_class_named_as_markup_is_well_formed():
    drawn = charts.roc({"fpr": [0, 1], "value": [0, 1], "low": None, "high": None}, '<b>"&')
    assert ET.fromstring(drawn).find("title").text == 'ROC curve of <b>"&'


@pytest.mark.parametrize("limits", [(0, 1), (-0.05, 0.43), (1, 20), (0.9712, 0.9931), (0, 3000)])
def test_ticks_are_round_and_inside(limits):
    found = charts.ticks(*limits)
    assert 3 <= len(found) <= 7
    assert all(limits[0] - 1e-9 <= value <= limits[1] + 1e-9 for value in found)
    assert np.ptp(np.diff(found)) < 1e-9


def test_line_with_a_gap_is_drawn_in_two_pieces():
    drawn = charts.chart([charts.Line((0, 0.2, 0.5, 0.8, 1), (0, 1, None, 0, 1))], title="t", text="d", x="x", y="y")
    assert drawn.count('class="line main"') == 2


def test_curve_ends_in_the_corners_of_the_axes():
    drawn = charts.roc({"fpr": [0, 1], "value": [0, 1], "low": None, "high": None}, "a")
    corners = (charts.LEFT, charts.HEIGHT - charts.BOTTOM, charts.WIDTH - charts.RIGHT, charts.TOP)
    assert 'd="M{:.1f} {:.1f}L{:.1f} {:.1f}"'.format(*corners) in drawn


def test_scatter_has_a_shape_as_well_as_a_colour_for_each_class():
    drawn = ET.fromstring(charts.scatter([(0, 0), (1, 2), (3, 1)], [0, 1, 1], title="t", text="d"))
    paths = [node.attrib for node in drawn.iter() if node.tag == "path"]
    assert [path["class"] for path in paths] == ["mark c0", "mark c1"]
    assert paths[0]["d"].count("h0") == 1 and paths[1]["d"].count("z") == 2


def test_points_of_a_scatter_keep_their_distances():
    drawn = charts.scatter([(0, 0), (3, 4), (6, 8)], [0, 0, 0], title="t", text="d")
    places = np.array([[float(x), float(y)] for x, y in re.findall(r"M([0-9.]+) ([0-9.]+)h0", drawn)])
    first, second = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert first == pytest.approx(second, abs=2)
    assert places.min() >= 0 and places.max() <= charts.WIDTH
