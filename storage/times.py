"""How times are written."""

from datetime import UTC, datetime


def rfc3339(milliseconds: int | None) -> str | None:
    """Write a time as RFC 3339 in UTC."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
