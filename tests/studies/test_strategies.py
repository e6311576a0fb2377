"""Four strategies on one set: the same test part for all, costs that are counted, and what cannot be run is said."""

from __future__ import annotations

import pytest
from tiny import TINY_RESNET as TINY

from resdx.errors import RunError
from resdx.files import read_json
from resdx.models.packed import read_seen
from resdx.recipes.library import get_recipe
from resdx.runs.run import Run
from resdx.studies.strategies import NAMES, strategies


@pytest.fixture(scope="module")
def result(films, tmp_path_factory):
    out = tmp_path_factory.mktemp("four") / "strategies"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RESDX_WEIGHTS", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))  # nothing there either
        yield out, strategies(films, out=out, recipe=TINY, passes=2, quiet=True)


@pytest.mark.slow
def test_all_are_judged_on_the_same_test_part(result):
    out, found = result
    assert [row["name"] for row in found["rows"]] == ["scratch", "pretrained"]
    assert len({(out / name / "split.csv").read_text() for name in ("scratch", "pretrained")}) == 1
    assert found == read_json(out / "strategies.json")
    assert "From scratch" in (out / "strategies.html").read_text()


@pytest.mark.slow
def test_pretraining_has_seen_train_alone_and_its_time_counts(result):
    out, found = result
    seen = read_seen(out / "pretraining" / "weights.safetensors")
    run = Run.open(out / "scratch", quiet=True)
    assert 0 < len(seen.sha256) <= len(run.cases("train"))
    assert not any(finding["code"] == "test-seen" for finding in read_json(out / "pretrained" / "split.json")["findings"])
    rows = {row["name"]: row for row in found["rows"]}
    spent = [one["seconds"] for one in Run.open(out / "pretrained", quiet=True).events("stage") if one["stage"] == "train"]
    before = [one["seconds"] for one in Run.open(out / "pretraining", quiet=True).events("stage")]
    assert before[0] > 0 and rows["pretrained"]["seconds"] == pytest.approx(spent[-1] + before[0])
    assert rows["scratch"]["trained"] == rows["scratch"]["parameters"] == 11_177_538  # 11,176,512 of ResNet-18 and 513 a class


@pytest.mark.slow
def test_finished_runs_are_kept_and_what_was_asked_otherwise_is_refused(result, films):
    out, found = result
    kept = {path: path.read_bytes() for path in (out / name / "log.jsonl" for name in ("scratch", "pretraining", "pretrained"))}
    assert strategies(films, out=out, recipe=TINY, passes=2, quiet=True) == found
    assert {path: path.read_bytes() for path in kept} == kept
    for other, what in (
        ({"seed": 1}, "scratch was made with other data, another recipe"),
        ({"passes": 3}, "holds another pre-training"),
        ({"recipe": TINY.set("learn.epochs", "9")}, "scratch was made with other data, another recipe"),
    ):
        with pytest.raises(RunError, match=what):
            strategies(films, **{"out": out, "recipe": TINY, "passes": 2, "quiet": True} | other)


@pytest.mark.slow
def test_what_needs_weights_that_are_absent_is_said_to_be(result):
    assert set(result[1]["failed"]) == {NAMES["features"], NAMES["transfer"]}


def test_recipe_that_trains_nothing_is_refused(films, tmp_path):
    with pytest.raises(RunError, match="trains no network"):
        strategies(films, out=tmp_path / "out", recipe=get_recipe("plain:features"))
