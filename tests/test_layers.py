"""The house: who may import whom, how long things are, and what nothing is called."""

import ast
import functools
import statistics
from pathlib import Path

import resdx

HOUSE = Path(resdx.__file__).parent
TESTS = Path(__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))

# A room imports only from rows above its own; inside a room there are no circles.
ROWS = """
errors words
records files
transforms metrics
models
data
recipes
runs
inference
training
evaluation
report
studies
apps
"""
ROW = {room: number for number, row in enumerate(ROWS.split("\n")) for room in row.split()}
EMPTY_NAMES = {"base", "common", "core", "handler", "helper", "helpers", "manager", "misc", "util", "utils"}
# The only places that import a module of resdx by its name, which no reader of the imports above would see.
HIDDEN = {
    "__init__.py": "public names, loaded on first use",
    "transforms/__init__.py": "random steps need PyTorch, which an exported model does without",
    "recipes/library.py": "systems are found by their file",
    "inference/predictor.py": "runs need PyTorch, which an exported model does without",
    "apps/cli/main.py": "a command is loaded when it is asked for",
    "errors.py": "libraries of an extra",
}


def inside(path):
    return ("resdx", *path.relative_to(HOUSE).with_suffix("").parts)


def imported(path):
    """Modules of resdx that a file imports, as (line, names of the folders and the module)."""
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom):
            start = inside(path)[: -node.level] if node.level else ()
            module = (*start, *(node.module or "").split(".")) if node.module else start
            names = [alias.name for alias in node.names if not alias.name.startswith("__")]  # __version__ is no room
            yield from ((node.lineno, (*module, name)) for name in names if module[0] == "resdx")
        elif isinstance(node, ast.Import):
            yield from (
                (node.lineno, tuple(alias.name.split("."))) for alias in node.names if alias.name.split(".")[0] == "resdx"
            )


def test_each_room_imports_only_from_rows_above():
    wrong = []
    for path in FILES:
        room = inside(path)[1]
        if room not in ("__init__", "__main__"):
            wrong += [
                f"{path.relative_to(HOUSE)}:{line}: {room} imports {other[1]}"
                for line, other in imported(path)
                if other[1] != room and ROW.get(other[1], 99) >= ROW.get(room, -1)
            ]
    assert not wrong, "\n".join(wrong)


def test_every_room_has_a_row():
    rooms = {inside(path)[1] for path in FILES} - {"__init__", "__main__"}
    assert rooms == ROW.keys()


def test_modules_do_not_import_in_a_circle():
    modules = {inside(path): path for path in FILES}
    edges = {module: set(needs(path, modules)) - {module} for module, path in modules.items()}
    while free := [module for module, needed in edges.items() if not needed & edges.keys()]:
        for module in free:
            del edges[module]
    assert not edges


def needs(path, modules):
    """Modules that a file imports, or the package whose `__init__` gives the name."""
    for _, name in imported(path):
        yield next(
            (found for found in (name, (*name, "__init__"), name[:-1], (*name[:-1], "__init__")) if found in modules),
            inside(path),
        )


def test_modules_are_imported_by_name_only_where_it_is_said():
    hidden = {
        str(path.relative_to(HOUSE))
        for path in FILES
        if any(word in path.read_text() for word in ("import_module(", "__import__("))
    }
    assert hidden == HIDDEN.keys()


def test_imports_stand_at_the_top():
    lazy = {path for path in FILES if path.parent == HOUSE / "apps" / "cli"} | {HOUSE / "__init__.py"}
    functions = [(path, node) for path in FILES if path not in lazy for node in walk_functions(path)]
    wrong = [f"{path.relative_to(HOUSE)}:{node.lineno}" for path, node in functions if any(map(is_import, ast.walk(node)))]
    assert not wrong


def test_files_and_functions_stay_short():
    lengths = {f"{path.name}:{node.name}": node.end_lineno - node.lineno + 1 for path in FILES for node in walk_functions(path)}
    assert not {name: length for name, length in lengths.items() if length > 60}
    assert statistics.median(lengths.values()) <= 8
    assert not [path.name for path in FILES if path.read_text().count("\n") > 400]


def test_lines_stay_short():
    files = [*FILES, *(path for folder in (TESTS, TESTS.parent / "benchmarks") for path in sorted(folder.rglob("*.py")))]
    assert not [f"{path}:{n}" for path in files for n, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 130]


def test_docstrings_begin_with_a_short_line():
    wrong = [
        f"{path.relative_to(HOUSE)}: {line}"
        for path in FILES
        for node in nodes_of(path)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for line in (ast.get_docstring(node) or "").splitlines()[:1]
        if len(line) > 100
    ]
    assert not wrong, "\n".join(wrong)


def test_the_flow_knows_few_modules_and_the_top_has_few_names():
    assert len({name[:-1] for _, name in imported(HOUSE / "studies" / "stages.py")}) <= 15
    names = {path.name for path in HOUSE.iterdir()} - {"__init__.py", "__main__.py", "__pycache__", "py.typed"}
    assert len(names) <= 16, sorted(names)


def test_names_say_something():
    assert not [path for path in FILES if path.stem in EMPTY_NAMES]


@functools.cache
def nodes_of(path):
    return tuple(ast.walk(ast.parse(path.read_text())))


def walk_functions(path):
    return [node for node in nodes_of(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def is_import(node):
    return isinstance(node, ast.Import | ast.ImportFrom)
