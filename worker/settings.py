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
    """Threads that share the rows of a large data set; another number changes only rounding."""

    keep_jobs_days: float = 30.0
    """How long a job that is done is kept, with its events. Versions are kept until they are deleted."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the environment.

        Raises:
            KeyError: REDIS_URL is missing.
            ValueError: a number is none, or too small.
        """
        keep_jobs_days = float(env.get("KEEP_JOBS_DAYS") or cls.keep_jobs_days)
        # An Idempotency-Key is remembered for a day, and leads to its job.
        if not keep_jobs_days >= 1:
            raise ValueError(f"KEEP_JOBS_DAYS must be at least 1, not {keep_jobs_days:g}")
        return cls(
            stores=StoreSettings.from_env(env),
            keep_jobs_days=keep_jobs_days,
            training_threads=int(env.get("TRAINING_THREADS") or os.cpu_count() or 1),
        )
