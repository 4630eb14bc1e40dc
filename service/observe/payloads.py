"""What the health routes answer."""

from typing import Literal

from pydantic import BaseModel, Field


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
