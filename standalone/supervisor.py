"""Start processes in stages, keep them alive, and drain them in reverse order.

One thread and one selector: signals, deaths of children and their output wake the same loop.
"""

import http.client
import math
import os
import selectors
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from standalone.errors import ChildFailedError
from standalone.log_lines import log, relay
from standalone.process import ends_with_parent, kill_session

N_LAST_LINES = 20
MAX_LINE_BYTES = 8192
MAX_CHUNKS = 16  # at once: a child that never stops printing must not delay the others

INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


@dataclass(frozen=True)
class ChildSpec:
    """A process to keep alive."""

    name: str
    command: Sequence[str]
    ready_line: str | None = None  # ready once a line of its output contains this
    is_ready: Callable[[], bool] = lambda: True  # and this is true
    env: Mapping[str, str] | None = None  # None: the environment of this process
    cwd: Path | None = None
    pass_fds: Sequence[int] = ()
    before_start: Callable[[], object] = lambda: None
    busy_with: Callable[[], str | None] = lambda: None  # why it may take longer to be ready, while it does
    fault: Callable[[], str | None] = lambda: None  # why it must be started again although it runs
    is_noise: Callable[[str], bool] = lambda line: False  # whether a line of its output is not passed on


@dataclass(frozen=True)
class Timing:
    """Time limits of the supervisor. The two drains together stay below 25 s."""

    ready_within_s: float = 60.0  # a child that is busy has longer
    say_every_s: float = 10.0  # what a busy child does
    settles_within_s: float = 2.0  # a child is not checked for faults before
    drain_s: float = 22.0  # for the last stage
    drain_foundation_s: float = 2.0  # for each earlier stage, which is idle by then
    first_backoff_s: float = 0.1
    max_backoff_s: float = 2.0
    stable_after_s: float = 10.0  # a child that ran this long begins again with the first back-off


def answers_http(host: str, port: int, path: str) -> bool:
    """Tell whether GET answers 200."""
    with closing(http.client.HTTPConnection(host, port, timeout=2.0)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


class Child:
    """The processes of one spec, one at a time, each in a session of its own."""

    def __init__(self, spec: ChildSpec, timing: Timing) -> None:
        self.spec = spec
        self.last_lines: deque[str] = deque(maxlen=N_LAST_LINES)
        self.process: subprocess.Popen[bytes] | None = None
        self.restart_at = 0.0  # on the monotonic clock; meaningful while no process runs
        self.is_output_open = False
        self._timing = timing
        self._backoff_s = 0.0
        self._started_at = 0.0
        self._unfinished_line = b""
        self._has_printed_ready_line = spec.ready_line is None
        self._is_ending = False

    def start(self) -> int:
        """Start the process; returns the file descriptor of its output."""
        self.spec.before_start()
        self._is_ending = False
        self.process = subprocess.Popen(
            self.spec.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            env=None if self.spec.env is None else dict(self.spec.env),
            cwd=self.spec.cwd,
            pass_fds=self.spec.pass_fds,
            start_new_session=True,  # Ctrl-C in the terminal reaches the supervisor alone, which then drains
            preexec_fn=ends_with_parent(),
        )
        self._started_at = time.monotonic()
        self.is_output_open = True
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        return self.process.stdout.fileno()

    @property
    def is_ready(self) -> bool:
        return self._has_printed_ready_line and self.spec.is_ready()

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def find_fault(self) -> str | None:
        """Return why the process must be started again although it runs, once."""
        if self._is_ending or time.monotonic() - self._started_at < self._timing.settles_within_s:
            return None
        fault = self.spec.fault()
        self._is_ending = fault is not None
        return fault

    def read_lines(self) -> list[str]:
        """Return what the process has printed by now, in whole lines."""
        assert self.process is not None and self.process.stdout is not None
        chunks = [self._unfinished_line]
        while len(chunks) <= MAX_CHUNKS and (chunk := self.process.stdout.read(65536)):
            chunks.append(chunk)
        self.is_output_open = chunk != b""  # None: nothing more yet; b"": nothing more ever
        *lines, rest = b"".join(chunks).split(b"\n")
        if rest and (self.has_ended or not self.is_output_open or len(rest) > MAX_LINE_BYTES):
            lines.append(rest)
            rest = b""
        self._unfinished_line = rest
        decoded = [line[:MAX_LINE_BYTES].decode(errors="replace").rstrip("\r") for line in lines]
        self.last_lines.extend(decoded)
        if self.spec.ready_line is not None and any(self.spec.ready_line in line for line in decoded):
            self._has_printed_ready_line = True
        return decoded

    def terminate(self) -> None:
        """Send SIGTERM to the process alone: it ends its own descendants."""
        if self.process is not None:
            self.process.terminate()

    def clear(self) -> str:
        """Kill the rest of the session, reap the process and say how it ended."""
        assert self.process is not None and self.process.stdout is not None
        kill_session(self.process.pid)
        status = self.process.wait()
        self.process.stdout.close()
        self.process = None
        self.back_off()
        return f"was ended by {_signal_name(-status)}" if status < 0 else f"ended with exit status {status}"

    def back_off(self) -> None:
        """Set when to start again: soon after a long life, with doubling delays after short ones."""
        if self._backoff_s == 0.0 or time.monotonic() - self._started_at >= self._timing.stable_after_s:
            self._backoff_s = self._timing.first_backoff_s
        else:
            self._backoff_s = min(2 * self._backoff_s, self._timing.max_backoff_s)
        self.restart_at = time.monotonic() + self._backoff_s


class Supervisor:
    """Stages of children: each stage starts when the one before it is ready, and drains before it.

    `run` always ends with no child left. If this process is killed with SIGKILL, the kernel sends the children a
    SIGTERM (Linux).
    """

    def __init__(
        self,
        stages: Sequence[Sequence[ChildSpec]],
        *,
        on_ready: Callable[[], None] = lambda: None,
        timing: Timing | None = None,
    ) -> None:
        self._timing = timing or Timing()
        self._stages = [[Child(spec, self._timing) for spec in stage] for stage in stages]
        self._on_ready = on_ready
        self._selector = selectors.DefaultSelector()
        self._is_stopping = False
        self._n_interrupts = 0

    def run(self) -> int:
        """Supervise until SIGTERM, SIGINT or SIGHUP; returns the exit status.

        Raises:
            ChildFailedError: A child ended, or was not ready in time, before all had been ready once.
        """
        with self._signals():
            try:
                self._start()
                if not self._is_stopping:
                    self._on_ready()
                self._keep_alive()
            finally:
                self._drain()
        return INTERRUPTED if self._n_interrupts > 1 else 0

    @property
    def _children(self) -> list[Child]:
        return [child for stage in self._stages for child in stage]

    def _start(self) -> None:
        for stage in self._stages:
            for child in stage:
                try:
                    self._spawn(child)
                except OSError as error:
                    raise ChildFailedError(child.spec.name, f"cannot be started ({error})", ()) from error
            deadline = time.monotonic() + self._timing.ready_within_s
            say_at = time.monotonic() + self._timing.say_every_s
            while not self._is_stopping and not self._is_ready(stage):
                now = time.monotonic()
                if now > min(deadline, say_at):
                    late = next((child for child in stage if not child.is_ready), stage[0])
                    if (work := late.spec.busy_with()) is not None:
                        log(f"waiting for {late.spec.name}, which {work}")
                        deadline = now + self._timing.ready_within_s
                    say_at = now + self._timing.say_every_s
                if now > deadline:
                    reason = f"was not ready within {self._timing.ready_within_s:g} s"
                    raise ChildFailedError(late.spec.name, reason, self._relay(late))
                self._turn(0.05)
            if self._is_stopping:
                return

    def _is_ready(self, stage: Sequence[Child]) -> bool:
        for child in self._children:
            if child.has_ended:
                last_lines = self._relay(child)
                reason = f"{self._bury(child)} before all was ready"
                raise ChildFailedError(child.spec.name, reason, last_lines)
        return all(child.is_ready for child in stage)

    def _keep_alive(self) -> None:
        while not self._is_stopping:
            for child in self._children:
                if child.process is not None and (fault := child.find_fault()) is not None:
                    log(f"{child.spec.name} must be started again: {fault}")
                    child.terminate()
                if child.has_ended:
                    self._relay(child)
                    how = self._bury(child)
                    delay_s = child.restart_at - time.monotonic()
                    log(f"{child.spec.name} {how}; starting it again in {delay_s:.1f} s")
                elif child.process is None and time.monotonic() >= child.restart_at:
                    try:
                        self._spawn(child)
                    except OSError as error:  # out of memory or of processes: that may pass
                        child.back_off()
                        log(f"{child.spec.name} cannot be started ({error}); trying again")
            due = [child.restart_at for child in self._children if child.process is None]
            self._turn(max(0.0, min(due, default=math.inf) - time.monotonic()))

    def _drain(self) -> None:
        for position, stage in enumerate(reversed(self._stages)):
            patience_s = self._timing.drain_s if position == 0 else self._timing.drain_foundation_s
            running = [child for child in stage if child.process is not None]
            for child in running:
                child.terminate()
            deadline = time.monotonic() + patience_s
            while running and self._n_interrupts < 2 and time.monotonic() < deadline:
                self._turn(0.1)
                for child in [child for child in running if child.has_ended]:
                    self._relay(child)
                    self._bury(child)
                    running.remove(child)
            for child in running:
                log(f"{child.spec.name} did not end in time and is killed")
                self._bury(child)

    def _spawn(self, child: Child) -> None:
        self._selector.register(child.start(), selectors.EVENT_READ, child)

    def _bury(self, child: Child) -> str:
        self._unwatch(child)
        return child.clear()

    def _unwatch(self, child: Child) -> None:
        assert child.process is not None and child.process.stdout is not None
        with suppress(KeyError):  # its output was closed before it ended
            self._selector.unregister(child.process.stdout.fileno())

    def _relay(self, child: Child) -> tuple[str, ...]:
        """Print the child's new output under its name, and return its last lines."""
        for line in child.read_lines():
            if not child.spec.is_noise(line):
                relay(child.spec.name, line)
        if not child.is_output_open:
            self._unwatch(child)
        return tuple(child.last_lines)

    def _turn(self, timeout_s: float) -> None:
        """Wait for a signal, a death or output, and relay the output."""
        for key, _ in self._selector.select(min(timeout_s, 1.0)):
            if isinstance(key.data, Child):
                self._relay(key.data)
            else:
                key.data()

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._is_stopping = True
        if number == signal.SIGINT:
            self._n_interrupts += 1

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let signals wake the loop. If nohup has switched SIGHUP off, it stays off."""
        receiver, sender = socket.socketpair()
        receiver.setblocking(False)
        sender.setblocking(False)

        def empty() -> None:
            with suppress(BlockingIOError):
                while receiver.recv(4096):
                    pass

        handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGCHLD: lambda number, frame: None,  # so that a death wakes the selector
        }
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            handlers[signal.SIGHUP] = self._stop
        previous_fd = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._selector.register(receiver, selectors.EVENT_READ, empty)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_fd)
            self._selector.close()
            receiver.close()
            sender.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
