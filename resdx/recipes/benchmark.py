"""What a published system is judged on.

It is told of a recipe and not done by it, so it is neither stored nor part of a fingerprint.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from ..data.sources.folders import Copies, FolderPerClass, Source
from ..data.tasks import Task
from ..records import AnyRecord, record
from ..transforms.compose import Step


@record
class Benchmark:
    """The public set that a system is judged on, by the name of its folder.

    Also how it is read, where it is not the one the recipe is written for. `small` are the variants that are cheap enough for
    the small budget of `resdx review`, "" for the recipe itself. `defect` is what is wrong with the set as this system reads
    it, where that is not what all have to know of it. `source`, `classes`, `task` and `read` take the place of the recipe's.
    """

    data: str
    small: tuple[str, ...] = ("features",)
    defect: str = ""
    source: Annotated[Source, AnyRecord] | None = None
    classes: tuple[str, ...] = ()
    task: Task | None = None
    read: Annotated[Step, AnyRecord] | None = None

    def read_by(self, recipe: Any) -> Any:
        """The recipe, or one of its variants, as it reads the set."""
        if isinstance(recipe.source, Copies) and isinstance(self.source, FolderPerClass):
            return replace(recipe, source=replace(recipe.source, source=self.source))
        own = {name: value for name in ("source", "classes", "task", "read") if (value := getattr(self, name))}
        return replace(recipe, **own)
