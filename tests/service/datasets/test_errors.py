"""Errors of tables as answers, and the limits that they name."""

import orjson
import pytest
from flask.testing import FlaskClient

from service.datasets.reading import TableLimits
from service.http.errors import TableError, answer_to


@pytest.mark.parametrize(
    ("code", "status"), [("ragged_row", 422), ("malformed_encoding", 400), ("malformed_json", 400), ("too_large", 413)]
)
def test_an_error_of_a_table_is_a_problem_with_its_place(code, status):
    error = TableError(code, "what is wrong", row=3, line=0, column="a", value="x" * 1_000, more={"expected": 2})
    answer = answer_to(error, request_id="r1")
    assert answer.status == status
    body = orjson.loads(answer.body)
    assert (body["status"], body["code"], body["detail"], body["request_id"]) == (status, code, "what is wrong", "r1")
    assert (body["row"], body["line"], body["column"], body["expected"]) == (3, 0, "a", 2)
    assert body["value"] == "x" * 200


def test_limits_of_tables_come_from_the_environment():
    assert TableLimits.from_env({"MAX_DATASET_ROWS": "7"}) == TableLimits(max_dataset_rows=7)
    with pytest.raises(ValueError, match="MAX_LINE_BYTES must be a whole number of at least 1"):
        TableLimits.from_env({"MAX_LINE_BYTES": "0"})


def test_a_parameter_that_is_given_twice_is_refused(http: FlaskClient) -> None:
    query = "/datasets?delimiter=,&delimiter=;"
    answer = http.post(query, data=b"a,b\n1,2\n", content_type="text/csv")
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "/delimiter")
