"""What a run is asked to do, as one value.

The recipe, how it learns, and the library of published systems. A recipe says; `training` and `studies` do.
"""

from .learning import Dcgan, Ensemble, FeatureClassifier, Member, Search, Training
from .library import get_recipe, recipe_names
from .recipe import About, Published, Recipe

__all__ = [
    "About",
    "Dcgan",
    "Ensemble",
    "FeatureClassifier",
    "Member",
    "Published",
    "Recipe",
    "Search",
    "Training",
    "get_recipe",
    "recipe_names",
]
