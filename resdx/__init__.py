"""From a folder of medical images to a ResNet-50 diagnosis model one can defend.

    study = resdx.run("my-images", changes={"learn.epochs": 3})
    study.metrics.overall["accuracy"]
    study.predict(["new.png", array, dataset])

Everything public is named here and in the rooms `recipes`, `models`, `transforms` and `data`, of which recipes are made.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data.audit.audit import Audit as Audit
    from .data.cases import Case as Case
    from .data.cases import Manifest as Manifest
    from .data.cases import Prediction as Prediction
    from .data.phantoms import draw_phantoms as draw_phantoms
    from .data.split import Split as Split
    from .errors import ResdxError as ResdxError
    from .evaluation.scores import evaluate as evaluate
    from .inference.predictor import Predictor as Predictor
    from .metrics.estimate import Estimate as Estimate
    from .recipes.library import get_recipe as get_recipe
    from .recipes.library import recipe_names as recipe_names
    from .recipes.recipe import Recipe as Recipe
    from .runs.scorecard import Scorecard as Scorecard
    from .studies.dataset import audit as audit
    from .studies.dataset import split as split
    from .studies.study import Study as Study
    from .studies.study import open_study
    from .studies.study import run as run

    open = open_study

__version__ = "0.2.0"

# Public name -> its room; loaded on first use, so that `import resdx` and `resdx --help` cost nothing.
_ROOMS = {
    "Audit": "data.audit.audit",
    "Case": "data.cases",
    "Estimate": "metrics.estimate",
    "Manifest": "data.cases",
    "Prediction": "data.cases",
    "Predictor": "inference.predictor",
    "Recipe": "recipes.recipe",
    "ResdxError": "errors",
    "Scorecard": "runs.scorecard",
    "Split": "data.split",
    "Study": "studies.study",
    "audit": "studies.dataset",
    "draw_phantoms": "data.phantoms",
    "evaluate": "evaluation.scores",
    "get_recipe": "recipes.library",
    "open": "studies.study",
    "recipe_names": "recipes.library",
    "run": "studies.study",
    "split": "studies.dataset",
}
_NAMED_ELSE = {"open": "open_study"}  # in their room, where the name would hide Python's own
_OF_RECIPES = ("data", "models", "recipes", "transforms")  # rooms that a recipe of one's own imports from

__all__ = sorted(_ROOMS)


def __getattr__(name: str) -> Any:
    if name in _OF_RECIPES:
        return import_module(f".{name}", __name__)
    if name not in _ROOMS:
        raise AttributeError(f"module 'resdx' has no attribute {name!r}")
    value = getattr(import_module(f".{_ROOMS[name]}", __name__), _NAMED_ELSE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *_OF_RECIPES, "__version__"]
