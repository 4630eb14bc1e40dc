"""What clients saw while faults were injected, and what must hold of it afterwards, in the manner of Jepsen."""

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from storage.jobs.record import DONE_STATUSES
from storage.models.store import ModelStore
from tests.faults.rig import Rig

Seen = dict[str, Any]


@dataclass
class History:
    """Everything that clients were told, in the order in which they were told it."""

    accepted: dict[str, str] = field(default_factory=dict)
    """job id -> the Idempotency-Key it was accepted for"""
    jobs: dict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    """job id -> what reads of it showed"""
    predictions: list[Seen] = field(default_factory=list)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(what was asked, the answer's status; 0: no answer) -> how often"""
    notes: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _started_at: float = field(default_factory=time.monotonic)

    def saw_answer(self, what: str, status: int) -> None:
        with self._lock:
            self.statuses[what, status] += 1

    def saw_accepted(self, job: Seen, key: str) -> None:
        with self._lock:
            self.accepted[job["id"]] = key
            self.jobs[job["id"]].append(job)

    def saw_job(self, job: Seen) -> None:
        with self._lock:
            self.jobs[job["id"]].append(job)

    def saw_prediction(self, asked: Seen, answer: Seen) -> None:
        with self._lock:
            self.predictions.append({"asked": asked, "answer": answer})

    def note(self, text: str) -> None:
        with self._lock:
            self.notes.append(f"{time.monotonic() - self._started_at:7.2f} {text}")


@dataclass(frozen=True)
class Verdict:
    """Figures, and what was broken."""

    figures: dict[str, int]
    violations: list[str]


def judge(history: History, rig: Rig) -> Verdict:
    """Check the history against the promise, and against what is stored now."""
    broken: list[str] = []
    final = {}
    for job_id in history.accepted:
        try:
            final[job_id] = rig.jobs.get(job_id)
        except Exception as error:
            broken.append(f"{job_id}: accepted, and cannot be read: {error}")
    for job_id, job in final.items():
        if not job.is_done:
            broken.append(f"{job_id}: {job.status} for ever")
        history.jobs[job_id].append(
            {
                "id": job_id,
                "status": job.status,
                "attempt": job.attempt,
                "result": job.result and {"version": job.version},
            }
        )
    keys_used: dict[str, set[str]] = defaultdict(set)
    for job_id, key in history.accepted.items():
        keys_used[key].add(job_id)
    broken += [f"key {key} made the jobs {ids}" for key, ids in keys_used.items() if len(ids) > 1]
    for job_id, seen in history.jobs.items():
        broken += [f"{job_id}: {fault}" for fault in _regressions(seen)]
    broken += _publishing(final, rig.models)
    broken += _wrong_predictions(history.predictions, rig.models)
    broken += [f"{what} answered {status}" for what, status in history.statuses if status >= 500 and status != 503]
    figures = {
        "accepted": len(history.accepted),
        **{status: sum(job.status == status for job in final.values()) for status in sorted(DONE_STATUSES)},
        "run more than once": sum(job.attempt > 1 for job in final.values()),
        "reads of jobs": sum(map(len, history.jobs.values())),
        "predictions": len(history.predictions),
        "answers 503": sum(n for (_, status), n in history.statuses.items() if status == 503),
        "no answer": sum(n for (_, status), n in history.statuses.items() if status == 0),
    }
    return Verdict(figures, broken)


def _regressions(seen: list[Seen]) -> list[str]:
    """Reads of one job by one client come in order: attempts never fall, and nothing leads out of a terminal state.

    Reads of several clients may overtake one another on their way here, so only a terminal state binds all of them.
    """
    ends = {(job["status"], (job.get("result") or {}).get("version")) for job in seen if job["status"] in DONE_STATUSES}
    return [f"seen to end as {sorted(map(str, ends))}"] if len(ends) > 1 else []


def _publishing(final: dict[str, Any], models: ModelStore) -> list[str]:
    """Each job that succeeded published exactly one version, and no other job any; no number is used twice."""
    published: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name in {job.model for job in final.values()}:
        page, _ = models.page(limit=1000)
        for number in next((model.versions for model in page if model.name == name), ()):
            published[models.get_version(name, number).description.job].append((name, number))
    broken = []
    for job_id, job in final.items():
        expected = [(job.model, job.version)] if job.status == "succeeded" else []
        if published[job_id] != expected:
            broken.append(f"{job_id} is {job.status} with version {job.version}, and published {published[job_id]}")
    return broken


def _wrong_predictions(predictions: list[Seen], models: ModelStore) -> list[str]:
    """The outputs are those of the version that the answer names."""
    broken, networks = [], {}
    for prediction in predictions:
        asked, answer = prediction["asked"], prediction["answer"]
        key = answer["model"], answer["version"]
        if key not in networks:
            networks[key] = models.load(*key).network
        (layer,) = networks[key].layers
        z = np.array(asked["instances"]) @ layer.weights + layer.bias
        if not np.allclose(answer["outputs"], 1 / (1 + np.exp(-z)), rtol=1e-9, atol=1e-12):
            broken.append(f"the outputs for {asked} are not those of version {key}: {answer}")
        if asked.get("version", answer["version"]) != answer["version"]:
            broken.append(f"asked {asked}, answered by version {answer['version']}")
    return broken
