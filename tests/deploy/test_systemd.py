"""What the units of deploy/systemd promise: read here, and judged by systemd where it is installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "systemd"
PROGRAM = "/opt/perceptron/bin/perceptron"
UNITS = {"api": "perceptron-api@.service", "worker": "perceptron-worker@.service"}
DROP_IN = "perceptron-.service.d"
"""Whose files systemd adds to all units that begin so (`man systemd.unit`)."""

DRAIN_S = 25
DOCUMENTED = set(re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE))


def read(name: str) -> dict[str, list[str]]:
    """Give the values of each setting of a unit with what is added to it: some may be given several times."""
    values: dict[str, list[str]] = {}
    files = [FOLDER / UNITS[name], FOLDER / DROP_IN / "confined.conf"]
    for line in "".join(file.read_text() for file in files).splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            values.setdefault(key, []).append(value)
    return values


def settings(lines: list[str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


SHARED = settings((FOLDER / "settings.env").read_text().splitlines())


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_calls_a_command_that_exists_with_settings_that_are_documented(name: str) -> None:
    unit = read(name)
    program, command, *options = unit["ExecStart"][0].split()
    assert program == PROGRAM and command == {"api": "serve", "worker": "worker"}[name] and command in COMMANDS
    assert options == (["--host", "127.0.0.1", "--port", "%i"] if name == "api" else [])
    given = SHARED | settings(unit["Environment"])
    assert given and set(given) <= DOCUMENTED
    assert unit["EnvironmentFile"] == ["/etc/perceptron/settings.env", "/etc/perceptron/secrets.env"]
    assert SHARED["DATA_DIR"] == f"/var/lib/{unit['StateDirectory'][0]}"
    assert "REDIS_URL" not in given  # its password is a secret


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_stops_as_the_service_drains_and_always_starts_again(name: str) -> None:
    unit = read(name)
    delay_s = float(settings(unit["Environment"]).get("STOP_DELAY_S", 0))
    assert float(unit["TimeoutStopSec"][0]) >= delay_s + DRAIN_S + 5
    assert (unit["KillMode"], unit["Restart"], unit["StartLimitIntervalSec"]) == (["mixed"], ["always"], ["0"])
    assert unit["MemoryMax"] == ["4G"]
    assert int(SHARED["MAX_TRAINING_BYTES"]) == (4096 - 256) * 3 // 4 * 1024**2


def test_both_units_run_as_their_own_user_and_are_confined_and_no_setting_is_given_twice() -> None:
    for name in UNITS:
        unit = read(name)
        assert "User=perceptron\n" in (FOLDER / UNITS[name]).read_text(), "not root, if the drop-in is forgotten"
        assert unit["CapabilityBoundingSet"] == [""]
        assert unit["NoNewPrivileges"] == ["yes"] and unit["ProtectSystem"] == ["strict"]
        several = {key for key, values in unit.items() if len(values) > 1}
        assert several <= {"Environment", "EnvironmentFile", "SystemCallFilter"}
    assert (FOLDER / "perceptron.sysusers").read_text().splitlines()[1].startswith("u perceptron - ")


@pytest.mark.parametrize("name", UNITS)
def test_systemd_knows_every_line_and_finds_little_exposed(name: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    (tmp_path / UNITS[name]).write_text((FOLDER / UNITS[name]).read_text().replace(PROGRAM, "/bin/true"))
    shutil.copytree(FOLDER / DROP_IN, tmp_path / DROP_IN)
    unit = UNITS[name].replace("@", "@8000")
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}

    def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = ["systemd-analyze", *arguments, unit]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, env=env)

    verified = analyze("verify", "--man=no")
    assert verified.returncode == 0 and str(tmp_path) not in verified.stderr, verified.stderr
    judged = analyze("security", "--offline=yes", "--no-pager", "--threshold=20")  # tenths, from 0 (safe) to 100
    if "unrecognized option" in judged.stderr or "Unknown command" in judged.stderr:
        pytest.skip("this systemd is older than 250")
    assert judged.returncode == 0, judged.stdout
