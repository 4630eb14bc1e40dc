"""Check what runs in this container: `python -m cli.health`, or with --ready whether it can serve.

It runs every few seconds, so it loads nothing but what it needs. HEALTH_FILE says what to check: the address of the
API, or nothing, for a worker, which touches the file while it goes on.
"""

import http.client
import os
import sys
import time
from pathlib import Path

WORKER_SILENT_S = 120.0
"""A worker waits at most 15 s for an answer of Redis between two signs of life; its blob store may be slow, too."""


def problem(*, is_to_serve: bool) -> str | None:
    """Return what is wrong, None if nothing is."""
    path = os.environ.get("HEALTH_FILE")
    if not path:
        return "the setting HEALTH_FILE is missing"
    try:
        address = Path(path).read_text()
        silent_s = time.time() - os.stat(path).st_mtime
    except OSError as error:
        return f"HEALTH_FILE {path}: {error.strerror}"
    if not address:
        return f"the worker gave no sign of life for {silent_s:.0f} s" if silent_s > WORKER_SILENT_S else None
    route = "/readyz" if is_to_serve else "/livez"
    api = http.client.HTTPConnection(address, timeout=2)
    try:
        api.request("GET", route)
        answer = api.getresponse()
        body = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"{address}{route}: {error!r}"
    return None if answer.status == 200 else f"{address}{route} answered {answer.status}: {body}"


if __name__ == "__main__":
    sys.exit(problem(is_to_serve="--ready" in sys.argv[1:]))
