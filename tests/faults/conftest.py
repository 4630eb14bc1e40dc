"""Fixtures of the fault tests. `--times N` repeats a fault as often as docs/reliability.md reports it."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.redis_host import Disk
from tests.faults.rig import Rig, running_rig


@pytest.fixture
def times(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--times"))


@pytest.fixture
def start_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Start a service for this test alone; it ends with the test."""
    with ExitStack() as on_exit:
        yield lambda **options: on_exit.enter_context(running_rig(tmp_path, **options))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of 160 MB."""
    with ExitStack() as on_exit:
        try:
            yield Disk(tmp_path / "disk", 160, on_exit)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"needs a small file system: {getattr(error, 'stderr', error)}")
