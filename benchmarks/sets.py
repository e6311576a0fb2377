"""How the public sets are read that figures are measured on: a recipe, and a source where that is the default one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from resdx.data.sources.folders import FolderPerClass, Source
from resdx.data.sources.public_sets import HAM10000, JOURNAL_CT
from resdx.recipes.library import get_recipe
from resdx.recipes.recipe import Recipe

READ_BY: Mapping[str, tuple[str, Source | None]] = {
    "cxr-pneumonia": ("pneumonia_resnet", None),
    "cxr-covid-cohen": ("covid_cxr", None),
    "mri-brain": ("brain_tumour_mri", None),
    "malaria-cells": ("malaria", None),
    "us-breast": ("plain", FolderPerClass()),
    "skin-ham10000": ("plain", HAM10000),
    "fundus-odir": ("fundus_multilabel", None),
    "ct-covid": ("plain", JOURNAL_CT),
    "ecg-mitbih": ("ecg_heartbeats", None),
    "ct-lung": ("plain", FolderPerClass()),
}


def recipe_of(folder: str, variant: str = "") -> Recipe:
    """The recipe by which a set is read, or one of its variants."""
    name, source = READ_BY[folder]
    recipe = get_recipe(f"{name}:{variant}" if variant else name)
    return replace(recipe, source=source) if source else recipe
