"""Every line about an error that nobody foresaw has the code by which alarms are found."""

import logging
from pathlib import Path

import pytest

from storage.log.unexpected import log_unexpected

ROOT = Path(__file__).resolve().parents[3]


def test_the_line_has_the_code_the_traceback_its_members_and_the_place_of_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log_unexpected(logging.getLogger("worker"), ValueError("no number"), "job %s: oops", "job_1", job_id="job_1")
    (record,) = caplog.records
    assert (record.message, record.levelname, record.name) == ("job job_1: oops", "ERROR", "worker")
    assert (vars(record)["code"], vars(record)["job_id"]) == ("unexpected_error", "job_1")
    assert record.exc_info is not None and str(record.exc_info[1]) == "no number"
    assert record.pathname == __file__


def test_no_process_logs_an_exception_in_another_way() -> None:
    sources = [file for package in ("service", "storage", "worker") for file in (ROOT / package).rglob("*.py")]
    assert len(sources) > 150
    assert [str(file) for file in sources if 'exception("' in file.read_text()] == []
