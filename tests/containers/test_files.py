"""What Dockerfile and docker-compose.yml promise, as far as it can be read in them; `./run container-test` tries it."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis

from storage.access.opening import check_may_listen
from storage.errors import OpenToAllError
from storage.store_settings import published_hosts

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]


def test_compose_reads_no_variable_that_a_shell_may_export_for_itself() -> None:
    """An exported HOST, as some shells have it, made the address of the API invalid."""
    names = re.findall(r"\$\{(\w+)", COMPOSE)
    assert len(names) > 5
    assert {name for name in names if not name.startswith("PERCEPTRON_")} == set()


def interpolated(text: str, **variables: str) -> str:
    """Fill in variables as compose does; a value in the file stands behind `:-`."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1]) or found[2], text)


def test_each_port_of_the_api_is_told_to_the_api_and_is_of_this_machine_by_default() -> None:
    environment = SERVICES["api"]["environment"]
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert " ".join(port.removesuffix(":8000") for port in published) == environment["PUBLISHED"]
    assert interpolated(environment["PUBLISHED"]) == "127.0.0.1:8000 127.0.0.1:8080"
    assert interpolated(environment["INSECURE"]) == "false"
    assert SERVICES["api-2"]["environment"] == environment


def test_whoever_publishes_a_port_elsewhere_needs_a_key_first(redis: Redis) -> None:
    text = SERVICES["api"]["environment"]["PUBLISHED"]
    check_may_listen(published_hosts({"PUBLISHED": interpolated(text)}), redis, is_insecure=False)
    for variable in ("PERCEPTRON_PUBLISH", "PERCEPTRON_FRONT"):
        for elsewhere in ("0.0.0.0:9000", "9000", "[::]:9000", "192.0.2.1:9000"):
            hosts = published_hosts({"PUBLISHED": interpolated(text, **{variable: elsewhere})})
            with pytest.raises(OpenToAllError):
                check_may_listen(hosts, redis, is_insecure=False)
    hosts = published_hosts({"PUBLISHED": interpolated(text, PERCEPTRON_PUBLISH="[::1]:9000")})
    check_may_listen(hosts, redis, is_insecure=False)


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


def test_a_roll_replaces_all_workers_first_then_one_replica_after_the_other(tmp_path: Path) -> None:
    compose, calls = tmp_path / "compose", tmp_path / "calls"
    compose.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n[ "$3" != ps ] || printf "a\\nb\\n"\n')
    compose.chmod(0o755)
    (tmp_path / "sleep").symlink_to("/bin/true")
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(
        [ROOT / "deploy" / "roll"], env={**os.environ, "COMPOSE": str(compose), "PATH": path}, check=True, timeout=20
    )
    started = [call.split("--force-recreate ")[1] for call in calls.read_text().splitlines() if " up " in call]
    assert started == ["--scale worker=2 worker", "api", "api-2"]
