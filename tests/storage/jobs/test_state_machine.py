"""Jobs, attempts, checkpoints, versions and aliases in Redis against a model of them in a few lines of Python.

`./run test tests/storage/jobs/test_state_machine.py --hypothesis-profile long` runs 500 sequences (R22).
"""

from dataclasses import dataclass, field, replace
from typing import Any, get_args

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from storage import keys
from storage.errors import (
    AliasNotFoundError,
    IdempotencyKeyReusedError,
    JobAlreadyDoneError,
    ModelNotFoundError,
    StaleAttemptError,
    StorageError,
    VersionInUseError,
    VersionNotFoundError,
)
from storage.jobs.attempt import Attempt
from storage.jobs.record import JobStatus, SilentAttempt
from storage.jobs.reports import Figures, JobError
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.queue import TrainingQueue
from tests.builders import RESULT, description, progress, training_spec

MAX_ATTEMPTS = 3
MAX_JOBS = 9
ANY = st.integers(0, 1000)
NAMES = st.sampled_from(["a", "b"])
ALIASES = st.sampled_from(["production", "canary"])
EPOCHS = st.integers(1, 6)


@dataclass
class ModelOfJob:
    """What the record of a job should say."""

    model: str
    alias: str | None
    status: str = "queued"
    attempt: int = 0
    version: int | None = None
    checkpoint: tuple[str, int] | None = None
    furthest: int = -1
    furthest_at_claim: int = -1
    n_deaths: int = 0


@dataclass
class ModelOfModel:
    """What the registry should say of a name."""

    highest: int = 0
    versions: set[int] = field(default_factory=set)
    aliases: dict[str, int] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    """Every rule does the same to the stores and to the model, and compares the answers."""

    redis: Redis

    def __init__(self) -> None:
        super().__init__()
        self.redis.flushall()
        self.queue = TrainingQueue(self.redis)
        self.jobs = JobStore(self.redis, self.queue)
        self.models = ModelStore(self.redis)
        self.expected: dict[str, ModelOfJob] = {}
        self.registry: dict[str, ModelOfModel] = {}
        self.by_key: dict[str, tuple[str, str]] = {}
        self.attempts: list[Attempt] = []

    def some_job(self, n: int) -> str:
        """Choose a job: mostly one that waits, or hardly any would be claimed."""
        waiting = [job_id for job_id, job in self.expected.items() if job.status == "queued"]
        ids = waiting if waiting and n % 4 < 3 else list(self.expected)
        return ids[n % len(ids)]

    def some_attempt(self, n: int) -> Attempt:
        """Choose a attempt: mostly one that owns its job, or hardly any would do anything."""
        owning = [attempt for attempt in self.attempts if self.owns(attempt)]
        attempts = owning if owning and n % 4 < 3 else self.attempts
        return attempts[n % len(attempts)]

    @initialize()
    def begin_in_the_middle(self) -> None:
        """Most of what can go wrong needs some jobs that run and some versions that exist."""
        for model, alias in (("a", "production"), ("a", None), ("b", "canary"), ("a", None), ("b", None)):
            self.submit(model, alias)
        for n in (0, 1, 2, 4):
            self.claim(n)
        self.publish(0)

    # ------------------------------------------------------------------ jobs

    @precondition(lambda self: len(self.expected) < MAX_JOBS)
    @rule(model=NAMES, alias=st.none() | ALIASES)
    def submit(self, model: str, alias: str | None) -> None:
        job = self.jobs.submit(model, training_spec(alias=alias), metadata={})
        assert job.id not in self.expected
        self.expected[job.id] = ModelOfJob(model, alias)

    @rule(key=st.sampled_from(["k1", "k2"]), fingerprint=st.sampled_from(["x", "y"]))
    def submit_with_key(self, key: str, fingerprint: str) -> None:
        known = self.by_key.get(key)
        try:
            job = self.jobs.submit("a", training_spec(), metadata={}, idempotency_digest=key, fingerprint=fingerprint)
        except IdempotencyKeyReusedError:
            assert known is not None and known[1] != fingerprint
            return
        if known is None:
            self.by_key[key] = (job.id, fingerprint)
            self.expected[job.id] = ModelOfJob("a", None)
        else:
            assert known == (job.id, fingerprint)

    @precondition(lambda self: self.expected)
    @rule(n=ANY)
    def claim(self, n: int) -> None:
        job_id = self.some_job(n)
        expected = self.expected[job_id]
        attempt = self.jobs.claim(job_id)
        assert (attempt is not None) == (expected.status == "queued")
        if attempt is None:
            return
        self.attempts.append(attempt)
        expected.status = "running"
        expected.attempt += 1
        expected.furthest_at_claim = expected.furthest
        assert attempt.number == expected.attempt

    @precondition(lambda self: self.expected)
    @rule(n=ANY)
    def cancel(self, n: int) -> None:
        job_id = list(self.expected)[n % len(self.expected)]
        expected = self.expected[job_id]
        try:
            self.jobs.cancel(job_id)
        except JobAlreadyDoneError:
            assert expected.status in ("succeeded", "failed")
        else:
            assert expected.status in ("queued", "running", "cancelled")
            expected.status = "cancelled"

    # -------------------------------------------------------------- attempts

    def owns(self, attempt: Attempt) -> bool:
        expected = self.expected[attempt.job.id]
        return expected.status == "running" and expected.attempt == attempt.number

    def fenced(self, attempt: Attempt, act: Any, *, may_repeat: bool = False) -> bool:
        """Act, and say whether it was done; it must be refused exactly when the attempt is stale."""
        owned = self.owns(attempt)
        try:
            act()
        except StaleAttemptError:
            assert not owned and not may_repeat
            return False
        assert owned or may_repeat
        return owned

    @precondition(lambda self: self.attempts)
    @rule(n=ANY, how=st.sampled_from(["heartbeat", "progress", "log", "best"]))
    def report(self, n: int, how: str) -> None:
        attempt = self.some_attempt(n)
        acts = {
            "heartbeat": attempt.heartbeat,
            "progress": lambda: attempt.report(progress(), on_curve=True),
            "log": lambda: attempt.log("hello"),
            "best": lambda: attempt.show_best(b"weights", Figures(1, 0.25, None)),
        }
        self.fenced(attempt, acts[how])

    @precondition(lambda self: self.attempts)
    @rule(n=ANY, epochs=EPOCHS)
    def checkpoint(self, n: int, epochs: int) -> None:
        attempt = self.some_attempt(n)
        expected = self.expected[attempt.job.id]
        blob = f"{attempt.number:032}{epochs:032}"
        answers: list[bool] = []
        if self.fenced(attempt, lambda: answers.append(attempt.record_checkpoint(blob, total_epochs=epochs))):
            is_newer = expected.checkpoint is None or epochs > expected.checkpoint[1]
            assert answers == [is_newer or expected.checkpoint == (blob, epochs)]
            if is_newer:
                expected.checkpoint = (blob, epochs)
                expected.furthest = max(expected.furthest, epochs)

    @precondition(lambda self: self.attempts)
    @rule(n=ANY)
    def drop_checkpoint(self, n: int) -> None:
        attempt = self.some_attempt(n)
        if self.fenced(attempt, attempt.drop_checkpoint):
            self.expected[attempt.job.id].checkpoint = None

    @precondition(lambda self: self.attempts)
    @rule(n=ANY)
    def hand_back(self, n: int) -> None:
        attempt = self.some_attempt(n)
        expected = self.expected[attempt.job.id]
        repeats = expected.status == "queued" and expected.attempt == attempt.number
        if self.fenced(attempt, attempt.hand_back, may_repeat=repeats):
            expected.status = "queued"

    @precondition(lambda self: self.attempts)
    @rule(n=ANY)
    def fail(self, n: int) -> None:
        attempt = self.some_attempt(n)
        expected = self.expected[attempt.job.id]
        repeats = expected.status == "failed" and expected.attempt == attempt.number
        if self.fenced(attempt, lambda: attempt.fail(JobError("diverged", "")), may_repeat=repeats):
            expected.status = "failed"

    @precondition(lambda self: self.attempts)
    @rule(n=ANY, is_noticed=st.booleans(), counts=st.booleans())
    def die(self, n: int, is_noticed: bool, counts: bool) -> None:
        """The reconciler ends an attempt, with its last heartbeat or with an older one."""
        attempt = self.some_attempt(n)
        expected = self.expected[attempt.job.id]
        heartbeat: Any = self.redis.hget(keys.job(attempt.job.id), "heartbeat_at_ms")
        status = self.jobs.end_dead_attempt(
            SilentAttempt(attempt.job.id, attempt.number, int(heartbeat) - (0 if is_noticed else 1)),
            max_attempts=MAX_ATTEMPTS,
            counts=counts,
        )
        if not (self.owns(attempt) and is_noticed):
            assert status is None
            return
        is_counted = counts and expected.furthest <= expected.furthest_at_claim
        expected.n_deaths += is_counted
        expected.status = "failed" if is_counted and expected.n_deaths >= MAX_ATTEMPTS else "queued"
        assert status == expected.status

    @precondition(lambda self: self.attempts)
    @rule(n=ANY)
    def publish(self, n: int) -> None:
        attempt = self.some_attempt(n)
        expected = self.expected[attempt.job.id]
        model = self.registry.setdefault(expected.model, ModelOfModel())
        repeats = expected.status == "succeeded" and expected.attempt == attempt.number
        numbers: list[int] = []

        def act() -> None:
            numbers.append(attempt.publish(b"w", description(attempt), RESULT))

        if self.fenced(attempt, act, may_repeat=repeats):
            model.highest += 1
            model.versions.add(model.highest)
            if expected.alias is not None:
                model.aliases[expected.alias] = model.highest
            expected.status, expected.version = "succeeded", model.highest
        if numbers:
            assert numbers == [expected.version]

    # ------------------------------------------------------------- registry

    @rule(model=NAMES, alias=ALIASES, number=st.integers(1, 4))
    def set_alias(self, model: str, alias: str, number: int) -> None:
        known = self.registry.get(model, ModelOfModel())
        try:
            self.models.set_alias(model, alias, number)
        except ModelNotFoundError:
            assert not known.versions
        except VersionNotFoundError:
            assert known.versions and number not in known.versions
        else:
            assert number in known.versions
            known.aliases[alias] = number

    @rule(model=NAMES, alias=ALIASES)
    def delete_alias(self, model: str, alias: str) -> None:
        known = self.registry.get(model, ModelOfModel())
        try:
            self.models.delete_alias(model, alias)
        except (ModelNotFoundError, AliasNotFoundError):
            assert alias not in known.aliases
        else:
            del known.aliases[alias]

    @rule(model=NAMES, number=st.integers(1, 4))
    def delete_version(self, model: str, number: int) -> None:
        known = self.registry.get(model, ModelOfModel())
        try:
            self.models.delete_version(model, number)
        except VersionInUseError:
            assert number in known.aliases.values()
        except StorageError:
            assert number not in known.versions
        else:
            assert number not in known.aliases.values()
            known.versions.remove(number)

    @rule(model=NAMES)
    def delete_model(self, model: str) -> None:
        known = self.registry.get(model, ModelOfModel())
        try:
            self.models.delete(model)
        except ModelNotFoundError:
            assert not known.versions
        else:
            assert known.versions
            self.registry[model] = ModelOfModel(highest=known.highest)

    # ------------------------------------------------------------ invariants

    @invariant()
    def jobs_agree(self) -> None:
        for job_id, expected in self.expected.items():
            job = self.jobs.get(job_id)
            checkpoint = None if job.checkpoint is None else (job.checkpoint.blob, job.checkpoint.total_epochs)
            actual = replace(
                expected,
                status=job.status,
                attempt=job.attempt,
                version=job.version,
                checkpoint=checkpoint,
                n_deaths=job.n_deaths,
            )
            assert actual == expected
            events = [event for event in self.jobs.events(job_id, limit=1000)[0] if event.type == "status"]
            assert (events[-1].data["status"], events[-1].data["attempt"]) == (expected.status, expected.attempt)
            assert [event.ends_the_job for event in events].count(True) == (job.is_done)

    @invariant()
    def indexes_agree(self) -> None:
        for status in get_args(JobStatus):
            members = {member.decode() for member in self.redis.zrange(keys.jobs_with_status(status), 0, -1)}
            assert members == {job_id for job_id, job in self.expected.items() if job.status == status}
        assert self.redis.zcard(keys.jobs()) == len(self.expected)

    @invariant()
    def every_queued_job_is_in_the_queue(self) -> None:
        assert {
            job_id for job_id, job in self.expected.items() if job.status == "queued"
        } <= self.queue.waiting_job_ids()

    @invariant()
    def models_agree(self) -> None:
        actual = {model.name: (set(model.versions), dict(model.aliases)) for model in self.models.page(limit=10)[0]}
        assert actual == {name: (one.versions, one.aliases) for name, one in self.registry.items() if one.versions}

    @invariant()
    def no_version_is_published_twice(self) -> None:
        numbers = [(job.model, job.version) for job in self.expected.values() if job.version is not None]
        assert len(set(numbers)) == len(numbers)


def test_the_stores_do_what_the_model_of_them_does(redis: Redis) -> None:
    """R22."""
    Machine.redis = redis
    is_long = settings.get_current_profile_name() == "long"
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=500 if is_long else 40,
            stateful_step_count=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
