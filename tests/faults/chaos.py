"""Kill and stop processes at random while clients use the service, then check what they were promised.

`./run chaos --minutes 10 --seed 1` is the long form; `--jobs 1000 --minutes 1` is R1 of docs/reliability.md. The same
seed kills the same kinds of processes at the same times.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.faults.drain import Drain, drain, readings_of
from tests.faults.history import History, Verdict, judge
from tests.faults.rig import Rig, children_of, running_rig, send

N_SUBMITTERS = 4


@dataclass(frozen=True)
class Plan:
    """What happens, and how often."""

    minutes: float
    seed: int
    n_jobs: int
    n_workers: int = 3
    worker_fault_every_s: float = 2.0
    redis_kill_every_s: float = 20.0


@dataclass(frozen=True)
class Outcome:
    """What came of a plan."""

    verdict: Verdict
    drain: Drain
    history: History


def run(plan: Plan, folder: Path) -> Outcome:
    """Run the service under faults, wait until every job is done or nothing moves, and judge the quiet store."""
    history = History()
    with running_rig(folder, n_workers=plan.n_workers) as rig:
        is_over = threading.Event()
        clients = [
            threading.Thread(target=_submit, args=(rig, history, plan, is_over, part), daemon=True)
            for part in range(N_SUBMITTERS)
        ]
        clients += [
            threading.Thread(target=target, args=(rig, history, plan, is_over), daemon=True)
            for target in (_read, _read, _predict, _cancel)
        ]
        for client in clients:
            client.start()
        _inject(rig, history, plan)
        drained = drain(readings_of(rig, history, plan.n_jobs))
        is_over.set()
        for client in clients:
            client.join()
        for worker in rig.workers:  # so that nothing changes while the judge reads
            rig.kill_worker(worker)
        return Outcome(judge(history, rig.jobs, rig.models), drained, history)


# --------------------------------------------------------------------------------------------------- faults


def _inject(rig: Rig, history: History, plan: Plan) -> None:
    """Kill a worker every few seconds, in one of the ways a process can be lost, and Redis less often."""
    rng = random.Random(plan.seed)
    ends_at = time.monotonic() + plan.minutes * 60
    next_worker, next_redis = time.monotonic() + plan.worker_fault_every_s, time.monotonic() + plan.redis_kill_every_s
    stopped: list[tuple[float, int]] = []
    while (now := time.monotonic()) < ends_at:
        if now >= next_redis:
            down_s = rng.choice([0.0, 0.5, 3.0])
            history.note(f"redis: kill -9, down {down_s} s")
            rig.kill_redis(down_s)
            next_redis += plan.redis_kill_every_s
        if now >= next_worker and rig.workers:
            # An idle worker has little to lose.
            worker = rng.choice([one for one in rig.workers if children_of(one.pid)] or rig.workers)
            match rng.choice(["kill", "kill", "kill parent", "stop", "terminate"]):
                case "kill":
                    history.note(f"worker {worker.pid}: kill -9 with its child")
                    rig.kill_worker(worker)
                case "kill parent":
                    history.note(f"worker {worker.pid}: kill -9 without its child")
                    rig.kill_worker(worker, with_child=False)
                case "stop":
                    history.note(f"worker {worker.pid}: SIGSTOP for 12 s")
                    for pid in (worker.pid, *children_of(worker.pid)):
                        send(pid, signal.SIGSTOP)
                        stopped.append((now + 12, pid))
                case "terminate":
                    history.note(f"worker {worker.pid}: SIGTERM")
                    worker.terminate()
            next_worker += plan.worker_fault_every_s
        for at, pid in stopped:
            if now >= at:
                send(pid, signal.SIGCONT)
        stopped = [(at, pid) for at, pid in stopped if now < at]
        rig.tend()
        time.sleep(0.05)
    for _, pid in stopped:
        send(pid, signal.SIGCONT)


# -------------------------------------------------------------------------------------------------- clients


def _send(
    http: httpx.Client, history: History, what: str, method: str, path: str, **options: object
) -> httpx.Response | None:
    """Send one request; None when there is no answer."""
    try:
        answer = http.request(method, path, **options)  # type: ignore[arg-type]
    except httpx.TransportError:
        history.saw_answer(what, 0)
        return None
    history.saw_answer(what, answer.status_code)
    return answer


def _submit(rig: Rig, history: History, plan: Plan, is_over: threading.Event, part: int) -> None:
    """Post jobs as docs/operations.md tells clients to: with an Idempotency-Key, again until they are accepted."""
    rng = random.Random(f"{plan.seed} {part}")
    # At this pace the jobs last as long as the faults, and the workers can keep up.
    pause_s = plan.minutes * 60 * N_SUBMITTERS / plan.n_jobs * 0.9
    with httpx.Client(base_url=rig.url, timeout=10) as http:
        for k in range(part, plan.n_jobs, N_SUBMITTERS):
            features = [[rng.gauss(0, 1), rng.gauss(0, 1)] for _ in range(8)]
            job = {
                "model": f"m{rng.randrange(8)}",
                "data": {"features": features, "targets": [0, 1] * 4},
                "training": {"max_epochs": rng.choices([10, 2_000, 40_000], [24, 4, 1])[0], "tolerance": 0},
            }
            key = f"{plan.seed}-{k}"
            while not _submit_once(http, history, job, key):
                if is_over.wait(0.2):
                    history.saw_never_accepted(key)
                    break
            is_over.wait(pause_s)


def _submit_once(http: httpx.Client, history: History, job: dict[str, object], key: str) -> bool:
    answer = _send(http, history, "submit", "POST", "/jobs", json=job, headers={"Idempotency-Key": key})
    if answer is None or answer.status_code != 202:
        return False
    history.saw_accepted(answer.json(), key)
    return True


def _read(rig: Rig, history: History, plan: Plan, is_over: threading.Event) -> None:
    rng = random.Random(threading.get_ident())
    with httpx.Client(base_url=rig.url, timeout=10) as http:
        while not is_over.is_set():
            ids = list(history.accepted)
            if ids:
                answer = _send(http, history, "read", "GET", f"/jobs/{rng.choice(ids)}")
                if answer is not None and answer.status_code == 200:
                    history.saw_job(answer.json())
                elif answer is not None and answer.status_code == 404:
                    history.saw_answer("read of an accepted job", 599)
            time.sleep(0.02)


def _predict(rig: Rig, history: History, plan: Plan, is_over: threading.Event) -> None:
    rng = random.Random(plan.seed)
    with httpx.Client(base_url=rig.url, timeout=10) as http:
        while not is_over.is_set():
            request = {"model": f"m{rng.randrange(8)}", "instances": [[rng.gauss(0, 1), rng.gauss(0, 1)]]}
            answer = _send(http, history, "predict", "POST", "/predict", json=request)
            if answer is not None and answer.status_code == 200:
                history.saw_prediction(request, answer.json())
            time.sleep(0.02)


def _cancel(rig: Rig, history: History, plan: Plan, is_over: threading.Event) -> None:
    """Cancel one job in twenty, at a random time of its life."""
    rng = random.Random(plan.seed)
    with httpx.Client(base_url=rig.url, timeout=10) as http:
        while not is_over.is_set():
            ids = list(history.accepted)[-20:]
            if ids:
                answer = _send(http, history, "cancel", "POST", f"/jobs/{rng.choice(ids)}/cancel")
                if answer is not None and answer.status_code == 200:
                    history.saw_job(answer.json())
            time.sleep(plan.minutes * 60 * 20 / plan.n_jobs)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./run chaos", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="of faults; then it waits until every job is done")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, help="in all; 1,000 a minute by default")
    parser.add_argument("--history", type=Path, help="a file for what happened, as JSON")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so the service's processes end too
    plan = Plan(options.minutes, options.seed, options.jobs or max(int(1000 * options.minutes), 1))
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(plan, Path(folder))
        verdict, history = outcome.verdict, outcome.history
        if options.history:
            logs = {path.name: path.read_text(errors="replace") for path in Path(folder).glob("*.log")}
            options.history.write_text(
                json.dumps({"notes": history.notes, "jobs": history.jobs, "logs": logs}, indent=1)
            )
    print("\n".join(history.notes))
    print(f"seed {plan.seed}: " + ", ".join(f"{name} {n}" for name, n in verdict.figures.items()))
    for violation in verdict.violations:
        print(f"BROKEN: {violation}")
    print(f"{outcome.drain} after the last fault; {len(verdict.violations)} violations")
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
