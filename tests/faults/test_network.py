"""R36: a network between the API and Redis that loses packets, is slow or is cut. Redis has a network namespace."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.faults.redis_host import Network, RedisHost
from tests.faults.rig import Rig, wait_for
from tests.faults.test_stores import JOB

StartRig = Callable[..., Rig]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[RedisHost]:
    """Another host, with Redis."""
    with ExitStack() as on_exit:
        host = RedisHost(tmp_path, on_exit)
        if host.network is None:
            pytest.skip("; ".join(host.left_out))
        yield host


@pytest.fixture
def network(host: RedisHost) -> Network:
    assert host.network is not None
    return host.network


@pytest.fixture
def rig(host: RedisHost, network: Network, start_rig: StartRig) -> Rig:
    """An API whose Redis is on the other host."""
    return start_rig(n_workers=0, api_processes=1, server=host, REDIS_URL=network.url)


def post(http: httpx.Client, *, n_retries: int = 0) -> tuple[int, float]:
    """Send a job; return the status and the longest time that an answer took."""
    longest_s = 0.0
    for is_retry in range(n_retries + 1):
        if is_retry:
            time.sleep(1)  # as Retry-After says
        started = time.monotonic()
        status = http.post("/jobs", json=JOB).status_code
        longest_s = max(longest_s, time.monotonic() - started)
        if status != 503:
            break
    return status, longest_s


@pytest.mark.serial
def test_most_jobs_are_accepted_over_a_network_that_loses_every_fifth_packet(
    rig: Rig, network: Network, times: int
) -> None:
    """R36: on 15a4f66, 60 of 162 were accepted."""
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        assert post(http)[0] == 202
        network.lose(0.2)
        answers = []
        until = time.monotonic() + 4 * times
        while time.monotonic() < until:
            answers.append(post(http, n_retries=1))
        network.heal()
    statuses = Counter(status for status, _ in answers)
    print("20 % loss:", dict(statuses), f"longest {max(seconds for _, seconds in answers):.2f} s")
    assert set(statuses) <= {202, 503}
    assert statuses[202] >= 0.8 * len(answers)
    assert max(seconds for _, seconds in answers) < 2


@pytest.mark.serial
def test_a_cut_network_is_503_within_2_s_and_heals_at_once(rig: Rig, network: Network) -> None:
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        assert post(http)[0] == 202
        network.drop()
        for _ in range(6):
            status, seconds = post(http)
            assert status == 503 and seconds < 2
        network.heal()
        wait_for(lambda: post(http)[0] == 202, 3)
