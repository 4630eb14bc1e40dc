"""When something that takes time is due again."""

from tests.clock import Clock
from worker.pace import Pace


def test_what_takes_long_happens_less_often() -> None:
    clock = Clock()
    pace = Pace(clock, every_s=5, share=0.1)
    due_after = []
    for took_s in (0.25, 2.0, 40.0):
        while not pace.is_due:
            clock.now += 0.5
        with pace.measured():
            clock.now += took_s
        ended_at = clock.now
        while not pace.is_due:
            clock.now += 0.5
        due_after.append(clock.now - ended_at)
    # 0.25 s is less than a tenth of 5 s; 2 s are a tenth of 20 s; 40 s are an outage, not a measure of the work.
    assert due_after == [5.0, 20.0, 60.0]


def test_the_first_is_due_at_once_or_after_a_while() -> None:
    clock = Clock()
    assert Pace(clock, every_s=5, is_due_at_once=True).is_due
    assert not Pace(clock, every_s=5).is_due
