"""Where the stores are, and how a setting is read. Every process that has settings reads them here."""

import math
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

DEFAULT_DATA_DIR = "./data"

UNLIMITED = 2**53
"""No limit, as a number that Lua and JSON hold exactly."""
INSECURE = "INSECURE"
"""The setting that lets everybody in while there is no access key, wherever the API listens."""

_YES, _NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")

SECRETS = ("REDIS_URL", "BLOB_URL", "PERCEPTRON_API_KEY", "WEBHOOK_SECRET")
"""Settings that may hold a secret: `<name>_FILE` names a file that has the value, as Docker and Kubernetes mount it."""

_MAX_SECRET_BYTES = 65_536

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


def read_secret_files(env: MutableMapping[str, str]) -> None:
    """Set each secret whose value is in a file. White space around it is left out.

    Raises:
        ValueError: a file cannot be read, is empty or too long, or the value is given twice.
    """
    for name in SECRETS:
        if not (path := env.get(f"{name}_FILE")):
            continue
        if env.get(name):
            raise ValueError(f"give {name} or {name}_FILE, not both")
        try:
            with open(path, encoding="utf-8") as file:
                value = file.read(_MAX_SECRET_BYTES + 1).strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ValueError(f"{name}_FILE {path[:200]} cannot be read: {reason}") from error
        if not value or len(value) > _MAX_SECRET_BYTES:
            raise ValueError(f"{name}_FILE {path[:200]} must have 1 to {_MAX_SECRET_BYTES} characters")
        env[name] = value
        del env[f"{name}_FILE"]  # the processes that are started from here have the value


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


def published_hosts(env: Mapping[str, str]) -> list[str]:
    """Return the hosts of PUBLISHED: where a container's port is published, instead of HOST, inside the container.

    Each is written as Docker takes it, such as `127.0.0.1:8000` or `[::1]:8000`. A port alone is published for all, and
    is the host `0.0.0.0`.
    """
    return [each.rpartition(":")[0].strip("[]") or "0.0.0.0" for each in env.get("PUBLISHED", "").split()]


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
