"""What an error may say in a log."""

import json

import pytest
from pydantic import BaseModel, field_validator
from redis.exceptions import ResponseError

from perceptron import InvalidDatasetError
from storage.errors import JobNotFoundError
from storage.log.faults import describe, message_of


class Record(BaseModel):
    n: int
    name: str

    @field_validator("name")
    @classmethod
    def check(cls, name: str) -> str:
        raise ValueError(f"{name} is no name")


def test_what_pydantic_found_is_told_without_the_input() -> None:
    with pytest.raises(ValueError) as found:
        Record.model_validate({"n": "the value", "name": "the value"})
    assert "the value" in str(found.value)
    assert describe(found.value) == (
        "n: Input should be a valid integer, unable to parse string as an integer; name: invalid"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("the value"), ""),
        (KeyError("the value"), ""),
        (InvalidDatasetError("the value"), ""),
        (UnicodeDecodeError("utf-8", b"the value", 0, 1, "the value"), ""),
        (TypeError("unhashable type: 'list'"), "unhashable type: 'list'"),
        (FileNotFoundError(2, "No such file", "/the/value"), "No such file"),
        (JobNotFoundError("job_1"), "there is no job 'job_1'"),
        (ResponseError("Command # 1 (SET k the value) of pipeline caused error: OOM full"), "OOM full"),
    ],
)
def test_only_messages_that_quote_nobody_are_shown(error: Exception, message: str) -> None:
    assert message_of(error) == message


def test_invalid_json_is_told_by_its_place() -> None:
    with pytest.raises(json.JSONDecodeError) as found:
        json.loads('{"the value": ')
    assert describe(found.value) == "JSONDecodeError: Expecting value at character 14"
