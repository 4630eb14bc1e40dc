"""The parts of the OpenAPI document that routes have in common."""

from http import HTTPStatus
from typing import Any

from flask_openapi3 import OpenAPI
from pydantic import BaseModel

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

_EVERY_ROUTE = (406, 503)

_CONTENT_ENCODING = {
    "name": "Content-Encoding",
    "in": "header",
    "required": False,
    "description": "gzip or deflate, if the body is compressed.",
    "schema": {"type": "string"},
}


def document(app: OpenAPI) -> dict[str, Any]:
    """Return the OpenAPI document of all routes."""
    document: dict[str, Any] = app.api_doc
    for path_item in document["paths"].values():
        for operation in path_item.values():
            if "requestBody" in operation:
                given = [each for each in operation.get("parameters", []) if each != _CONTENT_ENCODING]
                operation["parameters"] = [*given, _CONTENT_ENCODING]
            # flask-openapi3 adds a 422 in its own form to every route that does not declare one.
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    return document


def problems(*statuses: int) -> dict[str | int, Any]:
    """Declare the errors of a route, besides those that every route has."""
    return {
        status: {"description": HTTPStatus(status).phrase, "content": _PROBLEM}
        for status in sorted({*statuses, *_EVERY_ROUTE})
    }


def body_problems(*statuses: int) -> dict[str | int, Any]:
    """Declare the errors of a route that takes a JSON body."""
    return problems(400, 411, 413, 415, 422, *statuses)


def answer(payload: type[BaseModel], description: str, **headers: str) -> dict[str, Any]:
    """Declare a JSON answer; `headers` are descriptions by name."""
    return {
        "description": description,
        "headers": {
            name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        },
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{payload.__name__}"}}},
    }


def json_body(payload: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Declare the JSON body of a route that parses its body itself."""
    return {
        "requestBody": {
            "required": required,
            "content": {"application/json": {"schema": schema_of(payload)}},
        }
    }


def schema_of(payload: type[BaseModel]) -> dict[str, Any]:
    """Return a schema without references: each one is replaced by what it refers to."""
    schema = payload.model_json_schema()
    parts = schema.pop("$defs", {})

    def inlined(value: Any) -> Any:
        if isinstance(value, list):
            return [inlined(item) for item in value]
        if not isinstance(value, dict):
            return value
        part = parts[value["$ref"].rpartition("/")[2]] if "$ref" in value else {}
        return {name: inlined(item) for name, item in (part | value).items() if name != "$ref"}

    return {name: inlined(item) for name, item in schema.items()}


def header(name: str, description: str) -> dict[str, Any]:
    """Declare an optional request header."""
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }
