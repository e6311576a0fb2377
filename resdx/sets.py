"""The public data sets that figures are measured on: how each is read, and what is wrong with it. The data do not come with resdx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .recipe import Recipe
from .recipes import get_recipe
from .sources import FolderPerClass, Source, Table


@dataclass(frozen=True)
class Set:
    """A data set: `recipe` without a variant, what the folder needs to be read by it, and the defect that goes with every figure.

    `accepted` are audit findings that stop a run of one's own, and here are what the figures are about.
    """

    recipe: str
    defect: str
    source: Source | None = None
    classes: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()

    def recipe_of(self, variant: str = "") -> Recipe:
        """The recipe, or one of its variants, for this set."""
        found = get_recipe(f"{self.recipe}:{variant}" if variant else self.recipe)
        return replace(found, source=self.source or found.source, classes=self.classes or found.classes)

    def fitted(self, system: str, variant: str = "") -> Recipe:
        """Another system's recipe, or one of its variants, with the source, the classes and the question of this set."""
        if system == self.recipe:
            return self.recipe_of(variant)
        own = self.recipe_of()
        found = get_recipe(f"{system}:{variant}" if variant else system)
        return replace(found, source=own.source, classes=own.classes, task=own.task)


CT_TABLES = (
    Table(file="COVID-CT-MetaInfo.csv", path="File name", group="Patient ID", folder="CT_COVID"),
    Table(file="NonCOVID-CT-MetaInfo.csv", path="image name", group="patient id", folder="CT_NonCOVID"),
)

SETS: Mapping[str, Set] = {
    "cxr-pneumonia": Set(
        "pneumonia_resnet", "children of one hospital; the shipped test part has another class balance than the rest"
    ),
    "cxr-covid-cohen": Set("covid_cxr", "journal figures of many hospitals, about 60 persons without COVID-19"),
    "mri-brain": Set(
        "brain_tumour_mri", "no person ids; 38 % of the shipped test part are near-duplicates of training; its glioma are shifted"
    ),
    "malaria-cells": Set("malaria", "63 persons, 20 of them with one class only; grey at 50 px"),
    "us-breast": Set("plain", "no person ids; one picture stands in two classes", FolderPerClass()),
    "skin-ham10000": Set(
        "plain",
        "nevi are under-sampled: class rates are not the set's",
        Table(
            file="HAM10000_metadata.csv", folder="images", path="image_id", label="dx", group="lesion_id", age="age", sex="sex"
        ),
    ),
    "fundus-odir": Set("fundus_multilabel", "labels are keywords of one reader, by eye"),
    "ct-covid": Set(
        "plain",
        "journal figures; file format, size and colour tell something of the class",
        FolderPerClass(rename=(("CT_COVID", "covid"), ("CT_NonCOVID", "other")), tables=CT_TABLES),
    ),
    "ct-lung": Set("plain", "no person ids: neighbouring slices of 110 patients, every split leaks", FolderPerClass()),
}
