"""Workers killed or stopped at random points, jobs that are cancelled, and a Redis that is killed, in any order.

`./run test tests/faults/test_fault_points.py --hypothesis-profile long` is the long form.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from storage.errors import JobAlreadyDoneError
from storage.jobs.housekeeping import Housekeeping
from storage.jobs.reconciler import DEAD_AFTER_S, Reconciler
from tests.builders import training_spec
from tests.faults import dying_worker
from tests.faults.dying_worker import POINTS
from tests.faults.history import History, judge
from tests.faults.rig import Rig, children_of, send, wait_for
from worker.main import main

MAX_ATTEMPTS = 3
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([dying_worker.__name__, "pytest"])  # importing takes longer than the work


def work(point: str | None, number: signal.Signals, environment: dict[str, str], log: Path) -> None:
    """Be a worker, with such an end at this point."""
    os.environ.update(environment)
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    raise SystemExit(main() if point is None else dying_worker.work(point, number))


def tree(worker: BaseProcess) -> list[int]:
    assert worker.pid is not None
    return [*children_of(worker.pid), worker.pid]


def is_stopped(worker: BaseProcess) -> bool:
    return Path(f"/proc/{worker.pid}/stat").read_text().rpartition(") ")[2].startswith("T")


def end(worker: BaseProcess) -> None:
    """Let a worker go on, and stop in its own time; it may come to its point again."""

    def has_ended() -> bool:
        for pid in tree(worker):
            send(pid, signal.SIGCONT)
        return worker.exitcode is not None

    worker.terminate()
    wait_for(has_ended)
    assert worker.exitcode in (0, -signal.SIGTERM)  # the latter before it has handlers


class Machine(RuleBasedStateMachine):
    """Each sequence has models and jobs of its own, and ends when all its jobs have."""

    rig: ClassVar[Rig]

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.now = 0.0
        self.stopped: list[BaseProcess] = []
        self.reconciler = Reconciler(
            self.rig.redis,
            self.rig.jobs,
            self.rig.queue,
            holder="test",
            max_attempts=MAX_ATTEMPTS,
            housekeeping=Housekeeping(self.rig.redis, self.rig.blobs, keep_jobs_s=1e9),
            clock=lambda: self.now,
        )

    def job_ids(self, *statuses: str) -> list[str]:
        return [job_id for job_id in self.history.accepted if self.rig.jobs.get(job_id).status in statuses]

    def start(self, point: str | None, number: signal.Signals = signal.SIGKILL) -> BaseProcess:
        arguments = point, number, self.rig.settings, self.rig.folder / "workers.log"
        process = FORKS.Process(target=work, args=arguments)
        process.start()
        return process

    def submit_one(self, model: str) -> None:
        spec = training_spec(self.rig.blobs, max_epochs=50, tolerance=0.0)
        job = self.rig.jobs.submit(model, spec, metadata={})
        self.history.saw_accepted({"id": job.id, "status": job.status}, job.id)

    @rule(model=st.sampled_from(["a", "b"]))
    def submit(self, model: str) -> None:
        self.submit_one(model)

    @rule(n=st.integers(0, 99))
    def cancel(self, n: int) -> None:
        if ids := list(self.history.accepted):
            with suppress(JobAlreadyDoneError):
                self.rig.jobs.cancel(ids[n % len(ids)])

    @rule()
    def kill_redis(self) -> None:
        self.rig.kill_redis()

    @rule(points=st.lists(st.sampled_from(sorted(POINTS)), min_size=1, max_size=2))
    def die(self, points: Sequence[str]) -> None:
        """Workers are killed, all at once, each at its point."""
        self.work_until(points, signal.SIGKILL)

    @rule(point=st.sampled_from(sorted(POINTS)))
    def stop(self, point: str) -> None:
        """A worker stops at a point; its job goes to others before it wakes."""
        self.work_until([point], signal.SIGSTOP)

    def work_until(self, points: Sequence[str], number: signal.Signals) -> None:
        self.give_up_the_silent()
        while len(self.job_ids("queued")) < len(points):
            self.submit_one("a")
        workers = [self.start(point, number) for point in points]
        for point, worker in zip(points, workers, strict=True):
            event(f"{number.name} {point}")
            if number == signal.SIGKILL:
                worker.join(30)
                assert worker.exitcode == -signal.SIGKILL, point
            else:
                wait_for(lambda worker=worker: is_stopped(worker))
                self.stopped.append(worker)

    def give_up_the_silent(self) -> None:
        """Let all attempts look dead and all missing queue entries lost, as they would be some seconds later."""
        for _ in range(3):
            self.reconciler.run()
            self.now += 2 * DEAD_AFTER_S + 10.0

    @rule()
    def wake(self) -> None:
        """Stopped workers go on, and end."""
        for worker in self.stopped:
            end(worker)
        self.stopped = []

    def teardown(self) -> None:
        """Let a worker do the rest, wake the stopped ones, and judge."""
        self.give_up_the_silent()
        worker = self.start(None)
        wait_for(lambda: not self.job_ids("queued", "running"))
        self.wake()
        end(worker)
        assert judge(self.history, self.rig.jobs, self.rig.models).violations == []
        for job_id in self.history.accepted:
            job = self.rig.jobs.get(job_id)
            if job.status == "failed":
                assert job.error is not None and job.error.code == "attempts_exhausted"
                assert job.n_deaths == MAX_ATTEMPTS
            events, _ = self.rig.jobs.events(job_id, limit=1000)
            assert [one.ends_the_job for one in events].count(True) == 1


@pytest.mark.long
def test_workers_that_die_at_random_points_lose_no_job_and_publish_none_twice(start_rig: Callable[..., Rig]) -> None:
    """R45."""
    Machine.rig = start_rig(n_workers=0, api_processes=0, MAX_ATTEMPTS=str(MAX_ATTEMPTS))
    is_long = settings.get_current_profile_name() == "long"
    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=100 if is_long else 3,
                stateful_step_count=12 if is_long else 6,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],  # shrinking would take hours
            ),
        )
    finally:
        for process in multiprocessing.active_children():
            for pid in tree(process):
                send(pid, signal.SIGKILL)
