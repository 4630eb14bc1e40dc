"""What clients saw under faults, and a judge that checks it against the store, in the manner of Jepsen."""

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from storage.errors import StorageError
from storage.jobs.record import DONE_STATUSES, Job
from storage.jobs.store import JobStore
from storage.models.store import ModelStore

Seen = dict[str, Any]


@dataclass
class History:
    """Everything that clients were told, in order."""

    accepted: dict[str, str] = field(default_factory=dict)
    """job id -> the Idempotency-Key it was accepted for"""
    never_accepted: list[str] = field(default_factory=list)
    """Idempotency-Keys of the jobs that clients gave up to submit"""
    jobs: dict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    """job id -> what reads of it showed"""
    predictions: list[Seen] = field(default_factory=list)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(kind of request, status of the answer; 0: no answer) -> how often"""
    notes: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    """what was seen to be wrong while it happened"""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _started_at: float = field(default_factory=time.monotonic)

    def saw_answer(self, what: str, status: int) -> None:
        with self._lock:
            self.statuses[what, status] += 1

    def saw_accepted(self, job: Seen, key: str) -> None:
        with self._lock:
            self.accepted[job["id"]] = key
            self.jobs[job["id"]].append(job)

    def saw_never_accepted(self, key: str) -> None:
        with self._lock:
            self.never_accepted.append(key)

    def saw_job(self, job: Seen) -> None:
        with self._lock:
            self.jobs[job["id"]].append(job)

    def saw_prediction(self, request: Seen, answer: Seen) -> None:
        with self._lock:
            self.predictions.append({"request": request, "answer": answer})

    def saw_violation(self, text: str) -> None:
        with self._lock:
            self.violations.append(text)

    def note(self, text: str) -> None:
        with self._lock:
            self.notes.append(f"{time.monotonic() - self._started_at:7.2f} {text}")


@dataclass(frozen=True)
class Verdict:
    """Figures, and what was broken."""

    figures: dict[str, int]
    violations: list[str]


def judge(history: History, jobs: JobStore, models: ModelStore) -> Verdict:
    """Check the history against the promise and against the store, which must not change meanwhile."""
    broken = [*history.violations, *(f"key {key} was never accepted" for key in history.never_accepted)]
    final: dict[str, Job] = {}
    for job_id in history.accepted:
        try:
            final[job_id] = jobs.get(job_id)
        except StorageError as error:
            broken.append(f"{job_id}: accepted, and cannot be read: {error}")
    for job_id, job in final.items():
        if not job.is_done:
            broken.append(f"{job_id}: accepted, and never ended: {job.status}")
        seen = [*history.jobs[job_id], {"status": job.status, "result": job.result and {"version": job.version}}]
        broken += [f"{job_id}: {fault}" for fault in _changed_ends(seen)]
    keys_used: dict[str, set[str]] = defaultdict(set)
    for job_id, key in history.accepted.items():
        keys_used[key].add(job_id)
    broken += [f"key {key} made the jobs {sorted(ids)}" for key, ids in keys_used.items() if len(ids) > 1]
    broken += _wrongly_published(final, models)
    broken += _wrong_predictions(history.predictions, models)
    broken += [f"{what} answered {status}" for what, status in history.statuses if status >= 500 and status != 503]
    figures = {
        "accepted": len(history.accepted),
        **{status: sum(job.status == status for job in final.values()) for status in sorted(DONE_STATUSES)},
        "run more than once": sum(job.attempt > 1 for job in final.values()),
        "reads of jobs": sum(map(len, history.jobs.values())),
        "predictions": len(history.predictions),
        "answers 503": sum(n for (_, status), n in history.statuses.items() if status == 503),
        "refused with a wrong volume": history.statuses["submit with a wrong volume", 503],
        "no answer": sum(n for (_, status), n in history.statuses.items() if status == 0),
    }
    return Verdict(figures, broken)


def _changed_ends(seen: list[Seen]) -> list[str]:
    """Nothing leads out of a terminal state.

    The order of the reads proves nothing: those of several clients may overtake one another on their way here.
    """
    ends = {(job["status"], (job.get("result") or {}).get("version")) for job in seen if job["status"] in DONE_STATUSES}
    return [f"seen to end as {sorted(map(str, ends))}"] if len(ends) > 1 else []


def _wrongly_published(final: dict[str, Job], models: ModelStore) -> list[str]:
    """Each job that succeeded published exactly the version it names, and no other job published any."""
    published: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for model in models.page(limit=1000)[0]:
        for number in model.versions:
            published[models.get_version(model.name, number).description.job].append((model.name, number))
    broken = []
    for job_id, job in final.items():
        expected = [(job.model, job.version)] if job.status == "succeeded" else []
        if published[job_id] != expected:
            broken.append(f"{job_id}: {job.status} with version {job.version}, but published {published[job_id]}")
    return broken


def _wrong_predictions(predictions: list[Seen], models: ModelStore) -> list[str]:
    """The outputs are those of the version that the answer names."""
    broken, networks = [], {}
    for prediction in predictions:
        request, answer = prediction["request"], prediction["answer"]
        key = answer["model"], answer["version"]
        if key not in networks:
            networks[key] = models.load(*key).network
        (layer,) = networks[key].layers
        z = np.array(request["instances"]) @ layer.weights + layer.bias
        if not np.allclose(answer["outputs"], 1 / (1 + np.exp(-z)), rtol=1e-9, atol=1e-12):
            broken.append(f"the outputs for {request} are not those of version {key}: {answer}")
        if request.get("version", answer["version"]) != answer["version"]:
            broken.append(f"{request} was answered by version {answer['version']}")
    return broken
