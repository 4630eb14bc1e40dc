"""What routes need: the table, its default, and what OpenAPI says about it."""

import pytest
from redis import Redis

from service.access.needs import ADMIN, FREE, NEEDS, PREDICT, Need, need_of
from service.access.openapi import add_security
from service.app import create_app
from service.http.caller import ANYONE, NOBODY, Caller
from service.http.errors import ForbiddenError
from service.predict.protocols.table import PREDICT as READERS
from service.settings import Limits
from storage.access.record import Scope
from storage.blobs import BlobStore


def caller(*scopes: Scope, tenant: str = "") -> Caller:
    return Caller("1" * 16, tenant, frozenset(scopes))


def test_one_of_the_scopes_is_enough_and_admin_always_is() -> None:
    need = Need(("read", "train"))
    for enough in (caller("read"), caller("train", "predict"), caller("admin"), ANYONE):
        need.check(enough)
    for not_enough in (caller("predict"), NOBODY):
        with pytest.raises(ForbiddenError, match="the scope read or train or admin"):
            need.check(not_enough)


def test_what_is_for_the_operator_is_for_no_tenant() -> None:
    need = Need(("read",), is_for_operator=True)
    need.check(caller("read"))
    need.check(ANYONE)
    for of_tenant in (caller("read", tenant="acme"), caller("admin", tenant="acme")):
        with pytest.raises(ForbiddenError, match="without a tenant, and this one is of the tenant acme"):
            need.check(of_tenant)


def test_a_route_that_names_nothing_needs_admin() -> None:
    assert need_of("GET", "/new-route") is ADMIN
    assert need_of("DELETE", "/jobs") is ADMIN
    with pytest.raises(ForbiddenError, match="the scope admin;"):
        ADMIN.check(caller("read", "predict", "train"))


def test_head_is_get_options_is_free_and_nothing_has_no_need() -> None:
    assert need_of("HEAD", "/jobs") is need_of("GET", "/jobs")
    assert need_of("OPTIONS", "/jobs") is FREE
    assert need_of("GET", None) is None


def test_the_table_names_routes_that_exist_and_every_way_to_predict(redis: Redis, blobs: BlobStore) -> None:
    rules = create_app(redis, blobs, Limits()).url_map.iter_rules()
    routes = {(method, rule.rule) for rule in rules for method in rule.methods or ()}
    assert NEEDS.keys() - routes == set()
    assert {rule for (method, rule), need in NEEDS.items() if need is PREDICT} == set(READERS)


@pytest.mark.parametrize(
    ("scopes", "routes"),
    [
        ("read train", ["GET /jobs", "GET /jobs/<job_id>/events", "GET /models", "GET /datasets/<dataset_id>/rows"]),
        ("read predict train", ["GET /models/<name>", "GET /models/<name>/versions/<version:version>"]),
        ("read predict", ["GET /v1/models/<name:name>", "GET /v2/models/<name:name>/config", "GET /v2/models/stats"]),
        ("read predict", ["POST /v2/repository/index"]),
        ("predict", ["POST /predict", "POST /invocations", "POST /v2/models/<name:name>/infer"]),
        ("train", ["POST /jobs", "POST /jobs/<job_id>/cancel", "POST /datasets", "DELETE /datasets/<dataset_id>"]),
        ("train", ["PUT /models/<name>/aliases/<alias>", "DELETE /models/<name>/aliases/<alias>"]),
        ("train", ["DELETE /models/<name>", "DELETE /models/<name>/versions/<version:version>"]),
    ],
)
def test_what_the_routes_need(scopes: str, routes: list[str]) -> None:
    for route in routes:
        method, rule = route.split(" ")
        need = need_of(method, rule)
        assert need is not None
        assert need.enough == (*scopes.split(), "admin"), route


def test_only_these_routes_are_free() -> None:
    assert sorted(rule for (_, rule), need in NEEDS.items() if need.is_free) == [
        *("/", "/docs", "/docs/assets/<path:filename>", "/docs/start.js", "/health", "/livez", "/openapi.json"),
        *("/ping", "/readyz", "/v2", "/v2/health/live", "/v2/health/ready", "/version"),
    ]


def test_openapi_names_one_alternative_for_each_header_and_scope() -> None:
    found = add_security({"paths": {path: {"get": {"responses": {}}} for path in ("/jobs", "/livez", "/version")}})
    jobs, livez, version = (found["paths"][path]["get"] for path in ("/jobs", "/livez", "/version"))
    assert jobs["security"] == [
        *({"bearer": [scope]} for scope in ("read", "train", "admin")),
        *({"apiKey": [scope]} for scope in ("read", "train", "admin")),
    ]
    assert jobs["responses"].keys() == {"401", "403", "421", "429"}
    assert version["responses"].keys() == {"421"}
    assert livez == {"responses": {}, "security": []}
