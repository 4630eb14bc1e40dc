"""How a training worker runs. Read once, by the entry points."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """See `docs/operations.md` for what each setting means."""

    redis_url: str
    blob_url: str
    training_threads: int = 1
    """Threads that share the rows of a large data set; another number changes only rounding."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the environment.

        Raises:
            KeyError: REDIS_URL is missing.
            ValueError: a number is none.
        """
        data_dir = Path(env.get("DATA_DIR") or "./data").absolute()
        return cls(
            redis_url=env["REDIS_URL"],
            blob_url=env.get("BLOB_URL") or f"file://{data_dir / 'blobs'}",
            training_threads=int(env.get("TRAINING_THREADS") or os.cpu_count() or 1),
        )
