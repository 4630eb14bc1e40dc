"""Where the stores are. Every process that uses them reads these settings here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_DATA_DIR = "./data"


@dataclass(frozen=True)
class StoreSettings:
    """REDIS_URL, and BLOB_URL or else a folder of DATA_DIR."""

    redis_url: str
    blob_url: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "StoreSettings":
        """Read the environment.

        Raises:
            KeyError: REDIS_URL is missing.
        """
        return cls(redis_url=env["REDIS_URL"], blob_url=blob_url(env, data_dir(env)))


def data_dir(env: Mapping[str, str]) -> Path:
    """Return DATA_DIR, which is relative to the working directory, as an absolute path."""
    return Path(env.get("DATA_DIR") or DEFAULT_DATA_DIR).absolute()


def blob_url(env: Mapping[str, str], data_dir: Path) -> str:
    """Return BLOB_URL, or the folder `blobs` of the data directory."""
    return env.get("BLOB_URL") or f"file://{data_dir / 'blobs'}"
