"""Imports point inwards: who may import whom, checked on the source of every package."""

import ast
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
    "standalone": {"storage", "service", "worker"},  # as processes: see the last test
    "cli": {"perceptron_client", "standalone", "storage"},
}

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


def imports_of(package: str) -> list[tuple[str, str]]:
    """Give (file:line, top-level name) of each import in the package that names another one."""
    return [
        (f"{path.relative_to(ROOT)}:{line}", module.partition(".")[0])
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, module in imports_in(path.read_text())
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


def test_the_maths_imports_numpy_and_the_pure_part_of_the_standard_library():
    pure = (sys.stdlib_module_names - IMPURE) | {"numpy"}
    wrong = [(where, name) for where, name in imports_of("perceptron") if name not in pure]
    assert wrong == []


def test_the_process_starters_name_the_service_and_the_worker_but_do_not_import_them():
    # design.md: "storage, service, worker (as processes)"
    wrong = [(where, name) for where, name in imports_of("standalone") if name in ALLOWED]
    assert wrong == []
