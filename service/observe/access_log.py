"""One line of the log for each request, but for most predicts: such a line costs as much as the answer.

A line names the rule of the path, never the path or the query: they may hold what the client sent.
"""

import logging
import math

SLOW_NS = 1_000_000_000
"""A request for which the service takes longer is always logged."""

PREDICT_EVERY = 1_000

_log = logging.getLogger(__name__)


class AccessLog:
    """Decides which predicts are logged, and writes the lines of all requests.

    Args:
        predict_every: one of so many predicts that succeed, or fail by a fault of the client; 0: none of them.
    """

    __slots__ = ("_every", "_n_left")

    def __init__(self, predict_every: int = PREDICT_EVERY) -> None:
        self._every: float = predict_every or math.inf
        self._n_left = self._every

    def is_due(self, status: int, ns: int) -> bool:
        """Whether a predict is to be logged. Takes less than 0.1 us; threads may miscount by a few."""
        self._n_left -= 1
        if self._n_left > 0 and status < 500 and ns <= SLOW_NS:
            return False
        if self._n_left <= 0:
            self._n_left = self._every
        return True

    def write(
        self,
        *,
        method: str,
        route: str,
        status: int,
        n_bytes: int,
        ns: int,
        own_ns: int | None = None,
        remote: str,
        request_id: str | None = None,
        key_id: str | None = None,
        tenant: str | None = None,
        model: str | None = None,
        is_sample: bool = False,
        is_probe: bool = False,
    ) -> None:
        """Write the line of a request. What is None comes from what the process does now, if that is known.

        Args:
            n_bytes: of the body of the answer.
            ns: how long the request took, to the last byte of the answer.
            own_ns: how long of that the client waited for the service; None: all of it. The rest was the client's: a
                slow body, or a wait that it asked for.
            remote: the address of whoever connected.
            is_sample: whether the line may stand for many like it.
            is_probe: whether it tells nothing but that something watches the service.
        """
        members: dict[str, object] = {
            "method": method,
            "route": route,
            "status": status,
            "bytes": n_bytes,
            "duration_ms": round(1e-6 * ns, 3),
            "remote": remote or None,
            "request_id": request_id,
            "key_id": key_id,
            "tenant": tenant or None,
            "model": model or None,
        }
        is_slow = (ns if own_ns is None else own_ns) > SLOW_NS
        if is_sample and status < 500 and not is_slow:
            members["sampled"] = self._every
        if is_probe and not is_slow:
            level = logging.DEBUG
        else:
            level = logging.WARNING if status >= 500 or is_slow else logging.INFO
        _log.log(level, "request", extra={name: each for name, each in members.items() if each is not None})
