"""From payloads to responses."""

import orjson
from flask import Response
from pydantic import BaseModel


def to_json(payload: BaseModel, status: int = 200) -> Response:
    """Answer with a payload as JSON; numbers are printed so that they read back exactly."""
    return Response(orjson.dumps(payload.model_dump()), status, mimetype="application/json")
