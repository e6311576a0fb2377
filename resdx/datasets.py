"""How public data sets that several recipes read are laid out: their classes, and whom a picture shows."""

from __future__ import annotations

from .sources import FilenamePattern, FolderPerClass

# Kermany et al. 2018, chest radiographs of children (licence: CC BY 4.0, from memory), with the test part it ships. A number names a child only within
# its kind: person1_bacteria and person1_virus are two children.
KERMANY = FolderPerClass(group=r"^(person\d+_[a-z]+)|^((?:NORMAL2-)?IM-\d+)")
KERMANY_CLASSES = ("NORMAL", "PNEUMONIA")

# BreakHis, Spanhol et al. 2016, breast tumours at four magnifications (licence: CC BY 4.0, from memory). Letters after the number of a slide are further
# slides of one person, as far as names tell: SOB_B_A-14-22549AB-40-001.png shows 14-22549.
BREAKHIS = FilenamePattern(
    r"SOB_(?P<label>[BM])_[A-Z]+-(?P<group>\d+-\d+)[A-Z]*-(?P<view>\d+)-", rename=(("B", "benign"), ("M", "malignant"))
)
BREAKHIS_CLASSES = ("benign", "malignant")
