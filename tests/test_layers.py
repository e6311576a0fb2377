"""The house: who may import whom, how long things are, and what nothing is called."""

import ast
import statistics
from pathlib import Path

import resdx

HOUSE = Path(resdx.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))

# A module imports only from rows above its own; a folder is one room, inside which modules may import each other.
ROWS = """
errors progress
records
cases metrics boxes
intervals priors steps models distances overlays
paired drift forensics
listing places
tables tasks
sources heartbeats voc
voices
losses ranks calibration familiarity recipe scoring datasets
recipes calibrate classifiers
sets
runs split duplicates decisions
facts shortcuts
audit
data
parts engines maps sharing seen
strips inputs
predict sanity votes
exported trained features
frozen differences detect
train ensembles generate
charts evaluate explain search
probe
controls leak embedding suspects learning_curve
report pages
compare
stages
study
external cross corpus export
cards teacher
pretrain review
strategies
phantoms
gallery
cli demo
"""
ROW = {room: number for number, row in enumerate(ROWS.split("\n")) for room in row.split()}
EMPTY_NAMES = {"base", "common", "core", "handler", "helper", "helpers", "manager", "misc", "util", "utils"}


def inside(path):
    return ("resdx", *path.relative_to(HOUSE).with_suffix("").parts)


def imported(path):
    """Rooms of resdx that a file imports, with the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            start = inside(path)[: -node.level] if node.level else ()
            module = (*start, *(node.module or "").split(".")) if node.module else start
            names = [alias.name for alias in node.names if not alias.name.startswith("__")]  # __version__ is no room
            yield from {(node.lineno, (*module, name)[1]) for name in names if module[0] == "resdx"}
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] == "resdx")


def test_each_module_imports_only_from_rows_above():
    wrong = []
    for path in FILES:
        room = inside(path)[1]
        if room not in ("__init__", "__main__"):
            wrong += [
                f"{path.name}:{line}: {room} imports {other}"
                for line, other in imported(path)
                if other != room and ROW.get(other, 99) >= ROW.get(room, -1)
            ]
    assert not wrong, "\n".join(wrong)


def test_every_module_has_a_row():
    rooms = {inside(path)[1] for path in FILES} - {"__init__", "__main__"}
    assert not rooms - ROW.keys(), "add these to ROWS"


def test_modules_of_one_room_do_not_import_in_a_circle():
    edges = {inside(path): set(neighbours(path)) for path in FILES}
    while free := [module for module, needs in edges.items() if not needs & edges.keys()]:
        for module in free:
            del edges[module]
    assert not edges


def neighbours(path):
    """Files of the same folder that a file imports."""
    room = inside(path)[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and path.name != "__init__.py":
            yield from ((*room, node.module.split(".")[0]),) if node.module else ((*room, alias.name) for alias in node.names)


def test_imports_stand_at_the_top():
    lazy = {HOUSE / "cli.py", HOUSE / "__init__.py"}
    functions = [(path, node) for path in FILES if path not in lazy for node in walk_functions(path)]
    wrong = [f"{path.name}:{node.lineno}" for path, node in functions if any(map(is_import, ast.walk(node)))]
    assert not wrong


def test_files_and_functions_stay_short():
    assert not [path.name for path in FILES if path.read_text().count("\n") > 500]
    lengths = {f"{path.name}:{node.name}": node.end_lineno - node.lineno + 1 for path in FILES for node in walk_functions(path)}
    assert not {name: length for name, length in lengths.items() if length > 60}
    assert statistics.median(lengths.values()) <= 10


def test_names_say_something():
    assert not [path for path in FILES if path.stem in EMPTY_NAMES]


def walk_functions(path):
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def is_import(node):
    return isinstance(node, ast.Import | ast.ImportFrom)
