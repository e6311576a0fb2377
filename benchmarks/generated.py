"""What generated pictures are worth among voices: S10 with and without its generator, on the same speakers, each tested once.

    python -m benchmarks.generated WORK --data FOLDER > benchmarks/generated.md

FOLDER holds voice-parkinson. Both are cross-validated in five folds by speaker; a generator has seen the training set of its fold
alone. Killed, the same command goes on.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from resdx.files import read_json
from resdx.inference.logits import predict_logits
from resdx.metrics.auroc_variance import auroc_by_person, variance_between
from resdx.metrics.classification import auroc
from resdx.metrics.intervals import person_codes
from resdx.report import figure, interval
from resdx.runs.partition import Part, part_of
from resdx.runs.prepared import prepared_of
from resdx.runs.run import Run
from resdx.studies.compare import Json
from resdx.studies.cross_validation import cross_validate, mean_over_folds
from resdx.studies.review.benchmark_sets import DEFECTS, judged
from resdx.training.frozen_features import fit_features

FOLDS = 5
KEYS = ("auroc parkinson", "accuracy", "balanced_accuracy")
NAMES = ("features-without", "features")
AT = 1  # column of the disease


@dataclass(frozen=True)
class Said:
    """Of the test set of a fold: whether the disease is there, the score of it, and a number for the person, each (N,)."""

    known: NDArray[np.float64]
    score: NDArray[np.float64]
    person: NDArray[np.intp]

    @classmethod
    def of(cls, test: Part, logits: NDArray[np.float32]) -> Said:
        """Logits (N, 2) of cases in the order of the part."""
        return cls(
            test.truth[:, AT].astype(float),
            (logits[:, AT] - logits[:, 1 - AT]).astype(float),
            person_codes(test.groups, len(test.ids)),
        )


def said_by(run: Run) -> Said:
    """What a run has said."""
    scores, test = run.scores("test"), part_of(run, prepared_of(run), "test")
    at = {case: k for k, case in enumerate(scores.ids)}
    return Said.of(test, scores.logits[[at[case] for case in test.ids]])


def without_made(run: Run, place: Path) -> Said:
    """What the same classifier says that has learnt from the real pictures of the same training and validation sets alone."""
    if not place.exists():
        shutil.copytree(run.path, place)
    copy = Run.open(place, quiet=True)
    copy, prepared = replace(copy, recipe=replace(copy.recipe, generator=None)), prepared_of(copy)
    network = fit_features(copy, prepared, part_of(copy, prepared, "train"), part_of(copy, prepared, "tune"))
    test = part_of(copy, prepared, "test")
    return Said.of(test, predict_logits(network, prepared.images, test.rows).logits)


def difference(pairs: Sequence[tuple[Said, Said]]) -> tuple[float, float, float]:
    """AUROC of the first less the second, mean over folds, with its 95 % t interval.

    The variance is that between persons within folds, paired (Obuchowski 1997).
    """
    less: list[float] = []
    ours: list[NDArray[np.float64]] = []
    theirs: list[NDArray[np.float64]] = []
    codes: list[NDArray[np.intp]] = []
    for first, second in pairs:
        one, other = (auroc_by_person(said.known, said.score, said.person) for said in (first, second))
        assert (first.known == second.known).all()
        less.append(one[0] - other[0])
        codes.append(first.person + sum(map(len, ours)))
        ours.append((one[1] - other[1]) / len(pairs))
        theirs.append((one[2] - other[2]) / len(pairs))
    known, moves = np.concatenate([first.known for first, _ in pairs]), (np.concatenate(ours), np.concatenate(theirs))
    variance, freedom = variance_between(known, np.concatenate(codes), *moves, folds=len(pairs))
    value, reach = float(np.mean(less)), float(stdtrit(freedom, 0.975) * variance**0.5)
    return value, value - reach, value + reach


def area(said: Sequence[Said]) -> str:
    """AUROC, mean over folds, with its interval as in the row of a run."""
    known, score, groups = zip(*((one.known, one.score, list(map(str, one.person))) for one in said), strict=True)
    found = mean_over_folds(auroc, known, score, groups).to_json()
    return f"{figure(found)} ({interval(found)})"


def row(name: str, found: Json) -> str:
    """Figures of all folds."""
    figures = " | ".join(f"{figure(one)} ({interval(one)})" for one in map(found["figures"].__getitem__, KEYS))
    return f"| {name} | {found['cases']} of {found['persons']} | {figures} |"


def distances(told: Sequence[Json]) -> list[str]:
    """A line a class: what was made of it, and how far that is from the real ones.

    Beside it stand two halves of the real persons; means over folds.
    """

    def mean(values: Iterable[float]) -> float:
        return float(np.mean(list(values)))

    both = " | ".join(f"{mean(one[key] for one in told):.3g}" for key in ("frechet", "frechet_real", "kernel", "kernel_real"))
    lines = []
    for k, name in enumerate(one["class"] for one in told[0]["classes"]):
        of = [one["classes"][k] for one in told]
        made, copies, ssim, psnr = (mean(one[key] for one in of) for key in ("kept", "copies", "ssim", "psnr"))
        lines.append(
            f"| {name} | {made:.0f} | {copies:.1%} | {ssim:.2f} | {psnr:.1f} | {both} | "
            f"{mean(one['real_on_made'] for one in told):.0%} |"
        )
    return lines


def shown(less: tuple[float, float, float]) -> str:
    """A difference and its interval."""
    return "{:+.3f} ({:+.3f} to {:+.3f})".format(*less)


def main() -> None:
    """Run what is missing, print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    asked = parser.parse_args()
    rows, runs = [], []
    for name in NAMES:
        out = asked.work / name
        found = cross_validate(asked.data / "voice-parkinson", out=out, folds=FOLDS, recipe=judged("voice_spectrogram", name))
        rows.append(row(name, found))
        runs.append([Run.open(out / f"fold-{fold}", quiet=True) for fold in range(FOLDS)])
    whole, made = ([said_by(run) for run in some] for some in runs)
    same = [without_made(run, asked.work / "same" / run.path.name) for run in runs[1]]
    rows.append(f"| {NAMES[0]}, from the same persons | {rows[1].split('|')[2].strip()} | {area(same)} | | |")
    told = [read_json(run.path / "generated.json") for run in runs[1]]
    minutes = sum(event["core_seconds"] for run in runs[1] for event in run.events("stage") if event["stage"] == "train") / 60
    print(
        PAGE.format(
            folds=FOLDS,
            defect=DEFECTS["voice-parkinson"],
            rows="\n".join(rows),
            fair=shown(difference(list(zip(made, same, strict=True)))),
            less=shown(difference(list(zip(made, whole, strict=True)))),
            minutes=minutes,
            told="\n".join(distances(told)),
        )
    )


PAGE = """# What generated pictures are worth among voices

S10 with frozen features of ImageNet's MobileNet-V2 and the generator that takes minutes on a processor (128 px, 400 steps a \
class), and the same without generated pictures: {folds} folds by speaker, each speaker tested once, one seed.
A generator has seen the training set of its fold alone. voice-parkinson: {defect}. AUROC is the mean over folds, with the \
variance between speakers.

| | recordings of speakers | AUROC | accuracy | balanced accuracy |
|---|---|---|---|---|
{rows}

With generated pictures less without them, learnt from the same speakers: AUROC {fair}, t interval of the paired difference \
(Obuchowski's variance between speakers within folds). Who leaves generated pictures out need not keep speakers apart to choose
and calibrate by (cross-fitted scores do it), and learns from a third more of them: less that, {less}. Training with generated \
pictures took {minutes:.0f} core minutes.

| class | kept | left out as copies | SSIM with the nearest | PSNR, dB | FID of both classes | of two halves of the real \
speakers | KID | of two halves | said right of made ones by a classifier of real ones |
|---|---|---|---|---|---|---|---|---|---|
{told}

Made by `python -m benchmarks.generated WORK --data FOLDER`.
"""


if __name__ == "__main__":
    main()
