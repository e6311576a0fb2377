"""The public data sets that figures are measured on: how each is read, and what is wrong with it. The data do not come with resdx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...data.sources.folders import Copies, FolderPerClass, Scans, Source, Table
from ...data.sources.public_sets import KERMANY, KERMANY_CLASSES, MiniMias
from ...data.sources.voice import Voices
from ...data.tasks import Classify, Task
from ...recipes.library import get_recipe
from ...recipes.recipe import Recipe
from ...transforms.compose import Step
from ...transforms.readers.voice import ReadVoice


@dataclass(frozen=True)
class Set:
    """A data set: `recipe` without a variant, what the folder needs to be read by it, and the defect that goes with every figure."""

    recipe: str
    defect: str
    source: Source | None = None
    classes: tuple[str, ...] = ()
    task: Task | None = None
    read: Step | None = None

    def recipe_of(self, variant: str = "") -> Recipe:
        """The recipe, or one of its variants, for this set."""
        found = get_recipe(f"{self.recipe}:{variant}" if variant else self.recipe)
        if isinstance(found.source, Copies) and isinstance(self.source, FolderPerClass):
            return replace(found, source=replace(found.source, source=self.source))
        return replace(
            found,
            source=self.source or found.source,
            classes=self.classes or found.classes,
            task=self.task or found.task,
            read=self.read or found.read,
        )


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
    "ecg-mitbih": Set(
        "ecg_heartbeats",
        "13 of 48 recordings, 12 persons; nearly all fusion beats are of one person on either side, and most supraventricular ones of one in the test part",
    ),
    "ct-lung": Set("plain", "no person ids: neighbouring slices of 110 patients, every split leaks", FolderPerClass()),
}

TISSUE = ("lung_n", "lung_aca", "lung_scc")
TISSUE_DEFECT = "lung, not breast; every picture is one of 25 variations of 250 a class, so every split leaks"
SPEAKERS_DEFECT = "85 speakers of one laboratory, half a second of a vowel each; sex and age are not known"
SPEAKER = r"(AVPEPUDEAC?\d+)"
NIH_OR_NAME = r"^(\d{8})_\d{3}\.|^(.+)\.\w+$"

# Recipe -> how it reads the set that it is judged on, where that is not the one it was written for, or has another form.
STAND_INS: Mapping[str, Set] = {
    "tuberculosis_cxr": Set(
        "tuberculosis_cxr", "pneumonia of children, no tuberculosis", KERMANY, KERMANY_CLASSES, Classify("PNEUMONIA")
    ),
    "covid_ct": Set("covid_ct", SETS["ct-covid"].defect, SETS["ct-covid"].source),
    "ensemble_covid": Set("ensemble_covid", SETS["ct-covid"].defect, SETS["ct-covid"].source),
    "pneumonia_off_the_shelf": Set("pneumonia_off_the_shelf", SETS["cxr-pneumonia"].defect, KERMANY, KERMANY_CLASSES),
    "covid_ct_scans": Set(
        "covid_ct_scans",
        "journal figures, a few slices of a person and no whole scan, two classes; file format, size and colour tell something of the class",
        Scans(SETS["ct-covid"].source),  # type: ignore[arg-type]
        ("other", "covid"),
    ),
    "skin_lesions": Set("skin_lesions", SETS["skin-ham10000"].defect, SETS["skin-ham10000"].source),
    "covid_lung_nets": Set("covid_lung_nets", "the source determines the class"),
    "dranet": Set("dranet", TISSUE_DEFECT, FolderPerClass(), TISSUE),
    "mammograms": Set("mammograms", "digitised film of 1994, shrunk to 448 px", MiniMias("labels")),
    "lung_ct": Set("lung_ct", "no person ids; a window of bones, in which few slices show the lungs"),
    "pneumonia_resnetchest": Set("pneumonia_resnetchest", SETS["cxr-pneumonia"].defect),
    "pneumonia_mobilenet": Set("pneumonia_mobilenet", SETS["cxr-pneumonia"].defect),
    "histology_transfer": Set("histology_transfer", TISSUE_DEFECT, FolderPerClass(), TISSUE, Classify()),
    "mobihisnet": Set("mobihisnet", TISSUE_DEFECT, FolderPerClass(), TISSUE, Classify()),
    "metastasis_tta": Set("metastasis_tta", TISSUE_DEFECT, FolderPerClass(), TISSUE, Classify()),
    "retinopathy": Set(
        "retinopathy",
        "a tenth of APTOS, already filtered; no person ids",
        Table(
            file="labels.csv",
            header=False,
            path="1",
            label="2",
            folder="images",
            rename=tuple((str(k), grade) for k, grade in enumerate(("none", "mild", "moderate", "severe", "proliferative"))),
        ),
    ),
    "face_masks": Set(
        "face_masks", "half of the set; no person is known, and many faces are below 24 px; stock photographs of a few sources"
    ),
    "voice_spectrogram": Set("voice_spectrogram", SPEAKERS_DEFECT, Voices(SPEAKER), ("control", "parkinson")),
    "voice_heat_map": Set(
        "voice_heat_map",
        SPEAKERS_DEFECT,
        Voices(SPEAKER),
        ("control", "parkinson"),
        read=ReadVoice(),
    ),
    "brain_tumour_crop": Set(
        "brain_tumour_crop",
        SETS["mri-brain"].defect,
        FolderPerClass(
            rename=(
                ("no_tumor", "no tumour"),
                *((f"{kind}_tumor", "tumour") for kind in ("glioma", "meningioma", "pituitary")),
            )
        ),
    ),
    "respiratory_cxr": Set(
        "respiratory_cxr",
        "no tuberculosis; the source determines the class",
        FolderPerClass(NIH_OR_NAME, rename=(("Covid-19", "covid"), ("No_findings", "none"), ("Pneumonia", "pneumonia"))),
        ("none", "pneumonia", "covid"),
    ),
}


def judged(system: str, folder: str, variant: str = "") -> Recipe:
    """The recipe of a system, or one of its variants, as it reads the set that it is judged on."""
    if system in STAND_INS:
        return STAND_INS[system].recipe_of(variant)
    return get_recipe(f"{system}:{variant}" if variant else system)


def defect_of(system: str, folder: str) -> str:
    """What is wrong with the set as a system reads it; "not known" of a set that is not listed here."""
    found = STAND_INS.get(system) or SETS.get(folder)
    return found.defect if found else "not known"
