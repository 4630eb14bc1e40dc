"""The documentation names what exists: links, files, settings and error codes."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from service.datasets.reading.limits import TableLimits
from service.http.errors import STATUS_AND_CODE
from service.settings import Limits
from storage.log import alarm_codes

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("*.md")), ROOT / "benchmarks" / "README.md"]
PACKAGES_THAT_LOG = ("storage", "service", "worker", "standalone")
READS_SETTINGS = (
    *("service/settings.py", "service/server/gunicorn_config.py"),
    *("storage/store_settings.py", "storage/log/settings.py", "worker/settings.py", "cli/commands/processes.py"),
    "storage/webhooks/settings.py",
)


def anchors_of(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            assert file.exists(), target
            assert not anchor or anchor in anchors_of(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_has_a_gap_left_to_fill(page: Path) -> None:
    assert re.findall(r"@[A-Z0-9]+@|TODO|FIXME|TBD|XXX", page.read_text()) == []


def test_every_file_and_folder_that_the_architecture_names_exists() -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_.]*)`", (DOCS / "architecture.md").read_text()))
    assert len(named) > 50
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_every_setting_is_documented() -> None:
    documented = (DOCS / "operations.md").read_text() + (DOCS / "protocols.md").read_text()
    settings = {field.name.upper() for kind in (Limits, TableLimits) for field in fields(kind)} - {"TABLES"}
    for path in READS_SETTINGS:
        settings |= set(re.findall(r'"([A-Z]{2,}(?:_[A-Z]+)*)"', (ROOT / path).read_text()))
    settings -= {"URL"}
    assert {"PORT", "KEEP_JOBS_DAYS", "AIP_HTTP_PORT", "MAX_EPOCHS"} <= settings
    assert {name for name in settings if f"`{name}`" not in documented} == set()


def test_every_error_code_is_documented_with_its_status() -> None:
    rows = [line for line in (DOCS / "api.md").read_text().splitlines() if line.startswith("| ")]
    for status, code in STATUS_AND_CODE.values():
        assert any(row.startswith(f"| {status}") and f"`{code}`" in row for row in rows), code


def test_every_alarm_has_a_code_and_every_code_a_section() -> None:
    codes = {name: value for name, value in vars(alarm_codes).items() if name.isupper()}
    operations = (DOCS / "operations.md").read_text()
    alarms = operations[operations.index("## Alarms") : operations.index("## Containers")]
    assert set(re.findall(r"^### (\w+)$", alarms, re.MULTILINE)) == set(codes.values())
    sources = [path.read_text() for folder in PACKAGES_THAT_LOG for path in (ROOT / folder).rglob("*.py")]
    assert {name for name in codes if not any(f'"code": {name}' in text for text in sources)} == set()
    critical = [call for text in sources for call in re.findall(r"_log\.critical\(.*?\)\n", text, re.DOTALL)]
    assert len(critical) == 3
    assert [call for call in critical if "extra=" not in call] == []
    assert not any('"code": "' in text for text in sources), "codes are named in alarm_codes.py"
