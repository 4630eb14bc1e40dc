"""Where the stores are, and how a setting is read. Every process that has settings reads them here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

DEFAULT_DATA_DIR = "./data"

UNLIMITED = 2**53
"""No limit, as a number that Lua and JSON hold exactly."""
INSECURE = "INSECURE"
"""The setting that lets everybody in while there is no access key, wherever the API listens."""

_YES, _NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")

Number = TypeVar("Number", int, float)


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


def is_insecure(env: Mapping[str, str]) -> bool:
    """Return INSECURE, false if it is missing or empty.

    Raises:
        ValueError: it is neither true nor false.
    """
    return is_true(env, INSECURE)


def is_true(env: Mapping[str, str], setting: str) -> bool:
    """Return a setting that is true or false; false if it is missing or empty.

    Raises:
        ValueError: it is neither.
    """
    text = env.get(setting, "").strip().lower()
    if text not in _YES + _NO:
        raise ValueError(f"{setting} must be true or false, not {text[:200]!r}")
    return text in _YES


def at_least_one(env: Mapping[str, str], setting: str, default: Number) -> Number:
    """Return a number of the type of its default, which counts if the setting is missing or empty.

    Raises:
        ValueError: it is no such number, or less than 1.
    """
    if not (text := env.get(setting)):
        return default
    try:
        number = type(default)(text)
    except ValueError:
        number = type(default)(0)
    if not 1 <= number < math.inf:
        kind = "whole number" if isinstance(default, int) else "number"
        raise ValueError(f"{setting} must be a {kind} of at least 1, not {text[:200]!r}")
    return number
