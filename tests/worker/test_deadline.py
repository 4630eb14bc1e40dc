"""The one clock of a training: how long it has trained, and when that is enough."""

import pytest

from tests.clock import Clock
from worker.deadline import Deadline


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_time_that_a_store_takes_does_not_count(clock: Clock) -> None:
    deadline = Deadline(clock)
    deadline.begin(10.0, used_s=4.0)
    clock.now += 5
    with deadline.paused():
        clock.now += 40
        assert (deadline.used_s, deadline.has_passed) == (9.0, False)
        assert deadline.overdue_s < 0
    assert (deadline.used_s, deadline.overdue_s, deadline.has_passed) == (9.0, -1.0, False)
    clock.now += 1
    assert (deadline.used_s, deadline.overdue_s, deadline.has_passed) == (10.0, 0.0, True)


def test_without_a_limit_or_after_the_last_epoch_nothing_is_overdue(clock: Clock) -> None:
    deadline = Deadline(clock)
    deadline.begin(None, used_s=0.0)
    clock.now += 1e6
    with deadline.paused():
        pass
    assert not deadline.has_passed and deadline.overdue_s < 0
    deadline.begin(10.0, used_s=20.0)
    assert deadline.has_passed
    deadline.lift()
    with deadline.paused():
        pass
    assert deadline.has_passed and deadline.overdue_s < 0
