"""Which counts print a figure: the cases that were solved by hand, and what any figure must satisfy."""

import math

import pytest

from resdx.errors import DataError
from resdx.studies.review.forensics import (
    Count,
    Printed,
    counts,
    joint,
    table,
    usual_parts,
)


def test_a_fifth_of_the_malaria_cells_is_the_only_usual_part_that_prints_its_accuracy():
    found = counts("0.975504", total=27_558)
    assert [(one.right, one.of) for one in found] == [(5376, 5511)]
    assert found[0].part == "20% of 27,558, rounded down"
    low, high = found[0].interval.low, found[0].interval.high
    assert low < 5376 / 5511 < high and high - low < 0.01


def test_no_usual_part_of_the_tuberculosis_films_prints_its_accuracy():
    assert counts("0.8992", total=662) == []
    assert {(one.right, one.of) for one in counts("0.8992", most=200)} >= {(107, 119), (116, 129)}
    assert "No such count prints 0.8992" in table("0.8992", (), total=662)


def test_three_rates_and_their_accuracy_pin_the_test_part_down():
    found = joint("94.9", ["100", "89.47", "94.55"], most=100)
    assert [(one.right, one.of) for one in found[0]] == [(24, 24), (17, 19), (52, 55)]
    assert table("94.9", ["100", "89.47", "94.55"], most=100).startswith("93 of 98 = 0.948980: 24 of 24, 17 of 19, 52 of 55")


def test_two_rates_of_eighty_recordings():
    found = joint("91.25", ["92.5", "90"], of=80)
    assert {sum(part.of for part in one) for one in found} == {80}
    assert (Count(37, 40), Count(36, 40)) in found


def test_a_figure_is_read_as_share_or_per_cent():
    assert Printed("0.5").value == Printed("50").value == Printed("50%").value == 0.5
    assert Printed("1.0").value == 1 and Printed("1%").value == 0.01
    assert Printed("89.47 %").unit == Printed("89.47%").unit and counts("89.47 %") == counts("89.47%") != []
    assert Printed("88.89").unit == pytest.approx(1e-4) and Printed("0.889").unit == pytest.approx(1e-3)


@pytest.mark.parametrize("of", [7, 90, 137])
def test_every_count_prints_itself_rounded_and_cut_off(of):
    for right in range(of + 1):
        share = right / of
        for text in (f"{share:.4f}", f"{math.floor(share * 1e4) / 1e4:.4f}"):
            assert right in Printed(text).counts(of)


def test_parts_are_counted_once():
    parts = [cases for cases, _ in usual_parts(100)]
    assert len(parts) == len(set(parts)) and {20, 33, 34, 50, 100} <= set(parts)
    assert {one.of for one in counts("0.8", of=90)} == {90}


@pytest.mark.parametrize("wrong", ["", "good", "101", "-3", "nan", "1e-3", "0.9_5", "."])
def test_what_is_no_figure_is_said(wrong):
    with pytest.raises(DataError, match=r"is no figure; give a share such as 0\.9755"):
        counts(wrong)
    with pytest.raises(DataError, match="at least two classes"):
        joint("0.9", ["0.9"])


def test_figures_that_pin_nothing_down_are_said():
    with pytest.raises(DataError, match="sets of counts print these figures; give figures with more places"):
        joint("0.9", ["0.9", "0.9", "0.9"])
    with pytest.raises(DataError, match="'1' has no places, and any share could stand behind it"):
        counts("1")
    with pytest.raises(DataError, match=r"15,000,000 counts print 0\.5; give a figure with more places"):
        counts("0.5", of=100_000_000)


def test_places_that_were_cut_off_are_told_from_rounded_ones():
    lines = table("0.899", (), of=1000).splitlines()
    assert lines[0].startswith("899 of 1,000 = 0.899000, 95 %") and len(lines) == 1
    assert "8 of 9 = 0.888889, places cut off, 95 %" in table("0.888", (), of=9) and "cut off" not in table("0.889", (), of=9)
