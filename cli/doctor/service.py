"""Whether the API answers, is ready and of which version: over HTTP, as any client sees it."""

import json
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from cli.doctor.access import openness
from cli.doctor.findings import Finding, ok, problem, run, warning
from cli.doctor.stores import clock_finding
from cli.remote.address import Address
from cli.version import version

AREA = "service"
_TIMEOUT_S = 10.0


def check_service(address: Address) -> Iterator[Finding]:
    """Check the API at an address."""

    def service() -> Iterator[Finding]:
        with httpx.Client(base_url=address.url, timeout=_TIMEOUT_S) as http:
            yield from _check(http, address)

    return run(AREA, [service])


def _check(http: httpx.Client, address: Address) -> Iterator[Finding]:
    try:
        alive = http.get("/livez")
    except httpx.HTTPError as error:
        reason = str(error).lower() or type(error).__name__
        yield problem(AREA, "answers", f"{address.shown_url} ({address.source}): {reason}", address.remedy)
        return
    if _member(alive, "status") != "alive":
        detail = f"{address.shown_url} answers {alive.status_code}, but is no Perceptron Service"
        yield problem(AREA, "answers", detail, "name the address of one with --url")
        return
    yield ok(AREA, "answers", f"{address.shown_url} ({address.source})")
    yield from _clock(alive)
    yield from openness(AREA, http)
    ready = http.get("/readyz")
    if ready.status_code == 200:
        n_workers = _member(ready, "workers")
        yield ok(AREA, "ready", f"yes; workers: {n_workers}")
        if n_workers == 0:
            yield warning(AREA, "workers", "none: jobs wait in the queue", "perceptron worker, or 'perceptron up'")
    else:
        detail = str(_member(ready, "detail") or f"status {ready.status_code}")
        yield problem(AREA, "ready", detail, "see 'What to do when' in docs/operations.md")
    theirs = (_member(http.get("/openapi.json"), "info") or {}).get("version")
    if theirs != version():
        detail = f"{theirs}, and this command is {version()}"
        yield warning(AREA, "version", detail, "install the same version of both")
    else:
        yield ok(AREA, "version", str(theirs))


def _clock(answer: httpx.Response) -> Iterator[Finding]:
    try:
        at = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):  # a proxy may drop it
        return
    yield clock_finding(AREA, at + 0.5 - time.time())  # the header has whole seconds


def _member(answer: httpx.Response, name: str) -> Any:
    """Return a member of a JSON object; None if there is none."""
    try:
        content = json.loads(answer.content)
    except (ValueError, RecursionError):
        return None
    return content.get(name) if isinstance(content, dict) else None
