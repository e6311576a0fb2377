"""The weights that a training starts from.

They are fetched when it begins, since no stage before it needs a network connection.
"""

from __future__ import annotations

from ..data.split import PARTS, SEEN
from ..errors import AbsentWeightsError, WeightsError, count
from ..models.backbones.resnet import find_imagenet
from ..models.specs import ResNet, innermost
from ..models.weights import shipped
from ..runs.provenance import learnt_before, seen_at_start, start_hash
from ..runs.run import MEMBERS, Run


def resolve_start(run: Run) -> Run:
    """The run with weights that can be had.

    Where ImageNet's of a ResNet cannot, our own take their place, and the log says so.

    The split was made for ImageNet's weights, so our own are refused where they have learnt from persons of the test set.

    Raises:
        WeightsError: neither can be had, or ours have learnt from the test set.
    """
    backbone, field = innermost(run.recipe.model.backbone)
    begun = any((run.path / name).exists() for name in ("state.safetensors", "best.safetensors", "search"))
    if begun or run.path.parent.name == MEMBERS or run.settings.weights:
        return run  # what has begun goes on as it began; members of an ensemble start from exactly what it names
    if not isinstance(backbone, ResNet) or backbone.weights != "imagenet":
        return run
    try:
        find_imagenet(backbone.depth)
        return run
    except AbsentWeightsError as error:
        if not shipped("resdx", backbone.depth):
            raise
        said = f"ImageNet weights cannot be had, so the training starts from resdx's own ({error})"
    run = run.changed(recipe=run.recipe.set(field, "resdx"), choices={**run.settings.choices, "start": said})
    run.say(said)
    _refuse_tested(run)
    return run.changed(choices={**run.settings.choices, "start_sha256": start_hash(run)})


def _refuse_tested(run: Run) -> None:
    """Raise WeightsError where the starting weights have learnt from persons of the test set.

    It is not raised where that is accepted.
    """
    learnt = learnt_before(seen_at_start(run), run.audit.facts)
    known = {case.group for part in PARTS for case in run.cases(part) if case.id in learnt}
    tested = [case.id for case in run.cases("test") if case.group in known]
    if tested and SEEN not in run.settings.accepted:
        raise WeightsError(
            f"{run.path}: resdx's own weights have learnt from persons of {count(len(tested), 'test case')}, e.g. {tested[0]}; "
            f"run `resdx split {run.path}`, which keeps them out of the test set, then `resdx resume {run.path}`"
        )
