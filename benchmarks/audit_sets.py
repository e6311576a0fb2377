"""The audit on every image set of a folder: what must be found, what was found, and how long it took.

python benchmarks/audit_sets.py DATA --write benchmarks/audit_sets.md
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from resdx.data.audit.audit import Audit, audit
from resdx.data.sources.folders import FolderPerClass, Source, Table
from resdx.data.sources.voice import Voices
from resdx.recipes.library import get_recipe
from resdx.transforms.readers.image import ReadImage
from resdx.transforms.readers.protocol import Reader
from resdx.transforms.readers.voice import ReadSpectrogram


@dataclass(frozen=True)
class Expected:
    """A set, how it is scanned, what must be found in words, and the codes that must and must not come up."""

    folder: str
    source: Source
    what: str
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    read: Reader = ReadImage()


DETERMINED = ("source-determines-class", "file-determines-class", "one-source-class")
NAMES = "names-may-be-persons"
LEAKS = ("copies-across-parts", "persons-across-parts", "id-may-restart")
APTOS = Table(file="labels.csv", header=False, folder="images", path="1", label="2")
SKIN = Table(file="HAM10000_metadata.csv", folder="images", path="image_id", label="dx", group="lesion_id")
MIAS = Table(
    file="labels_converted.csv", folder="images", path="Name", label="Type", group="Name", group_pattern=r"(\d+)$", pairs=2,
    patterns=(("benign", "^B$"), ("malignant", "^M$")),
)  # fmt: skip
KIND = FolderPerClass(group=r"^person(\d+)_|^(?:NORMAL2-)?IM-(\d+)")  # the wrong way: the kind and the prefix dropped

SETS = (
    Expected(
        "cxr-pneumonia", get_recipe("pneumonia_resnet").source,
        "32 copies, none across parts; test balance differs; no shared person",
        ("exact-copies", "part-balance"), (*DETERMINED, *LEAKS),
    ),
    Expected(
        "cxr-pneumonia", KIND, "ids that restart (the kind dropped): never a leak of persons",
        ("id-may-restart",), ("persons-across-parts", *DETERMINED),
    ),
    Expected(
        "cxr-covid-cohen", get_recipe("covid_cxr").source, "not assessed rows; 9 persons with both labels",
        ("not-assessed", "persons-across-classes"),
    ),
    Expected(
        "cxr-covid-talo", FolderPerClass(), "the class is the source: size and mode tell it; NIH's persons in the names",
        ("file-determines-class", NAMES), LEAKS,
    ),
    Expected("ct-covid", FolderPerClass(), "format, size and mode tell something", ("file-tells-class",), (*LEAKS, NAMES)),
    Expected(
        "ct-lung", FolderPerClass(), "42 copies, many near-duplicates, no person",
        ("exact-copies", "near-duplicates", "no-person-id"), (*DETERMINED, NAMES),
    ),
    Expected(
        "mri-brain", get_recipe("brain_tumour_mri").source, "109 copies; 38 % of Testing nearly in Training",
        ("exact-copies", "copies-across-parts", "no-person-id"), (NAMES,),
    ),
    Expected(
        "malaria-cells", get_recipe("malaria").source, "20 of 63 persons with one class only",
        ("persons-across-classes",), DETERMINED,
    ),
    Expected("malaria-cells", FolderPerClass(), "63 persons in the names, none given", (NAMES,), DETERMINED),
    Expected(
        "fundus-odir", get_recipe("fundus_multilabel").source, "rows without files, doubled rows (from the scan)",
        (), DETERMINED,
    ),
    Expected(
        "fundus-aptos", APTOS, "2 copies, near-duplicates; rows without files (from the scan)",
        ("exact-copies",), (*DETERMINED, NAMES),
    ),
    Expected("mammo-mias", MIAS, "nothing", (), (*DETERMINED, "exact-copies")),
    Expected(
        "us-breast", FolderPerClass(), "one picture in two classes (malignant 145 = benign 433)",
        ("copies-across-classes",), (*DETERMINED, NAMES),
    ),
    Expected("skin-ham10000", SKIN, "imbalance", ("imbalance",), (*DETERMINED, "exact-copies")),
    Expected("histo-lung", FolderPerClass(), "nothing (4 pairs at most)", (), (*DETERMINED, "exact-copies", NAMES)),
    Expected("voice-parkinson", Voices(), "85 speakers in the names, none given", (NAMES,), (), ReadSpectrogram()),
)  # fmt: skip


def row(expected: Expected, root: Path) -> tuple[str, str]:
    """A line of the table, and the findings in full."""
    start = time.perf_counter()
    manifest = expected.source.scan(root / expected.folder)
    result: Audit = audit(manifest, expected.read)
    took = time.perf_counter() - start
    graded = {finding.code: finding for finding in (*manifest.findings, *result.findings)}
    wrong = [f"**missed {code}**" for code in expected.must if code not in graded]
    wrong += [f"**false {code}**" for code in expected.must_not if code in graded]
    found = ", ".join(f"{finding.code} ({finding.grade})" for finding in graded.values()) or "nothing"
    line = (
        f"| {expected.folder} | {len(manifest)} | {expected.what} | {'; '.join(wrong) or 'yes'} | {found} | {took:.1f} s, "
        f"load {os.getloadavg()[0]:.1f} |"
    )
    text = "\n".join(f"- {finding.grade}: **{finding.code}** {finding.text}" for finding in graded.values())
    return line, f"### {expected.folder}: {expected.what}\n\n{text.replace(f'{root}/', '')}\n"


def main() -> None:
    """Audit every set and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--only", default="", help="sets whose folder holds this text")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    lines, texts = [], []
    for expected in SETS:
        if options.only in expected.folder and (options.root / expected.folder).is_dir():
            line, text = row(expected, options.root)
            print(line, file=sys.stderr, flush=True)
            lines.append(line)
            texts.append(text)
    head = [
        "# What the audit finds in public sets",
        "",
        "Made by `python benchmarks/audit_sets.py DATA --write benchmarks/audit_sets.md`; ",
    ]
    head[-1] += "scan and audit together, on 2 cores; the load says how busy they were."
    head += ["", "| set | cases | must be found | all found, nothing false | findings | time |", "|---|---|---|---|---|---|"]
    page = "\n".join([*head, *lines, "", "## In words", "", *texts])
    if options.write:
        options.write.write_text(page)
    else:
        print(page)


if __name__ == "__main__":
    main()
