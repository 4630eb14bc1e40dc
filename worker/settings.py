"""How a training worker runs. Read once, by the entry points."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from storage.memory_limit import max_training_bytes
from storage.store_settings import StoreSettings, at_least_one
from storage.webhooks.settings import WebhookSettings


@dataclass(frozen=True)
class Settings:
    """See `docs/operations.md` for what each setting means."""

    stores: StoreSettings
    training_threads: int = 1
    """Threads that share the rows of a large data set. Their number changes the result only by rounding."""

    keep_jobs_days: float = 30.0
    """How long a job that is done is kept, with its events. Versions are kept until they are deleted."""

    max_tenant_running_jobs: int = 0
    """How many jobs of one tenant, and of all that belong to none, may run at once; 0: as many as there are workers."""

    max_attempts: int = 3
    """A job fails when this many of its attempts died without getting further than those before."""

    max_training_bytes: int = 2**63 - 1
    """A training that takes more memory fails with `out_of_memory`."""

    webhooks: WebhookSettings = field(default_factory=WebhookSettings)

    health_file: Path | None = None
    """Touched while the worker goes on, for the health check of its container."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the environment.

        Raises:
            KeyError: REDIS_URL is missing.
            ValueError: a setting is no number of at least 1, or one of webhooks cannot be used.
        """
        return cls(
            stores=StoreSettings.from_env(env),
            training_threads=at_least_one(env, "TRAINING_THREADS", os.cpu_count() or 1),
            # An Idempotency-Key leads to its job for a day, so no job is forgotten earlier.
            keep_jobs_days=at_least_one(env, "KEEP_JOBS_DAYS", cls.keep_jobs_days),
            max_tenant_running_jobs=at_least_one(env, "MAX_TENANT_RUNNING_JOBS", cls.max_tenant_running_jobs),
            max_attempts=at_least_one(env, "MAX_ATTEMPTS", cls.max_attempts),
            max_training_bytes=max_training_bytes(env),
            webhooks=WebhookSettings.from_env(env),
            health_file=Path(path) if (path := env.get("HEALTH_FILE")) else None,
        )
