"""Tiny phantoms in the folders, names and tables of public sets, to test what reads those sets.

Only the layout is theirs: every picture is a phantom film of 64 x 64 pixels, which has an opacity where the set's label says
that something is wrong. No HDF5 is written, so two sets come in another public form: PCam as the folder and table in which
Kaggle offers it, and the brain tumours of Cheng as .mat files of version 5 instead of 7.3 (the same fields).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.io import savemat

from ...errors import DataError
from ..cases import Box, Case, Manifest
from .film import Pixels
from .recordings import mitbih, parkinson_speech, vowels
from .sheet import SIZE, Sheet, hash_of

MASKS = {"with_mask": (230, 60, 60), "without_mask": (60, 230, 60), "mask_weared_incorrect": (60, 60, 230)}


def draw_layout(name: str, folder: Path, *, persons: int = 8, seed: int = 0) -> Manifest:
    """Write the set `name` (a key of LAYOUTS) into a new folder.

    Returns:
        The truth: path below the folder, class as the set writes it and person of every picture (every row of a table, which
            has the path `file#row`), in the set's order. `group` is empty where the set names no person.

    Raises:
        DataError: no such layout, a folder in use, or fewer than 2 persons.
    """
    folder = Path(folder)
    if name not in LAYOUTS:
        raise DataError(f"there is no layout {name!r}; there are {', '.join(sorted(LAYOUTS))}")
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; phantoms go into a new folder")
    if persons < 2:
        raise DataError(f"a set needs 2 persons or more, not {persons}")
    folder.mkdir(parents=True, exist_ok=True)
    return Manifest(folder, tuple(LAYOUTS[name](Sheet(folder, persons, seed))), licence="synthetic: no rights")


def shenzhen(sheet: Sheet) -> list[Case]:
    """Shenzhen tuberculosis: one film a person, the class is the last digit, age and sex stand in a text."""
    cases: list[Case] = []
    for i, ill in sorted(sheet.turn(2), key=lambda pair: pair[1]):  # normal films come first
        name, age, sex = f"CHNCXR_{len(cases) + 1:04d}_{ill}", 20 + i, ("male", "female")[i // 2 % 2]
        path = sheet.picture(f"ChinaSet_AllFiles/CXR_png/{name}.png", i, bool(ill))
        finding = "right upper PTB" if ill else "normal"
        sheet.text(f"ChinaSet_AllFiles/ClinicalReadings/{name}.txt", f"{sex} {age}yrs\n{finding}\n")
        cases.append(Case(path, path, name[7:11], (str(ill),)))
    return cases


def montgomery(sheet: Sheet) -> list[Case]:
    """Montgomery County tuberculosis: as Shenzhen, with masks of both lungs."""
    cases = []
    for i, ill in sorted(sheet.turn(2), key=lambda pair: pair[1]):
        name, age, sex = f"MCUCXR_{i + 1:04d}_{ill}", 20 + i, "MF"[i // 2 % 2]
        path = sheet.picture(f"MontgomerySet/CXR_png/{name}.png", i, bool(ill))
        for side, columns in (("left", slice(36, 54)), ("right", slice(10, 28))):
            mask = np.zeros((SIZE, SIZE), np.uint8)
            mask[12:44, columns] = 255
            sheet.save(f"MontgomerySet/ManualMask/{side}Mask/{name}.png", mask)
        finding = "infiltrate in the right upper lobe, consistent with TB" if ill else "normal"
        sheet.text(f"MontgomerySet/ClinicalReadings/{name}.txt", f"Patient's Sex: {sex}\nPatient's Age: {age:03d}Y\n{finding}\n")
        cases.append(Case(path, path, name[7:11], (str(ill),)))
    return cases


def pcam(sheet: Sheet) -> list[Case]:
    """PatchCamelyon as Kaggle offers it: tiles named by a hash and one table.

    No slide, so no person, is named.
    """
    cases = []
    for i, ill in sheet.turn(2):
        for k in range(2):
            name = hashlib.sha1(repr((sheet.seed, i, k)).encode()).hexdigest()  # a name, no secret
            path = sheet.picture(f"train/{name}.tif", i, bool(ill), k, tint="stain")
            cases.append(Case(path, path, "", (str(ill),)))
    sheet.table("train_labels.csv", [("id", "label"), *((Path(case.path).stem, case.label) for case in cases)])
    return cases


TUMOURS = (
    *(("benign", "adenosis", "A"), ("malignant", "ductal_carcinoma", "DC"), ("benign", "fibroadenoma", "F")),
    *(("malignant", "lobular_carcinoma", "LC"), ("benign", "phyllodes_tumor", "PT"), ("malignant", "mucinous_carcinoma", "MC")),
    *(("benign", "tubular_adenoma", "TA"), ("malignant", "papillary_carcinoma", "PC")),
)


def breakhis(sheet: Sheet) -> list[Case]:
    """BreakHis: breast tumours at four magnifications; the slide in the name is the person."""
    cases = []
    for i, kind in sheet.turn(len(TUMOURS)):
        group, tumour, code = TUMOURS[kind]
        slide, side = f"14-{22549 + i}" + ("AB", "")[i % 3 == 2], group[0].upper()
        for zoom in (40, 100, 200, 400):
            name = f"SOB_{side}_{code}-{slide}-{zoom}-001"
            path = f"BreaKHis_v1/histology_slides/breast/{group}/SOB/{tumour}/SOB_{side}_{code}_{slide}/{zoom}X/{name}.png"
            sheet.picture(path, i, side == "M", zoom, tint="stain")
            cases.append(Case(path, path, slide, (tumour,)))
    return cases


def cheng(sheet: Sheet) -> list[Case]:
    """Cheng's brain tumours: a struct `cjdata` a file, and the paper's five folds.

    Label 1 is meningioma, 2 glioma, 3 pituitary.
    """
    cases: list[Case] = []
    parts = "brainTumorDataPublic_1766"
    for i, kind in sheet.turn(3):
        for k in range(2):
            pixels, box = sheet.film(i, True, k)
            outline, mask = _outline(box)
            person = str(100360 + i)
            cjdata = {
                "label": float(kind + 1),
                "PID": person,
                "image": pixels.astype(np.int16) * 8,
                "tumorBorder": outline,
                "tumorMask": mask,
            }
            path = f"{parts}/{len(cases) + 1}.mat"
            (sheet.folder / parts).mkdir(exist_ok=True)
            savemat(sheet.folder / path, {"cjdata": cjdata}, do_compression=True)
            cases.append(Case(path, path, person, (str(kind + 1),)))
    savemat(sheet.folder / "cvind.mat", {"cvind": np.array([[1 + (int(case.group) - 100360) % 5] for case in cases], float)})
    return cases


def _outline(box: Box | None) -> tuple[NDArray[np.float64], Pixels]:
    """The border of the round opacity in `box` as (1, 2n) x and y in turn, and its mask (64, 64)."""
    assert box  # every film here has an opacity
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    x, y, r = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2, (box.x2 - box.x1) / 2
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    border = np.column_stack([x + r * np.cos(angle), y + r * np.sin(angle)]).reshape(1, -1)
    return border, (np.hypot(columns - x, rows - y) <= r).astype(np.uint8)


CT_FOLDERS = (("Covid-19 Cases", "P"), ("Cap Cases", "cap"), ("Normal Cases", "normal"))


def covid_ct_md(sheet: Sheet) -> list[Case]:
    """COVID-CT-MD: a folder of DICOM slices a person.

    Slices lie out of order, and only SliceLocation puts them right.
    """
    cases, slices = [], 3
    labels = np.zeros((sheet.persons, slices), np.uint8)
    index: list[tuple[object, object]] = [("Patient ID", "Index")]
    for i, kind in sheet.turn(3):
        place, prefix = CT_FOLDERS[kind]
        person = f"{prefix}{i // 3 + 1:03d}"
        index.append((person, i))
        for number in range(slices):
            height = (number + 1) % slices  # the file's number is not the slice's place
            labels[i, height] = ill = kind < 2 and height > 0
            path = f"COVID-CT-MD/{place}/{person}/IM{number + 1:04d}.dcm"
            _slice(sheet.folder / path, sheet.film(i, bool(ill), height)[0], person, height)
            cases.append(Case(path, path, person, (place,)))
    sheet.table("COVID-CT-MD/Index.csv", index)
    np.save(sheet.folder / "COVID-CT-MD/Slice-level-labels.npy", labels)
    return cases


def _slice(path: Path, pixels: Pixels, person: str, height: int) -> None:
    """A CT slice in Hounsfield units with a lung window: grey 0 is -1000 and 255 is +20."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[person, str(height)])
    dataset.Modality, dataset.PatientID, dataset.SliceLocation = "CT", person, f"{5.0 * height:.1f}"
    dataset.PatientSex, dataset.PatientAge = "F", "054Y"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
    dataset.WindowCenter, dataset.WindowWidth = "-600", "1500"
    dataset.PixelData = (pixels.astype(np.int16) * 4 + 24).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def sars_cov_2_ct(sheet: Sheet) -> list[Case]:
    """SARS-CoV-2 CT: two folders of slices with running numbers, spaces in the names, no person."""
    cases = []
    for i, ill in sheet.turn(2):
        place, prefix = (("non-COVID", "Non-Covid"), ("COVID", "Covid"))[ill]
        path = sheet.picture(f"{place}/{prefix} ({i // 2 + 1}).png", i, bool(ill))
        cases.append(Case(path, path, "", (place,)))
    return cases


def eyepacs(sheet: Sheet) -> list[Case]:
    """EyePACS: two eyes a person in `train`, grades 0 to 4 of each eye in trainLabels.csv.

    The table names files without their suffix.
    """
    cases = []
    for i, grade in sheet.turn(5):
        for k, side in enumerate(("left", "right")):
            level = min(4, grade + k)
            path = sheet.picture(f"train/{10 + 3 * i}_{side}.jpeg", i, level > 0, k, tint="fundus")
            cases.append(Case(path, path, str(10 + 3 * i), (str(level),)))
    sheet.table("trainLabels.csv", [("image", "level"), *((Path(case.path).stem, case.label) for case in cases)])
    return cases


def messidor(sheet: Sheet) -> list[Case]:
    """MESSIDOR-2 with the adjudicated grades: dates as names, no person.

    Images that could not be graded have empty cells.
    """
    cases = []
    rows: list[tuple[object, ...]] = [("image_id", "adjudicated_dr_grade", "adjudicated_dme", "adjudicated_gradable")]
    for i, kind in sheet.turn(6):
        path = sheet.picture(f"IMAGES/20051020_{43808 + 24 * i}_0100_PP.png", i, kind not in (0, 5), tint="fundus")
        graded = kind < 5
        rows.append((Path(path).name, kind if graded else "", int(kind > 2) if graded else "", int(graded)))
        cases.append(Case(path, path, "", (str(kind),) if graded else None))
    sheet.table("messidor_data.csv", rows)
    return cases


FINDINGS = ("No Finding", "Nodule", "Infiltration|Nodule", "Effusion")
ENTRY = (
    *("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position"),
    *("OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]", ""),
)


def chestxray14(sheet: Sheet) -> list[Case]:
    """ChestX-ray14: folders images_001 ..., several labels a film, boxes of a few.

    Two lists name the official parts, which are split by person.
    """
    cases: list[Case] = []
    parts: dict[str, list[str]] = {"train_val": [], "test": []}
    rows: list[tuple[object, ...]] = [ENTRY]
    boxes: list[tuple[object, ...]] = [("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]", "", "", "")]
    for i, kind in sheet.turn(len(FINDINGS)):
        for k in range(2):
            name, folder = f"{i + 1:08d}_{k:03d}.png", f"images_{1 + i * 2 // sheet.persons:03d}/images"
            pixels, box = sheet.film(i, kind > 0, k)
            path = sheet.save(f"{folder}/{name}", pixels)
            rows.append((name, FINDINGS[kind], k, i + 1, 40 + i, "MF"[i % 2], ("PA", "AP")[k], SIZE, SIZE, 0.143, 0.143, ""))
            if box and kind == 1:
                boxes.append((name, "Nodule", box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1, "", "", ""))
            parts["test" if i % 4 == 3 else "train_val"].append(name)
            labels = tuple(label for label in FINDINGS[kind].split("|") if kind)
            cases.append(Case(path, path, str(i + 1), labels, age=40.0 + i, sex="MF"[i % 2], view=("PA", "AP")[k]))
    sheet.table("Data_Entry_2017.csv", rows)
    sheet.table("BBox_List_2017.csv", boxes)
    for part, names in parts.items():
        sheet.text(f"{part}_list.txt", "\n".join(names) + "\n")
    return cases


def medmnist(sheet: Sheet) -> list[Case]:
    """MedMNIST: one .npz with images (N, 64, 64) and labels (N, 1) of three parts; no person is named."""
    drawn: dict[str, list[tuple[Pixels, int]]] = {"train": [], "val": [], "test": []}
    for i, ill in sheet.turn(2):
        part = ("train", "train", "val", "test")[i // 2 % 4]
        drawn[part] += [(sheet.film(i, bool(ill), k)[0], ill) for k in range(2)]
    name = "pneumoniamnist_64.npz"
    arrays: dict[str, Any] = {}
    for part, films in drawn.items():
        arrays[f"{part}_images"] = np.array([film for film, _ in films], np.uint8).reshape(-1, SIZE, SIZE)
        arrays[f"{part}_labels"] = np.array([[ill] for _, ill in films], np.uint8).reshape(-1, 1)
    np.savez_compressed(sheet.folder / name, **arrays)
    places = [(f"{name}#{part}/{k}", part, ill) for part, films in drawn.items() for k, (_, ill) in enumerate(films)]
    return [Case(place, place, "", (str(ill),), part=part) for place, part, ill in places]


def face_mask(sheet: Sheet) -> list[Case]:
    """Face-mask detection of Kaggle: one folder of pictures, one of XML files in the layout of PASCAL VOC.

    Discs of three colours stand for faces.
    """
    cases = []
    for i in range(sheet.persons):
        rng = np.random.default_rng(hash_of(sheet.seed, i))
        pixels = rng.integers(90, 130, (48, SIZE, 3)).astype(np.uint8)
        rows, columns = np.mgrid[:48, :SIZE]
        boxes = []
        for k, left in enumerate((2, 34)[: 1 + i % 2]):
            kind = list(MASKS)[(i + k) % 3]
            radius = int(rng.integers(6, 13))
            x, y = left + radius + int(rng.integers(0, 28 - 2 * radius + 1)), radius + int(rng.integers(0, 48 - 2 * radius))
            pixels[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = MASKS[kind]
            boxes.append(Box(kind, x - radius + 1, y - radius + 1, x + radius, y + radius))
        path = sheet.save(f"images/maksssksksss{i}.png", pixels)
        sheet.text(f"annotations/maksssksksss{i}.xml", _annotation(path, boxes))
        cases.append(Case(path, path, "", tuple(sorted({box.label for box in boxes})), boxes=tuple(boxes)))
    return cases


def _annotation(path: str, boxes: Sequence[Box]) -> str:
    """The XML of a picture, whose corners count from 1 and lie inside the box."""
    objects = "".join(
        f"<object><name>{box.label}</name><difficult>0</difficult><bndbox>"
        f"<xmin>{box.x1 + 1:.0f}</xmin><ymin>{box.y1 + 1:.0f}</ymin>"
        f"<xmax>{box.x2:.0f}</xmax><ymax>{box.y2:.0f}</ymax></bndbox></object>"
        for box in boxes
    )
    size = f"<size><width>{SIZE}</width><height>48</height><depth>3</depth></size>"
    return f"<annotation><folder>images</folder><filename>{Path(path).name}</filename>{size}{objects}</annotation>"


LAYOUTS: dict[str, Callable[[Sheet], list[Case]]] = {
    "breakhis": breakhis,
    "cheng": cheng,
    "chestxray14": chestxray14,
    "covid-ct-md": covid_ct_md,
    "eyepacs": eyepacs,
    "face-mask": face_mask,
    "medmnist": medmnist,
    "messidor": messidor,
    "mitbih": mitbih,
    "montgomery": montgomery,
    "parkinson-speech": parkinson_speech,
    "pcam": pcam,
    "sars-cov-2-ct": sars_cov_2_ct,
    "shenzhen": shenzhen,
    "vowels": vowels,
}
