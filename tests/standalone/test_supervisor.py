"""The supervisor keeps real processes alive, drains them in order, and leaves none behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from standalone import ChildSpec, Supervisor, Timing
from standalone.process import kill_session

from .conftest import is_alive, wait_until

# Prints its pid, is ready, and runs until SIGTERM.
RUNS = 'import os, signal; print("pid", os.getpid()); print("ready"); signal.pause()'
# Like RUNS, and prints when it has drained.
DRAINS = """
import os, signal, sys, time
def drain(*_):
    time.sleep({seconds}); print("drained", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, drain)
print("pid", os.getpid()); print("ready")
while True: signal.pause()
"""
# Like RUNS, but ignores SIGTERM and has a child in another process group.
HANGS = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
    print("pid", os.getpid(), flush=True)
else:
    time.sleep(0.1); print("pid", os.getpid()); print("ready")
while True: signal.pause()
"""


def test_children_start_stage_by_stage_and_their_lines_carry_their_names(supervise):
    running = supervise([("server", f"import time; time.sleep(0.3); {RUNS}")], [("api", RUNS), ("worker-1", RUNS)])
    wait_until(lambda: running.stdout == "all ready\n")
    lines = running.stderr.splitlines()
    assert lines.index("[server] ready") < lines.index(f"[api] pid {running.pids('api')[0]}")
    assert "[worker-1] ready" in lines


def test_a_killed_child_is_started_again_with_growing_delays(supervise):
    running = supervise([("api", RUNS)], first_backoff_s=0.1, max_backoff_s=0.4)
    wait_until(lambda: running.stdout)
    for life in range(1, 5):
        wait_until(lambda n=life: len(running.pids("api")) == n)
        os.kill(running.pids("api")[-1], signal.SIGKILL)
    wait_until(lambda: len(running.pids("api")) == 5)
    assert [line for line in running.stderr.splitlines() if line.startswith("[supervisor]")] == [
        f"[supervisor] api was ended by SIGKILL; starting it again in {delay_s} s" for delay_s in (0.1, 0.2, 0.4, 0.4)
    ]
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


def test_a_child_that_stayed_up_is_started_again_at_once(supervise):
    running = supervise([("api", RUNS)], first_backoff_s=0.01, max_backoff_s=2.0, stable_after_s=0.0)
    for life in range(1, 11):  # after ten doublings the delay would be at its maximum
        wait_until(lambda n=life: len(running.pids("api")) == n)
        os.kill(running.pids("api")[-1], signal.SIGKILL)
    wait_until(lambda: len(running.pids("api")) == 11, timeout_s=5.0)


def test_a_child_that_ends_with_status_0_is_started_again_too(supervise):
    code = 'import os, time; print("pid", os.getpid()); print("ready"); time.sleep(0.2)'
    running = supervise([("worker-1", code)])
    wait_until(lambda: len(running.pids("worker-1")) == 2)
    assert "[supervisor] worker-1 ended with exit status 0; starting it again in 0.1 s" in running.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_the_last_stage_before_the_one_below_it(supervise, number):
    running = supervise(
        [("server", DRAINS.format(seconds=0))],
        [("api", DRAINS.format(seconds=0.4)), ("worker-1", DRAINS.format(seconds=0.2))],
    )
    wait_until(lambda: running.stdout)
    running.signal(number)
    assert running.wait() == 0
    assert [line for line in running.stderr.splitlines() if "drained" in line] == [
        "[worker-1] drained",
        "[api] drained",
        "[server] drained",
    ]
    assert not any(is_alive(pid) for name in ("server", "api", "worker-1") for pid in running.pids(name))


def test_a_child_that_does_not_drain_in_time_is_killed_with_its_descendants(supervise):
    running = supervise([("server", DRAINS.format(seconds=0))], [("api", HANGS)], drain_s=0.5)
    wait_until(lambda: running.stdout)
    assert len(running.pids("api")) == 2  # the child and its own child, in another process group
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert "[supervisor] api did not end in time and is killed" in running.stderr
    assert "[server] drained" in running.stderr
    wait_until(lambda: not any(map(is_alive, running.pids("api"))), timeout_s=1.0)


def test_processes_left_by_a_dead_child_are_killed_before_it_starts_again(supervise):
    running = supervise([("api", HANGS)])
    wait_until(lambda: running.stdout)
    orphan, leader = running.pids("api")
    os.kill(leader, signal.SIGKILL)
    wait_until(lambda: len(running.pids("api")) == 4)
    assert not is_alive(orphan)
    kill_session(running.pids("api")[-1])  # they ignore the SIGTERM of the drain


def test_a_second_interrupt_ends_everything_at_once(supervise):
    running = supervise([("server", DRAINS.format(seconds=9))], [("api", DRAINS.format(seconds=9))])
    wait_until(lambda: running.stdout)
    running.signal(signal.SIGINT)
    time.sleep(0.1)  # pending signals of one kind are delivered as one
    running.signal(signal.SIGINT)
    started_at = time.monotonic()
    assert running.wait() == 130
    assert time.monotonic() - started_at < 2.0
    assert not any(is_alive(pid) for name in ("server", "api") for pid in running.pids(name))


def test_a_signal_during_the_start_drains_too(supervise):
    running = supervise([("server", RUNS)], [("api", "import time; time.sleep(60)")])
    wait_until(lambda: running.pids("server"))
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert running.stdout == ""
    assert not is_alive(running.pids("server")[0])


def test_a_child_that_exits_during_the_start_ends_all_and_its_last_lines_are_shown(supervise):
    code = 'import sys\nfor n in range(30): print("line", n)\nsys.exit("the port is gone")'
    running = supervise([("server", RUNS)], [("api", code), ("worker-1", RUNS)])
    assert running.wait() == 1
    assert running.stdout == ""
    message = running.stderr[running.stderr.index("error: ") :].splitlines()
    assert message[0] == "error: api ended with exit status 1 before all was ready; its last lines:"
    assert message[1:] == [f"  line {n}" for n in range(11, 30)] + ["  the port is gone"]
    assert not any(is_alive(pid) for name in ("server", "worker-1") for pid in running.pids(name))


def test_a_child_of_an_earlier_stage_that_exits_during_the_start_ends_all(supervise):
    running = supervise(
        [("server", 'import time; print("ready"); time.sleep(0.3)')], [("api", "import time; time.sleep(60)")]
    )
    assert running.wait() == 1
    assert "error: server ended with exit status 0 before all was ready" in running.stderr


def test_a_child_that_is_not_ready_in_time_ends_all(supervise):
    running = supervise([("api", 'print("thinking"); import time; time.sleep(60)')], ready_within_s=0.5)
    assert running.wait() == 1
    assert running.stderr.endswith("error: api was not ready within 0.5 s; its last lines:\n  thinking\n")


def test_a_line_without_end_is_cut(supervise):
    code = 'import sys; sys.stdout.write("x" * 3_000_000); print()'
    running = supervise([("api", f"{code}; {RUNS}")])
    wait_until(lambda: running.stdout)
    assert max(map(len, running.stderr.splitlines())) < 10_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads the processor time from /proc")
def test_a_child_that_closes_its_output_costs_no_processor_time(supervise):
    running = supervise([("api", f"{RUNS.removesuffix('signal.pause()')} os.close(1); os.close(2); signal.pause()")])
    wait_until(lambda: running.stdout)

    def processor_s() -> float:
        fields = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before_s = processor_s()
    time.sleep(0.4)
    assert processor_s() - before_s < 0.1
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has parent-death signals")
def test_kill_9_of_the_supervisor_takes_all_children_along(supervise):
    running = supervise([("server", RUNS)], [("api", RUNS), ("worker-1", RUNS)])
    wait_until(lambda: running.stdout)
    running.signal(signal.SIGKILL)
    pids = [pid for name in ("server", "api", "worker-1") for pid in running.pids(name)]
    assert len(pids) == 3
    wait_until(lambda: not any(map(is_alive, pids)), timeout_s=2.0)


def test_a_closed_log_does_not_stop_the_service(program, tmp_path: Path):
    code = 'import time\nprint("ready")\nwhile True: print("more"); time.sleep(0.01)'
    script = (
        "import sys; from standalone import ChildSpec, Supervisor\n"
        f"spec = ChildSpec('api', [sys.executable, '-uc', {code!r}], ready_line='ready')\n"
        f"sys.exit(Supervisor([[spec]], on_ready=lambda: open({str(tmp_path / 'ready')!r}, 'w')).run())"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert process.stderr is not None
    process.stderr.close()
    wait_until((tmp_path / "ready").exists)
    time.sleep(0.1)
    assert process.poll() is None
    process.terminate()
    assert process.wait(5.0) == 0


def test_a_child_that_is_busy_may_take_longer_and_one_with_a_fault_is_started_again(tmp_path: Path, capfd):
    """A Redis that loads for long, and one whose socket was removed. On 15a4f66 the first never started."""
    ready, healthy = tmp_path / "ready", tmp_path / "healthy"
    healthy.touch()
    before = time.monotonic()

    def loads() -> str:
        if time.monotonic() - before > 1.2:
            ready.touch()
        return "loads its data"

    def stop() -> None:
        healthy.unlink()
        wait_until(lambda: healthy.exists())
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)

    spec = ChildSpec(
        "server",
        [sys.executable, "-c", RUNS],
        is_ready=ready.exists,
        before_start=healthy.touch,
        busy_with=loads,
        fault=lambda: None if healthy.exists() else "it is ill",
    )
    timing = Timing(ready_within_s=0.3, say_every_s=0.4, settles_within_s=0.2)
    thread = threading.Thread(target=stop)
    assert Supervisor([[spec]], on_ready=thread.start, timing=timing).run() == 0
    thread.join()
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("[supervisor]")]
    assert said[0] == "[supervisor] waiting for server, which loads its data"
    assert said[-2:] == [
        "[supervisor] server must be started again: it is ill",
        "[supervisor] server was ended by SIGTERM; starting it again in 0.1 s",
    ]
