"""The client without optional packages, and as a distribution of its own."""

import subprocess
import sys
import tomllib

import pytest

import perceptron_client
from tests.stack import ROOT, Stack

PACKAGE = ROOT / "perceptron_client"

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

BLOCKED = set(sys.argv[2].split(","))
sys.meta_path.insert(0, Missing())

import numpy as np
from perceptron_client import Client
from perceptron_client.errors import PackageMissing
client = Client(sys.argv[1])
"""

NOTHING_OPTIONAL = """
matrix = np.array([[1.0, 0.0], [3.0, 1.0]])
job = client.jobs.wait(client.jobs.create(model="bare", data=(matrix, [0, 1])), progress=True)
print(client.predict("bare", np.tile(matrix, (2000, 1))).outputs.shape, len(client.predict("bare", matrix)))
print(client.datasets.upload({"a": matrix[:, 0]}, progress=True).rows)
try:
    job.plot()
except PackageMissing as error:
    print(error)
"""

WITHOUT_PYARROW = """
import pandas as pd
rows = {"code": ["7", "8", None], "n": [1.5, None, 3.25], "yes": [True, False, True]}
frame = pd.DataFrame({name: values * 500 for name, values in rows.items()})
dataset = client.datasets.upload(frame)
print([column.type for column in dataset.columns], client.datasets.rows(dataset.id, 3))
client.jobs.wait(client.jobs.create(model="frames", dataset=dataset, target="yes"))
print(client.predict("frames", frame).predictions[:3].tolist())
"""


def run(program: str, stack: Stack, *blocked: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT + program + "client.close()", stack.url, ",".join(blocked)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_arrays_need_nothing_but_numpy_and_httpx(stack: Stack):
    ran = run(NOTHING_OPTIONAL, stack, "pandas", "polars", "pyarrow", "tqdm", "matplotlib")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "(4000, 1) 2",
        "2",
        "drawing needs matplotlib: pip install 'perceptron-client[plot]'",
    ]
    assert "bare: succeeded, epoch" in ran.stderr


def test_a_pandas_frame_without_pyarrow_keeps_its_types(stack: Stack):
    ran = run(WITHOUT_PYARROW, stack, "pyarrow", "polars")
    assert ran.returncode == 0, ran.stderr
    uploaded, predicted = ran.stdout.splitlines()
    assert uploaded == (
        "['categorical', 'numeric', 'boolean'] [{'code': '7', 'n': 1.5, 'yes': True}, "
        "{'code': '8', 'n': None, 'yes': False}, {'code': None, 'n': 3.25, 'yes': True}]"
    )
    assert predicted == "[1, 0, 1]"


def test_the_two_distributions_have_one_version():
    service = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert perceptron_client.__version__ == service


def test_its_distribution_holds_every_file_and_needs_two_packages():
    about = tomllib.loads((PACKAGE / "pyproject.toml").read_text())
    assert [need.partition(">")[0] for need in about["project"]["dependencies"]] == ["httpx", "numpy"]
    files = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*") if path.is_file()}
    others = {name for name in files if not name.endswith((".py", ".pyc"))}
    assert others == {"py.typed", "pyproject.toml", "README.md"}


@pytest.mark.parametrize("name", perceptron_client.__all__)
def test_every_public_name_is_there_and_documented(name: str):
    assert getattr(perceptron_client, name).__doc__
