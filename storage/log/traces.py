"""Traces of OpenTelemetry (W3C Trace Context): spans, and the trace of a job from its request to its version.

Without a collector in `OTEL_EXPORTER_OTLP_ENDPOINT`, or without the extra `telemetry`, nothing of OpenTelemetry is
imported, and every function here does nothing.
"""

import importlib.util
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from storage.log.form import doing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

ENDPOINT_SETTINGS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_EXPORT_S = 2.0
"""How long a batch may take to send, unless the environment says otherwise."""

_END_S = 2.0
"""How long the end of a process may take for all spans that are left."""

_MAX_STATE_CHARACTERS = 512
"""Of `tracestate`, as far as W3C Trace Context asks for."""

_KINDS = {"server": 1, "producer": 3, "consumer": 4, "internal": 0}

_log = logging.getLogger(__name__)
_provider: "TracerProvider | None" = None
_tracer: "Tracer | None" = None


def prepare(env: Mapping[str, str]) -> bool:
    """Import what traces need, if they are wanted; return whether they are.

    A process that forks calls this before, so that its children need not import it again.
    """
    if not any(env.get(name) for name in ENDPOINT_SETTINGS) or env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if importlib.util.find_spec("opentelemetry") is None:
        _log.warning("no traces: install perceptron-service[telemetry]")
        return False
    import opentelemetry.exporter.otlp.proto.http.trace_exporter
    import opentelemetry.sdk.trace.export  # noqa: F401

    return True


def begin(process: str, env: Mapping[str, str]) -> None:
    """Send the spans of this process from now on, in a thread, if traces are wanted."""
    global _provider, _tracer
    if _provider is not None or not prepare(env):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = env.get("OTEL_SERVICE_NAME") or f"perceptron-{process}"
    resource = Resource.create({"service.name": name, "process.pid": os.getpid()})
    has_timeout = "OTEL_EXPORTER_OTLP_TIMEOUT" in env or "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" in env
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=None if has_timeout else _EXPORT_S)))
    _tracer = _provider.get_tracer("perceptron-service")


def end() -> None:
    """Send what is left. Waits for the collector, `_END_S` at most: what it has not taken by then is lost."""
    if _provider is None:
        return
    # The limit of force_flush itself is not kept: each batch of 512 spans may take as long as an export.
    flush = threading.Thread(target=_provider.force_flush, daemon=True)
    flush.start()
    flush.join(_END_S)


def is_on() -> bool:
    """Whether spans are sent."""
    return _tracer is not None


def is_sampled(traceparent: bytes) -> bool:
    """Whether the client has begun a trace that is recorded."""
    parts = traceparent.strip().split(b"-")
    return len(parts) >= 4 and len(parts[3]) == 2 and parts[3][-1:] in b"13579bdf"


@contextmanager
def span(
    name: str,
    *,
    kind: Literal["server", "consumer", "internal"] = "internal",
    parent: Mapping[str, str] | None = None,
    **attributes: str | int,
) -> Iterator[None]:
    """Make what the block does a span, the parent of the spans inside; its ids are in the lines of the log.

    Exceptions are not recorded: their messages may hold data.

    Args:
        parent: as `carried` returned it, perhaps in another process; None: the span around this one.
        attributes: with `_` for each dot of their names.
    """
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind

    began = _tracer.start_as_current_span(
        name,
        context=None if parent is None else _context_of(parent),
        kind=SpanKind(_KINDS[kind]),
        attributes={_dotted(name): each for name, each in attributes.items()},
        record_exception=False,
        set_status_on_exception=False,
    )
    with began as current:
        ids = current.get_span_context()
        with doing(trace_id=f"{ids.trace_id:032x}", span_id=f"{ids.span_id:016x}"):
            yield


def describe(**attributes: str | int) -> None:
    """Add attributes to the innermost span, and mark it as failed for a status of 5xx."""
    if _tracer is None:
        return
    from opentelemetry.trace import Status, StatusCode, get_current_span

    current = get_current_span()
    for name, each in attributes.items():
        current.set_attribute(_dotted(name), each)
    if int(attributes.get("http_response_status_code", 0)) >= 500:
        current.set_status(Status(StatusCode.ERROR))


def waited(name: str, *, parent: Mapping[str, str], began_at_ms: int) -> None:
    """Add a span that began earlier, perhaps on another machine, and ends now."""
    if _tracer is not None:
        _tracer.start_span(name, context=_context_of(parent), start_time=began_at_ms * 1_000_000).end()


def carried() -> dict[str, str]:
    """Return `traceparent` and `tracestate` of the innermost span; empty without traces."""
    if _tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    if len(carrier.get("tracestate", "")) > _MAX_STATE_CHARACTERS:
        del carrier["tracestate"]
    return carrier


def _dotted(name: str) -> str:
    return name.replace("_", ".").replace("status.code", "status_code")


def _context_of(carrier: Mapping[str, str]):  # type: ignore[no-untyped-def]  # its type is imported only with traces
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(carrier, context=Context())
