"""Tables as people have them, against the service as it is shipped: uploaded, trained on, and predicted from."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.shared_tables import shared_cases
from tests.stack import Stack

CASES = [
    pytest.param(folder, case, id=case["id"])
    for folder, case in shared_cases()
    if "needs_setting" not in case["upload"]
]


def upload(http: httpx.Client, folder: Path, case: dict[str, Any], options: dict[str, Any]) -> httpx.Response:
    how = case["upload"]
    headers = {"Content-Type": how["content_type"]}
    if "content_encoding" in how:
        headers["Content-Encoding"] = how["content_encoding"]
    as_sent = {"header": {True: "present", False: "absent"}}
    query = {name: as_sent.get(name, {}).get(value, value) for name, value in options.items()}
    return http.post("/datasets", params=query, headers=headers, content=(folder / how["file"]).read_bytes())


@pytest.mark.parametrize(("folder", "case"), CASES)
def test_a_shared_table_is_uploaded_as_its_case_says(stack: Stack, folder: Path, case: dict[str, Any]) -> None:
    whole = {"upload_options": case["upload"].get("options", {}), "expect": case["expect"]}
    for variant in (whole, *case.get("variants", ())):
        answer = upload(stack.http, folder, case, variant["upload_options"])
        expect = variant["expect"]
        found = answer.json()
        if expect["status"] != 201:
            assert answer.status_code == expect["status"], found
            wanted = dict(expect["error"])
            assert all(word in found["detail"] for word in wanted.pop("mentions", ())), found
            assert {name: found.get(name) for name in wanted} == wanted
            continue
        assert answer.status_code in (200, 201), found
        assert answer.headers["Location"] == f"/datasets/{found['id']}"
        assert found["rows"] == expect["rows"]
        assert [each["code"] for each in found["warnings"]] == expect.get("warnings", [])
        if isinstance(expect["columns"], dict):
            assert len(found["columns"]) == expect["columns"]["count"]
            continue
        for column, wanted in zip(found["columns"], expect["columns"], strict=True):
            assert [each["code"] for each in column["warnings"]] == wanted["warnings"]
            for name in ("name", "type", "nulls", "n_categories"):
                assert column.get(name) == wanted.get(name, column.get(name))
            for name in ("mean", "min", "max"):
                if name in wanted:
                    assert column[name] == pytest.approx(wanted[name], rel=1e-12, abs=1e-12)
            if len(wanted.get("categories", ())) > 0 and wanted["categories"][-1] != "...":
                assert column["categories"] == wanted["categories"]


def trained(stack: Stack, dataset: str, model: str, case: dict[str, Any]) -> dict[str, Any]:
    """Train to the optimum, as the reference was."""
    loss, target = case["train"]["training"]["loss"], case["train"]["target"]
    task = "regression" if case["reference"]["output"] == "value" else "classification"
    training = {"l2": 0.01, "loss": loss, "optimizer": "newton", "tolerance": 0.0, "max_epochs": 200}
    job = stack.http.post(
        "/jobs", json={"model": model, "dataset": dataset, "target": target, "task": task, "training": training}
    )
    assert job.status_code == 202, job.json()
    job = stack.finished(job.json())
    assert job["status"] == "succeeded", job
    return job


@pytest.mark.parametrize(("folder", "case"), [each for each in CASES if "predict" in each.values[1]])
def test_a_shared_table_predicts_what_its_reference_does(stack: Stack, folder: Path, case: dict[str, Any]) -> None:
    dataset = upload(stack.http, folder, case, case["upload"].get("options", {})).json()["id"]
    trained(stack, dataset, case["id"], case)
    outputs: dict[str, list[float]] = {}
    warnings: dict[str, list[dict[str, str]]] = {}
    for question in case["predict"]:
        answer = stack.http.post("/predict", json={"model": case["id"], "instances": question["instances"]})
        assert answer.status_code == 200, answer.json()
        outputs[question["name"]] = np.ravel(answer.json()["outputs"]).tolist()
        warnings[question["name"]] = answer.json().get("warnings", [])
        assert outputs[question["name"]] == pytest.approx(question["output_all_columns_standardized"], abs=1e-6)
    equal, differ, warn = (case["expect"].get(name, ()) for name in ("equal", "differ", "warn"))
    for name in equal:
        assert outputs[name] == pytest.approx(outputs[equal[0]], abs=1e-9)
    assert len({round(outputs[name][0], 9) for name in differ}) == len(differ)
    for name in warn:
        assert warnings[name], name
    for refused in case["expect"].get("predict_refused", ()):
        answer = stack.http.post("/predict", json={"model": case["id"], "instances": [refused["record"]]})
        assert answer.status_code == refused["status"]
        assert all(word in str(answer.json()["errors"]) for word in refused["mentions"]), answer.json()


@pytest.mark.parametrize(("folder", "case"), [each for each in CASES if "job" in each.values[1]["expect"]])
def test_a_job_on_a_shared_table_is_refused_as_its_case_says(stack: Stack, folder: Path, case: dict[str, Any]) -> None:
    dataset = upload(stack.http, folder, case, case["upload"].get("options", {})).json()["id"]
    answer = stack.http.post("/jobs", json={"model": "m", "dataset": dataset, "target": case["target"]})
    expect = case["expect"]["job"]
    assert answer.status_code == expect["status"], answer.json()
    assert all(word in answer.json()["detail"] for word in expect["mentions"]), answer.json()


@pytest.mark.parametrize(("folder", "case"), [each for each in CASES if "job_warnings" in each.values[1]["expect"]])
def test_a_feature_that_gives_the_target_away_is_warned_about(stack: Stack, folder: Path, case: dict[str, Any]) -> None:
    dataset = upload(stack.http, folder, case, case["upload"].get("options", {})).json()["id"]
    job = stack.http.post("/jobs", json={"model": "leak", "dataset": dataset, "target": case["target"]}).json()
    found = [each for each in stack.finished(job)["result"]["warnings"] if each["code"] == "leak"]
    assert len(found) == len(case["expect"]["job_warnings"])
    for warning, (name, why) in zip(found, case["expect"]["job_warnings"].items(), strict=True):
        assert repr(name) in warning["detail"] and why.split()[0] in warning["detail"]
