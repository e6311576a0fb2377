"""The card of pre-trained weights: what they learnt from, how, and what they are not for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from ...data.tasks import Detect
from ...errors import count
from ...inference.logits import predict_logits
from ...metrics.classification import macro_auroc
from ...metrics.estimate import Estimate
from ...metrics.intervals import estimate
from ...models.network import Network
from ...models.specs import ResNet
from ...recipes.learning import Training
from ...runs.run import Run
from ..sklearn_heads import fit_linear
from .corpus import Corpus

JUDGED = 500  # cases of a set that are learnt from, and as many reserved ones that are judged
PENALTY = 0.01  # C of the regression on frozen features


def reserved_auroc(corpus: Corpus, network: Network, *, heads: bool, dtype: str = "float32") -> dict[str, Estimate]:
    """Macro AUROC on up to 500 reserved cases of each set, whose persons were never learnt from.

    Sets without any, or with boxes for labels, are left out.

    The answers are those of the set's own head where the `heads` have learnt, else of a logistic regression on the features
    of 500 cases that were learnt from.
    """
    out: dict[str, Estimate] = {}
    for k, pool in enumerate(corpus.pools):
        recipe, images = pool.member.run.recipe, pool.pictures.images
        labelled = np.flatnonzero(~np.isnan(pool.targets).all(1))
        if not len(pool.reserved) or not len(labelled) or isinstance(recipe.task, Detect):
            continue
        rng = np.random.default_rng(0)
        judged = np.sort(rng.permutation(len(pool.reserved))[:JUDGED])
        logits, features, _ = predict_logits(network, images, pool.reserved[judged], dtype=dtype)
        logits = logits[:, corpus.outputs(k)]
        if not heads:
            some = np.sort(rng.permutation(labelled)[:JUDGED])
            seen = predict_logits(network, images, pool.rows[some], dtype=dtype).embeddings
            weight, bias = fit_linear(seen.astype(np.float64), pool.targets[some], PENALTY, recipe.task)
            logits = (features @ weight.T + bias).astype(np.float32)
        persons = [pool.reserved_persons[row] for row in judged]
        out[pool.member.name] = estimate(macro_auroc, pool.reserved_truth[judged], recipe.task.probabilities(logits), persons)
    return out


def card(
    run: Run,
    corpus: Corpus,
    parts: Mapping[str, float],
    whole: Mapping[str, Estimate],
    small: Mapping[str, Estimate],
    size: int,
    before: int,
) -> str:
    """The model card of pre-trained weights.

    `before` counts the cases that the start had learnt from.
    """
    rows = []
    for row in cast(list[dict[str, Any]], corpus.table()):
        name = row["name"]
        area = f"{whole[name]} / {small[name]}" if name in whole and name in small else "-"
        name = f"{name}{'' if row['persons_named'] else ' (no persons named)'}"
        left = ", ".join(f"{number:,} {why}" for why, number in row["left_out"].items()) or "-"
        rows.append(f"| {name} | {row['licence']} | {row['cases']:,} | {row['reserved']:,} | {left} | {area} |")
    learn = cast(Training, run.recipe.learn)
    backbone = cast(ResNet, run.recipe.model.backbone)
    return CARD.format(
        depth=backbone.depth,
        size=run.recipe.size,
        cases=len(corpus),
        before=f" Started from weights that had learnt from {before:,} cases, which are in the hashes too." if before else "",
        megabytes=size / 1e6,
        rows="\n".join(rows),
        passes=count(learn.epochs, "pass", "passes"),
        batch=learn.batch,
        lr=learn.lr,
        labels=parts["labels"],
        views=parts["views"],
        teacher=parts["teacher"],
        fingerprint=run.recipe.fingerprint()[:12],
        seed=run.settings.seed,
        judged="the head of the set"
        if parts["labels"]
        else f"a logistic regression (C = {PENALTY:g}) on the features of {JUDGED} cases that were learnt from",
        most=JUDGED,
    )


CARD = """# ResNet-{depth}, pre-trained on medical images

Weights to start a training from, or to take frozen features from. Not a diagnostic model: its heads were thrown away.

- Input: RGB or grey repeated, [0, 1], about {size} px; stride in the 3x3, torchvision's names.
- File: {megabytes:.1f} MB, int8 a channel with BatchNorm re-estimated after packing, expanded to float32 at load.
- Learnt from {cases:,} cases in as many draws as {passes}, in batches of {batch}, AdamW, rate {lr:g}, cosine; parts of
  the loss: labels {labels:g}, two views (VICReg) {views:g}, teacher (ImageNet's MobileNet-V2) {teacher:g}.
  Recipe {fingerprint}, seed {seed}.{before}
- The file carries sha256 and perceptual hashes of every case learnt from; a run that would test on one is stopped. A picture
  that was encoded again is mostly recognised, a crop or a turned copy is not.
- One person in five (sha256 of the name modulo 5 is 0) was never learnt from. Where a set names no persons that is one cluster
  of near-duplicate pictures in five, and other pictures of the same people may have been learnt from.

| set | licence | cases | reserved | left out | macro AUROC on the reserved, before / after packing |
|---|---|---|---|---|---|
{rows}

AUROC by {judged}, on at most {most} reserved cases.

## Limits

The pictures are small, few and from public sets with known defects; persons can be told apart only as far as the sets name them.
Which faces of disease, devices and people they show is not known. Judge a model that started here on your own data.
"""
