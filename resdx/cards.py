"""The card of pre-trained weights: what they have learnt from, how, what packing cost, and what they are not for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .corpus import Corpus
from .engines.torch import infer
from .intervals import estimate
from .metrics import Estimate, macro_auroc
from .models.net import Network
from .models.specs import ResNet
from .recipe import Training
from .runs import Run


def reserved_auroc(corpus: Corpus, network: Network) -> dict[str, Estimate]:
    """Macro AUROC of each set's own head on its reserved persons, who were never learnt from; sets without any are left out."""
    out: dict[str, Estimate] = {}
    for k, pool in enumerate(corpus.pools):
        if len(pool.reserved):
            logits, _ = infer(network, pool.pictures.images, pool.reserved)
            recipe = pool.member.run.recipe
            said = recipe.task.probabilities(logits[:, corpus.outputs(k)])
            out[pool.member.name] = estimate(macro_auroc, pool.reserved_truth, said, pool.reserved_persons)
    return out


def card(
    run: Run, corpus: Corpus, parts: Mapping[str, float], whole: Mapping[str, Estimate], small: Mapping[str, Estimate], size: int
) -> str:
    """The model card: what the weights have learnt from, how, what packing cost, and what they are not for."""
    rows = []
    for row in cast(list[dict[str, Any]], corpus.table()):
        name = row["name"]
        area = f"{whole[name]} / {small[name]}" if name in whole and name in small else "-"
        name = f"{name}{'' if row['persons_named'] else ' (no persons named)'}"
        left = ", ".join(f"{count:,} {why}" for why, count in row["left_out"].items()) or "-"
        rows.append(f"| {name} | {row['licence']} | {row['cases']:,} | {row['reserved']:,} | {left} | {area} |")
    learn = cast(Training, run.recipe.learn)
    trunk = cast(ResNet, run.recipe.model.trunk)
    return CARD.format(
        depth=trunk.depth,
        size=run.recipe.size,
        cases=len(corpus),
        megabytes=size / 1e6,
        rows="\n".join(rows),
        epochs=learn.epochs,
        batch=learn.batch,
        lr=learn.lr,
        labels=parts["labels"],
        views=parts["views"],
        teacher=parts["teacher"],
        fingerprint=run.recipe.fingerprint()[:12],
        seed=run.settings.seed,
    )


CARD = """# ResNet-{depth}, pre-trained on medical images

Weights to start a training from, or to take frozen features from. Not a diagnostic model: its heads were thrown away.

- Input: RGB or grey repeated, [0, 1], about {size} px; stride in the 3x3, torchvision's names.
- File: {megabytes:.1f} MB, int8 a channel with BatchNorm re-estimated after packing, expanded to float32 at load.
- Learnt from {cases:,} cases in as many draws as {epochs} passes, in batches of {batch}, AdamW, rate {lr:g}, cosine; parts of the loss: labels {labels:g}, two
  views (VICReg) {views:g}, teacher {teacher:g}. Recipe {fingerprint}, seed {seed}.
- The file carries sha256 and perceptual hashes of every case learnt from; a run that would test on one is stopped.
- One person in five (sha256 of the name modulo 5 is 0) was never learnt from. Where a set names no persons that is one cluster of near-duplicate
  pictures in five, and other pictures of the same people may have been learnt from.

| set | licence | cases | reserved | left out | macro AUROC on the reserved, before / after packing |
|---|---|---|---|---|---|
{rows}

## Limits

The pictures are small, few and from public sets with known defects; persons can be told apart only as far as the sets name them.
Which faces of disease, devices and people they show is not known. Judge a model that started here on your own data.
"""
