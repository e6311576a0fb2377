"""What a release says of itself is the same everywhere."""

import re
import tomllib
from pathlib import Path

import resdx

REPOSITORY = Path(__file__).parent.parent


def test_version_is_the_same_wherever_it_stands():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    citation = re.search(r"^version: (\S+)$", (REPOSITORY / "CITATION.cff").read_text(), re.MULTILINE)
    newest = re.search(r"^## (\d\S+) - (\d{4}-\d\d-\d\d)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert resdx.__version__ == project == citation[1] == newest[1]
    assert f'date-released: "{newest[2]}"' in (REPOSITORY / "CITATION.cff").read_text()


def test_hooks_and_workflow_run_what_the_repository_runs():
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)[1]
    hooks = re.findall(r"entry: \.venv/bin/(\w+)", (REPOSITORY / ".pre-commit-config.yaml").read_text())
    assert hooks == re.findall(r"bin/(\w+)", lint)
    assert ".ci/run" in (REPOSITORY / ".github/workflows/ci.yml").read_text()
