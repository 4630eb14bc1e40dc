"""How the service runs. The entry point reads it once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_network

from service.datasets.reading.limits import TableLimits
from service.http.room import default_room_bytes
from service.observe.access_log import PREDICT_EVERY
from service.observe.metrics.traffic import MAX_VERSIONS
from storage.memory_limit import share_of_memory
from storage.models.versions import ModelReference
from storage.store_settings import UNLIMITED, StoreSettings, at_least_one, is_insecure
from storage.webhooks.settings import WebhookSettings

_ROUTE = re.compile(r"/[A-Za-z0-9._~:@!$&'()*+,;=/-]{0,1000}")

_ALLOWED_HOST = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:]*:[0-9a-f:.]*")

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._\[\]:-]+")
"""As browsers send it: in lower case, without a path."""


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for. Errors name the limit by its setting: its name here, in capitals."""

    max_body_bytes: int = 64 * 1024 * 1024
    max_inline_values: int = 2_000_000
    max_predict_instances: int = 100_000
    max_predict_outputs: int = 10_000_000
    max_predict_steps: int = 10_000_000_000
    max_epochs: int = 1_000_000
    max_parameters: int = 10_000_000
    max_candidates: int = 4_096
    max_training_bytes: int = share_of_memory(1)
    max_key_requests_per_s: int = UNLIMITED
    max_tenant_requests_per_s: int = UNLIMITED
    max_tenant_queued_jobs: int = 10_000
    max_tenant_running_jobs: int = UNLIMITED
    """The workers hold to it; here it only tells metrics how many jobs may run."""
    max_tenant_dataset_bytes: int = UNLIMITED
    tables: TableLimits = field(default_factory=TableLimits)

    @property
    def max_brackets(self) -> int:
        """How many arrays and objects a body may hold: twice the number of rows allowed, and some to spare."""
        return 2 * max(self.max_inline_values, self.max_predict_instances) + 100_000

    @property
    def max_values(self) -> int:
        """How many values a body of JSON may hold: those of four arrays of a training request."""
        return 4 * max(self.max_inline_values, self.max_predict_instances) + 100_000

    @property
    def max_members(self) -> int:
        """How many members the objects of a body may have together, such as values that are sent by name."""
        return max(self.max_inline_values, self.max_predict_instances) + 100_000

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Limits":
        """Read MAX_BODY_BYTES and so on.

        Raises:
            ValueError: one of them is not a whole number of at least 1.
        """
        names = [each.name for each in fields(cls) if each.name != "tables"]
        numbers = {name: at_least_one(env, name.upper(), getattr(cls, name)) for name in names}
        return cls(**numbers, tables=TableLimits.from_env(env))


@dataclass(frozen=True)
class Settings:
    """`docs/operations.md` says what each setting means."""

    stores: StoreSettings
    limits: Limits
    default_model: ModelReference | None = None
    """Used by requests to predict that name no model."""
    health_route: str | None = None
    predict_route: str | None = None
    api_threads: int = 8
    """How many requests one process handles at a time, not counting those whose body is still arriving."""
    model_memory_bytes: int = 128 * 1024 * 1024
    """Limit for all versions in the memory of one process together."""
    request_memory_bytes: int = default_room_bytes(1)
    """Limit for all requests under way in one process together, by estimate."""
    metrics_versions: int = MAX_VERSIONS
    """How many versions have labels of their own in the metrics of one process."""
    log_predict_every: int = PREDICT_EVERY
    """One of so many predicts has a line in the log; 0: none, but for those that fail or are slow."""
    cors_origins: tuple[str, ...] = ()
    """The origins whose pages may read answers; `*` stands for all."""
    allowed_hosts: tuple[str, ...] = ()
    """The names in the Host header that are answered for; `*` stands for all; none of them: see `Gate`."""
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    """The proxies whose X-Forwarded-Proto is believed: addresses and networks; `*`: every client."""
    is_insecure: bool = False
    """Whether everybody comes in while there is no access key, wherever the API listens."""
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    stop_delay_s: float = 0.0
    """How long a process that was told to stop goes on as before, except that it is not ready."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the environment.

        Raises:
            KeyError: REDIS_URL is missing.
            ValueError: a setting is no number in its range, or no valid model, route, origin, truth value, or
                setting of webhooks.
        """
        return cls(
            stores=StoreSettings.from_env(env),
            limits=Limits.from_env(env),
            default_model=_model(env, "DEFAULT_MODEL"),
            health_route=_route(env, "AIP_HEALTH_ROUTE"),
            predict_route=_route(env, "AIP_PREDICT_ROUTE"),
            api_threads=at_least_one(env, "API_THREADS", cls.api_threads),
            model_memory_bytes=at_least_one(env, "MODEL_MEMORY_BYTES", cls.model_memory_bytes),
            request_memory_bytes=at_least_one(env, "REQUEST_MEMORY_BYTES", default_room_bytes(_n_processes(env))),
            metrics_versions=metrics_versions(env),
            log_predict_every=_predict_every(env, "LOG_PREDICT_EVERY"),
            cors_origins=_origins(env, "CORS_ORIGINS"),
            allowed_hosts=_hosts(env, "ALLOWED_HOSTS"),
            proxies=_networks(env, "FORWARDED_ALLOW_IPS") or cls.proxies,
            is_insecure=is_insecure(env),
            webhooks=WebhookSettings.from_env(env),
            stop_delay_s=stop_delay_s(env),
        )


def stop_delay_s(env: Mapping[str, str]) -> float:
    """Return STOP_DELAY_S, 0 if it is missing or empty.

    Raises:
        ValueError: it is not a number from 0 to 60.
    """
    text = env.get("STOP_DELAY_S") or "0"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 60:
        raise ValueError(f"STOP_DELAY_S must be a number from 0 to 60, not {text[:200]!r}")
    return seconds


def metrics_versions(env: Mapping[str, str]) -> int:
    """Return METRICS_VERSIONS, 200 if it is missing or empty.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """
    return at_least_one(env, "METRICS_VERSIONS", MAX_VERSIONS)


def _predict_every(env: Mapping[str, str], setting: str) -> int:
    return 0 if env.get(setting) == "0" else at_least_one(env, setting, PREDICT_EVERY)


def _n_processes(env: Mapping[str, str]) -> int:
    return int(env.get("API_PROCESSES") or env.get("WEB_CONCURRENCY") or 1)  # as gunicorn's configuration does


def _model(env: Mapping[str, str], setting: str) -> ModelReference | None:
    if not (text := env.get(setting)):
        return None
    try:
        return ModelReference.parse(text)
    except ValueError as error:
        raise ValueError(f"{setting} {error}") from error


def _origins(env: Mapping[str, str], setting: str) -> tuple[str, ...]:
    origins = tuple(origin for origin in re.split(r"[,\s]+", env.get(setting, "")) if origin)
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{setting} must be * or origins like https://app.example, not {origin[:200]!r}")
    return origins


def _hosts(env: Mapping[str, str], setting: str) -> tuple[str, ...]:
    hosts = tuple(host.lower() for host in re.split(r"[,\s]+", env.get(setting, "")) if host)
    for host in hosts:
        if not _ALLOWED_HOST.fullmatch(host):
            raise ValueError(
                f"{setting} must be * or names without ports like api.example.com or *.example.com, not {host[:200]!r}"
            )
    return hosts


def _networks(env: Mapping[str, str], setting: str) -> tuple[str, ...]:
    networks = tuple(re.findall(r"[^,\s]+", env.get(setting, "")))
    for text in networks:
        try:
            ip_network("::" if text == "*" else text)
        except ValueError as error:
            raise ValueError(f"{setting} must be * or addresses and networks like 10.0.0.0/8: {error}") from error
    return networks


def _route(env: Mapping[str, str], setting: str) -> str | None:
    if not (route := env.get(setting)):
        return None
    if not _ROUTE.fullmatch(route):
        raise ValueError(f"{setting} must be a path like /health, not {route[:200]!r}")
    return route
