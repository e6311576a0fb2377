"""The documentation names what exists, and only that."""

import re
from pathlib import Path

import click
import pytest

from resdx.apps.cli import main as cli
from resdx.recipes.library import get_recipe, recipe_names

REPOSITORY = Path(__file__).parent.parent
PAGES = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
COMMANDS = next(value for value in vars(cli).values() if isinstance(value, click.Group)).commands
REFERENCE = (REPOSITORY / "docs/reference/commands.md").read_text()
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
def test_page_keeps_to_the_product(page):
    assert not FORBIDDEN.search(page.read_text())


def test_make_targets_that_pages_name_exist():
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"^make ([a-z]+)|`make ([a-z]+)", page.read_text(), re.MULTILINE)}
    assert {first or second for first, second in named} <= targets


def code(page):
    """Fenced blocks and code spans of a page."""
    return re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.DOTALL)


def test_recipe_of_the_how_to_is_a_recipe(tmp_path):
    block = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs/how-to/add-a-recipe.md").read_text(), re.DOTALL)
    (tmp_path / "films.py").write_text(block[1])
    assert get_recipe(str(tmp_path / "films.py")).name == "films"
