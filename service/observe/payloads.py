"""What the health routes answer."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, Field

ALIVE: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"/livez": {"status": "alive"}, "/v2/health/live": {"live": True}}
)
"""Answers that need neither a thread nor Redis, by path."""


class Readiness(BaseModel):
    """Whether the service can do its work."""

    status: Literal["ready"]
    redis: Literal["ok"]
    workers: int = Field(description="Training workers; with none, predictions go on and jobs wait.")


class Ready(BaseModel):
    """Predictions can be asked for."""

    status: Literal["ready"]


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["alive"]
