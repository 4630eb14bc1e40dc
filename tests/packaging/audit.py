"""The bill of materials of what is installed to run the service, in CycloneDX 1.6: `./run check audit`.

It is made from `requirements.lock` and from what the installed packages say about themselves, without a network, and
written to `build/sbom.cdx.json`. With AUDIT_ONLINE=1, pip-audit also asks the package index for known vulnerabilities,
about each package of the lock.
"""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
import uuid
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pip_requirements_parser import RequirementsFile

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
BILL = ROOT / "build" / "sbom.cdx.json"

_LICENSES = LicenseFactory()
_CLASSIFIER = "License :: "
_MAX_LICENSE = 100
"""Some packages put the whole text of their license where its name belongs."""


@dataclass(frozen=True)
class Locked:
    """A package of the lock."""

    name: str
    version: str
    is_for_here: bool
    """Whether this Python on this system needs it."""
    sha256: tuple[str, ...]
    """Of its files in the package index."""


def main() -> int:
    """Make, check and write the bill; returns the exit status."""
    packages = list(read_lock(LOCK))
    text, unlicensed = bill_of(packages)
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        print(f"audit: the bill of materials is not valid CycloneDX 1.6: {fault}")
        return 1
    BILL.parent.mkdir(exist_ok=True)
    BILL.write_text(text, encoding="utf-8")
    print(f"audit: {len(packages)} packages in {BILL.relative_to(ROOT)}; without a license: {_listed(unlicensed)}")
    if os.environ.get("AUDIT_ONLINE") != "1":
        print("audit: known vulnerabilities were not looked up: AUDIT_ONLINE=1 asks the package index for them")
        return 0
    # Strict: a package that the index does not know has not been looked up, and pip-audit would call that a success.
    look_up = (sys.executable, "-m", "pip_audit", "--strict", "--disable-pip", "--require-hashes")
    return subprocess.run([*look_up, "--requirement", str(LOCK)]).returncode


def read_lock(path: Path) -> Iterator[Locked]:
    """Give the packages of a lock.

    Raises:
        ValueError: one is not pinned with hashes.
    """
    for each in RequirementsFile.from_file(str(path)).requirements:
        hashes = tuple(text.removeprefix("sha256:") for text in each.hash_options)
        if each.name is None or not each.is_pinned or not hashes:
            raise ValueError(f"{path.name} pins no version with hashes: {each.line}")
        (version,) = (specifier.version for specifier in each.specifier)
        is_for_here = each.marker is None or each.marker.evaluate()
        yield Locked(canonicalize_name(each.name), version, is_for_here, hashes)


def bill_of(packages: Iterable[Locked]) -> tuple[str, list[str]]:
    """Return the bill as JSON, and the names of the packages of which no license is known."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    root = Component(
        type=ComponentType.APPLICATION,
        name=project["name"],
        version=project["version"],
        bom_ref=project["name"],
        licenses=[_LICENSES.make_from_string(project["license"])],
    )
    components = {package.name: _component(package) for package in packages}
    bom = Bom(components=components.values(), serial_number=uuid.uuid5(uuid.NAMESPACE_URL, _digest(LOCK)))
    bom.metadata.component = root

    def locked(requirements: Iterable[str]) -> list[Component]:
        named = {canonicalize_name(Requirement(text).name) for text in requirements}
        return [components[name] for name in sorted(named & components.keys())]

    bom.register_dependency(root, locked(project["dependencies"]))
    for name, component in components.items():
        bom.register_dependency(component, locked(_requirements_of(name)))
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    return text, [name for name, component in components.items() if not component.licenses]


def _component(package: Locked) -> Component:
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(f"https://pypi.org/simple/{package.name}/"),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in package.sha256],
    )
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        bom_ref=package.name,
        purl=PackageURL("pypi", name=package.name, version=package.version),
        scope=ComponentScope.REQUIRED if package.is_for_here else ComponentScope.OPTIONAL,
        licenses=_licenses(package),
        external_references=[files],
    )


def _licenses(package: Locked) -> list[License]:
    """Return what the installed package says, if it is the one of the lock: an expression (PEP 639), else names."""
    try:
        found = importlib.metadata.distribution(package.name)
    except importlib.metadata.PackageNotFoundError:
        return []  # for another system
    if found.version != package.version:
        return []
    expression, name = found.metadata.get("License-Expression"), found.metadata.get("License", "").strip()
    classifiers = [text for text in found.metadata.get_all("Classifier", []) if text.startswith(_CLASSIFIER)]
    if expression:
        return [_LICENSES.make_from_string(expression)]
    if name and len(name) <= _MAX_LICENSE and "\n" not in name:
        return [_LICENSES.make_from_string(name)]
    return [_LICENSES.make_with_name(text.rpartition(" :: ")[2]) for text in classifiers]


def _requirements_of(name: str) -> list[str]:
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


if __name__ == "__main__":
    warnings.simplefilter("error")
    sys.exit(main())
