"""What the log says while a store is away: a few lines a second for each reason, however many requests come."""

import logging

import pytest

from service.http import errors
from service.http.errors import StartingError, answer_to
from storage.errors import BlobStoreUnavailableError, UnavailableError
from tests.clock import Clock


def test_of_each_reason_five_lines_a_second_are_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("storage.log.throttle.time.monotonic", clock)
    errors._throttles.clear()
    for _ in range(2):
        caplog.clear()
        for k in range(20):
            assert answer_to(UnavailableError("the access keys"), request_id=f"r{k}").status == 503
        assert [line.message for line in caplog.records] == [f"request r{k}: the access keys" for k in range(5)]
        away = UnavailableError()
        away.__cause__ = BlobStoreUnavailableError("the blob store")
        answer_to(away, request_id="r20")
        assert caplog.messages[5:] == ["request r20: the blob store"]
        clock.now += 1


def test_a_process_that_starts_says_nothing_about_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert answer_to(StartingError("soon"), request_id="r").status == 503
    assert caplog.messages == []
