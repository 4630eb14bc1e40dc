"""Jobs on columns: of data sets, of records, and of lists with texts and gaps."""

from typing import Any

import pytest
from flask.testing import FlaskClient

CSV = b"age,plan,id,when,w,y\n31,pro,a1,2026-01-02,1,yes\n,basic,b2,2026-01-03,2,no\n45,pro,c3,2026-01-04,0,yes\n"
CSV += b"51,basic,d4,2026-01-05,1,no\n29,pro,e5,2026-01-06,1,no\n"
RECORDS = [{"age": 31, "plan": "pro"}, {"age": None, "plan": "basic"}, {"age": 45, "plan": "pro"}, {"plan": "basic"}]


@pytest.fixture
def dataset(http: FlaskClient) -> str:
    answer = http.post("/datasets", data=CSV, content_type="text/csv")
    assert answer.status_code == 201, answer.get_json()
    return answer.get_json()["id"]


def config_of(http: FlaskClient, **body: Any) -> dict[str, Any]:
    answer = http.post("/jobs", json={"model": "m", **body})
    assert answer.status_code == 202, answer.get_json()
    return answer.get_json()["config"]


def refusal(http: FlaskClient, **body: Any) -> tuple[int, str, str]:
    answer = http.post("/jobs", json={"model": "m", **body})
    problem = answer.get_json()
    (fault, *_) = problem.get("errors", [{"pointer": None}])
    return answer.status_code, fault["pointer"], problem["detail"]


def test_the_columns_that_can_be_used_are_the_features(http: FlaskClient, dataset: str) -> None:
    config = config_of(http, dataset=dataset, target="y", exclude=["w", "id"])
    assert config["columns"] == ["age", "plan"]  # not the date
    assert (config["dataset"], config["target"], config["classes"]) == (dataset, "y", ["no", "yes"])
    assert (config["n_instances"], config["weights"], config["feature_names"]) == (5, None, None)


def test_features_are_named_in_any_order_and_weights_are_none_of_them(http: FlaskClient, dataset: str) -> None:
    config = config_of(http, dataset=dataset, target="y", features=["plan", "age"], weights="w")
    assert (config["columns"], config["weights"]) == (["age", "plan"], "w")
    assert config["n_instances"] == 4  # the row of weight 0 counts for nothing


def test_numbers_can_be_taken_for_categories(http: FlaskClient, dataset: str) -> None:
    config = config_of(http, dataset=dataset, target="y", features=["w"], types={"w": "categorical"})
    assert config["categorical"] == ["w"]


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        ({}, "/target", "Field required"),
        ({"target": "Y"}, "/target", "is 'y' meant?"),
        ({"target": "when"}, "/target", "dates"),
        ({"target": "y", "features": ["age", "plam"]}, "/features/1", "is 'plan' meant?"),
        ({"target": "y", "features": ["y"]}, "/features/0", "is the target"),
        ({"target": "y", "features": ["age", "age"]}, "/features/1", "twice"),
        ({"target": "y", "features": ["when"]}, "/features/0", "cannot be used"),
        ({"target": "y", "features": ["age"], "exclude": ["w"]}, "/exclude", "not both"),
        ({"target": "y", "exclude": ["nothing"]}, "/exclude/0", "no column"),
        ({"target": "y", "weights": "plan"}, "/weights", "must hold numbers"),
        ({"target": "y", "weights": "age"}, "/weights", "no value in 1 of 5 rows"),
        ({"target": "age"}, "/target", "no value in 1 of 5 rows, first in row 1"),
        ({"target": "w", "weights": "w"}, "/weights", "is the target"),
        ({"target": "y", "types": {"plan": "numeric"}}, "/types/plan", 'again with types={"plan":"numeric"}'),
        ({"target": "y", "exclude": ["age", "plan", "w", "id"]}, "/features", "no column is left"),
        ({"target": "y", "data": {"records": RECORDS}}, "/dataset", "not both"),
        ({"target": "w", "network": {"activation": "sigmoid"}}, "/target", "row 1"),
    ],
)
def test_what_does_not_fit_the_columns_is_refused_where_it_is(
    http: FlaskClient, dataset: str, body: dict[str, Any], pointer: str, says: str
) -> None:
    status, at, detail = refusal(http, dataset=dataset, **body)
    assert (status, at) == (422, pointer)
    assert says in detail


def test_an_unknown_data_set_is_404(http: FlaskClient) -> None:
    assert refusal(http, dataset="ds_" + "0" * 32, target="y")[0] == 404


def test_records_are_taken_by_the_same_rules(http: FlaskClient) -> None:
    records = [{**record, "y": k % 2} for k, record in enumerate(RECORDS)]
    config = config_of(http, data={"records": records}, target="y")
    assert (config["columns"], config["dataset"], config["classes"]) == (["age", "plan"], None, [0, 1])


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        ({"records": RECORDS, "features": [[1]]}, "/data/features"),
        ({"records": [1]}, "/data/records/0"),
        ({"records": []}, None),
        ({"targets": [1]}, "/data/features"),
        ({"features": [[1]]}, "/data/targets"),
    ],
)
def test_half_of_the_data_or_twice_is_refused(http: FlaskClient, data: dict[str, Any], pointer: str | None) -> None:
    status, at, _ = refusal(http, data=data, **({"target": "plan"} if "records" in data else {}))
    assert (status, at) == (422, pointer)


def test_names_of_columns_need_columns(http: FlaskClient) -> None:
    data = {"features": [[0], [1]], "targets": [0, 1]}
    for name, value in (("target", "y"), ("features", ["a"]), ("exclude", ["a"]), ("weights", "w"), ("types", {})):
        assert refusal(http, data=data, **{name: value})[:2] == (422, f"/{name}")


def test_lists_with_names_may_hold_texts_and_gaps(http: FlaskClient) -> None:
    data = {
        "features": [[31, "pro"], [None, "basic"], [45, "pro"], [20, None]],
        "targets": ["yes", "no", "yes", "no"],
        "feature_names": ["age", "target"],
        "instance_weights": [1, 1, 2, 1],
    }
    config = config_of(http, data=data)
    assert (config["columns"], config["target"], config["weights"]) == (
        ["age", "target"], "_target", "instance_weights"
    )  # fmt: skip
    assert refusal(http, data={**data, "targets": ["yes"]})[:2] == (422, "/data/targets")
    assert refusal(http, data={**data, "features": [[31, "pro"], ["x"]]})[1] in ("/data/targets", "/data/features/1")
    without_names = {name: value for name, value in data.items() if name != "feature_names"}
    assert refusal(http, data=without_names)[1] == "/data/features/0/1"  # a text needs a name


def test_a_dry_run_says_what_would_be_done_and_does_nothing(http: FlaskClient, dataset: str) -> None:
    body = {"model": "m", "dataset": dataset, "target": "y", "exclude": ["w", "id"], "training": {"time_limit_s": 0.5}}
    answer = http.post("/jobs?dry_run=true", json=body)
    assert answer.status_code == 200
    told = answer.get_json()
    assert told["feature_names"] == ["age", "age:missing", "plan=basic", "plan=pro"]
    assert (told["n_features"], told["n_parameters"], told["n_networks"]) == (4, 5, 1)
    assert told["config"]["training"]["optimizer"] == "newton"
    assert told["memory_bytes"] > 0 and 0 < told["epoch_s"] < 1 and told["at_most_s"] <= 0.5
    assert http.get("/jobs").get_json()["data"] == []
    assert http.post("/jobs?dry_run=true", json={**body, "target": "no"}).status_code == 422


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("[" * 400 + "]" * 400, "not an array"),  # deeper than the writer of JSON goes
        ('{"b": 1}', "not an object"),
        ("1e999", "must be finite"),  # no float holds it: it must not pass for a missing value
        ("-1e999", "must be finite"),
    ],
)
def test_a_cell_that_is_no_value_is_refused_where_it_is(http: FlaskClient, cell: str, says: str) -> None:
    records = f'{{"records": [{{"a": 1, "y": 1}}, {{"a": {cell}, "y": 2}}, {{"a": 3, "y": 4}}]}}, "target": "y"'
    lists = f'{{"features": [["u", 1], ["v", {cell}], ["w", 3]], "targets": [1, 2, 4], "feature_names": ["b", "a"]}}'
    targets = f'{{"features": [["u"], ["v"], ["w"]], "targets": [1, {cell}, 4], "feature_names": ["b"]}}'
    for data, pointer in (
        (records, "/data/records/1/a"),
        (lists, "/data/features/1/1"),
        (targets, "/data/targets/1"),
    ):
        answer = http.post("/jobs", data=f'{{"model": "m", "data": {data}}}', content_type="application/json")
        assert answer.status_code == 422, answer.get_json()
        (fault,) = answer.get_json()["errors"]
        assert fault["pointer"] == pointer
        assert says in fault["detail"] or pointer == "/data/targets/1"


def test_targets_and_weights_beside_lists_of_texts_are_refused_where_they_are(http: FlaskClient) -> None:
    data = {"features": [["u", 1], ["v", 2], [None, 3]], "targets": [1, 2, 4], "feature_names": ["b", "a"]}
    for change, pointer in (
        ({"targets": [1, None, 4]}, "/data/targets/1"),
        ({"targets": [[1, 2], [2, 3], [4, 5]]}, "/data/targets/0"),
        ({"instance_weights": [1, "x", 1]}, "/data/instance_weights/1"),
        ({"instance_weights": [1, -1, 1]}, "/data/instance_weights"),
        ({"instance_weights": [0, 0, 0]}, "/data/instance_weights"),
        ({"instance_weights": [0, 0, 3]}, "/data/instance_weights"),
    ):
        assert refusal(http, data={**data, **change})[:2] == (422, pointer)
    assert config_of(http, data={**data, "targets": [1, None, 4], "instance_weights": [1, 0, 2]})["n_instances"] == 2
    assert config_of(http, data={**data, "targets": [[1], [2], [4]]})["n_instances"] == 3  # a column, as of numbers


def test_levels_and_gaps_in_rows_of_weight_0_make_no_features(http: FlaskClient) -> None:
    rows = b"a,c,d,w,y\n1,p,p,1,1\n2,q,p,1,2\n,z,p,0,3\n4,q,,2,4\n"  # the worker, too, learns from 3 rows
    dataset = http.post("/datasets", data=rows, content_type="text/csv").get_json()["id"]
    body = {"model": "m", "dataset": dataset, "target": "y", "features": ["a", "c", "d"]}
    names = http.post("/jobs?dry_run=true", json={**body, "weights": "w"}).get_json()["feature_names"]
    assert names == ["a", "c=p", "c=q", "d=<missing>", "d=p"]
    names = http.post("/jobs?dry_run=true", json=body).get_json()["feature_names"]
    assert names == ["a", "a:missing", "c=p", "c=q", "c=z", "d=<missing>", "d=p"]


def test_one_row_that_counts_is_refused_as_a_table_of_one_row_is(http: FlaskClient) -> None:
    records = [{"a": 1, "w": 0, "y": 1}, {"a": 2, "w": 3, "y": 2}, {"a": 3, "w": 0, "y": 4}]
    status, at, detail = refusal(http, data={"records": records}, target="y", weights="w")
    assert (status, at) == (422, "/weights") and "1 row that counts" in detail


def test_a_short_table_in_a_file_takes_the_memory_of_its_own_rows(
    http: FlaskClient, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"model": "m", "dataset": dataset, "target": "y", "exclude": ["w", "id"]}
    in_memory = http.post("/jobs?dry_run=true", json=body).get_json()["memory_bytes"]
    monkeypatch.setattr("perceptron.memory._MAPPED_BYTES", 0)  # every table is read from its file
    assert http.post("/jobs?dry_run=true", json=body).get_json()["memory_bytes"] == in_memory
