"""What is deployed for Prometheus and Grafana is valid, and names metrics and pages that exist."""

import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.documented_metrics import documented

ROOT = Path(__file__).resolve().parent.parent
PROMETHEUS, GRAFANA = ROOT / "deploy" / "prometheus", ROOT / "deploy" / "grafana"
RULES = [rule for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
NOT_OURS = {"up", "ALERTS"}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (apt install prometheus)")


def metrics_in(query: str) -> set[str]:
    return set(re.findall(r"\b(?:perceptron|rq)_[a-z_]+", query))


def base(name: str) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", name)


@needs_promtool
@pytest.mark.parametrize(
    "check",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_promtool_finds_nothing_wrong(check: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *check], cwd=PROMETHEUS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("expression", ["vector(0) > 1", "vector(1)"], ids=["never", "always"])
def test_the_tests_of_the_rules_notice_each_rule_that_fires_never_or_always(tmp_path: Path, expression: str) -> None:
    changed = [{**rule, "expr": expression} for rule in RULES]
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": changed}]}))
    shutil.copy(PROMETHEUS / "alerts_test.yml", tmp_path)
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"], cwd=tmp_path, capture_output=True, text=True
    )
    failed = re.findall(r'expr: "[^\n]*alertname=\\?"(\w+)', done.stdout + done.stderr)
    assert set(failed) == {rule["alert"] for rule in RULES}, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_names_metrics_that_exist_and_the_page_that_says_what_to_do(
    rule: dict[str, dict[str, str]],
) -> None:
    assert {base(name) for name in metrics_in(str(rule["expr"]))} <= documented().keys()
    annotations, name = rule["annotations"], str(rule["alert"])
    assert annotations["runbook_url"] == f"docs/operations.md#{name.lower()}"
    assert f"\n### {name}\n" in (ROOT / "docs" / "operations.md").read_text()
    assert annotations["code"] == re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
    assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_alert_that_is_documented_exists() -> None:
    section = (ROOT / "docs" / "operations.md").read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert re.findall(r"^### (\w+)$", section, re.MULTILINE) == [rule["alert"] for rule in RULES]


def test_the_dashboard_is_what_its_script_writes() -> None:
    script = runpy.run_path(str(GRAFANA / "make_dashboard.py"))
    assert (GRAFANA / "dashboard.json").read_text() == script["text"]()


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    panels = json.loads((GRAFANA / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert {base(name) for query in queries for name in metrics_in(query)} == documented().keys()
    assert len({panel["id"] for panel in panels}) == len(panels)
