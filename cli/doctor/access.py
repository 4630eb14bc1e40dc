"""Who comes in: the access keys, and whether other machines reach an API for which nobody needs one."""

import contextlib
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx

from cli.doctor.findings import Finding, ok, problem, warning
from storage.access.opening import is_of_this_machine
from storage.access.store import AllKeys

SOON_DAYS = 14
"""A key that expires within so many days, and was not rotated, is worth a warning."""

_CREATE = "perceptron keys create --scope admin"
_TIMEOUT_S = 2.0


def key_findings(area: str, found: AllKeys, now_ms: float) -> Iterator[Finding]:
    """Judge the access keys of a Redis."""
    in_force = [key for key in found.keys.values() if key.refusal(now_ms) is None]
    n_ended = len(found.keys) - len(in_force)
    if not found.is_any:
        yield ok(area, "access keys", "off: no key was ever made, so whoever reaches the API may do everything")
    elif not in_force:
        yield problem(area, "access keys", f"on, and nobody comes in: none in force, {n_ended} ended", _CREATE)
    else:
        yield ok(area, "access keys", f"on: {len(in_force)} in force, {n_ended} ended")
    until_ms = now_ms + SOON_DAYS * 86_400_000
    ends = {key.id: key.expires_at_ms for key in in_force if key.successor is None and key.expires_at_ms is not None}
    soon = sorted((ends_at_ms, key_id) for key_id, ends_at_ms in ends.items() if ends_at_ms <= until_ms)
    if soon:
        ends_at_ms, key_id = soon[0]
        first = f"{key_id} on {datetime.fromtimestamp(ends_at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
        detail = f"{len(soon)} within {SOON_DAYS} days, not rotated yet; the first one is {first}"
        yield warning(area, "keys that expire", detail, f"perceptron keys rotate {key_id}")


def openness(area: str, http: httpx.Client) -> Iterator[Finding]:
    """Find out whether an API asks for a key, and if not, whether other machines reach it."""
    status = http.get("/jobs", params={"limit": 1}).status_code
    if status == 401:
        yield ok(area, "access", "on: nobody comes in without a key")
    elif status == 403:
        detail = f"off, so it refuses what comes through the proxy at {http.base_url.host}"
        yield warning(area, "access", detail, _CREATE)
    elif status == 200 and (address := _reachable_at(http.base_url)) is not None:
        detail = f"off, though other machines reach it at {address} (--insecure): they may do everything"
        yield warning(area, "access", detail, _CREATE)
    elif status == 200:
        yield ok(area, "access", "off: only this machine reaches it, and may do everything")


def _reachable_at(url: httpx.URL) -> str | None:
    """Return an address at which other machines reach the API, as far as this one can tell."""
    if not is_of_this_machine(url.host):
        return str(url.host)
    for host in own_addresses():
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url.copy_with(host=host, path="/livez"), timeout=_TIMEOUT_S, trust_env=False).is_success:
                return host
    return None


def own_addresses() -> list[str]:
    """Return the addresses under which others know this machine; those of its route to the network. Nothing is sent."""
    found = []
    for family, elsewhere in ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            found.append(str(probe.getsockname()[0]))
    return [host for host in found if not is_of_this_machine(host)]
