"""The inputs that are kept: those that a target starts from, and those that once met a fault."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).with_name("corpus")

MAX_BYTES = 8_192
"""Of one input: a longer one says no more, and takes room in the repository."""


def inputs(target: str) -> Iterator[Path]:
    """Yield the files of a target, in order."""
    yield from sorted((FOLDER / target).iterdir())


def keep(target: str, content: bytes) -> None:
    """Write an input under a name that follows from its content."""
    assert len(content) <= MAX_BYTES, (target, len(content))
    folder = FOLDER / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)
