"""The documentation names what exists, and only that."""

import importlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import click
import pytest
from test_layers import ROW

import resdx
from resdx.apps.cli.main import cli
from resdx.recipes.library import get_recipe, recipe_names

REPOSITORY = Path(__file__).parent.parent
PAGES = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "benchmarks").glob("*.md")]
WRITTEN = [
    page for page in PAGES if "benchmarks" not in page.parts and "review" not in page.parts
]  # by hand, or to be read first
MOST_COLUMNS = 8
SITE = REPOSITORY / "docs" / "site"
COMMANDS = {name: cli.get_command(click.Context(cli), name) for name in cli.list_commands(click.Context(cli))}
REFERENCE = (REPOSITORY / "docs/reference/commands.md").read_text()
LINK_OR_ANCHOR = re.compile(r"(?<!!)\[[^\]]*\]\(([^)#\s]*)(#[^)\s]+)?\)")
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
FORBIDDEN = re.compile(r"/work/|\.\./shared|\bTODO\b|\bTBD\b|state.of.the.art|cutting.edge|blazing", re.IGNORECASE)


def name(page):
    return str(page.relative_to(REPOSITORY))


@pytest.mark.parametrize("recipe", recipe_names())
def test_recipe_is_documented(recipe):
    assert f"`{recipe}`" in (REPOSITORY / "docs/reference/recipes.md").read_text()


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_command_is_documented_with_its_options(command):
    section = re.search(rf"^## `resdx {command}\b.*?(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert section, f"no heading '## `resdx {command}' in docs/reference/commands.md"
    options = [option for parameter in COMMANDS[command].params for option in parameter.opts if option.startswith("--")]
    assert not [option for option in options if option not in section[0]]


def test_documented_commands_exist():
    said = {match for page in PAGES for match in re.findall(r"\bresdx ([a-z]+)(?=[ `\n])", " ".join(code(page)))}
    assert said <= COMMANDS.keys()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page):
    links = [link for link, _anchor in LINK.findall(page.read_text()) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_anchors_exist(page):
    wrong = []
    for link, anchor in LINK_OR_ANCHOR.findall(page.read_text()):
        other = (page.parent / link).resolve() if link else page
        if "://" not in link and anchor and other.suffix == ".md":
            wrong += [link + anchor] if anchor[1:] not in anchors(other) else []
    assert not wrong


def anchors(page):
    """What headings of a page are called in links, as the site and the usual hosts of repositories do."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    plain = [re.sub(r"\]\([^)]*\)|[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"\s+", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_tables_can_be_read(page):
    wide = [
        line for line in page.read_text().splitlines() if re.match(r"\|( *-+ *\|)+$", line) and line.count("|") - 1 > MOST_COLUMNS
    ]
    assert not wide, f"a table of more than {MOST_COLUMNS} columns; numbers belong in benchmarks/"


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_pictures_say_what_they_show(page):
    assert not re.findall(r"!\[\]\(", page.read_text())


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_files_that_pages_name_exist(page):
    named = set(re.findall(r"`((?:tests|resdx|benchmarks|docs|\.ci)/[\w/.-]+\.\w+)`", page.read_text()))
    assert not [file for file in named if "NAME" not in file and not (REPOSITORY / file).exists()]


def test_python_pages_name_what_is_there():
    for page in PAGES:
        for module, names in re.findall(
            r"^::: ([\w.]+)(?:\n +options: \{members: \[([^\]]*)\])?", page.read_text(), re.MULTILINE
        ):
            there = importlib.import_module(module)
            assert not [one for one in names.split(", ") if one and not hasattr(there, one)], f"{name(page)}: {module}"


def test_public_names_are_documented():
    pages = "".join((REPOSITORY / f"docs/reference/{page}.md").read_text() for page in ("python", "recipe-parts"))
    assert not [one for one in resdx.__all__ if not re.search(rf"\b{one}\b", pages)]


@pytest.mark.slow
def test_site_builds_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra docs is not installed; `make docs` builds the site")
    asked = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        asked, cwd=REPOSITORY, env={**os.environ, "NO_MKDOCS_2_WARNING": "true"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    loaded = [
        tag for page in tmp_path.rglob("*.html") for tag in re.findall(r"<(?:script|link|img|iframe)[^>]*>", page.read_text())
    ]
    assert len(loaded) > 100
    assert not [tag for tag in loaded if re.search(r"""(?:src|href)=["'](?:https?:)?//""", tag)]


def test_every_page_is_in_the_menu_of_the_site():
    menu = (REPOSITORY / "mkdocs.yml").read_text()
    pages = {name(page).removeprefix("docs/") for page in PAGES if page.parent != REPOSITORY}
    assert pages == set(re.findall(r": ([\w/-]+\.md)$", menu, re.MULTILINE))


def test_diagrams_are_those_of_their_script():
    drawn = runpy.run_path(str(SITE / "diagrams.py"))
    for one in ("flow", "split", "rooms"):
        assert (REPOSITORY / f"docs/pictures/{one}.svg").read_text() == drawn[one]()


def test_rooms_of_the_diagram_are_those_of_the_house():
    drawn = re.findall(r'font-weight="600" text-anchor="start">(\w+)<', (REPOSITORY / "docs/pictures/rooms.svg").read_text())
    assert set(drawn) == ROW.keys()


def test_nothing_of_the_site_is_asked_of_another_host():
    settings = (REPOSITORY / "mkdocs.yml").read_text()
    assert "font: false" in settings and not re.search(r"https?://", settings + (SITE / "extra.css").read_text())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_page_keeps_to_the_product(page):
    assert not FORBIDDEN.search(page.read_text())


def test_make_targets_that_pages_name_exist():
    targets = set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for target in re.findall(r"^make ([a-z][a-z-]*)|`make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE)
    }
    assert {first or second for first, second in named} <= targets


def test_scripts_that_pages_name_can_be_loaded():
    scripts = {
        name for page in PAGES for name in re.findall(r"python -m (benchmarks\.\w+)|`benchmarks/(\w+)\.py`", page.read_text())
    }
    asked = sorted(one or f"benchmarks.{other}" for one, other in scripts)
    load = f"import importlib; [importlib.import_module(name) for name in {asked!r}]"
    subprocess.run([sys.executable, "-c", load], cwd=REPOSITORY, check=True)


def code(page):
    """Fenced blocks and code spans of a page."""
    return re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.DOTALL)


def test_recipe_of_the_how_to_is_a_recipe(tmp_path):
    block = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs/how-to/add-a-recipe.md").read_text(), re.DOTALL)
    (tmp_path / "films.py").write_text(block[1])
    assert get_recipe(str(tmp_path / "films.py")).name == "films"
