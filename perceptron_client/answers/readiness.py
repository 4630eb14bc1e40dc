"""Whether the service can do its work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perceptron_client.answers.answer import Answer


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Readiness(Answer):
    """The answer of `/readyz`."""

    is_ready: bool
    status: str
    """`ready`, or the code of the error, such as `unavailable`."""
    detail: str | None
    """Why the service is not ready."""
    workers: int | None

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        is_ready = raw["status"] == "ready"
        return {
            "is_ready": is_ready,
            "status": "ready" if is_ready else raw.get("code", str(raw["status"])),
            "detail": raw.get("detail"),
            "workers": raw.get("workers"),
        }
