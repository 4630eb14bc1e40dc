"""Settings whose value is in a file."""

from pathlib import Path

import pytest

from storage.store_settings import read_secret_files


def test_a_secret_is_read_from_its_file_without_the_line_break(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:a b@db:6379/0\n")
    env = {"REDIS_URL_FILE": str(tmp_path / "url"), "PORT": "8000"}
    read_secret_files(env)
    assert env == {"REDIS_URL": "redis://:a b@db:6379/0", "PORT": "8000"}


def test_an_empty_name_of_a_file_is_none(tmp_path: Path) -> None:
    env = {"REDIS_URL_FILE": "", "REDIS_URL": "redis://db"}
    read_secret_files(env)
    assert env["REDIS_URL"] == "redis://db"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read: No such file"), (b"", "must have 1 to"), (b" \n", "must have 1 to"),
     (b"\xff", "cannot be read: it is not UTF-8"), (b"a" * 70_000, "must have 1 to 65536 characters")],
)  # fmt: skip
def test_a_file_that_holds_no_secret_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "url"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f"REDIS_URL_FILE .*{reason}") as caught:
        read_secret_files({"REDIS_URL_FILE": str(path)})
    assert "aaa" not in str(caught.value)


def test_a_value_and_a_file_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give REDIS_URL or REDIS_URL_FILE, not both"):
        read_secret_files({"REDIS_URL_FILE": str(tmp_path), "REDIS_URL": "redis://db"})
