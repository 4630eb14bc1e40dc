"""What a job has to tell: its states, its learning curve and its log, a stream that can be read from any place."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

MAX_EVENTS = 2_000
"""About so many events are kept of a job, the newest ones; the points of a learning curve are fewer."""

EVENT_ID = re.compile(r"[0-9]{1,16}-[0-9]{1,16}")


@dataclass(frozen=True)
class Event:
    """Something that happened to a job.

    `type` says what `data` holds: `status` the state the job is in since then, its attempt and the reason; `epoch` a
    point of the learning curve; `log` a message.
    """

    id: str
    """The later of two events of a job has the greater one, as pairs of numbers."""
    type: str
    at_ms: int
    """Since 1970, UTC."""
    data: Mapping[str, Any]

    @property
    def ends_the_job(self) -> bool:
        """Whether no event comes after this one."""
        return self.type == "status" and self.data["status"] not in ("queued", "running")


def decode_events(entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Event]:
    """Read what XRANGE gives of an event stream."""
    return [
        Event(
            id=entry_id.decode(),
            type=fields[b"type"].decode(),
            at_ms=int(entry_id.partition(b"-")[0]),
            data=orjson.loads(fields[b"data"]),
        )
        for entry_id, fields in entries
    ]
