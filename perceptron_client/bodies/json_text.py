"""JSON as it is sent. NumPy's numbers and arrays may be anywhere in it."""

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from perceptron_client.errors import InvalidArgument


def to_json(value: Any) -> bytes:
    """Return JSON. NaN and infinities are left to the service, which says where they are.

    Raises:
        InvalidArgument: there is something else than JSON, NumPy and times in it.
    """
    try:
        return _encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"this cannot be sent as JSON: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is no type of JSON")


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_plain).encode
