"""From a folder of medical images to a ResNet-50 diagnosis model one can defend."""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

# Public name -> its room; loaded on first use, so that `import resdx` and `resdx --help` cost nothing.
_ROOMS = {
    "Case": "data.cases",
    "Estimate": "metrics.estimate",
    "Manifest": "data.cases",
    "Prediction": "data.cases",
    "Predictor": "inference.predictor",
    "Recipe": "recipes.recipe",
    "ResdxError": "errors",
    "Run": "runs.run",
    "Study": "studies.study",
    "draw_phantoms": "data.phantoms",
    "get_recipe": "recipes.library",
    "open_study": "studies.study",
    "recipe_names": "recipes.library",
    "run": "studies.study",
}

__all__ = sorted(_ROOMS)


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'resdx' has no attribute {name!r}")
    value = getattr(import_module(f".{_ROOMS[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
