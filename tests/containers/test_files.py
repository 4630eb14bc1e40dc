"""What Dockerfile and docker-compose.yml promise, as far as it can be read in them; `./run container-test` tries it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]


def test_compose_reads_no_variable_that_a_shell_may_export_for_itself() -> None:
    """An exported HOST, as some shells have it, made the address of the API invalid."""
    names = re.findall(r"\$\{(\w+)", COMPOSE)
    assert len(names) > 5
    assert {name for name in names if not name.startswith("PERCEPTRON_")} == set()


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["logging"]["options"]["max-size"]
    assert service["restart"] == "always"
    assert "disable" not in service.get("healthcheck", {})


def test_the_labels_of_the_image_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', (ROOT / "Dockerfile").read_text()))
    expected = {
        "title": "Perceptron Service",
        "description": project["description"],
        "version": project["version"],
        "licenses": project["license"],
        "authors": project["authors"][0]["name"],
    }
    assert labels == expected


def test_the_container_test_can_be_imported_as_run_does_it() -> None:
    path = ROOT / "tests" / "containers" / "run.py"
    script = f"import runpy; runpy.run_path({str(path)!r}, run_name='imported')"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, env={"PYTHONPATH": str(ROOT)})
