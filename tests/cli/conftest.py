"""The command as its users call it: a process of its own, against the whole service."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perceptron_client import Client
from tests.cli.terminal import Terminal
from tests.stack import ROOT, SETTINGS, Stack

ONE_STEP = {"optimizer": "gradient_descent", "learning_rate": 0.01, "max_epochs": 1, "standardize": False}
"""One step of gradient descent from zeros."""

LINE = {"features": np.array([[1.0, 0.0], [3.0, 1.0]]), "targets": np.array([2.0, 4.0]), "feature_names": ["a", "b"]}
"""y_hat = 0, so dC/dw = 2/n X'(y_hat - y) = [-14, -4] and dC/db = -6: w = [0.14, 0.04], b = 0.06."""

TREES = "height,kind,tall,fruit\n" + "1.5,fir,false,none\n2.5,oak,true,acorn\n,oak,,acorn\n4,yew,true,berry\n" * 5

ENV = {name: value for name, value in os.environ.items() if name not in (*SETTINGS, "PERCEPTRON_URL", "NO_COLOR")}


class Command:
    """Calls `perceptron` for one service; None: for the one that it finds by itself."""

    def __init__(self, url: str | None, folder: Path) -> None:
        self.folder = folder
        self.env = {**ENV, "PYTHONPATH": str(ROOT)} | ({"PERCEPTRON_URL": url} if url else {})

    def __call__(
        self, *arguments: str | Path, stdin: str | bytes = b"", **env: str
    ) -> "subprocess.CompletedProcess[str]":
        content = stdin.encode() if isinstance(stdin, str) else stdin
        ran = subprocess.run(
            self.line(*arguments), cwd=self.folder, env=self.env | env, input=content, capture_output=True, timeout=60
        )
        out, err = ran.stdout.decode(errors="surrogateescape"), ran.stderr.decode()
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(ran.args, ran.returncode, out, err)

    def good(self, *arguments: str | Path, stdin: str | bytes = b"", **env: str) -> str:
        """Return what a call prints on stdout; its exit status must be 0."""
        ran = self(*arguments, stdin=stdin, **env)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def error(self, *arguments: str | Path, stdin: str | bytes = b"", **env: str) -> str:
        """Return the one paragraph of a call that fails, without what comes before it in every error."""
        ran = self(*arguments, stdin=stdin, **env)
        assert (ran.returncode, ran.stdout) == (1, ""), (ran.stdout, ran.stderr)
        errors = [line for line in ran.stderr.splitlines() if line.startswith("perceptron: error: ")]
        assert len(errors) == 1, ran.stderr
        return errors[0].removeprefix("perceptron: error: ")

    def on_terminal(self, *arguments: str | Path, **env: str) -> Terminal:
        """Start a call on a terminal of its own."""
        return Terminal(self.line(*arguments), self.folder, self.env | {"TERM": "xterm"} | env)

    def shell_on_terminal(self, line: str) -> Terminal:
        """Start a line of shell on a terminal of its own."""
        return Terminal(["bash", "-c", line], self.folder, self.env | {"TERM": "xterm"})

    def line(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-P", "-m", "cli", *map(str, arguments)]


@pytest.fixture
def perceptron(stack: Stack, tmp_path: Path) -> Command:
    return Command(stack.url, tmp_path)


@pytest.fixture
def alone(tmp_path: Path) -> Command:
    """The command in an empty folder, where no service runs."""
    return Command(None, tmp_path)


@pytest.fixture(scope="session")
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url) as client:
        yield client


@pytest.fixture(scope="session")
def line(client: Client) -> str:
    """A model of two numbers whose weights are known, with the alias `production`."""
    client.jobs.wait(client.jobs.create(model="two-numbers", data=LINE, training=ONE_STEP, alias="production"))
    return "two-numbers"


@pytest.fixture(scope="session")
def trees(client: Client) -> str:
    """A model of a table: a number with gaps, a category and a boolean; three classes."""
    table = client.datasets.upload(TREES.encode(), media_type="text/csv", name="trees.csv")
    client.jobs.wait(client.jobs.create(model="three-fruits", dataset=table, target="fruit"))
    return "three-fruits"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file: `write("rows.csv", "a,b")`."""

    def write(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
