"""From a folder of medical images to a ResNet-50 diagnosis model one can defend."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> its room; loaded on first use, so that `import resdx` and `resdx --help` cost nothing.
_ROOMS = {
    "Case": "cases",
    "Estimate": "metrics",
    "Manifest": "cases",
    "Prediction": "cases",
    "Predictor": "predict",
    "Recipe": "recipe",
    "ResdxError": "errors",
    "Run": "runs",
    "Study": "study",
    "draw_phantoms": "phantoms",
    "get_recipe": "recipes",
    "open_study": "study",
    "recipe_names": "recipes",
    "run": "study",
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
