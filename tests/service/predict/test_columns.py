"""Predicting with versions that were trained on the columns of a table, over HTTP."""

from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from storage.jobs.store import JobStore
from tests.tables import CHURN, FLAGS, GAPS, GRADES, SPELLINGS, TREES, publish_table

KNOWN = {"age": 52, "income": 25.5, "member": True, "plan": "plus"}
LOG_ODDS_OF_KNOWN = 0.0356365493


def predict(http: FlaskClient, model: str, *instances: Any, **more: Any) -> Any:
    return http.post("/predict", json={"model": model, "instances": list(instances), **more})


def outputs(answer: Any) -> list[float]:
    assert answer.status_code == 200, answer.text
    return [row[0] for row in answer.get_json()["outputs"]]


def codes(answer: Any) -> list[tuple[str, str]]:
    return [(each["pointer"], each["code"]) for each in answer.get_json().get("warnings", [])]


# The outputs were computed by scikit-learn: OneHotEncoder(handle_unknown="ignore"), SimpleImputer(add_indicator=True),
# StandardScaler, then Ridge or LogisticRegression with the same penalty, 0.01 |w|^2 beside the mean of the losses.


@pytest.mark.parametrize(
    ("record", "expected", "warned"),
    [
        ({"a": 7, "c": "elm"}, 5.3314250971, []),
        ({"c": "elm", "a": 7.0}, 5.3314250971, []),
        ({"a": 7, "c": " elm\t"}, 5.3314250971, []),
        ({"a": 7, "c": "fir"}, 7.2511508965, []),
        ({"a": 7, "c": "yew"}, 6.173541027, [("/instances/0/c", "unknown_category")]),
        ({"a": 7, "c": "ash"}, 6.173541027, [("/instances/0/c", "unknown_category")]),
        ({"a": 7, "c": 12}, 6.173541027, [("/instances/0/c", "unknown_category")]),
        ({"a": 7, "c": None}, 6.173541027, [("/instances/0/c", "missing_value")]),
        ({"a": 7, "c": "elm", "y": 3, "id": 5}, 5.3314250971, [("/instances/0/id", "unknown_key")]),
    ],
)
def test_a_row_of_trees(http: FlaskClient, jobs: JobStore, record: Any, expected: float, warned: Any) -> None:
    publish_table(jobs, "trees", TREES)
    answer = predict(http, "trees", record)
    assert outputs(answer) == [pytest.approx(expected, abs=1e-6)]
    assert codes(answer) == warned
    assert answer.headers.get("X-Warnings") == (str(len(warned)) if warned else None)


@pytest.mark.parametrize(
    ("changes", "expected", "warned"),
    [
        ({}, LOG_ODDS_OF_KNOWN, None),
        ({"income": None}, 0.0276931085, None),
        ({"plan": None}, 0.026394114, None),
        ({"plan": "gold"}, 0.0503273762, ("/instances/0/plan", "unknown_category")),
        ({"age": None}, 0.0455715117, ("/instances/0/age", "missing_value")),
        ({"member": "TRUE"}, LOG_ODDS_OF_KNOWN, None),
        ({"y": "stay", "id": 1}, LOG_ODDS_OF_KNOWN, ("/instances/0/id", "unknown_key")),
    ],
)
def test_numbers_booleans_categories_and_gaps_together(
    http: FlaskClient, jobs: JobStore, changes: Any, expected: float, warned: Any
) -> None:
    publish_table(jobs, "churn", CHURN)
    answer = predict(http, "churn", KNOWN | changes)
    assert outputs(answer) == [pytest.approx(expected, abs=1e-6)]
    assert answer.get_json()["predictions"] == ["churn"]
    assert codes(answer) == ([warned] if warned else [])


@pytest.mark.parametrize(
    ("model", "text", "record", "expected"),
    [
        ("gaps", GAPS, {"c": None, "d": "m"}, 5.0982321033),
        ("gaps", GAPS, {"c": "p", "d": None}, 1.0535242023),
        ("gaps", GAPS, {"c": "zz", "d": "m"}, 2.521399952),
        ("grades", GRADES, {"g": "1"}, 1.058056253),
        ("grades", GRADES, {"g": 1}, 1.058056253),
        ("grades", GRADES, {"g": 1.0}, 1.058056253),
        ("grades", GRADES, {"g": "1.0"}, 1.058056253),
        ("grades", GRADES, {"g": "X"}, 5.2288393303),
        ("flags", FLAGS, {"b": True, "q": "Yes", "n": "N", "z": 0}, 7.2442025402),
        ("flags", FLAGS, {"b": "true", "q": "Yes", "n": "N", "z": 0}, 7.2442025402),
        ("flags", FLAGS, {"b": " True ", "q": "Yes", "n": "N", "z": 0}, 7.2442025402),
        ("spellings", SPELLINGS, {"a": None, "c": "p"}, 3.2458686265),
        ("spellings", SPELLINGS, {"a": 6, "c": "p"}, 6.5111246807),
    ],
)
def test_cells_of_every_kind(
    http: FlaskClient, jobs: JobStore, model: str, text: str, record: Any, expected: float
) -> None:
    publish_table(jobs, model, text)
    assert outputs(predict(http, model, record)) == [pytest.approx(expected, abs=1e-6)]


def test_a_batch_is_its_rows_one_by_one_in_any_order(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "trees", TREES)
    rows = [{"a": 7, "c": tree} for tree in ("oak", "elm", "fir")]
    expected = [6.0440568763, 5.3314250971, 7.2511508965]
    assert outputs(predict(http, "trees", *rows)) == pytest.approx(expected, abs=1e-6)
    assert outputs(predict(http, "trees", *rows[::-1])) == pytest.approx(expected[::-1], abs=1e-6)
    assert outputs(predict(http, "trees", [7, "oak"], [7, "elm"], [7, "fir"])) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("record", "pointer", "words"),
    [
        ({"c": "elm"}, "/instances/0/a", ["Field required"]),
        ({"A": 7, "c": "elm"}, "/instances/0/a", ["Field required", "'A'"]),
        ({" a ": 7, "c": "elm"}, "/instances/0/a", ["Field required", "' a '"]),
        ({"a": "7", "c": "elm"}, "/instances/0/a", ["'a'", "a number or null", "'7'"]),
        ({"a": "seven", "c": "elm"}, "/instances/0/a", ["'a'", "'seven'"]),
        ({"a": True, "c": "elm"}, "/instances/0/a", ["'a'", "true"]),
        ({"a": [7], "c": "elm"}, "/instances/0/a", ["'a'", "an array"]),
        ({"a": 7, "c": {"x": 1}}, "/instances/0/c", ["'c'", "an object"]),
        ([7], "/instances/0", ["expected 2 values, got 1"]),
        ([7, "elm", 3], "/instances/0", ["expected 2 values, got 3"]),
        ([[7], "elm"], "/instances/0/0", ["'a'", "an array"]),
        ([7, ["elm"]], "/instances/0/1", ["'c'", "an array"]),
        (7, "/instances/0", ["a list of values"]),
        ("elm", "/instances/0", ["a list of values"]),
        (None, "/instances/0", ["a list of values"]),
        ([], "/instances/0", ["expected 2 values, got 0"]),
        ({}, "/instances/0/a", ["Field required"]),
    ],
)
def test_a_row_that_does_not_fit_is_named(
    http: FlaskClient, jobs: JobStore, record: Any, pointer: str, words: list[str]
) -> None:
    publish_table(jobs, "trees", TREES)
    answer = predict(http, "trees", record)
    assert answer.status_code == 422
    (fault,) = answer.get_json()["errors"]
    assert fault["pointer"] == pointer
    assert all(word in fault["detail"] for word in words), fault["detail"]


def test_a_boolean_takes_no_number_and_no_other_text(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "flags", FLAGS)
    for value, words in (("maybe", "'maybe'"), (1, "not 1"), ("", "''"), ("yes", "'yes'")):
        (fault,) = predict(http, "flags", {"b": value, "q": "Yes", "n": "N", "z": 0}).get_json()["errors"]
        assert fault["pointer"] == "/instances/0/b" and words in fault["detail"]


def test_objects_and_lists_do_not_mix(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "trees", TREES)
    for rows in ([{"a": 7, "c": "elm"}, [7, "elm"]], [[7, "elm"], {"a": 7, "c": "elm"}]):
        answer = predict(http, "trees", *rows)
        assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "/instances/1")


def test_an_unknown_key_is_named_once_and_the_first_rows_that_have_it(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "trees", TREES)
    rows = [{"a": 7, "c": "elm"}, {"a": 7, "c": "elm", "id": 1}, {"a": 7, "c": "elm", "id": 2, "x/y": 3}]
    assert codes(predict(http, "trees", *rows)) == [
        ("/instances/1/id", "unknown_key"),
        ("/instances/2/x~1y", "unknown_key"),
    ]


def test_of_many_warnings_the_first_are_shown_and_the_others_counted(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "trees", TREES)
    answer = predict(http, "trees", *[{"a": None, "c": f"tree {i}"} for i in range(50)], {"a": 1, "c": "elm"})
    assert answer.status_code == 422  # 51 instances: the limit of these tests is 50
    keys = {f"k{k}": 0 for k in range(60)}
    answer = predict(http, "trees", *[{"a": None, "c": f"tree {i}"} | keys for i in range(50)])
    shown = answer.get_json()["warnings"]
    in_order = ["unknown_key", "unknown_key", "missing_value", "unknown_category", "missing_value"]
    assert [each["code"] for each in shown[48:53]] == in_order
    assert (len(shown), shown[-1]["code"]) == (101, "more_warnings")
    assert shown[-1]["detail"] == "60 more warnings are not shown"
    assert answer.headers["X-Warnings"] == "160"


def test_contributions_are_by_column_and_an_unknown_category_contributes_nothing(
    http: FlaskClient, jobs: JobStore
) -> None:
    publish_table(jobs, "trees", TREES)
    answer = predict(http, "trees", {"a": 7, "c": "yew"}, {"a": 7, "c": "elm"}, explain=True).get_json()
    (of_a, of_c), known = answer["contributions"]
    assert of_c == 0 and known[1] != 0
    for row, output in zip(answer["contributions"], answer["outputs"], strict=True):
        assert answer["base"] + sum(row) == pytest.approx(output[0], rel=1e-12)
    version = http.get("/models/trees/versions/1").get_json()
    weights = dict(zip(version["feature_names"], (row[0] for row in version["weights"][0]), strict=True))
    assert of_a == pytest.approx(7 * weights["a"], rel=1e-12)
    assert known[1] == pytest.approx(weights["c=elm"], rel=1e-12)


def test_an_indicator_counts_for_its_column(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "spellings", SPELLINGS)
    answer = predict(http, "spellings", {"a": None, "c": "p"}, explain=True).get_json()
    version = http.get("/models/spellings/versions/1").get_json()
    weights = dict(zip(version["feature_names"], (row[0] for row in version["weights"][0]), strict=True))
    ((of_a, of_c),) = answer["contributions"]
    assert of_a == pytest.approx(6.2 * weights["a"] + weights["a:missing"], rel=1e-12)
    assert of_c == pytest.approx(weights["c=p"], rel=1e-12)


def test_a_version_shows_its_columns_and_its_target(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "churn", CHURN)
    version = http.get("/models/churn/versions/1").get_json()
    assert version["target"] == "y"
    assert version["columns"] == [
        {
            "name": "age",
            "type": "numeric",
            "categories": None,
            "mean": pytest.approx(49.3),
            "has_gaps": False,
            "null_values": [],
        },
        {
            "name": "income",
            "type": "numeric",
            "categories": None,
            "mean": pytest.approx(21.0196078),
            "has_gaps": True,
            "null_values": [],
        },
        {
            "name": "member",
            "type": "boolean",
            "categories": None,
            "mean": pytest.approx(23 / 60),
            "has_gaps": False,
            "null_values": [],
        },
        {
            "name": "plan",
            "type": "categorical",
            "categories": ["basic", "plus", "pro"],
            "mean": None,
            "has_gaps": True,
            "null_values": [],
        },
    ]
    assert version["feature_names"] == [
        "age", "income", "income:missing", "member", "plan=<missing>", "plan=basic", "plan=plus", "plan=pro",
    ]  # fmt: skip


def test_versions_are_compared_each_with_its_own_columns(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "trees", TREES)
    publish_table(jobs, "trees", TREES)
    publish_table(jobs, "trees", TREES.replace("elm", "yew"))
    answer = predict(http, "trees", {"a": 7, "c": "elm"}, version=1, versions=[1, 2, 3]).get_json()
    by_version = answer["by_version"]
    assert by_version["1"]["outputs"] == by_version["2"]["outputs"] == [[pytest.approx(5.3314250971, abs=1e-6)]]
    assert "warnings" not in by_version["1"] and "warnings" not in answer
    assert [each["code"] for each in by_version["3"]["warnings"]] == ["unknown_category"]
    publish_table(jobs, "trees", TREES.replace("a,c,y", "a,tree,y"))
    fault = predict(http, "trees", {"a": 7, "c": "elm"}, version=1, versions=[1, 4]).get_json()["errors"][0]
    assert fault["pointer"] == "/instances/0/tree"
    assert "for version 4" in fault["detail"]


def test_rows_of_numbers_alone_take_the_short_way(http: FlaskClient, jobs: JobStore) -> None:
    # y = 2 a + 3, and a is missing once: its indicator is a feature of its own
    publish_table(jobs, "line", "a,b,y\n0,1,3\n1,1,5\n2,5,7\n3,2,9\n,3,4\n")
    single = outputs(predict(http, "line", [1.5, 2]))
    assert single == outputs(predict(http, "line", {"a": 1.5, "b": 2}))
    assert outputs(predict(http, "line", [1.5, 2], [0, 1])) == pytest.approx(
        [single[0], *outputs(predict(http, "line", {"a": 0, "b": 1}))], rel=1e-12
    )
    assert predict(http, "line", [1.5]).get_json()["code"] == "wrong_dimension"
    assert predict(http, "line", [1.5, 2], [1]).get_json()["errors"][0]["pointer"] == "/instances/1"
    assert predict(http, "line", [None, 2]).status_code == 200


def test_whole_numbers_name_categories_exactly(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "ids", "id,y\n9007199254740993,1\n9007199254740992,2\nx,3\n")
    first, second = outputs(predict(http, "ids", [9007199254740993], [9007199254740992]))
    assert np.sign(second - first) == 1


def test_minus_one_is_a_number_though_it_is_the_code_of_an_unknown_category(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "trees", TREES)
    answer = predict(http, "trees", {"a": -1, "c": "elm"}, explain=True)
    assert codes(answer) == []
    at_seven = predict(http, "trees", {"a": 7, "c": "elm"}, explain=True)
    (of_minus_one, _), (of_seven, _) = (each.get_json()["contributions"][0] for each in (answer, at_seven))
    assert of_minus_one == pytest.approx(of_seven / -7, rel=1e-12)


@pytest.mark.parametrize(("cell", "column"), [('{"a": 1e999, "c": "elm"}', "a"), ('{"a": 1, "c": -1e999}', "c")])
def test_a_number_that_no_float_holds_is_named(http: FlaskClient, jobs: JobStore, cell: str, column: str) -> None:
    publish_table(jobs, "trees", TREES)
    body = '{"model": "trees", "instances": [{"a": 1, "c": "elm"}, %s]}' % cell  # noqa: UP031 (braces)
    answer = http.post("/predict", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_request")
    assert answer.get_json()["errors"][0]["pointer"] == f"/instances/1/{column}"
