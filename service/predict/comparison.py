"""What an answer adds on request: how the outputs came about, and what other versions give."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from perceptron import Network, OutputNotFiniteError, explain, predict_side_by_side, predictions
from perceptron.explanation import N_STEPS, Explanation
from service.http.errors import ClientGoneError, Fault, WrongDimensionError
from service.http.parsing import parse_matrix, refuse
from service.http.room import LONG_STEPS, Room
from service.http.wire import HttpRequest
from service.predict.instances import Matrix
from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.loaded_models import Found, LoadedModels
from service.predict.predict import check_n_outputs, check_n_steps
from service.settings import Limits
from storage.models.versions import ModelReference


def explain_outputs(model: LoadedModel, features: Matrix, limits: Limits, http: HttpRequest) -> dict[str, Any]:
    """Return the members that show what each feature contributes to z.

    Raises:
        InvalidRequestError: there are too many contributions for one request, or they take too long.
        BusyError: other work that takes long is under way.
        ClientGoneError: the client went away meanwhile.
        OutputNotFiniteError: a contribution is too large for a 64-bit float.
    """
    network = model.trained.network
    n_values = features.size * network.n_outputs * (1 if len(network.layers) == 1 else N_STEPS)
    if n_values > limits.max_inline_values:
        refuse(
            "/explain",
            f"may take at most {limits.max_inline_values} numbers (MAX_INLINE_VALUES), not {n_values}: instances x "
            f"features x outputs, and {N_STEPS} times that with hidden layers",
        )
    # At each point of the path: forward, and back from each output.
    n_steps_each = 1 if len(network.layers) == 1 else N_STEPS * (1 + network.n_outputs) * model.n_steps_forward
    what = f"instances x {N_STEPS} x (1 + outputs) x (parameters + 20 x neurons)"
    check_n_steps(len(features) * n_steps_each, limits, "/explain", what)
    with http.room.for_work(len(features) * n_steps_each) if http.room is not None else nullcontext():
        explanation = _explain_in_parts(network, features, max(LONG_STEPS // n_steps_each, 1), http)
    if network.n_outputs == 1:
        return {
            "contributions": np.ascontiguousarray(explanation.contributions[:, 0]),
            "base": float(explanation.base[0]),
            "residual": np.ascontiguousarray(explanation.residual[:, 0]),
        }
    return {
        "contributions": np.ascontiguousarray(explanation.contributions),
        "base": explanation.base,
        "residual": explanation.residual,
    }


def _explain_in_parts(network: Network, features: Matrix, n_rows: int, http: HttpRequest) -> Explanation:
    """Explain some instances at a time, as long as the client is there.

    Raises:
        OutputNotFiniteError: as `explain`.
        ClientGoneError: it is not.
    """
    parts = []
    for first in range(0, len(features), n_rows):
        if http.is_gone():
            raise ClientGoneError("the client has gone")
        try:
            parts.append(explain(network, features[first : first + n_rows]))
        except OutputNotFiniteError as error:
            raise OutputNotFiniteError(first + error.index) from error
    return Explanation(
        np.concatenate([part.contributions for part in parts]),
        parts[0].base,
        np.concatenate([part.residual for part in parts]),
    )


def compare(
    model: str,
    versions: Sequence[int] | str,
    instances: Sequence[Any],
    models: LoadedModels,
    limits: Limits,
    room: Room | None,
) -> tuple[dict[str, Any], bool]:
    """Return the member with the outputs of several versions, and whether one of them is stale.

    Versions with the same features are one matrix product.

    Args:
        versions: their numbers, or "aliases" for all that an alias names.
        instances: as they are in the body, since versions may differ in their features.

    Raises:
        ModelNotFoundError, VersionNotFoundError: a version does not exist.
        InvalidRequestError, WrongDimensionError: a version has other features, or there is too much to compute.
        BusyError: other work that takes long is under way.
    """
    aliases: Mapping[str, int] = models.aliases(model) if isinstance(versions, str) else {}
    numbers = sorted(set(aliases.values())) if isinstance(versions, str) else list(dict.fromkeys(versions))
    found = [models.get(ModelReference(model, number)) for number in numbers]
    check_n_outputs(len(instances), sum(one.model.n_outputs for one in found), limits, "/versions")
    n_steps = len(instances) * sum(one.model.n_steps_forward for one in found)
    check_n_steps(n_steps, limits, "/versions", "instances x (parameters + 20 x neurons), of all versions")
    with room.for_work(n_steps) if room is not None else nullcontext():
        by_version = _outputs_of(found, instances)
    for number in by_version if isinstance(versions, str) else ():
        by_version[number]["aliases"] = [alias for alias, target in aliases.items() if target == number]
    ordered = {str(number): by_version[number] for number in numbers}
    return {"by_version": ordered}, any(one.is_stale for one in found)


def _outputs_of(found: Sequence[Found], instances: Sequence[Any]) -> dict[int, dict[str, Any]]:
    by_features: dict[tuple[str, ...], list[LoadedModel]] = {}
    for one in found:
        by_features.setdefault(one.model.trained.feature_names, []).append(one.model)
    by_version: dict[int, dict[str, Any]] = {}
    for names, group in by_features.items():
        try:
            features = parse_matrix(instances, "/instances", n_columns=len(names), names=names)
        except WrongDimensionError as error:
            fault = error.faults[0]
            detail = f"{fault.detail} for version {group[0].trained.version}"
            raise WrongDimensionError([Fault(fault.pointer, detail)]) from error
        all_outputs = predict_side_by_side([each.trained.network for each in group], features)
        for each, outputs in zip(group, all_outputs, strict=True):
            by_version[each.trained.version] = {
                "outputs": outputs,
                "predictions": predictions(each.trained.task, outputs),
            }
    return by_version
