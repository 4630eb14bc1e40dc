"""How the service runs. Read once, by the entry point."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from service.predict.model_reference import ModelReference

_ROUTE = re.compile(r"/[A-Za-z0-9._~:@!$&'()*+,;=/-]{0,1000}")


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for. An error that a limit causes names the setting: the name in capitals."""

    max_body_bytes: int = 64 * 1024 * 1024
    max_inline_values: int = 2_000_000
    max_predict_instances: int = 100_000
    max_predict_outputs: int = 10_000_000
    max_epochs: int = 1_000_000
    max_parameters: int = 10_000_000
    max_candidates: int = 4_096

    @property
    def max_brackets(self) -> int:
        """How many arrays and objects a body may begin: twice the rows that can be of use, and some more."""
        return 2 * max(self.max_inline_values, self.max_predict_instances) + 100_000

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Limits":
        """Read MAX_BODY_BYTES and so on.

        Raises:
            ValueError: one of them is no positive whole number.
        """
        given = {}
        for field in fields(cls):
            setting = field.name.upper()
            if setting in env:
                try:
                    given[field.name] = int(env[setting])
                except ValueError:
                    given[field.name] = 0
                if given[field.name] < 1:
                    raise ValueError(f"{setting} must be a whole number of at least 1, not {env[setting]!r}")
        return cls(**given)


@dataclass(frozen=True)
class Settings:
    """See `docs/operations.md` for what each setting means."""

    redis_url: str
    blob_url: str
    limits: Limits
    default_model: ModelReference | None = None
    """The model of a request to predict that names none."""
    health_route: str | None = None
    predict_route: str | None = None
    api_threads: int = 8
    """How many requests one process handles at a time, apart from those that wait for their bodies."""
    model_memory_bytes: int = 128 * 1024 * 1024
    """What the versions that a process keeps in memory may take together."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the environment.

        Raises:
            KeyError: REDIS_URL is missing.
            ValueError: a number is none or too small, or a model or a route is none.
        """
        data_dir = Path(env.get("DATA_DIR") or "./data").absolute()
        return cls(
            redis_url=env["REDIS_URL"],
            blob_url=env.get("BLOB_URL") or f"file://{data_dir / 'blobs'}",
            limits=Limits.from_env(env),
            default_model=_model(env, "DEFAULT_MODEL"),
            health_route=_route(env, "AIP_HEALTH_ROUTE"),
            predict_route=_route(env, "AIP_PREDICT_ROUTE"),
            api_threads=int(env.get("API_THREADS", cls.api_threads)),
            model_memory_bytes=int(env.get("MODEL_MEMORY_BYTES", cls.model_memory_bytes)),
        )


def _model(env: Mapping[str, str], setting: str) -> ModelReference | None:
    if not (text := env.get(setting)):
        return None
    try:
        return ModelReference.parse(text)
    except ValueError as error:
        raise ValueError(f"{setting} {error}") from error


def _route(env: Mapping[str, str], setting: str) -> str | None:
    if not (route := env.get(setting)):
        return None
    if not _ROUTE.fullmatch(route):
        raise ValueError(f"{setting} must be a path like /health, not {route[:200]!r}")
    return route
