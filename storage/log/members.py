"""What a line of the log may have beside its text."""

from storage.tenants import local, tenant_of

MEMBERS = (
    *("code", "request_id", "key_id", "tenant", "job_id", "model", "version", "attempt", "trace_id", "span_id"),
    *("method", "route", "status", "bytes", "remote", "sampled", "duration_ms"),
)
"""What a line may have beside the members that every line has. `docs/operations.md` explains each."""


def members_of(job_id: str) -> dict[str, str]:
    """Return the members that tell which job a line is about.

    Args:
        job_id: as the code passes it on, with its tenant.
    """
    tenant = tenant_of(job_id)
    return {"job_id": local(job_id), **({"tenant": tenant} if tenant else {})}
