"""The public data sets that systems are judged on, by the names of their folders.

Of each: what is wrong with it. The data do not come with resdx. How a system reads its set stands in its recipe:
`Recipe.benchmark`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...recipes.library import get_recipe
from ...recipes.recipe import Recipe

DEFECTS: Mapping[str, str] = {
    "cxr-pneumonia": "children of one hospital; the shipped test part has another class balance than the rest",
    "cxr-covid-cohen": "journal figures of many hospitals, about 60 persons without COVID-19",
    "mri-brain": "no person ids; 38 % of the shipped test part are near-duplicates of training; its glioma are shifted",
    "malaria-cells": "63 persons, 20 of them with one class only; grey at 50 px",
    "us-breast": "no person ids; one picture stands in two classes",
    "skin-ham10000": "nevi are under-sampled: class rates are not the set's",
    "fundus-odir": "labels are keywords of one reader, by eye",
    "fundus-aptos": "a tenth of APTOS, already filtered; no person ids",
    "ct-covid": "journal figures; file format, size and colour tell something of the class",
    "ct-lung": "no person ids: neighbouring slices of 110 patients, every split leaks",
    "histo-lung": "lung, not breast; every picture is one of 25 variations of 250 a class, so every split leaks",
    "mammo-mias": "digitised film of 1994, shrunk to 448 px",
    "face-mask": "half of the set; no person is known, and many faces are below 24 px; stock photographs of a few sources",
    "voice-parkinson": "85 speakers of one laboratory, half a second of a vowel each; sex and age are not known",
    "ecg-mitbih": (
        "13 of 48 recordings, 12 persons; nearly all fusion beats are of one person on either side, and most supraventricular "
        "ones of one in the test part"
    ),
}


def judged(system: str, variant: str = "") -> Recipe:
    """The recipe of a system, or one of its variants, as it reads the set that it is judged on."""
    recipe = get_recipe(f"{system}:{variant}" if variant else system)
    return recipe.benchmark.read_by(recipe) if recipe.benchmark else recipe


def defect_of(system: str, folder: str) -> str:
    """What is wrong with the set as a system reads it; "not known" of a set that is not listed here."""
    own = get_recipe(system).benchmark
    return (own.defect if own and own.data == folder else "") or DEFECTS.get(folder, "not known")
