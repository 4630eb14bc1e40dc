"""Names of models, versions and aliases: what they may be, and how they stand in a URL."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"


# Pydantic's `$` is Rust's: it matches at the very end only, so no name can end in a line break.
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


VersionNumber = Annotated[int, Field(ge=1, le=2**53)]


class ModelPath(BaseModel):
    """A model in a URL."""

    name: str


class VersionPath(ModelPath):
    """A version in a URL."""

    version: int = Field(ge=1)


class AliasPath(ModelPath):
    """An alias in a URL."""

    alias: Name
