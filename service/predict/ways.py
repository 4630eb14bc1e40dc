"""Which function answers which way to predict: one table, for Flask's threads and for the event loop."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from service.http.names import NAME_PATTERN
from service.http.wire import HttpAnswer, HttpRequest
from service.predict.memory.loaded_models import LoadedModels
from service.predict.native import predict
from service.predict.protocols.hosting.invocations import invoke
from service.predict.protocols.open_inference.infer import infer
from service.predict.protocols.tensorflow.predict import predict_tensorflow
from service.settings import Limits

CONVERTERS: Mapping[str, str] = MappingProxyType({"name": NAME_PATTERN.strip("^$"), "version": r"[1-9][0-9]{0,15}"})
"""What may stand in a path at `<name:...>` and `<version:...>`; anything else there is no route."""


class Predict(Protocol):
    """Answers one way to predict, whatever the request is."""

    def __call__(
        self, request: HttpRequest, models: LoadedModels, limits: Limits, *, may_wait: bool = True
    ) -> HttpAnswer | None:
        """Return the answer.

        Args:
            may_wait: whether Redis may be asked, and much be computed, when it must; without, the answer is None then.
        """


PREDICT: Mapping[str, Predict] = MappingProxyType(
    {
        "/predict": predict,
        "/v2/models/<name:name>/infer": infer,
        "/v2/models/<name:name>/versions/<version:version>/infer": infer,
        "/invocations": invoke,
        "/v1/models/<name:name>:predict": predict_tensorflow,
        "/v1/models/<name:name>/versions/<version:version>:predict": predict_tensorflow,
        "/v1/models/<name:name>/labels/<name:alias>:predict": predict_tensorflow,
    }
)
"""By rule: a path as Flask writes it. All of them are asked with POST."""


class Match(NamedTuple):
    """What a path leads to."""

    predict: Predict
    values: dict[str, str]
    """What the path has for the variables of its rule."""


def find(method: str, path: str) -> Match | None:
    """Return what answers a request; None: it is not one to predict."""
    if method != "POST":
        return None
    if (exact := _EXACT.get(path)) is not None:
        return exact
    for of_rule, answer in _PATTERNS:
        if (found := of_rule.fullmatch(path)) is not None:
            return Match(answer, found.groupdict())
    return None


def pattern(rule: str) -> re.Pattern[str]:
    """Make the pattern of the paths that Flask would take for a rule."""
    text = re.sub(r"<(\w+):(\w+)>", lambda found: f"(?P<{found[2]}>{CONVERTERS[found[1]]})", rule)
    return re.compile(text)


_EXACT = {rule: Match(answer, {}) for rule, answer in PREDICT.items() if "<" not in rule}
_PATTERNS = tuple((pattern(rule), answer) for rule, answer in PREDICT.items() if "<" in rule)
