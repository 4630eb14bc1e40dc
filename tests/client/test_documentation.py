"""docs/client.md and the README of the distribution do what they print."""

import builtins
import re
from pathlib import Path

import pytest

import perceptron_client
from perceptron_client import Client
from tests.stack import ROOT, Stack

PAGE = (ROOT / "docs" / "client.md").read_text()


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_examples_run_one_after_the_other(stack: Stack, monkeypatch, capsys):
    monkeypatch.setenv("PERCEPTRON_URL", stack.url)
    names: dict[str, object] = {}
    for block in blocks(PAGE):
        exec(compile(block.replace("http://127.0.0.1:8000", stack.url), "docs/client.md", "exec"), names)
    for name in ("client", "impatient"):
        names[name].close()
    shown = capsys.readouterr().out.splitlines()
    accuracy, first, second = shown[:3]
    assert re.fullmatch(r"\d+ 1\.0", accuracy), "the version, in which other tests may have a part, and the accuracy"
    assert (first[:8], second[-5:]) == ("[[0.1018", "[0 1]")
    assert shown[3] == "['no' 'no' 'no' 'yes' 'yes' 'yes']"
    assert any(line.startswith("wrong_dimension /instances/0 wrong_dimension (422): ") for line in shown)
    assert shown[-2] == "True" and re.fullmatch(r"\[(\d+), \1\]", shown[-1])
    assert len(shown) > 12


def test_the_readme_of_the_distribution_runs(stack: Stack, capsys):
    page = Path(perceptron_client.__file__).with_name("README.md").read_text()
    (block,) = blocks(page)
    exec(compile(block.replace("http://127.0.0.1:8000", stack.url), "README.md", "exec"), {})
    assert capsys.readouterr().out == "[1]\n"


def test_the_table_of_methods_is_complete():
    client = Client("http://service")
    for room in ("jobs", "datasets", "models"):
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `client.{room}`"))
        methods = {name for name in dir(getattr(client, room)) if not name.startswith("_")}
        assert set(re.findall(r"`(\w+)`", row)) == methods


@pytest.mark.parametrize("name", re.findall(r"`errors?\.(\w+)|`([A-Z]\w+)`", PAGE.partition("## Errors")[2]))
def test_every_class_of_the_page_exists(name: tuple[str, str]):
    found = "".join(name)
    assert any(hasattr(module, found) for module in (perceptron_client.errors, perceptron_client, builtins))
