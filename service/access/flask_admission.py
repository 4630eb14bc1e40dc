"""Flask's side of the gate: the caller of a request."""

from collections.abc import Mapping

from flask import Request

from service.access.gate import Gate
from service.access.needs import LOOKS, need_of
from service.http.caller import ANYONE, NOBODY, Caller
from service.http.errors import UnauthenticatedError

CALLER = "perceptron.caller"
"""The member of an ASGI scope that names the caller, once the shell has let him in."""


def caller_of(request: Request, gate: Gate | None) -> Caller:
    """Return who sends a request, if he may; without a gate everybody may.

    Raises:
        UnauthenticatedError, ForbiddenError, UnavailableError: as `Gate.let_in`.
    """
    if gate is None:
        return ANYONE
    need = need_of(request.method, None if request.url_rule is None else request.url_rule.rule)
    caller: Caller | None = request.environ.get("asgi.scope", {}).get(CALLER)
    if caller is None:
        return gate.let_in(need, _headers(request), is_look=request.method in LOOKS)
    if caller is not NOBODY and not gate.is_in_force(caller):
        raise UnauthenticatedError("ended meanwhile", caller.key_id)  # while the body arrived, or the request waited
    if need is not None:
        need.check(caller)  # again, as the shell's idea of a path must not be the only one
    return caller


def _headers(request: Request) -> Mapping[bytes, bytes]:
    return {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in request.headers}
