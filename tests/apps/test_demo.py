"""The demo's table holds the audit against the truth.

What is planted is found, and nothing is found where nothing was planted.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from resdx.apps.demo import (
    FAINT,
    SETTINGS,
    as_filed,
    leak,
    learn,
    plants,
    priced,
    table,
)
from resdx.data.audit.audit import Audit, audit
from resdx.data.phantoms import draw_phantoms
from resdx.transforms.readers.image import ReadImage


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "faulty"
    return draw_phantoms(
        folder, persons=60, size=64, test_share=0.3, across=20, copies=3, near=3, leak=2, misfiled=2, shortcut=0.7
    )


def test_every_planted_fault_that_files_can_show_is_found(truth):
    rows = plants(truth, audit(as_filed(truth), ReadImage(), processes=1))
    assert [row.planted for row in rows] == [3, 3, 20, 2, 1, 2]
    assert [row.found for row in rows[:5]] == [3, 3, 20, 2, 1]
    assert [row.where for row in rows[:4] if row is not rows[2]] == ["exact-copies", "near-duplicates", "persons-across-classes"]
    assert rows[2].where in ("persons-across-parts", "id-may-restart") and rows[4].where.startswith("source-")


def test_an_audit_that_says_nothing_has_found_nothing(truth):
    rows = plants(truth, Audit(()))
    assert not any(row.found for row in rows) and rows[0].where == "no finding"


def test_a_finding_that_names_other_cases_does_not_count(truth):
    found = audit(as_filed(truth), ReadImage(), processes=1)
    others = replace(found, findings=tuple(replace(finding, cases=finding.cases[:1]) for finding in found.findings), clusters=())
    assert [row.found for row in plants(truth, others)[:2]] == [0, 0]


def test_the_table_is_ready_to_read(truth):
    lines = table(plants(truth, Audit(()))).splitlines()
    assert len(lines) == 7 and len({line.index("no finding") for line in lines[1:6]}) == 1 and max(map(len, lines)) < 120


def test_persons_and_classes_are_read_from_the_files_alone(truth):
    filed = as_filed(truth).by_id
    assert {filed[case].label for case in truth.mislabelled} == {"normal", "opacity"}
    assert all(filed[copy].group != filed[original].group for original, copy in truth.copies)


@pytest.mark.slow
def test_learning_ends_with_a_report_that_has_controls_and_maps(tmp_path, capsys):
    learn(tmp_path, persons=60, changes=(*SETTINGS, ("size", "64"), ("learn.epochs", "1")), steps=1)  # maps of 4 x 4
    *_, last = capsys.readouterr().out.strip().splitlines()
    page = Path(last.removeprefix("The report is ")).read_text()
    assert "<title>Opacities in synthetic chest films with ResNet-18" in page
    for section in ("controls", "maps"):
        assert "Not here yet" not in page.split(f'<section id="{section}"')[1].split("</section>")[0]


def test_the_leak_of_the_demo_is_in_its_report(tmp_path, capsys):
    leak(tmp_path, {**FAINT, "persons": 60, "images": 2}, seeds=1)
    said = capsys.readouterr().out
    assert "the leakage effect is" in said
    page = (tmp_path / "leak" / "report.html").read_text()
    assert "Not here yet" not in page.split('<section id="leak"')[1].split("</section>")[0]


def test_a_leak_that_cannot_be_priced_says_why():
    assert priced({"missing": "not estimable: no person has two films"}) == "not estimable: no person has two films"
