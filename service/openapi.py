"""The parts of the OpenAPI document that routes have in common."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

_EVERY_ROUTE = (406, 503)


def problems(*statuses: int) -> dict[str | int, Any]:
    """Declare the errors that a route answers, besides those that every route can."""
    return {
        status: {"description": HTTPStatus(status).phrase, "content": _PROBLEM}
        for status in sorted({*statuses, *_EVERY_ROUTE})
    }


def body_problems(*statuses: int) -> dict[str | int, Any]:
    """Declare the errors of a route that takes a JSON body."""
    return problems(400, 411, 413, 415, 422, *statuses)


def answer(payload: type[BaseModel], description: str, **headers: str) -> dict[str, Any]:
    """Declare a JSON answer with headers, each given as its description."""
    return {
        "description": description,
        "headers": {
            name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        },
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{payload.__name__}"}}},
    }


def json_body(payload: type[BaseModel]) -> dict[str, Any]:
    """Declare the JSON body of a route that parses it by itself."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": payload.model_json_schema()}},
        }
    }


def header(name: str, description: str) -> dict[str, Any]:
    """Declare an optional request header."""
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }
