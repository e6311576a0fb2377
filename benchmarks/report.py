"""How long the page of 5,000 test cases takes and how large it is: python benchmarks/report.py -> benchmarks/report.md.

The run is simulated: logits with a person's share, calibrated and scored by the functions that do so in a real run, and every
file of evidence with as many pictures as the page takes. Only the page is timed: what it reads is there already.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from resdx.data.cases import Case, Manifest, Prediction
from resdx.data.persons import count_persons
from resdx.data.tasks import Classify, truth
from resdx.evaluation.calibrate import fit_calibration
from resdx.evaluation.scoring import score
from resdx.evaluation.test_set import predictions_csv
from resdx.files import write_json, write_text
from resdx.recipes.recipe import Recipe
from resdx.records import to_record
from resdx.report import report
from resdx.runs.run import Run
from resdx.runs.settings import Settings

CLASSES = ("normal", "benign", "malignant", "other")
PERSONS, TEST, CALIB, TRAIN = 2, 5_000, 1_000, 4_000  # images a person; images of each part
SIDE = 512  # pixels of a stored map


def simulated(folder: Path) -> Run:
    """A finished run with 5,000 test images."""
    rng = np.random.default_rng(0)
    parts = [part for part, number in (("train", TRAIN), ("calib", CALIB), ("test", TEST)) for _ in range(number)]
    classes = np.repeat(rng.choice(CLASSES, len(parts) // PERSONS), PERSONS)
    cases = [
        Case(f"{label}/{k}.png", f"{label}/{k}.png", group=f"p{k // PERSONS}", labels=(str(label),), sex="FM"[k // PERSONS % 2])
        for k, label in enumerate(classes)
    ]
    run = Run.create(
        folder / "run", Recipe("four", "Four classes", task=Classify(), classes=CLASSES), Settings("films"), quiet=True
    )
    write_text(run.path / "manifest.csv", Manifest(folder / "films", tuple(cases)).to_csv())
    write_json(run.path / "audit.json", {"findings": [], "unreadable": []})
    rows = "".join(f"{case.id},{part},{case.group}\n" for case, part in zip(cases, parts, strict=True))
    write_text(run.path / "split.csv", f"id,part,person\n{rows}")
    _evaluate(run, rng)
    _evidence(run, cases, rng)
    return run


def _logits(run: Run, part: str, rng: np.random.Generator) -> tuple[list[Case], np.ndarray, np.ndarray]:
    cases = list(run.cases(part))
    known = truth(run.recipe.task, CLASSES, cases)
    return cases, (2.5 * known + rng.normal(0, 1, known.shape)).astype(np.float32), known


def _evaluate(run: Run, rng: np.random.Generator) -> None:
    cases, logits, known = _logits(run, "calib", rng)
    calibration = fit_calibration(
        run.recipe.task, CLASSES, logits, known, [case.group for case in cases], balanced_training=False
    )
    write_json(run.path / "calibration.json", to_record(calibration))
    cases, logits, _ = _logits(run, "test", rng)
    p = calibration.probabilities(logits)
    answers = [
        Prediction(case.id, dict(zip(CLASSES, map(float, row), strict=True)), label, kept, flags)
        for case, row, kept, (label, flags) in zip(
            cases, p, calibration.sets(p), calibration.decide(p, logits=logits), strict=True
        )
    ]
    write_text(run.path / "predictions.csv", predictions_csv(cases, answers))
    decided = [CLASSES[k] for k in p.argmax(1)]
    answered = np.array([answer.label is not None for answer in answers])
    scores = score(run.recipe.task, CLASSES, cases, p, decided, answered=answered, draws=200)
    test = {"hash": "ab" * 32, "reads": 1, "cases": len(cases), "persons": count_persons(cases)}
    found = {"protocol": "honest", "stamp": "", "test": test, "scores": scores, "prior_corrected": None, "seconds": {}}
    write_json(run.path / "metrics.json", found)


def _evidence(run: Run, cases: list[Case], rng: np.random.Generator) -> None:
    """Maps of 12 cases by 5 methods, 60 suspects and 5,000 points, with noise as pictures: what compresses worst."""
    some = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 100, "note": ""}
    names = ("cam", "gradcam", "gradcam++", "occlusion", "integrated_gradients")
    keys = ("randomisation", "deletion", "insertion", "stability", "outside_body", "pointing")
    shown, suspects = [], []
    for k, case in enumerate(cases[:60]):
        pictures = [f"suspects/{k}.png"]
        suspects.append(
            {"case": case.id, "label": "a", "model_label": "b", "p_label": 0.1, "kind": "label", "picture": pictures[0]}
        )
        if k < 12:
            maps = {name: f"explain/{k}-{name}.png" for name in names}
            shown.append(
                {
                    "case": case.id,
                    "truth": "a",
                    "answer": "b",
                    "p": 0.5,
                    "right": k < 6,
                    "picture": f"explain/{k}.png",
                    "maps": maps,
                }
            )
            pictures += [f"explain/{k}.png", *maps.values()]
        for picture in pictures:
            (run.path / picture).parent.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(run.path / picture, compress_level=1)
    methods = [{"name": name, **dict.fromkeys(keys, some), "verdict": "as it should be"} for name in names]
    maps = {"resolution": [7, 7], "size": 224, "methods": methods, "shown": shown, "verdict": "fine", "notes": []}
    write_json(run.path / "explain.json", maps)
    write_json(run.path / "suspects.json", {"suspects": suspects, "estimated_share": None, "note": ""})
    test = run.cases("test")
    points = {
        "method": "t-SNE",
        "perplexity": 30.0,
        "points": rng.normal(size=(len(test), 2)).tolist(),
        "neighbours": some,
        "note": "",
    }
    classes = [(case.labels or ("",))[0] for case in test]
    write_json(run.path / "embedding.json", {**points, "classes": classes, "parts": ["test"] * len(test), "cases": []})


def main() -> None:
    """Write the table."""
    with tempfile.TemporaryDirectory() as folder:
        run = simulated(Path(folder))
        picture = np.random.default_rng(1).integers(0, 256, (224, 224, 3), np.uint8)
        began, spent = time.perf_counter(), time.process_time()
        page = report(run, picture=lambda case: picture)
        wall, seconds = time.perf_counter() - began, time.process_time() - spent
        size = page.stat().st_size / 1e6
    text = f"""# The page: time and size

`OMP_NUM_THREADS=1 python benchmarks/report.py`: a simulated run with {TEST:,} test images, {len(CLASSES)} classes, maps of 12 \
cases by
5 methods, 60 suspects and {TEST:,} points of an embedding; the pictures are noise, which compresses worst.

| test images | time on the wall | processor time | page |
|---|---|---|---|
| {TEST:,} | {wall:.1f} s | {seconds:.1f} s | {size:.1f} MB |

It must stay under 30 s and 15 MB.
"""
    (Path(__file__).parent / "report.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
