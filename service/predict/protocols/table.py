"""The table of the ways to predict: which reader a path leads to, in Flask's threads and on the event loop."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from service.predict.native import read_native
from service.predict.predict import Read
from service.predict.protocols.hosting.invocations import read_invocation
from service.predict.protocols.open_inference.infer import read_infer
from service.predict.protocols.tensorflow.predict import read_tensorflow
from storage.keys import NAME_PATTERN

CONVERTERS: Mapping[str, str] = MappingProxyType({"name": NAME_PATTERN, "version": "[0-9]+"})
"""What `<name:...>` and `<version:...>` match in a rule. Numbers such as 0 and 01 are versions that do not exist."""

PREDICT: Mapping[str, Read] = MappingProxyType(
    {
        "/predict": read_native,
        "/v2/models/<name:name>/infer": read_infer,
        "/v2/models/<name:name>/versions/<version:version>/infer": read_infer,
        "/invocations": read_invocation,
        "/v1/models/<name:name>:predict": read_tensorflow,
        "/v1/models/<name:name>/versions/<version:version>:predict": read_tensorflow,
        "/v1/models/<name:name>/labels/<name:alias>:predict": read_tensorflow,
    }
)
"""The readers by rule, which is a path in Flask's notation. The method is always POST."""

_PROTOCOL_OF: Mapping[Read, str] = MappingProxyType(
    {
        read_native: "native",
        read_infer: "open_inference",
        read_invocation: "invocations",
        read_tensorflow: "tensorflow",
    }
)

PROTOCOLS: Mapping[str, str] = MappingProxyType({rule: _PROTOCOL_OF[read] for rule, read in PREDICT.items()})
"""What metrics call the protocol of each rule."""


class Match(NamedTuple):
    """What a path leads to."""

    read: Read
    values: dict[str, str]
    """The values of the variables in the rule."""
    rule: str


def find(method: str, path: str) -> Match | None:
    """Return what reads a request; None if it does not predict."""
    if method != "POST":
        return None
    if (exact := _EXACT.get(path)) is not None:
        return exact
    for pattern, rule, read in _PATTERNS:
        if (found := pattern.fullmatch(path)) is not None:
            return Match(read, found.groupdict(), rule)
    return None


def pattern(rule: str) -> re.Pattern[str]:
    """Return the pattern of the paths that Flask routes to a rule."""
    text = re.sub(r"<(\w+):(\w+)>", lambda found: f"(?P<{found[2]}>{CONVERTERS[found[1]]})", rule)
    return re.compile(text)


_EXACT = {rule: Match(read, {}, rule) for rule, read in PREDICT.items() if "<" not in rule}
_PATTERNS = tuple((pattern(rule), rule, read) for rule, read in PREDICT.items() if "<" in rule)
