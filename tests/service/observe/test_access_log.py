"""Which requests are logged, and what their line has."""

import logging

import pytest

from service.observe.access_log import SLOW_NS, AccessLog

FAST = 40_000


def due(log: AccessLog, n: int, status: int = 200, ns: int = FAST) -> list[int]:
    return [position for position in range(1, n + 1) if log.is_due(status, ns)]


def test_one_of_so_many_predicts_is_logged() -> None:
    assert due(AccessLog(3), 9) == [3, 6, 9]
    assert due(AccessLog(1), 2) == [1, 2]
    assert due(AccessLog(0), 10_000) == []


def test_faults_of_the_service_and_slow_predicts_are_always_logged() -> None:
    log = AccessLog(0)
    assert due(log, 2, status=503) == [1, 2]
    assert due(log, 2, ns=SLOW_NS + 1) == [1, 2]
    assert due(log, 2, status=404, ns=SLOW_NS) == []


def test_a_line_says_how_many_it_stands_for_and_warns_of_faults(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for status, ns in ((200, 1_234_567), (503, FAST), (200, 1_500_000_000)):
        AccessLog(50).write(
            method="POST", route="/predict", status=status, n_bytes=7, ns=ns, remote="", tenant="", is_sample=True
        )
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "WARNING"]
    assert [getattr(record, "sampled", None) for record in caplog.records] == [50, None, None]
    first = vars(caplog.records[0])
    assert first["duration_ms"] == 1.235
    assert "tenant" not in first and "remote" not in first


def test_a_health_check_has_a_line_at_debug_alone_unless_it_was_slow(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for status, ns, is_probe in ((200, FAST, True), (503, FAST, True), (200, SLOW_NS + 1, True), (503, FAST, False)):
        AccessLog().write(method="GET", route="/readyz", status=status, n_bytes=7, ns=ns, remote="", is_probe=is_probe)
    assert [record.levelname for record in caplog.records] == ["DEBUG", "DEBUG", "WARNING", "WARNING"]
