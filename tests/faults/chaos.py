"""Break the service at random while clients use it, then check what they were promised.

`./run chaos --minutes 10 --seed 1` is the long form; `--jobs 1000 --minutes 1` is R1 of docs/reliability.md. The same
seed brings the same faults in the same order.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.faults.drain import Drain, drain, readings_of
from tests.faults.faults import REDIS_FAULTS, WORKER_FAULTS, Scene, Stream, host_faults
from tests.faults.history import History, Verdict, judge
from tests.faults.redis_host import RedisHost
from tests.faults.rig import Rig, running_rig

N_SUBMITTERS = 4


@dataclass(frozen=True)
class Plan:
    """What happens, and how often."""

    minutes: float
    seed: int
    n_jobs: int
    n_workers: int = 3
    worker_fault_every_s: float = 2.0
    redis_fault_every_s: float = 20.0
    host_fault_every_s: float = 6.0


@dataclass(frozen=True)
class Outcome:
    """What came of a plan."""

    verdict: Verdict
    drain: Drain
    history: History


def run(plan: Plan, folder: Path) -> Outcome:
    """Run the service under faults, wait until every job is done or nothing moves, and judge the quiet store."""
    history = History()
    with ExitStack() as on_exit:
        host = RedisHost(folder, on_exit)
        if host.left_out:
            print("left out, this machine cannot do it:", "; ".join(host.left_out), flush=True)
        settings = {} if host.network is None else {"REDIS_URL": host.network.url}
        rig = on_exit.enter_context(running_rig(folder, n_workers=plan.n_workers, server=host, **settings))
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
        _inject(rig, host, history, plan)
        drained = drain(readings_of(rig, history, plan.n_jobs))
        is_over.set()
        for client in clients:
            client.join()
        for worker in rig.workers:  # so that nothing changes while the judge reads
            rig.kill_worker(worker)
        return Outcome(judge(history, rig.jobs, rig.models), drained, history)


def _inject(rig: Rig, host: RedisHost, history: History, plan: Plan) -> None:
    """Break something every few seconds, and start again what ended."""
    kinds = (
        (WORKER_FAULTS, plan.worker_fault_every_s),
        (REDIS_FAULTS, plan.redis_fault_every_s),
        (host_faults(host), plan.host_fault_every_s),
    )
    streams = [
        Stream(faults, Scene(rig, host, history, random.Random(f"{plan.seed} {k}")), every_s=every_s)
        for k, (faults, every_s) in enumerate(kinds)
    ]
    ends_at = time.monotonic() + plan.minutes * 60
    while time.monotonic() < ends_at:
        for stream in streams:
            stream.tend()
        rig.tend()
        time.sleep(0.05)
    for stream in streams:
        stream.end()


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
                "training": {"max_epochs": rng.choices([10, 2_000, 60_000], [12, 2, 1])[0], "tolerance": 0},
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
