"""The bill of materials: all that the lock names, with its hashes, and nothing else."""

import json
import re
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.packaging.audit import LOCK, bill_of, read_lock


def test_the_bill_names_every_package_of_the_lock_with_its_hashes_and_its_license() -> None:
    text, unlicensed = bill_of(list(read_lock(LOCK)))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    found = {
        (each["name"], each["version"]): {file["content"] for file in each["externalReferences"][0]["hashes"]}
        for each in bill["components"]
    }
    blocks = re.findall(r"^([\w.-]+)==([^\s;]+)((?:.*\\\n)+.*)$", LOCK.read_text(), re.MULTILINE)
    expected = {(name, version): set(re.findall(r"sha256:(\w{64})", rest)) for name, version, rest in blocks}
    assert found == expected and len(found) > 40
    licenses = {each["name"]: each.get("licenses") for each in bill["components"]}
    assert licenses["flask"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert {name for name, its in licenses.items() if its is None} == set(unlicensed) < {*licenses} - {"numpy"}
    needs = {each["ref"]: each.get("dependsOn", []) for each in bill["dependencies"]}
    assert {"flask", "httpx", "rq"} <= set(needs["perceptron-service"]) and "werkzeug" in needs["flask"]


@pytest.mark.parametrize("line", ["flask==3.1.3", f"flask>=3 --hash=sha256:{'0' * 64}"])
def test_a_lock_that_pins_no_version_with_hashes_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.lock").write_text(f"{line}\n")
    with pytest.raises(ValueError, match="pins no version with hashes: flask"):
        list(read_lock(tmp_path / "requirements.lock"))
