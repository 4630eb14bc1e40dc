"""How a training worker runs. Read once, by the entry points."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """See `docs/operations.md` for what each setting means."""

    redis_url: str
    blob_url: str
    blas_threads: int = 1

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
            blas_threads=int(env.get("BLAS_THREADS", cls.blas_threads)),
        )
