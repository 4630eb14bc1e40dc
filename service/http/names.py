"""Names of models and aliases and version numbers, in bodies and in URLs."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints, model_validator

from storage import keys
from storage.errors import VersionNotFoundError
from storage.models import versions

NAME_PATTERN = f"^{keys.NAME_PATTERN}$"

# In pydantic's regular expressions (Rust's), `$` matches only at the very end, so no name ends in a line break.
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


_is_version = re.compile(versions.VERSION_PATTERN).fullmatch

VersionNumber = Annotated[int, Field(ge=1, le=versions.MAX_VERSION)]


class ModelPath(BaseModel):
    """A model in a URL."""

    name: str


def version_number(model: str, text: str) -> int:
    """Return the number of a version in a URL.

    Raises:
        VersionNotFoundError: no version has such a number, for example 0 or 01.
    """
    if not _is_version(text):
        raise VersionNotFoundError(model, text)
    return int(text)


class VersionPath(ModelPath):
    """A version in a URL."""

    version: int = Field(ge=1)

    @model_validator(mode="before")
    @classmethod
    def _number(cls, values: Any) -> Any:
        return {**values, "version": version_number(values["name"], values["version"])}


class AliasPath(ModelPath):
    """An alias in a URL."""

    alias: Name
