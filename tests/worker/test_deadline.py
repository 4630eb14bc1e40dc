"""When a training must be over."""

import time

from worker.deadline import Deadline


def test_time_that_a_store_takes_does_not_count() -> None:
    deadline = Deadline()
    deadline.begin(1.0, used_s=0.0)
    with deadline.suspended():
        time.sleep(1.2)
        assert deadline.overdue_s < 0
    assert deadline.overdue_s < 0
    time.sleep(1.1)
    assert deadline.overdue_s > 0
