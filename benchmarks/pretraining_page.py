"""docs/pretraining.md, its pictures and benchmarks/pretraining.md, from the figures that `benchmarks.pretraining` has kept.

python -m benchmarks.pretraining_page
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

from benchmarks.pretraining import (
    ABLATED,
    ABLATION,
    BASE,
    FIGURES,
    RATES,
    SHARES,
    TARGETS,
    Rate,
    base_of,
    rate_of,
)
from resdx.files import read_json
from resdx.metrics.estimate import Estimate

DOCS = Path(__file__).parents[1] / "docs"

KINDS = {  # file of the weights -> what the page calls them
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "resnet18-views": "ResNet-18, views alone",
    "resnet50-views": "ResNet-50, views alone",
}
FILMS = {"ResNet-18 from resdx": "cxr-pneumonia-resdx-0", "ResNet-50 from scratch": "cxr-pneumonia-scratch-0"}
WAYS = ("from scratch", "resdx, fine-tuned", "resdx, frozen", "ImageNet MobileNet-V2, frozen")
SHIPPED = (
    "from scratch",
    "labels",
    "views",
    "views by NT-Xent",
    "views, as shipped, 112 px",
    "views, teacher, as shipped, 112 px",
)
WAY_COLOURS = ("grey", "C0", "C1", "C2")


def pages() -> dict[Path, str]:
    """The page, and the page of all figures behind it: the transfer of all weights, and what the parts of the loss are worth."""
    parts = read_json(FIGURES / "pretraining-ablation.json")
    tables = {kind: transfer_rows(kind) for kind in KINDS}
    left = [name for name in ABLATION if name not in parts]
    shares = [
        f"{share:.0%} of {one}" for one in TARGETS for share in SHARES if not transfer_path("resnet18", one, share).exists()
    ]
    words = {
        "rates": "; ".join(
            f"{one}: scratch {_rate(rate_of('scratch', 18, one))}, resdx {_rate(rate_of('resdx', 18, one))}" for one in TARGETS
        ),
        "tried": "; ".join(f"{start} {', '.join(map(_rate, rates))}" for start, rates in RATES.items()),
        "tenth": "\n".join(
            f"| {line.target} | {line.aurocs} | {line.gains.split(' | ')[0]} |"
            for line in tables["resnet18"][0]
            if line.share == 0.1
        ),
        "aurocs": "\n".join(
            f"| {line.kind} | {line.target} | {line.share:.0%} | {line.learnt} | {line.aurocs} |"
            for lines, _ in tables.values()
            for line in lines
        ),
        "gains": "\n".join(
            f"| {line.kind} | {line.target} | {line.tested} | {line.share:.0%} | {line.gains} |"
            for lines, _ in tables.values()
            for line in lines
        ),
        "better": ", ".join(f"{KINDS[kind]} on {better[0.1]} of 4 sets" for kind, (lines, better) in tables.items() if lines),
        "others": ", ".join(f"{share:.0%} on {number}" for share, number in tables["resnet18"][1].items() if share != 0.1),
        "missing": "".join(f" {KINDS[kind]} has not been judged yet." for kind, (lines, _) in tables.items() if not lines)
        + (f" Not measured yet with the ResNet-18 of `resdx`: {', '.join(shares)}." if shares else ""),
        "films": ", ".join(f"{what} {_films(name)}" for what, name in FILMS.items()),
        "ablation": ablation_table(parts),
        "shipped": ablation_table({name: parts[name] for name in SHIPPED}),
        "ablation_tenth": ablation_table(parts, 0.1),
        "ablation_whole": ablation_table(parts, 1.0),
        "unmeasured": f" Not measured yet in this form: {'; '.join(left)}." if left else "",
    }
    return {DOCS / "pretraining.md": PAGE.format_map(words), DOCS.parent / "benchmarks" / "pretraining.md": ALL.format_map(words)}


@dataclass(frozen=True)
class Line:
    """What was measured of one pre-training on one set with one share of its training persons, as cells of a table."""

    kind: str
    target: str
    share: float
    tested: str
    learnt: str
    aurocs: str
    gains: str


def transfer_rows(kind: str) -> tuple[list[Line], dict[float, int]]:
    """A line a set and a share, and on how many sets fine-tuning at each share is better with the whole interval."""
    lines, better = [], dict.fromkeys(SHARES, 0)
    for one in TARGETS:
        for share in SHARES:
            path = transfer_path(kind, one, share)
            if path.exists():
                found = read_json(path)
                if found["rates"] != [list(rate_of(start, 18, one)) for start in ("scratch", "resdx")]:
                    raise SystemExit(f"{path.name} was measured at other rates; run `benchmarks.pretraining transfer` again")
                cells = [
                    f"{found[way][0]:.3f} ({found[way][1]:.3f}-{found[way][2]:.3f})" if way in found else "-" for way in WAYS
                ]
                gains = [found[f"{way} less from scratch"] for way in WAYS[1:3]]
                better[share] += gains[0][1] > 0
                learnt = f"{min(found['learnt'])}-{max(found['learnt'])}"
                shown = " | ".join(f"{gain[0]:+.3f} ({gain[1]:+.3f} to {gain[2]:+.3f})" for gain in gains)
                tested = f"{found['cases']} / {found['persons']}"
                lines.append(Line(KINDS[kind], one, share, tested, learnt, " | ".join(cells), shown))
    return lines, better


def draw_gains() -> None:
    """What each way gains over training from scratch at 10 % of the persons, a panel a depth."""
    drawn, axes = plt.subplots(2, len(KINDS) // 2, figsize=(9, 6), sharex=True, sharey=True, layout="constrained")
    for panel, kind in zip(axes.flat, KINDS, strict=True):
        for row, one in enumerate(TARGETS):
            path = transfer_path(kind, one, 0.1)
            for k, way in enumerate(WAYS[1:] if path.exists() else ()):
                value, low, high = read_json(path)[f"{way} less from scratch"]
                panel.errorbar(
                    value,
                    row + 0.2 * (k - 1),
                    xerr=[[value - low], [high - value]],
                    fmt="osD"[k],
                    color=WAY_COLOURS[k + 1],
                    capsize=2,
                    ms=4,
                )
        panel.axvline(0, color="grey", lw=0.8)
        panel.set(title=KINDS[kind], yticks=range(len(TARGETS)), yticklabels=TARGETS)
    axes[0, 0].invert_yaxis()
    for panel in axes[-1]:
        panel.set_xlabel("AUROC less from scratch")
    marks = [Line2D([], [], marker="osD"[k], color=WAY_COLOURS[k + 1], ls="", label=way) for k, way in enumerate(WAYS[1:])]
    drawn.legend(handles=marks, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    drawn.savefig(DOCS / "pictures" / "pretraining.webp", dpi=110)


def draw_shares(kind: str) -> None:
    """AUROC by the share of the training persons, a panel a set, of what was measured at more than one."""
    drawn, axes = plt.subplots(1, len(TARGETS), figsize=(3 * len(TARGETS), 3.2), sharex=True, sharey=True, layout="constrained")
    for panel, one in zip(axes, TARGETS, strict=True):
        found = {share: read_json(path) for share in SHARES if (path := transfer_path(kind, one, share)).exists()}
        for k, way in enumerate(WAYS):
            values = [found[share][way] for share in found]
            at = [100 * share * 1.04 ** (k - 1.5) for share in found]  # side by side
            reach = [[value - low for value, low, _ in values], [high - value for value, _, high in values]]
            panel.errorbar(
                at,
                [value for value, _, _ in values],
                yerr=reach,
                marker="^osD"[k],
                color=WAY_COLOURS[k],
                capsize=2,
                ms=4,
                lw=1,
                label=way,
            )
        panel.axhline(0.5, color="grey", lw=0.8)
        ticks = {"xticks": [100 * share for share in SHARES], "xticklabels": [f"{share:.0%}" for share in SHARES]}
        panel.set(title=one, xlabel="of the training persons", xscale="log", **ticks)
        panel.minorticks_off()
    axes[0].set_ylabel(f"macro AUROC, {KINDS[kind]}")
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    drawn.savefig(DOCS / "pictures" / "pretraining-shares.webp", dpi=110)


def transfer_path(kind: str, target: str, share: float) -> Path:
    """Figures of `benchmarks.pretraining transfer`."""
    return FIGURES / f"transfer-{kind}-{target}-{share:g}.json"


def _films(name: str) -> str:
    """AUROC on cxr-pneumonia and the minutes it took, from a figure of benchmarks.results."""
    found = read_json(FIGURES / f"{name}.json")
    return f"{Estimate.from_json(found['auroc'])} after {sum(found['seconds'].values()) / 60:.0f} minutes"


def _rate(rate: Rate) -> str:
    return f"{rate[0]:g}" + (" from a regression" if rate[2] else "")


def ablation_table(found: dict[str, dict[str, list[float]]], share: float | None = None) -> str:
    """A row a combination of parts: at one share of the training persons every set, else the means over the sets."""
    shares = [one for one, _ in ABLATED] if share is None else [share]
    keys = {one: [f"{target} {one:g}" for target in TARGETS] for one in shares}
    heads = [f"mean at {one:.0%}" for one in shares] if share is None else [*TARGETS, f"mean at {share:.0%}"]
    last = ["mean", f"mean less {BASE}"] if share is None else []
    lines = [f"| learnt from | {' | '.join([*heads, *last])} |", "|---" * (len(heads) + len(last) + 1) + "|"]
    for name, row in found.items():
        means = [sum(row[key][0] for key in keys[one]) / len(TARGETS) for one in shares]
        cells = [f"{row[key][0]:.3f}" for key in keys[share]] if share is not None else []
        cells += [f"{mean:.3f}" for mean in means]
        if share is None:
            less, low, high = row.get(f"less {BASE}", (float("nan"),) * 3)
            cells += [f"{row['mean'][0]:.3f}", "-" if name == base_of(name) else f"{less:+.3f} ({low:+.3f} to {high:+.3f})"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    draw_gains()
    draw_shares("resnet18")
    for path, text in pages().items():
        path.write_text(text)


PAGE = """# What pre-training is worth

Should you start from `--weights resdx`? These weights are a ResNet-18 and a ResNet-50 that learnt from openly licensed \
medical images: from two views of each, and from a teacher (MobileNet-V2 of ImageNet). `resdx-views` had no teacher.

![What was gained over training from scratch at a tenth of the persons, with intervals](pictures/pretraining.webp)

At 10 % of the training persons fine-tuning is better than from scratch, with the whole interval of the paired difference: \
{better}.{missing} Other shares were asked of the ResNet-18 of `resdx` alone: {others} of 4 sets.

![AUROC of ResNet-18 by the fraction of the training persons on the four sets, with intervals](pictures/pretraining-shares.webp)

## ResNet-18 at a tenth of the training persons

Macro AUROC on the test set of sets that were not in the corpus, mean of 6 seeds, 95 % t intervals over persons and seeds. \
From scratch and fine-tuned have 100 steps of 32 pictures at 112 px: this says what a start is worth at this budget, not what \
more training would reach. Frozen: a logistic regression on pooled features; MobileNet-V2 at 224 px.

| set | from scratch | fine-tuned | frozen | MobileNet-V2, frozen | fine-tuned less scratch |
|---|---|---|---|---|---|
{tenth}

fundus-odir's rarest class has five test persons, which is fewer than an interval should rest on. [What is wrong with each \
set](results.md#what-is-wrong-with-each-set).

On the shipped test set of cxr-pneumonia, whose training part was in the corpus without its labels, AUROC on two cores is: \
{films} (seed 0 of [the results](results.md)). ResNet-18 from scratch has not been measured there, so what the depth does is \
not told from what the start does.

## Which part of the loss helps

Macro AUROC of a logistic regression on frozen features, judged on validation and calibration sets; means over four sets, one \
pre-training a row.

{shipped}

Views by VICReg are better than by NT-Xent; labels take something away; the teacher brings +0.028 (+0.014 to +0.042) \
to the shipped ResNet-18, and +0.018 (+0.000 to +0.035) to the ResNet-50, which one set carries. `resdx-views` is for \
those who must not use what ImageNet's pictures taught.

[All figures, how they were measured, and what did not help](../benchmarks/pretraining.md). Cards: ResNet-18 \
[with](../resdx/models/shipped/resnet18.md) and [without](../resdx/models/shipped/resnet18-views.md) the teacher, ResNet-50 \
[with](../resdx/models/shipped/resnet50.md) and [without](../resdx/models/shipped/resnet50-views.md).
"""

ALL = """# Pre-training: all figures

Behind [what pre-training is worth](../docs/pretraining.md). Made by `python -m benchmarks.pretraining transfer WORK --data \
FOLDER --depth 18` (or 50; `--weights resdx-views`).

## How it was measured

- The weights were made by `make --depth 18 --epochs 12 --parts 0 1 2` and `make --depth 50 --epochs 9 --parts 0 1 2` (views of \
64 px, in the last three tenths of the steps of 112 px); those without a teacher by `--parts 0 1 0`.
- Macro AUROC on the test set by person. A seed is another share of the training persons and another start. At 10 % ResNet-18 \
has 6 seeds; the last three were added, on all sets, after the first three of `resdx` had been read, to narrow the intervals.
- The t intervals add the variance between test persons (1,000 draws) and between seeds, with the freedom of the rarest class \
and of the seeds.
- Each way has the learning rate that was best for it with the ResNet-18 of `resdx` on the validation and calibration sets: all \
rates with one draw of 10 % of the training persons, the best three with two draws more, then the best mean (`rates --depth \
18`). Chosen were, for {rates}. Tried were: {tried}.
- In a fine-tuning each stage learns 0.7 times as much as the next. A head that begins as a regression on frozen features (C = \
0.01) keeps BatchNorm's statistics (`learn.head_penalty`, `learn.freeze_batchnorm`); one that begins at random learns alone in \
the first fifth.

## AUROC

| weights | set | training persons | cases | from scratch | resdx, fine-tuned | resdx, frozen | MobileNet-V2, frozen |
|---|---|---|---|---|---|---|---|
{aurocs}

## Less from scratch

| weights | set | test cases / persons | training persons | fine-tuned | frozen |
|---|---|---|---|---|---|
{gains}

## What did not help

- Views alone, 11 passes at 112 px over five sets without crops and tints: ResNet-18 fine-tuned less from scratch +0.071 \
(-0.004 to +0.143) on us-breast, -0.009 (-0.102 to +0.098) on ct-covid, -0.003 (-0.027 to +0.025) on skin-ham10000 and
+0.029 (-0.045 to +0.119) on fundus-odir (`make --parts 0 1 0` and `transfer` of commit e9770ed, in the same order the frozen \
features .667 (.594-.736), .721 (.617-.816), .679 (.638-.719) and .612 (.552-.666)).
- A shorter pre-training (8 passes, the last tenth at 112 px) and a head that begins at random: +0.060 (-0.050 to +0.163) on \
us-breast, -0.010 (-0.122 to +0.107) on ct-covid, +0.045 (+0.004 to +0.084) on skin-ham10000 and
+0.017 (-0.034 to +0.066) on fundus-odir (`make --epochs 8 --parts 0 1 2` and `transfer` of commit e3c01cb).
- One rate for all sets: with 3e-5, the best of three on the validation and calibration sets of us-breast and ct-covid, \
ResNet-18 gained +0.060 (-0.028 to +0.141) on us-breast, +0.075 (+0.033 to +0.115) on fundus-odir and +0.039 (+0.002 to
+0.073) on skin-ham10000. It was the smallest that had been tried, so smaller ones were added and the rates chosen set by set, \
on the validation and calibration sets as before; but these test sets
had been read once by then (`rates --only us-breast ct-covid` and `transfer` of commit 94e3b61).
- Three seeds: with them fine-tuning is better on one set, fundus-odir; us-breast has +0.074 (-0.005 to +0.151) and \
skin-ham10000 +0.044 (-0.002 to +0.087) (`seeds_of` 3 at commit 3e5a992, with the rates of then). Who adds seeds after a look \
finds a difference by
chance somewhat more often than the 95 % say.
- One draw of persons to choose a rate by: from scratch was then best at 3e-2 on three sets, by less than .02 on tune. With two \
draws more 3e-2 is the best on none, and on the test set of us-breast it is worse than the 3e-3 of now (.624 to .646), which \
would
flatter `resdx` there (+.112). On skin-ham10000 the choice changed for our weights: fine-tuned from a regression `resdx` has \
.817 where it had .808, and `resdx-views`, at the same rate, .789 where it had .810. These test sets had been read before the \
rates were chosen so (the page of commit 4a01c94 has the older choice).
- Large rates: what each did on tune stands in `benchmarks/figures/pretraining-rates-18.json`. With a few dozen persons \
fine-tuning hardly goes beyond the regression on frozen features that it begins with.

## Which part of the loss helps

ResNet-18 at 64 px, 6 passes over the corpus, then a logistic regression on frozen features of the targets, judged on their \
validation and calibration sets (no test set was read for this choice). Macro AUROC at 10 % (mean of 5 draws) and 100 % of the \
training persons; differences pair the same draws of judged persons, and have no part for another pre-training or another draw \
of training persons. Those that are shipped have learnt longer, and at the end from larger pictures, so they are judged at 112 \
px as well. Made by `python -m benchmarks.pretraining ablation WORK --data FOLDER`.{unmeasured}

{ablation}

`resdx-views` and ResNet-50 learn at the rates that were chosen with the ResNet-18 of `resdx`, so the tables above do not \
compare them with it. After six passes at 64 px no gain by the teacher is shown; between the shipped weights, at the size they \
were made for, there is one.

{ablation_tenth}

{ablation_whole}

The choice of the parts is older than the rows at 112 px: it had first been made when the test sets above had been read. In an \
earlier form (commit 0a62e10: five sets, views that neither crop nor tint, a teacher of the plain picture) the means were .674 \
from scratch, .731 by views, .720 by NT-Xent in VICReg's place, .716 by the teacher, .699 by labels and .705 by labels and views.
"""


if __name__ == "__main__":
    main()
