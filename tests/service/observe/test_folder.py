"""The folder with the values of all API processes: counts stay when a process ends."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from service.observe.metrics import folder

COUNT = """
import sys
from service.observe.metrics import folder
folder.join(n_versions=10)
from prometheus_client import Counter, Gauge, Histogram
Counter("a", "text", ["l"]).labels("x").inc(float(sys.argv[1]))
Histogram("h", "text", buckets=[1, 2]).observe(1.5)
Gauge("g", "text", multiprocess_mode="livesum").set(7)
"""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(folder, "_temporary", lambda: str(tmp_path))
    monkeypatch.setattr(folder, "_PARENTS", ())
    monkeypatch.setenv(folder.SETTING, "of another gunicorn")
    folder.make()
    made = folder.current()
    assert made is not None
    yield made
    folder.remove()
    os.close(folder._held.pop())
    assert not made.exists()


def count(amount: float) -> int:
    """Count in a process of its own, which ends; return its pid."""
    process = subprocess.Popen([sys.executable, "-c", COUNT, str(amount)])
    assert process.wait(30) == 0
    return process.pid


def values(shared: Path) -> dict[str, float]:
    samples = [sample for metric in MultiProcessCollector(None, str(shared)).collect() for sample in metric.samples]
    return {sample.name + sample.labels.get("le", ""): sample.value for sample in samples}


def test_what_ended_processes_counted_stays_and_their_files_go(shared: Path) -> None:
    assert shared.stat().st_mode & 0o777 == 0o700
    first, second = count(2), count(3)
    before = values(shared)
    assert before == {
        "a_total": 5,
        "h_bucket1.0": 0,
        "h_bucket2.0": 2,
        "h_bucket+Inf": 2,
        "h_sum": 3,
        "h_count": 2,
        "g": 14,
    }
    folder.leave(shared, first)
    assert values(shared) == before | {"g": 7}
    folder.leave(shared, second)
    assert values(shared) == {name: value for name, value in before.items() if name != "g"}
    folder.leave(shared, second)
    count(4)
    assert values(shared)["a_total"] == 9
    assert {file.name for file in shared.iterdir() if str(first) in file.name or str(second) in file.name} == set()


def test_a_process_takes_the_room_for_its_files_before_it_counts(shared: Path) -> None:
    pid = count(1)
    file = shared / f"counter_{pid}.db"
    assert file.stat().st_size == file.stat().st_blocks * 512 == (1 << 20) + 10 * 2_048


def test_without_room_a_process_counts_for_itself(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    from prometheus_client import values as of_client

    monkeypatch.setattr(of_client, "ValueClass", of_client.ValueClass)
    file = shared / f"counter_{os.getpid()}.db"
    file.touch()
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    folder.join(n_versions=1)
    assert folder.current() is None
    assert not file.exists() and not file.with_suffix(".new").exists()
    assert of_client.ValueClass is of_client.MutexValue
    monkeypatch.setenv(folder.SETTING, str(shared))  # for the end of the fixture


def test_folders_that_killed_services_left_are_removed_and_those_in_use_stay(shared: Path) -> None:
    left = shared.parent / "perceptron-metrics-left"
    begun = shared.parent / "perceptron-metrics-begun"  # by another service, at this moment
    old = shared.parent / "perceptron-metrics-old"
    for each in (left, begun, old):
        each.mkdir()
    (left / "alive").touch()
    os.utime(old, (0, time.time() - 100))
    folder._remove_unused(shared.parent)
    assert [each.exists() for each in (left, begun, old, shared)] == [False, True, False, True]


def test_without_a_folder_that_can_be_written_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_temporary", lambda: "/proc/nowhere")
    monkeypatch.setattr(folder, "_PARENTS", ("/proc",))
    monkeypatch.setenv(folder.SETTING, "of another gunicorn")
    folder.make()
    assert folder.current() is None
