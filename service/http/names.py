"""Names of models and aliases and version numbers, in bodies and in URLs."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from storage.models import versions

NAME_PATTERN = f"^{versions.NAME_PATTERN}$"

# In pydantic's regular expressions (Rust's), `$` matches only at the very end, so no name ends in a line break.
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


VersionNumber = Annotated[int, Field(ge=1, le=versions.MAX_VERSION)]


class ModelPath(BaseModel):
    """A model in a URL."""

    name: str


class VersionPath(ModelPath):
    """A version in a URL."""

    version: int = Field(ge=1)


class AliasPath(ModelPath):
    """An alias in a URL."""

    alias: Name
