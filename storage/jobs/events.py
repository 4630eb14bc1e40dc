"""The events of a job: its states, its learning curve and its log, as a stream that can be read from any event on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Json, TypeAdapter

from storage.alarm import report
from storage.jobs.record import DONE_STATUSES
from storage.log.faults import describe

EventType = Literal["status", "epoch", "log"]

MAX_EVENTS = 2_000
"""About this many of the newest events of a job are kept. A learning curve has fewer points."""

EVENT_ID_PATTERN = r"[0-9]{1,16}-[0-9]{1,16}"


@dataclass(frozen=True)
class Event:
    """Something that happened to a job.

    What `data` holds depends on `type`. `status`: the new state, the attempt and the reason. `epoch`: a point of the
    learning curve. `log`: a message.
    """

    id: str
    """Two numbers and a hyphen; compared as pairs of numbers, a later event has a greater id."""
    type: EventType
    at_ms: int
    """Milliseconds since 1970, UTC."""
    data: Json[Mapping[str, Any]]

    @property
    def ends_the_job(self) -> bool:
        """Whether no event comes after this one."""
        return self.type == "status" and self.data.get("status") in DONE_STATUSES


_EVENT = TypeAdapter(Event)


def decode_events(job_id: str, entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Event]:
    """Read what XRANGE gives of a job's event stream. What is no event is reported and left out."""
    events = []
    for entry_id, fields in entries:
        event_id = entry_id.decode()
        at_ms = event_id.partition("-")[0]
        try:
            kind, data = fields[b"type"].decode(), fields[b"data"]
            events.append(_EVENT.validate_python({"id": event_id, "type": kind, "at_ms": at_ms, "data": data}))
        except (KeyError, ValueError) as error:
            report(f"event {event_id} of job {job_id!r} cannot be read: {describe(error)}")
    return events
