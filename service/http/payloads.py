"""What request and answer payloads share."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema


def at_most(maximum: int, what: str) -> BeforeValidator:
    """Limit the members of an object before pydantic looks at them: an error for each could take gigabytes."""

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > maximum:
            raise PydanticCustomError("too_many", f"at most {maximum:,} {what}, got {len(value):,}")
        return value

    return BeforeValidator(check)


class OneOf:
    """Marks a string as one of these names, like `Literal`, but reads them for each request instead of at import."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names

    def _check(self, value: Any) -> str:
        names = list(self._names())
        if isinstance(value, str) and value in names:
            return value
        *most, last = [repr(name) for name in names]
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(most)} or {last}"})

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "enum": list(self._names())}


# Rows of numbers are checked by `parsing.parse_matrix`, many times faster than pydantic could.
ROW = {"type": "array", "items": {"type": "number"}, "minItems": 1}


Matrix = Annotated[list[Any], WithJsonSchema({"type": "array", "items": ROW, "minItems": 1})]


Numbers = Annotated[list[Any], WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 1})]


TAG = "\0"
"""First character of the names of a union's cases. Pydantic puts them into locations; no member's name begins so."""


def json_tag(value: Any) -> str:
    """Select the case of a union by the JSON type of a value, so that there is one fault and not one for each case."""
    names: dict[type, str] = {dict: "object", list: "array", str: "string"}
    return TAG + names.get(type(value), "number")


class RequestPayload(BaseModel):
    """Base of what clients send: no conversion between types, no NaN, no unknown members."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _only_the_first_unknown_member(cls, value: Any) -> Any:
        """Keep only the first unknown member for pydantic to refuse: for a million it would make a million errors."""
        if not isinstance(value, dict) or len(value) <= len(cls.model_fields):
            return value
        first = next(name for name in value if name not in cls.model_fields)
        return {name: value[name] for name in value if name in cls.model_fields or name == first}
