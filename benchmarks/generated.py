"""What generated pictures are worth among voices: S10 with and without its generator, on the same speakers, each tested once.

    python -m benchmarks.generated WORK --data FOLDER > benchmarks/generated.md

FOLDER holds voice-parkinson. Both are cross-validated in five folds by speaker; a generator has seen the train part of its fold alone. Killed, the same command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from resdx.compare import Json, aligned
from resdx.cross import cross_validate
from resdx.intervals import auroc_by_person, variance_between
from resdx.records import read_json
from resdx.report import figure, interval
from resdx.runs import Run
from resdx.scoring import Answers
from resdx.sets import STAND_INS

FOLDS = 5
KEYS = ("auroc parkinson", "accuracy", "balanced_accuracy")
NAMES = ("features-without", "features")
AT = 1  # column of the disease


def difference(pairs: Sequence[tuple[Answers, Answers]]) -> tuple[float, float, float]:
    """AUROC of the second less the first, mean over folds, with its 95 % t interval; the variance between persons within folds, paired (Obuchowski 1997)."""
    less, ours, theirs, truth, codes = [], [], [], [], []
    for first, second in pairs:
        known, person = first.truth[:, AT], first.person
        one, other = (auroc_by_person(known, answers.probability[:, AT], person) for answers in (first, second))
        less.append(other[0] - one[0])
        ours.append((other[1] - one[1]) / len(pairs))
        theirs.append((other[2] - one[2]) / len(pairs))
        codes.append(person + sum(map(len, ours[:-1])))
        truth.append(known)
    moves = np.concatenate(ours), np.concatenate(theirs)
    variance, freedom = variance_between(np.concatenate(truth), np.concatenate(codes), *moves, folds=len(pairs))
    value, reach = float(np.mean(less)), float(stdtrit(freedom, 0.975) * variance**0.5)
    return value, value - reach, value + reach


def row(name: str, found: Json) -> str:
    """Figures of all folds."""
    figures = " | ".join(f"{figure(one)} ({interval(one)})" for one in map(found["figures"].__getitem__, KEYS))
    return f"| {name} | {found['cases']} of {found['persons']} | {figures} |"


def distances(told: Sequence[Json]) -> list[str]:
    """A line a class: what was made of it, and how far that is from the real ones beside two halves of the real persons; means over folds."""

    def mean(values: Iterable[float]) -> float:
        return float(np.mean(list(values)))

    both = " | ".join(f"{mean(one[key] for one in told):.3g}" for key in ("frechet", "frechet_real", "kernel", "kernel_real"))
    lines = []
    for k, name in enumerate(one["class"] for one in told[0]["classes"]):
        of = [one["classes"][k] for one in told]
        made, copies, ssim, psnr = (mean(one[key] for one in of) for key in ("kept", "copies", "ssim", "psnr"))
        lines.append(
            f"| {name} | {made:.0f} | {copies:.1%} | {ssim:.2f} | {psnr:.1f} | {both} | {mean(one['real_on_made'] for one in told):.0%} |"
        )
    return lines


def main() -> None:
    """Run what is missing, print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    asked = parser.parse_args()
    how, rows, runs = STAND_INS["voice_spectrogram"], [], []
    for name in NAMES:
        out = asked.work / name
        found = cross_validate(asked.data / "voice-parkinson", out=out, folds=FOLDS, recipe=how.recipe_of(name))
        rows.append(row(name, found))
        runs.append([Run.open(out / f"fold-{fold}", quiet=True) for fold in range(FOLDS)])
    less, low, high = difference([(first, second) for first, second in (aligned(pair) for pair in zip(*runs, strict=True))])
    told = [read_json(run.path / "generated.json") for run in runs[1]]
    minutes = sum(event["core_seconds"] for run in runs[1] for event in run.events("stage") if event["stage"] == "train") / 60
    print(
        PAGE.format(
            folds=FOLDS,
            defect=how.defect,
            rows="\n".join(rows),
            less=f"{less:+.3f} ({low:+.3f} to {high:+.3f})",
            minutes=minutes,
            told="\n".join(distances(told)),
        )
    )


PAGE = """# What generated pictures are worth among voices

S10 with frozen features of ImageNet's MobileNet-V2 and the generator that takes minutes on a processor (128 px, 400 steps a class), and the same without generated pictures: {folds} folds by speaker, each speaker tested once, one seed.
A generator has seen the train part of its fold alone. voice-parkinson: {defect}. AUROC is the mean over folds, with the variance between speakers.

| | recordings of speakers | AUROC | accuracy | balanced accuracy |
|---|---|---|---|---|
{rows}

With generated pictures less without them, on the same speakers: AUROC {less}, t interval of the paired difference (Obuchowski's variance between speakers within folds). Training with them took {minutes:.0f} core minutes.

| class | kept | left out as copies | SSIM with the nearest | PSNR, dB | FID of both classes | of two halves of the real speakers | KID | of two halves | said right of made ones by a classifier of real ones |
|---|---|---|---|---|---|---|---|---|---|
{told}

Made by `python -m benchmarks.generated WORK --data FOLDER`.
"""


if __name__ == "__main__":
    main()
