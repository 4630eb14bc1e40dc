"""The body of an error (RFC 9457), for the OpenAPI document."""

from pydantic import BaseModel, Field


class FaultPayload(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="JSON pointer into the body, or a slash and the name of a parameter.")
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None
    error: str
    errors: list[FaultPayload] = []
