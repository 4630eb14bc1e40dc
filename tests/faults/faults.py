"""What `./run chaos` does to the service: tables of faults, drawn by a seed."""

import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
from redis import RedisError

from standalone.stack import API_COMMAND, WORKER_COMMAND
from tests.builders import OR_FEATURES, OR_TARGETS
from tests.faults.history import History
from tests.faults.redis_host import RedisHost
from tests.faults.rig import Process, Rig, children_of, repeated, send
from tests.free_port import free_port


@dataclass(frozen=True)
class Scene:
    """Where the faults happen."""

    rig: Rig
    host: RedisHost
    history: History
    rng: random.Random

    def some_worker(self) -> Process:
        """Choose a worker that trains, if there is one: an idle one has little to lose."""
        workers = self.rig.workers
        return self.rng.choice([one for one in workers if children_of(one.pid)] or workers)


@dataclass(frozen=True)
class Fault:
    """A fault that is undone after one of these numbers of seconds.

    Args:
        do: what it returns, `undo` gets as its second argument.
    """

    name: str
    do: Callable[[Scene], Any]
    undo: Callable[[Scene, Any], object] = lambda scene, done: None
    seconds: Sequence[float] = (0.0,)


def _stop_worker(scene: Scene) -> list[int]:
    worker = scene.some_worker()
    pids = [worker.pid, *children_of(worker.pid)]
    for pid in pids:
        send(pid, signal.SIGSTOP)
    return pids


def _wake(scene: Scene, pids: list[int]) -> None:
    for pid in pids:
        send(pid, signal.SIGCONT)


def _stop_redis(scene: Scene) -> list[int]:
    send(scene.host.pid, signal.SIGSTOP)
    return [scene.host.pid]


def _begin_to_forget_scripts(scene: Scene) -> ExitStack:
    def forget() -> None:
        with suppress(RedisError, OSError):
            scene.rig.redis.script_flush()

    forgetting = ExitStack()
    forgetting.enter_context(repeated(forget, 0.002))
    return forgetting


def _start_with_wrong_volume(scene: Scene) -> ExitStack:
    """Start a worker and an API with an empty folder for blobs beside the others, and post jobs to that API."""
    rig, port = scene.rig, str(free_port())
    folder = rig.folder / f"wrong-volume-{port}"
    settings = {"DATA_DIR": str(folder), "PORT": port, "API_PROCESSES": "1"}
    job = {"model": "wrong-volume", "data": {"features": OR_FEATURES, "targets": OR_TARGETS}}

    def post() -> None:
        with suppress(httpx.TransportError):
            answer = httpx.post(f"http://127.0.0.1:{port}/jobs", json=job, timeout=10)
            scene.history.saw_answer("submit with a wrong volume", answer.status_code)
            if answer.status_code == 202:
                scene.history.saw_violation(f"accepted with a wrong volume: {answer.text}")

    def check() -> None:
        if any(folder.glob("blobs/*")):
            scene.history.saw_violation(f"something was written to the wrong volume: {[*folder.glob('blobs/*')]}")

    wrong = ExitStack()
    wrong.callback(check)
    for command, name in ((WORKER_COMMAND, "worker"), (API_COMMAND, "api")):
        wrong.callback(rig.kill_worker, rig._start(command, f"wrong-volume-{name}", **settings))
    wrong.enter_context(repeated(post, 0.2))
    return wrong


def _end(scene: Scene, begun: ExitStack) -> None:
    begun.close()


_KILL = Fault("worker: kill -9 with its child", lambda scene: scene.rig.kill_worker(scene.some_worker()))

WORKER_FAULTS = (
    *(_KILL, _KILL, _KILL),
    Fault(
        "worker: kill -9 without its child",
        lambda scene: scene.rig.kill_worker(scene.some_worker(), with_child=False),
    ),
    Fault("worker: SIGSTOP", _stop_worker, _wake, (12.0,)),
    Fault("worker: SIGTERM", lambda scene: scene.some_worker().terminate()),
)

REDIS_FAULTS = (
    Fault("Redis: kill -9", lambda scene: scene.host.kill(), lambda scene, _: scene.host.start(), (0.0, 0.5, 3.0)),
)


def host_faults(host: RedisHost) -> list[Fault]:
    """The faults of volumes, disk, scripts, network and clock that are possible on this host."""
    faults = [
        Fault("a worker and an API with a wrong volume", _start_with_wrong_volume, _end, (8.0,)),
        Fault("Redis: full", lambda _: host.fill(), lambda *_: host.make_room(), (2.0, 4.0)),
        Fault("Redis: SCRIPT FLUSH every 2 ms", _begin_to_forget_scripts, _end, (2.0,)),
    ]
    if (network := host.network) is not None:
        faults += [
            Fault("network: cut", lambda _: network.drop(), lambda *_: network.heal(), (2.0, 4.0)),
            Fault("network: loses 20 %", lambda _: network.lose(0.2), lambda *_: network.heal(), (4.0,)),
            Fault("network: 50 kB/s", lambda _: network.slow_down(), lambda *_: network.heal(), (4.0,)),
        ]
    else:
        faults += [Fault("Redis: SIGSTOP", _stop_redis, _wake, (2.0, 4.0))]
    if (clock := host.clock) is not None:
        faults += [
            Fault(f"Redis: clock {by}", lambda _, by=by: clock.set(by), lambda *_: clock.set("+0"), (4.0,))
            for by in ("-1h", "+1h", "+40d")
        ]
    return faults


class Stream:
    """Faults of one kind, one every few seconds: all of them in random order, then all again."""

    def __init__(self, faults: Sequence[Fault], scene: Scene, *, every_s: float) -> None:
        self._faults = faults
        self._scene = scene
        self._every_s = every_s
        self._to_come: list[Fault] = []
        self._due_at = time.monotonic() + every_s
        self._under_way: list[tuple[float, Callable[[], object]]] = []

    def tend(self) -> None:
        """End and begin what is due."""
        self.end(time.monotonic())
        if time.monotonic() < self._due_at:
            return
        rng = self._scene.rng
        self._to_come = self._to_come or rng.sample(self._faults, len(self._faults))
        fault, seconds = self._to_come[-1], rng.choice(self._to_come.pop().seconds)
        self._scene.history.note(f"{fault.name}, {seconds:g} s" if seconds else fault.name)
        done = fault.do(self._scene)
        self._under_way.append((time.monotonic() + seconds, partial(fault.undo, self._scene, done)))
        self._due_at = time.monotonic() + self._every_s  # a slow machine catches up with none

    def end(self, now: float = float("inf")) -> None:
        """Undo the faults that have lasted long enough; without a time, all."""
        over = [undo for ends_at, undo in self._under_way if ends_at <= now]
        self._under_way = [one for one in self._under_way if one[0] > now]
        for undo in over:
            undo()
