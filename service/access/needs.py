"""The one table of what each route needs. OpenAPI is made from it. A route that it does not name needs `admin`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from service.http.caller import Caller
from service.http.errors import ForbiddenError
from storage.access.record import Scope


@dataclass(frozen=True, slots=True)
class Need:
    """What a caller needs for a route."""

    scopes: tuple[Scope, ...] = ()
    """One of them is enough, and `admin` always is."""
    is_free: bool = False
    """Nobody is asked for a key."""
    is_health: bool = False
    """It is answered under any name of a host: probes use addresses."""
    is_for_operator: bool = False
    """Only for keys without a tenant: the answer is about all tenants."""

    def check(self, caller: Caller) -> None:
        """Check what a caller may do.

        Raises:
            ForbiddenError: not this.
        """
        if self.is_free:
            return
        if caller.scopes.isdisjoint((*self.scopes, "admin")):
            raise ForbiddenError(self.enough, sorted(caller.scopes))
        if self.is_for_operator and caller.tenant:
            raise ForbiddenError(self.enough, sorted(caller.scopes), tenant=caller.tenant)

    @property
    def enough(self) -> tuple[Scope, ...]:
        """The scopes of which one is enough."""
        return (*self.scopes, "admin")


FREE = Need(is_free=True)
HEALTH = Need(is_free=True, is_health=True)
ADMIN = Need()
PREDICT = Need(("predict",))
TRAIN = Need(("train",))
LOOK = Need(("read", "train"))
LOOK_AT_MODEL = Need(("read", "predict", "train"))
DESCRIBE = Need(("read", "predict"))
"""For the protocols, whose clients ask what a model is before they predict."""

_V1, _V2 = "/v1/models/<name:name>", "/v2/models/<name:name>"
_V1_VERSION, _V2_VERSION = (f"{model}/versions/<version:version>" for model in (_V1, _V2))
_V1_LABEL = f"{_V1}/labels/<name:alias>"
_REGION = "/v2/{}sharedmemory/region/<region>/{}"


def _rows() -> Iterator[tuple[Need, str, tuple[str, ...]]]:
    yield FREE, "GET", ("/", "/docs", "/docs/start.js", "/docs/assets/<path:filename>", "/openapi.json", "/version")
    yield FREE, "GET", ("/v2",)
    yield HEALTH, "GET", ("/livez", "/readyz", "/ping", "/health", "/v2/health/live", "/v2/health/ready")
    yield LOOK, "GET", ("/jobs", "/jobs/<job_id>", "/jobs/<job_id>/events")
    yield LOOK, "GET", ("/datasets", "/datasets/<dataset_id>", "/datasets/<dataset_id>/rows", "/models")
    yield LOOK_AT_MODEL, "GET", ("/models/<name>", "/models/<name>/versions/<version:version>")
    yield TRAIN, "POST", ("/jobs", "/jobs/<job_id>/cancel", "/datasets")
    yield TRAIN, "PUT", ("/models/<name>/aliases/<alias>",)
    yield TRAIN, "DELETE", ("/datasets/<dataset_id>", "/models/<name>/aliases/<alias>")
    yield TRAIN, "DELETE", ("/models/<name>", "/models/<name>/versions/<version:version>")
    yield PREDICT, "POST", ("/predict", "/invocations", f"{_V2}/infer", f"{_V2_VERSION}/infer")
    yield PREDICT, "POST", tuple(f"{model}:predict" for model in (_V1, _V1_VERSION, _V1_LABEL))
    yield DESCRIBE, "GET", ("/v1/models", "/v2/models/stats")
    yield DESCRIBE, "POST", ("/v2/repository/index",)
    for model in (_V1, _V1_VERSION, _V1_LABEL):
        yield DESCRIBE, "GET", (model, f"{model}/metadata")
    for model in (_V2, _V2_VERSION):
        yield DESCRIBE, "GET", (model, *(f"{model}/{what}" for what in ("ready", "config", "stats")))
    yield Need(("read",), is_for_operator=True), "GET", ("/metrics",)
    # What Triton's clients also ask for, and is answered with 400.
    for method in ("GET", "POST"):
        yield DESCRIBE, method, (f"{_V2}/trace/setting", "/v2/trace/setting", "/v2/logging")
        yield DESCRIBE, method, tuple(f"/v2/repository/models/<name:name>/{verb}" for verb in ("load", "unload"))
        for kind in ("system", "cuda"):
            yield DESCRIBE, method, tuple(f"/v2/{kind}sharedmemory/{verb}" for verb in ("status", "unregister"))
            yield DESCRIBE, method, tuple(_REGION.format(kind, verb) for verb in ("status", "register", "unregister"))


NEEDS: Mapping[tuple[str, str], Need] = MappingProxyType(
    {(method, rule): need for need, method, rules in _rows() for rule in rules}
)
"""By method and rule, which is a path in Flask's notation."""


LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods of requests that change nothing."""


def need_of(method: str, rule: str | None) -> Need | None:
    """Return what a route needs; None if there is no such route: then any valid key learns that.

    Args:
        rule: what Flask's router found for the path; None: nothing for this method.
    """
    if method == "OPTIONS":
        return FREE  # it tells what a browser may send, and nothing else
    if rule is None:
        return None
    return NEEDS.get(("GET" if method == "HEAD" else method, rule), ADMIN)
