"""Every recipe and variant keeps the contract: it loads, can be stored, can be changed, and scans data of its layout."""

from __future__ import annotations

import csv
import importlib
import json
import math
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from places import REPOSITORY
from write_files import labels, pictures

from resdx import records
from resdx.data.persons import count_persons
from resdx.data.phantoms import draw_layout
from resdx.data.phantoms.layouts import TUMOURS
from resdx.data.split import RandomImages
from resdx.data.tasks import Classify, Detect, Ordinal
from resdx.errors import RecipeError
from resdx.models.specs import AlexNet, Net
from resdx.recipes import systems
from resdx.recipes.learning import Ensemble, FeatureClassifier, Search, Training
from resdx.recipes.library import (
    get_recipe,
    recipe_facts,
    recipe_list,
    recipe_names,
    recipe_schema,
    recipe_table,
    recipe_text,
    recipe_titles,
    variants_of,
)
from resdx.recipes.recipe import About, Published, Recipe
from resdx.records import from_record, to_record
from resdx.transforms.augment import Affine, Flip
from resdx.transforms.image import Grey, Resize, UnsharpMask
from resdx.transforms.readers.image import ReadImage

PAGE = REPOSITORY / "docs/reference/recipes.md"
TUBERCULOSIS = {"shenzhen": "ChinaSet_AllFiles", "montgomery": "MontgomerySet"}  # layout -> its folder
OWN = recipe_names()
NAMES = tuple(recipe_titles())  # recipes, and variants as name:variant


@pytest.mark.parametrize("name", NAMES)
def test_recipe_is_the_same_after_being_stored(name):
    recipe = get_recipe(name)
    stored = json.loads(json.dumps(to_record(recipe)))
    assert from_record(stored) == recipe
    assert from_record(stored).fingerprint() == recipe.fingerprint()


def test_fingerprints_tell_recipes_apart():
    assert len({get_recipe(name).fingerprint() for name in NAMES}) == len(NAMES)
    plain = get_recipe("plain")
    assert plain.set("learn.lr", "0.002").fingerprint() != plain.fingerprint() == plain.set("learn.lr", "0.001").fingerprint()


@pytest.mark.parametrize("name", NAMES)
def test_one_field_can_be_changed(name):
    recipe = get_recipe(name)
    if isinstance(recipe.learn, Ensemble):
        assert recipe.set("learn.vote", "majority").learn == replace(recipe.learn, vote="majority")
    elif isinstance(recipe.learn, Training | Search):
        more = recipe.learn.epochs + 1
        assert recipe.set("learn.epochs", str(more)).learn == replace(recipe.learn, epochs=more)
    else:
        assert recipe.set("learn.views", "3").learn == replace(recipe.learn, views=3)
    assert recipe.set("size", "96").size == 96
    assert recipe.set("pool", "max").pool == "max"
    if not isinstance(recipe.task, Detect):
        assert recipe.set("views", "8").views == 8


@pytest.mark.parametrize("name", NAMES)
def test_unknown_field_suggests_the_right_one(name):
    below = {Ensemble: "learn.members.0.learn", Search: "learn.training"}.get(type(get_recipe(name).learn), "learn")
    with pytest.raises(RecipeError, match=rf"no field '{below}\.class_weight'; did you mean {below}\.class_weights\?"):
        get_recipe(name).set(f"{below}.class_weight", "balanced")
    with pytest.raises(RecipeError, match=r"no field 'lern\.epochs'; did you mean learn"):
        get_recipe(name).set("lern.epochs", "1")


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_is_named_like_its_file_and_documented(name):
    assert get_recipe(name).name == name
    assert re.search(rf"^\| `{name}` \| \S", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_names_the_licence_of_its_data(name):
    said = importlib.import_module(f"resdx.recipes.systems.{name}").__doc__
    assert "licence: " in " ".join(said.split()) or "the licence is that of the images you bring" in said


def about_signals(name):
    return get_recipe(name).about.modality in ("electrocardiogram", "voice")


@pytest.mark.parametrize("name", [name for name in recipe_names() if not isinstance(get_recipe(name).task, Detect)])
def test_recipe_offers_features_for_machines_without_gpu(name):
    recipe, features = get_recipe(name), get_recipe(f"{name}:features")
    for one in features.members:
        assert isinstance(one.learn, FeatureClassifier)
        assert one.size >= (112 if about_signals(name) else 224) and (one.model.backbone.frozen, one.model.backbone.weights) == (
            "all",
            "imagenet",
        )
    assert (features.source, features.classes, features.task) == (recipe.source, recipe.classes, recipe.task)


@pytest.mark.parametrize("name", NAMES)
def test_figures_of_papers_are_marked_and_choices_are_listed(name):
    recipe = get_recipe(name)
    assert recipe.differs
    said = importlib.import_module(f"resdx.recipes.systems.{name.partition(':')[0]}").__doc__
    assert "seen in" in " ".join(said.split()) or not any(figure.seen for figure in recipe.published), "where was it seen?"
    assert all(0 < figure.value < 1 for figure in recipe.published)


def test_titles_are_one_of_a_kind():
    assert len(set(recipe_titles().values())) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_recipe_tells_its_system_disease_modality_data_and_state(name):
    about = get_recipe(name).about
    assert re.fullmatch(r"(S\d\d)?", about.system)
    assert about.disease and about.modality and about.data and about.state
    said = importlib.import_module(f"resdx.recipes.systems.{name.partition(':')[0]}").__doc__
    assert said.startswith(about.system)


def test_list_goes_by_number_and_names_every_variant_once():
    rows = recipe_list()
    assert rows[0]["name"] == "plain"  # S03
    numbers = [row["system"] for row in rows]
    assert sorted(filter(None, numbers)) == [number for number in numbers if number] and not numbers[-1]
    assert {row["name"] for row in rows} | {name for row in rows for name in row["variants"]} == set(NAMES)
    lines = recipe_table().splitlines()
    assert len(lines) == 1 + 2 * len(rows)
    assert re.search(
        r"^S12 +malaria +malaria +blood smear +NIH cells +the paper's data\n +:features, ", recipe_table(), re.MULTILINE
    )


def test_all_of_a_recipe_is_told():
    facts = recipe_facts("covid_ct:features")
    assert facts["published"][0] == {"metric": "accuracy", "value": 0.8954, "seen": True} and facts["system"] == "S33"
    text = recipe_text(facts)
    assert "- accuracy 0.8954 (seen)" in text and "What the paper does not say, and we chose:" in text
    assert all(f"- {said}" in text for said in get_recipe("covid_ct:features").differs) and facts["text"] in text
    assert "covid_ct:features" in facts["variants"] and json.loads(json.dumps(facts)) == facts
    with pytest.raises(RecipeError, match="no recipe 'covid_ctt'; did you mean covid_ct"):
        recipe_facts("covid_ctt")


def test_what_is_told_of_a_recipe_is_no_part_of_its_fingerprint():
    recipe = get_recipe("malaria")
    assert replace(recipe, about=About(state="stand-in")).fingerprint() == recipe.fingerprint()
    told = replace(recipe, title="another", published=(), differs=("nothing",))
    assert told.fingerprint() == recipe.fingerprint() != recipe.set("learn.epochs", "3").fingerprint()
    with pytest.raises(
        RecipeError,
        match=r"About.state cannot be 'good': it takes '', \"the paper's data\", 'real data', 'stand-in' or 'no data'",
    ):
        About(state="good")


@pytest.mark.parametrize("name", recipe_names())
def test_deleting_a_recipe_file_leaves_the_others_working(name, tmp_path, monkeypatch):
    here = Path(systems.__file__).parent
    shutil.copytree(here, tmp_path / "systems", ignore=shutil.ignore_patterns(f"{name}.py", "__pycache__"))
    for module in [module for module in sys.modules if module.startswith("resdx.recipes.systems.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(records, "_KNOWN", dict(records._KNOWN))
    monkeypatch.setattr(systems, "__path__", [str(tmp_path / "systems")])
    monkeypatch.setattr("resdx.recipes.library.SYSTEMS", tmp_path / "systems")
    assert {row["name"] for row in recipe_list()} == {other for other in OWN if other != name}
    outside = [file for file in here.parents[1].rglob("*.py") if file.parent != here]
    assert not [file for file in outside if re.search(rf"\b(recipes|systems)(\.| import ){name}\b", file.read_text())]


def test_user_recipe_is_found_by_path(tmp_path):
    (tmp_path / "own.py").write_text(
        "from resdx.recipes import Recipe, Training\nfrom dataclasses import replace\n"
        "RECIPE = Recipe(name='own', title='My films', learn=Training(epochs=2))\n"
        "VARIANTS = {'long': RECIPE.set('learn.epochs', '9')}\n"
    )
    assert get_recipe(f"{tmp_path}/own.py").title == "My films"
    assert get_recipe(f"{tmp_path}/own.py:long").learn == Training(epochs=9)
    with pytest.raises(RecipeError, match="no variant 'longer'; there are long"):
        get_recipe(f"{tmp_path}/own.py:longer")
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(RecipeError, match=r"empty\.py holds no RECIPE"):
        get_recipe(f"{tmp_path}/empty.py")
    with pytest.raises(RecipeError, match=r"gone\.py is no file"):
        get_recipe(f"{tmp_path}/gone.py")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x = 1\nRECIPE = Recipe(\n", r"own\.py, line 2: SyntaxError: '\(' was never closed; correct the recipe file"),
        ("x = 1\n\nimport nowhere_at_all\n", r"own\.py, line 3: ModuleNotFoundError: No module named 'nowhere_at_all'; correct"),
        (
            "from resdx.recipes import Training\nTraining(\n  epochs='x')\n",
            r"own\.py, line 2: Training\.epochs cannot be 'x': it takes",
        ),
        (
            "from resdx.recipes import Training\nTraining(epochs=0)\n",
            r"own\.py, line 2: Training\.epochs cannot be 0: it takes a whole number of at least 1; correct",
        ),
    ],
)
def test_recipe_file_with_an_error_is_one_sentence_with_file_and_line(tmp_path, text, what):
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(RecipeError, match=what) as caught:
        get_recipe(f"{tmp_path}/own.py")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", OWN)
def test_schema_of_a_recipe_fits_what_is_stored_of_it_and_of_its_variants(name):
    schema = recipe_schema(name)
    check = jsonschema.Draft202012Validator(schema)
    check.check_schema(schema)
    for other in (name, *(f"{name}:{variant}" for variant in variants_of(name))):
        stored = to_record(get_recipe(other))
        assert not [error.message for error in check.iter_errors(stored)]
        assert list(check.iter_errors(stored | {"views": 3})) and list(check.iter_errors(stored | {"colour": 1}))
    assert schema["properties"]["learn"]["default"] == to_record(get_recipe(name).learn)


def test_wrong_name_suggests_the_right_one():
    with pytest.raises(RecipeError, match="no recipe 'malria'; did you mean malaria"):
        get_recipe("malria")
    with pytest.raises(RecipeError, match="no recipe 'zzz'; there are brain_tumour_"):
        get_recipe("zzz")
    with pytest.raises(RecipeError, match="plain has no variant 'vgg'; there are features"):
        get_recipe("plain:vgg")


def test_wrong_order_of_steps_names_the_step():
    with pytest.raises(RecipeError, match="own: ReadImage takes a path, but Resize before it gives a image"):
        Recipe(name="own", title="", prepare=(Resize(64), ReadImage()))


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"prepare": (Grey(),)}, r"prepare must end in an image of one size; add Resize\(224\)"),
        ({"augment": (Grey(),)}, "Grey is no random step; augment takes Flip"),
        ({"views": 3}, r"Recipe\.views cannot be 3: it takes 1, 2 or 8"),
        ({"classes": ("a",)}, r"one class only \(a\)"),
        ({"classes": ("a", "b"), "task": Classify(positive="c")}, "positive class 'c' is not among a, b"),
    ],
)
def test_recipe_checks_itself(fields, what):
    with pytest.raises(RecipeError, match=what):
        Recipe(name="own", title="", **fields)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"epochs": 0}, "epochs cannot be 0: it takes a whole number of at least 1"),
        ({"epochs": 2, "head_epochs": 3}, "head_epochs cannot be 3: the head learns alone for at most all 2 epochs"),
        ({"batch": 1}, "batch cannot be 1: it takes a whole number of at least 2"),
        ({"lr": 0.0}, "lr cannot be 0.0: it takes a number above 0"),
        ({"ema": 1.0}, "ema cannot be 1.0: it takes a number from 0 to below 1"),
        ({"ema": math.nan}, "ema cannot be nan: it takes a number from 0 to below 1"),
        ({"lr": math.nan}, "lr cannot be nan: it takes a number above 0"),
        ({"lr": math.inf}, "lr cannot be inf: it takes a number above 0"),
        ({"lr_decay": math.nan}, "lr_decay cannot be nan: it takes a number above 0 and up to 1"),
        ({"weight_decay": -0.1}, "weight_decay cannot be -0.1: it takes a number of at least 0"),
        ({"weight_decay": math.nan}, "weight_decay cannot be nan: it takes a number of at least 0"),
        ({"mixup": math.inf}, "mixup cannot be inf: it takes a number of at least 0"),
        ({"patience": -1}, "patience cannot be -1: it takes a whole number of at least 0"),
        ({"start_size": -16}, "start_size cannot be -16: it takes a whole number of at least 0 pixels"),
        ({"plateau_factor": 1.0}, "plateau_factor cannot be 1.0: it takes a number above 0 and below 1"),
        ({"plateau_patience": 0}, "plateau_patience cannot be 0: it takes a whole number of at least 1"),
        ({"epsilon": 0.0}, "epsilon cannot be 0.0: it takes a number above 0"),
        ({"optimiser": "adma"}, r"optimiser cannot be 'adma'; did you mean 'adam'\? \(adamw, adam or sgd\)"),
        ({"sampling": "balance"}, r"sampling cannot be 'balance'; did you mean 'balanced'\? \(natural or balanced\)"),
        ({"epoch": 3}, r"Training has no field 'epoch'; did you mean epochs\?"),
        ({"cached_views": 2, "mixup": 0.1}, "cached_views goes with neither mixup nor start_size"),
        ({"lr": 1e-3, "min_lr": 1e-2}, "min_lr cannot be 0.01: it takes a rate of at most lr, which is 0.001"),
    ],
)
def test_training_checks_itself(fields, what):
    with pytest.raises(RecipeError, match=what):
        Training(**fields)


@pytest.mark.parametrize("fields", [{"penalties": ()}, {"penalties": (0.1, math.nan)}, {"penalties": (-1.0,)}, {"views": 0}])
def test_feature_classifier_checks_itself(fields):
    with pytest.raises(RecipeError, match="FeatureClassifier"):
        FeatureClassifier(**fields)


@pytest.mark.parametrize("test", [0.0, 1.0, math.nan])
def test_random_share_for_test_checks_itself(test):
    with pytest.raises(RecipeError, match=r"RandomImages\.test cannot be (0\.0|1\.0|nan): it takes a number above 0 and below 1"):
        RandomImages(test)


def test_number_that_is_not_finite_is_refused_wherever_it_stands():
    with pytest.raises(RecipeError, match=r"Affine\.degrees cannot be nan: it takes a number"):
        Recipe(name="own", title="", augment=(Flip(), Affine(degrees=math.nan)))
    with pytest.raises(RecipeError, match=r"Published\.value cannot be inf: it takes a number"):
        Recipe(name="own", title="", published=(Published("accuracy", math.inf),))
    with pytest.raises(RecipeError, match=r"Linear\.dropout cannot be nan: it takes a number from 0 to below 1"):
        get_recipe("malaria").set("model.head.dropout", "nan")


def test_classes_as_found_fill_only_an_empty_list():
    assert get_recipe("plain").with_classes(("b", "c")).classes == ("b", "c")
    assert get_recipe("malaria").with_classes(("parasitised", "uninfected")) == get_recipe("malaria")
    with pytest.raises(RecipeError, match="the data has the label 'ring', the recipe knows uninfected, parasitised"):
        get_recipe("malaria").with_classes(("ring", "uninfected"))


def test_pictures_too_small_for_the_network_are_refused():
    small = {"name": "own", "title": "", "model": Net(AlexNet())}
    with pytest.raises(RecipeError, match="own: AlexNet needs pictures of at least 63 pixels, not 48"):
        Recipe(**small, prepare=(Resize(48),))
    with pytest.raises(RecipeError, match="own: AlexNet needs pictures of at least 63 pixels, not 32"):
        Recipe(**small, prepare=(Resize(96),), learn=Training(start_size=32))


def test_a_seen_figure_differs_from_a_reported_one():
    assert Published("accuracy", 0.9) == Published("accuracy", 0.9, seen=False) != Published("accuracy", 0.9, seen=True)


# Each recipe scans a phantom of the layout its data comes in


def scan(name, root):
    recipe = get_recipe(name)
    manifest = recipe.source.scan(root)
    assert recipe.with_classes(manifest.classes) == recipe
    return manifest


def write_table(path, header, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_pneumonia_number_names_a_child_within_its_kind_only(tmp_path):
    train, test = "train/PNEUMONIA/person1", "test/NORMAL"
    root = pictures(
        *(tmp_path, f"{train}_virus_6.jpeg", f"{train}_bacteria_1.jpeg", f"{train}_bacteria_2.jpeg"),
        *(f"{test}/IM-0001-0001.jpeg", f"{test}/NORMAL2-IM-0001-0001.jpeg"),
    )
    manifest = scan("pneumonia_resnet", root)
    assert count_persons(manifest.cases) == 4
    assert [case.part for case in manifest.cases] == ["test"] * 2 + ["train"] * 3


def test_covid_table_keeps_frontal_films_and_what_is_not_assessed(tmp_path):
    root = pictures(tmp_path, *(f"images/{k}.png" for k in range(7)))
    write_table(
        root / "metadata.csv",
        ("patientid", "sex", "age", "finding", "view", "modality", "location", "filename", ""),
        (1, "M", 65, "COVID-19", "PA", "X-ray", "Hanoi", "0.png", ""),
        (1, "M", 65, "COVID-19, ARDS", "AP Supine", "X-ray", "Hanoi", "1.png", ""),
        (1, "M", 65, "COVID-19", "L", "X-ray", "Hanoi", "2.png", ""),
        (2, "F", "", "SARS", "AP", "X-ray", "Toronto", "3.png", ""),
        (3, "F", 30, "todo", "PA", "X-ray", "Milan", "4.png", ""),
        (4, "", 30, "Unknown", "PA", "X-ray", "Milan", "5.png", ""),
        (5, "", 30, "No Finding", "Axial", "CT", "Milan", "6.png", ""),
    )
    manifest = scan("covid_cxr", root)
    assert list(labels(manifest).values()) == ["covid", "covid", "other", None, None]
    first = manifest.cases[0]
    assert (first.group, first.sex, first.age, first.view, first.source) == ("1", "M", 65, "PA", "Hanoi")


def test_covid_folders_know_persons_by_name(tmp_path):
    names = ("No_findings/00000011_000.png", "Pneumonia/00000011_006.png", "Pneumonia/00000012_000.png", "Covid-19/nejmc.jpg")
    manifest = scan("covid_cxr:talo", pictures(tmp_path, *names))
    assert [(case.label, case.group) for case in manifest.cases] == [
        ("covid", "nejmc"),
        ("no finding", "00000011"),
        ("pneumonia", "00000011"),
        ("pneumonia", "00000012"),
    ]


def test_slices_of_one_publication_are_those_of_one_person_in_folders_of_any_layout(tmp_path):
    names = {
        "CT_COVID": ("2020.01.24.919183-p27-132.png", "2020.01.24.919183-p28-1%2.png", "PIIS0140673620303603%4.png"),
        "CT_NonCOVID": ("39%3.jpg", "39%4.jpg", "2138.png"),
        "No_findings": ("00000011_000.png", "00000011_006.png"),
    }
    manifest = scan("ensemble_covid", pictures(tmp_path, *(f"{folder}/{name}" for folder in names for name in names[folder])))
    assert [(case.label, case.group) for case in manifest.cases] == [
        *[("covid", "2020.01.24.919183")] * 2,
        ("covid", "PIIS0140673620303603"),
        ("other", "2138"),
        *[("other", "39")] * 2,
        *[("other", "00000011")] * 2,
    ]


def test_brain_slices_come_in_parts_and_without_persons(tmp_path):
    folders = ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor")
    manifest = scan("brain_tumour_mri", pictures(tmp_path, *(f"{p}/{f}/1.jpg" for p in ("Training", "Testing") for f in folders)))
    assert {case.part for case in manifest.cases} == {"train", "test"}
    assert manifest.classes == ("glioma", "meningioma", "no tumour", "pituitary tumour")
    assert not any(case.group for case in manifest.cases)


def test_brain_tasks_read_the_same_slices_as_two_or_four_classes(tmp_path):
    folders = ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor")
    root = pictures(tmp_path, *(f"Training/{folder}/1.jpg" for folder in folders))
    assert scan("brain_tumour_cnn", root).classes == ("no tumour", "tumour")
    assert scan("brain_tumour_cnn:types", root).classes == ("glioma", "meningioma", "no tumour", "pituitary tumour")


def test_ct_slices_have_two_folders_and_no_person(tmp_path):
    manifest = scan("covid_ct", pictures(tmp_path, "COVID/Covid (1).png", "non-COVID/Non-Covid (1).png", "COVID/Covid (2).png"))
    assert [case.label for case in manifest.cases] == ["covid", "covid", "other"]
    assert not any(case.group for case in manifest.cases)


def test_lesions_are_found_in_either_part_of_the_pictures_and_are_the_persons(tmp_path):
    root = pictures(
        tmp_path, "HAM10000_images_part_1/ISIC_1.jpg", "HAM10000_images_part_1/ISIC_2.jpg", "HAM10000_images_part_2/ISIC_3.jpg"
    )
    header = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
    rows = [("HAM_7", f"ISIC_{k}", "mel", "histo", "60.0", "male", "back") for k in (1, 3)]
    write_table(root / "HAM10000_metadata.csv", header, *rows, ("HAM_8", "ISIC_2", "nv", "follow_up", "", "female", "face"))
    manifest = scan("skin_lesions", root)
    assert [(case.label, case.group) for case in manifest.cases] == [("mel", "HAM_7"), ("nv", "HAM_8"), ("mel", "HAM_7")]
    assert (manifest.cases[0].age, manifest.cases[1].age) == (60, None)


@pytest.mark.parametrize("name", ["pneumonia_six_nets", "pneumonia_six_nets:stridednet"])
def test_six_networks_know_children_by_kind_and_number(tmp_path, name):
    names = ("train/PNEUMONIA/person1_virus_6.jpeg", "train/PNEUMONIA/person1_bacteria_1.jpeg", "test/NORMAL/IM-0001-0001.jpeg")
    assert count_persons(scan(name, pictures(tmp_path, *names)).cases) == 3


def test_covid_networks_know_persons_by_name(tmp_path):
    names = ("No_findings/00000011_000.png", "Pneumonia/00000011_006.png", "Covid-19/nejmc.jpg")
    manifest = scan("covid_lung_nets:vgg19", pictures(tmp_path, *names))
    assert [case.group for case in manifest.cases] == ["nejmc", "00000011", "00000011"]


def test_dranet_takes_any_folders(tmp_path):
    manifest = get_recipe("dranet").source.scan(pictures(tmp_path, "naevus/1.png", "melanoma/2.png"))
    assert get_recipe("dranet").with_classes(manifest.classes).classes == ("melanoma", "naevus")


def test_malaria_cells_are_grouped_by_slide(tmp_path):
    names = ("C39P4thinF_original_IMG_1_cell_1.png", "C39P4thinF_original_IMG_2_cell_9.png", "C201ThinF_IMG_1_cell_7.png")
    root = pictures(tmp_path, *(f"{folder}/{name}" for folder in ("Parasitized", "Uninfected") for name in names))
    manifest = scan("malaria", root)
    assert {case.group for case in manifest.cases} == {"C39", "C201"}
    assert manifest.classes == ("parasitised", "uninfected")


def test_eyes_are_labelled_by_their_own_keywords(tmp_path):
    words = {
        0: ("cataract", "normal fundus"),
        1: ("moderate non proliferative retinopathy，hypertensive retinopathy", "lens dust, normal fundus"),
        2: ("dry age-related macular degeneration，glaucoma", "pathological myopia,macular epiretinal membrane"),
        3: ("low image quality", "epiretinal membrane"),
    }
    root = pictures(tmp_path, *(f"images/{k}_{side}.jpg" for k in words for side in ("left", "right")))
    header = (
        "ID",
        "Patient Age",
        "Patient Sex",
        "Left-Fundus",
        "Right-Fundus",
        "Left-Diagnostic Keywords",
        "Right-Diagnostic Keywords",
    )
    rows = [(k, 60, "Female", f"{k}_left.jpg", f"{k}_right.jpg", *both) for k, both in words.items()]
    write_table(root / "full_df.csv", header, *rows, *rows)
    manifest = scan("fundus_multilabel", root)
    assert list(labels(manifest).values()) == [
        *("cataract", "normal", "retinopathy|hypertension", "normal"),
        *("glaucoma|amd", "myopia|other", None, "other"),
    ]
    assert (count_persons(manifest.cases), manifest.cases[0].age, manifest.cases[0].sex) == (4, 60, "F")


def test_films_without_a_finding_are_drawn_until_they_are_as_many_as_those_with_pneumonia(tmp_path):
    words = ("Pneumonia", "Infiltration|Pneumonia", "Effusion", *["No Finding"] * 7)
    names = [f"{k // 2:08d}_{k % 2:03d}.png" for k in range(10)]
    root = pictures(tmp_path, *(f"images_{1 + k // 6:03d}/images/{name}" for k, name in enumerate(names)))
    header = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position")
    rows = [(name, word, k % 2, k // 2, 40, "F", "PA") for k, (name, word) in enumerate(zip(names, words, strict=True))]
    write_table(root / "Data_Entry_2017.csv", header, *rows)
    manifest = scan("pneumonia_off_the_shelf", root)
    assert sorted(case.label for case in manifest.cases) == ["NORMAL"] * 2 + ["PNEUMONIA"] * 2
    assert {case.group for case in manifest.cases if case.label == "PNEUMONIA"} == {"0"}
    assert (manifest.cases[0].age, manifest.cases[0].sex, manifest.cases[0].view) == (40, "F", "PA")
    assert scan("pneumonia_off_the_shelf", root).cases == manifest.cases


def test_every_network_of_the_comparison_meets_every_classifier():
    backbones = {}
    for name in ("pneumonia_off_the_shelf", *(name for name in NAMES if name.startswith("pneumonia_off_the_shelf:"))):
        model = get_recipe(name).model
        backbones.setdefault(getattr(model.backbone, "name", "resnet"), set()).add(type(model.head).__name__)
        assert (model.backbone.frozen, model.backbone.weights) == ("all", "imagenet")
    four = {"Svm", "Forest", "NaiveBayes", "Neighbours"}
    mobile = {"mobilenetv2_100": {"Linear", *four}}
    assert backbones == dict.fromkeys(("vgg16", "legacy_xception", "resnet", "densenet169"), four) | mobile


CALLED = {  # recipe -> what it calls the labels of the public set
    "tuberculosis_cxr": {"0": "normal", "1": "tuberculosis"},
    "histology_transfer": {tumour: group for group, tumour, _ in TUMOURS},
    "mobihisnet": {tumour: group for group, tumour, _ in TUMOURS},
    "metastasis_tta": {"0": "no tumour", "1": "metastasis"},
    "retinopathy": {str(k): grade for k, grade in enumerate(("none", "mild", "moderate", "severe", "proliferative"))},
}


@pytest.mark.parametrize(
    ("name", "layout", "below"),
    [
        *[("tuberculosis_cxr", layout, f"{folder}/CXR_png/") for layout, folder in TUBERCULOSIS.items()],
        *[(name, "breakhis", "") for name in ("histology_transfer", "mobihisnet")],
        ("metastasis_tta", "pcam", ""),
        ("retinopathy", "eyepacs", ""),
        ("retinopathy:messidor", "messidor", ""),
    ],
)
def test_recipe_reads_the_layout_of_its_public_set(tmp_path, name, layout, below):
    truth = draw_layout(layout, tmp_path / "set", persons=10)
    called = CALLED[name.partition(":")[0]]
    found = {below + case.id: case for case in scan(name, tmp_path / "set" / below).cases}
    assert {path: case.label for path, case in found.items()} == {
        case.id: called[case.label] if case.label else "" for case in truth.cases
    }
    for case in truth.cases:
        assert found[case.id].group.endswith(case.group.rstrip("AB")) and bool(found[case.id].group) == bool(case.group)
    assert count_persons(found.values()) == count_persons(truth.cases)


def test_faces_are_read_with_their_boxes_under_either_name(tmp_path):
    truth = draw_layout("face-mask", tmp_path, persons=10)
    found = scan("face_masks", tmp_path)
    called = dict(get_recipe("face_masks").source.rename)
    for case in truth.cases:
        assert found.by_id[case.id].boxes == tuple(replace(box, label=called[box.label]) for box in case.boxes)
    assert set(found.classes) == set(called.values()) == set(get_recipe("face_masks").classes)


def test_shenzhen_and_montgomery_films_name_their_hospital(tmp_path):
    for layout, folder in TUBERCULOSIS.items():
        draw_layout(layout, tmp_path / layout)
        sources = {case.source for case in scan("tuberculosis_cxr", tmp_path / layout / folder / "CXR_png").cases}
        assert sources == {layout[:3].upper().replace("SHE", "CHN").replace("MON", "MCU")}


def test_slides_of_a_breakhis_person_are_one_person(tmp_path):
    names = [f"SOB_B_A-14-22549{slide}-{zoom}-001.png" for slide in ("AB", "CD", "G") for zoom in (40, 400)]
    manifest = scan("histology_transfer", pictures(tmp_path, *names, "SOB_M_DC-14-2523-40-001.png"))
    assert [case.group for case in manifest.cases] == ["14-22549"] * 6 + ["14-2523"]
    assert {case.view for case in manifest.cases} == {"40", "400"}


def test_grades_of_eyes_keep_their_order(tmp_path):
    recipe = get_recipe("retinopathy")
    assert isinstance(recipe.task, Ordinal) and recipe.classes[0] == "none" and recipe.classes[-1] == "proliferative"
    root = pictures(tmp_path, *(f"train/{k}_{side}.jpeg" for k in range(5) for side in ("left", "right")))
    rows = [(f"{k}_{side}", k) for k in range(5) for side in ("left", "right")]
    write_table(root / "trainLabels.csv", ("image", "level"), *rows)
    assert [case.label for case in scan("retinopathy", root).cases[::2]] == list(recipe.classes)
    referable = [case.label for case in scan("retinopathy:referable", root).cases[::2]]
    assert referable == ["not referable"] * 2 + ["referable"] * 3


@pytest.mark.parametrize(
    ("name", "files", "classes"),
    [
        ("lung_ct", ("Bengin cases/a (1).jpg", "Malignant cases/a (1).jpg", "Normal cases/a (1).jpg"), 3),
        ("brain_tumour_crop", ("yes/Y1.jpg", "no/1 no.jpeg"), 2),
        ("respiratory_cxr", ("NORMAL/IM-0001.jpg", "PNEUMONIA/a.jpg", "COVID19/b(1).jpg", "TURBERCULOSIS/T-1.png"), 4),
    ],
)
def test_folders_become_classes(tmp_path, name, files, classes):
    manifest = scan(name, pictures(tmp_path, *files))
    assert len(manifest.classes) == classes == len(get_recipe(name).classes)


def test_files_of_a_collection_keep_the_persons_they_name(tmp_path):
    names = ("PNEUMONIA/person1_virus_6.jpeg", "PNEUMONIA/person1_virus_7.jpeg", "PNEUMONIA/person1_bacteria_1.jpeg")
    manifest = scan("respiratory_cxr", pictures(tmp_path, *names, "COVID19/COVID19(1).jpg", "COVID19/COVID19(2).jpg"))
    assert count_persons(manifest.cases) == 4


def test_variants_of_a_comparison_differ_where_they_say():
    plain, sharp, both = (get_recipe(f"tuberculosis_cxr{name}") for name in ("", ":unsharp", ":efficientnet-unsharp"))
    assert sharp.prepare == (*plain.prepare, UnsharpMask(5, 2)) and sharp.model == plain.model
    assert both.prepare == sharp.prepare and both.model.backbone.name == "efficientnet_b4"
    assert get_recipe("metastasis_tta").views == 8 and get_recipe("metastasis_tta:one-view").views == 1
    assert get_recipe("pneumonia_resnet:two-stage").learn.head_epochs > 0 == get_recipe("pneumonia_resnet").learn.head_epochs


def test_a_recipe_of_one_s_own_tells_what_its_file_says(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text('"""Lungs, in my way."""\nfrom resdx.recipes import Recipe\nRECIPE = Recipe(name="mine", title="Mine")\n')
    assert recipe_facts(str(path))["text"] == "Lungs, in my way."
    path.write_text(path.read_text().partition("\n")[2])
    assert recipe_facts(str(path))["text"] == ""
