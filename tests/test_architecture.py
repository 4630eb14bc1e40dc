"""Imports point inwards: who may import whom, checked on the source of every package and its rooms."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ALLOWED = {
    "perceptron": set(),
    "storage": {"perceptron"},
    "service": {"perceptron", "storage"},  # never worker
    "worker": {"perceptron", "storage"},  # never service
    "perceptron_client": set(),  # speaks HTTP only
    "standalone": {"storage"},  # it starts the service and the worker as processes
    "cli": {"perceptron_client", "standalone", "storage"},
}

# The rooms of a package, and the rooms of the same package that each may import. Modules beside them are for all.
ROOMS = {
    "perceptron": {
        "data": set(),
        "preprocessing": set(),
        "optimizers": {"data"},
        "sweeps": {"data", "optimizers", "preprocessing"},
    },
    "service": {
        "http": set(),
        "access": {"http"},
        "datasets": {"http"},
        "jobs": {"http", "datasets"},
        "models": {"http"},
        "observe": {"http"},
        "predict": {"http", "observe", "datasets"},
        "console": {"http"},
        "server": {"http", "access", "datasets", "jobs", "observe", "predict"},
    },
    "perceptron_client": {
        "answers": set(),
        "bodies": set(),
        "_async": {"answers", "bodies"},
        "_sync": {"answers", "bodies"},  # never _async, from which it is written
        "sklearn": {"answers", "bodies", "_sync"},
    },
    "storage": {
        "access": set(),
        "datasets": {"log"},
        "jobs": {"datasets", "log", "webhooks"},
        "log": set(),
        "models": {"jobs", "log"},
        "webhooks": set(),
    },
    "cli": {
        "rows": set(),
        "remote": {"rows"},
        "doctor": {"remote"},
        "commands": {"doctor", "remote", "rows"},
    },
}

# Entry points: they build everything, so nothing else imports them. gunicorn finds `service.asgi` by its name.
ENTRY_POINTS = {"service.app": {"service/asgi.py"}, "service.asgi": set()}

WEB = {"flask", "flask_openapi3", "redis", "rq"}

# The maths has no clock, file, socket, process, environment, logger or global randomness. It takes a number of threads
# (design.md, "Serving"), so concurrent.futures is its one way to the machine.
IMPURE = {
    *("asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets"),
    *(
        "shutil",
        "signal",
        "socket",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "datetime",
        "urllib",
    ),
}

# Formats that run code when they are read.
UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}

PACKAGES = [name for name in ALLOWED if (ROOT / name).is_dir()]


def imports_in(source: str) -> Iterator[tuple[int, str]]:
    """Give line and full name of each import, also inside functions and by `import_module("...")`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield node.lineno, module
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield node.lineno, module


def modules_in(folder: str) -> list[tuple[str, str]]:
    """Give (file:line, full name) of each import in a folder."""
    return [
        (f"{path.relative_to(ROOT)}:{line}", module)
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, module in imports_in(path.read_text())
    ]


def imports_of(package: str) -> list[tuple[str, str]]:
    """Give (file:line, top-level name) of each import in the package that names another one."""
    return [
        (where, module.partition(".")[0])
        for where, module in modules_in(package)
        if module.partition(".")[0] != package
    ]


def test_every_import_is_seen_wherever_it_is_written():
    source = (
        "import numpy as np, os.path\n"
        "from storage.jobs.store import Job\n"
        "def f():\n"
        "    import worker\n"
        "    importlib.import_module('service.app')\n"
        "from . import sibling\n"
    )
    assert sorted(imports_in(source)) == [
        (1, "numpy"),
        (1, "os.path"),
        (2, "storage.jobs.store"),
        (4, "worker"),
        (5, "service.app"),
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_packages_below_it(package):
    ours = set(ALLOWED)
    wrong = [(where, name) for where, name in imports_of(package) if name in ours - ALLOWED[package]]
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_imports_the_tests_or_a_format_that_runs_code(package):
    wrong = [(where, name) for where, name in imports_of(package) if name in UNSAFE | {"tests", "benchmarks"}]
    assert wrong == []


@pytest.mark.parametrize(("package", "room"), [(package, room) for package in ROOMS for room in ROOMS[package]])
def test_a_room_imports_only_rooms_below_it(package, room):
    forbidden = ROOMS[package].keys() - ROOMS[package][room] - {room}
    wrong = [
        (where, module)
        for where, module in modules_in(f"{package}/{room}")
        if module.startswith(f"{package}.") and module.split(".")[1] in forbidden
    ]
    assert wrong == []


def test_every_folder_of_a_package_with_rooms_is_one_of_them():
    for package, rooms in ROOMS.items():
        folders = {path.name for path in (ROOT / package).iterdir() if any(path.glob("*.py"))}
        assert folders == set(rooms)


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_nothing_imports_an_entry_point(entry_point):
    found = {
        where.partition(":")[0]
        for package in PACKAGES
        for where, module in modules_in(package)
        if module == entry_point or module.startswith(f"{entry_point}.")
    }
    assert found == ENTRY_POINTS[entry_point]


@pytest.mark.parametrize("folder", ["service/predict/formats", "service/predict/memory"])
def test_what_predicts_knows_neither_flask_nor_redis(folder):
    known = {(where, module) for where, module in modules_in(folder) if module.partition(".")[0] in WEB}
    assert known == set()


def test_only_flasks_side_of_the_http_room_knows_flask():
    files = {
        where.partition(":")[0].rpartition("/")[2]
        for where, module in modules_in("service/http")
        if module.partition(".")[0] in WEB
    }
    assert files == {"flask_requests.py", "flask_responses.py", "openapi.py"}


def test_the_maths_imports_numpy_and_the_pure_part_of_the_standard_library():
    pure = (sys.stdlib_module_names - IMPURE) | {"numpy"}
    wrong = [(where, name) for where, name in imports_of("perceptron") if name not in pure]
    assert wrong == []


def test_the_client_imports_httpx_and_numpy_and_loads_nothing_else_before_it_is_asked_to():
    optional = {"matplotlib", "pandas", "polars", "pyarrow", "sklearn", "tqdm"}
    needed = sys.stdlib_module_names | {"httpx", "numpy"}
    assert {name for _, name in imports_of("perceptron_client")} <= needed | optional
    program = f"import sys, perceptron_client; print({optional} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout == "set()\n"


def test_what_answers_a_predict_loads_neither_flask_nor_redis_nor_rq():
    assert {"flask", "flask_openapi3", "redis", "rq"} & loaded_by("service.predict.protocols.table") == set()


@pytest.mark.parametrize("entry_point", ["service.app", "worker.main"])
def test_no_process_loads_pandas_at_its_start(entry_point: str):
    """pyarrow loads it to make an array of a list: a quarter of the time to start, where it is installed."""
    assert "pandas" not in loaded_by(entry_point)


def loaded_by(module: str) -> set[str]:
    program = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())
