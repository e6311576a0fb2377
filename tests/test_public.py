"""The public surface: small, sorted, loaded on first use, quick to ask for help."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import resdx

REPOSITORY = Path(__file__).parent.parent


def python(*args):
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, check=False, cwd=REPOSITORY)


def processor_seconds(*args):
    before = os.times()
    assert python(*args).returncode == 0
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def test_public_names_are_sorted():
    assert list(resdx.__all__) == sorted(resdx.__all__)


@pytest.mark.parametrize("name", resdx.__all__)
def test_public_name_loads(name):
    assert getattr(resdx, name) is not None
    assert name in dir(resdx)


def test_absent_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        resdx.no_such_name  # noqa: B018


def test_importing_resdx_loads_no_heavy_library():
    heavy = {"torch", "numpy", "scipy", "sklearn", "skimage", "PIL", "pydicom", "matplotlib"}
    loaded = python("-c", "import resdx, sys; print(*sys.modules)").stdout.split()
    assert "resdx" in loaded
    assert not heavy & set(loaded)


def test_help_answers_at_once():
    assert min(processor_seconds("-m", "resdx", "--help") for _ in range(5)) < 0.3


def test_version_is_the_installed_one():
    said = python("-m", "resdx", "--version")
    assert said.returncode == 0
    assert resdx.__version__ in said.stdout
