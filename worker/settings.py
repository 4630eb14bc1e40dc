"""How a training worker runs. Read once, by the entry points."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from storage.settings import StoreSettings


@dataclass(frozen=True)
class Settings:
    """See `docs/operations.md` for what each setting means."""

    stores: StoreSettings
    training_threads: int = 1
    """Threads that share the rows of a large data set. Their number changes the result only by rounding."""

    keep_jobs_days: float = 30.0
    """How long a job that is done is kept, with its events. Versions are kept until they are deleted."""

    max_attempts: int = 3
    """A job fails when this many of its attempts died without getting further than those before."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the environment.

        Raises:
            KeyError: REDIS_URL is missing.
            ValueError: a value is not a number, or too small.
        """
        keep_jobs_days = float(env.get("KEEP_JOBS_DAYS") or cls.keep_jobs_days)
        # An Idempotency-Key leads to its job for a day.
        if not keep_jobs_days >= 1:
            raise ValueError(f"KEEP_JOBS_DAYS must be at least 1, not {keep_jobs_days:g}")
        max_attempts = int(env.get("MAX_ATTEMPTS") or cls.max_attempts)
        if max_attempts < 1:
            raise ValueError(f"MAX_ATTEMPTS must be at least 1, not {max_attempts}")
        return cls(
            stores=StoreSettings.from_env(env),
            keep_jobs_days=keep_jobs_days,
            max_attempts=max_attempts,
            training_threads=int(env.get("TRAINING_THREADS") or os.cpu_count() or 1),
        )
