"""The answers of the health routes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, Field

ALIVE: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"/livez": {"status": "alive"}, "/v2/health/live": {"live": True}}
)
"""Answers that need neither a thread nor Redis, by path."""

READINESS_PATHS = frozenset({"/readyz", "/v2/health/ready", "/ping", "/health"})
"""Where load balancers ask whether to send requests; 503 once the process was told to stop."""


class Readiness(BaseModel):
    """The service can do its work."""

    status: Literal["ready"]
    redis: Literal["ok"]
    workers: int = Field(description="Training workers. With none, jobs wait; predictions still work.")


class Ready(BaseModel):
    """The process can predict."""

    status: Literal["ready"]


class Liveness(BaseModel):
    """The process is alive."""

    status: Literal["alive"]
