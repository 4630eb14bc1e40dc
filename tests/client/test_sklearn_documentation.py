"""docs/estimators.md does what it says."""

import inspect
import re

from perceptron_client import Client
from perceptron_client.sklearn import RemoteClassifier
from tests.stack import ROOT, Stack

PAGE = (ROOT / "docs" / "estimators.md").read_text()


def test_the_examples_run_one_after_the_other(stack: Stack, client: Client, monkeypatch, capsys):
    monkeypatch.setenv("PERCEPTRON_URL", stack.url)
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(compile(block.replace("http://127.0.0.1:8000", stack.url), "docs/estimators.md", "exec"), names)
    mean, probabilities, optimizer, values, score, l2 = capsys.readouterr().out.splitlines()
    assert 0.97 < float(mean) < 1
    assert re.fullmatch(r"\[\[9\.9\S* \S*e-\d+\]\] \d+ 0\.99\d+", probabilities), probabilities
    assert optimizer == "lbfgs"
    assert re.fullmatch(r"\[\d\.\d+ +\d\.\d+\]", values), values
    assert float(score) > 0.9 and float(l2) in (0.0001, 0.001, 0.01)


def test_the_table_of_parameters_is_complete():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    named = {name for line in rows for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named == set(inspect.signature(RemoteClassifier).parameters)
