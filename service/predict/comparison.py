"""What an answer adds on request: how the outputs came about, and what other versions give."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from perceptron import Network, OutputNotFiniteError, explain, predict_side_by_side, predictions
from perceptron.arrays import Floats
from perceptron.explanation import N_STEPS, Explanation
from service.http.errors import ClientGoneError, Fault, InvalidRequestError
from service.http.parsing import refuse
from service.http.room import LONG_STEPS, Room
from service.http.wire import HttpRequest
from service.predict.columns.forward import outputs_of_table
from service.predict.columns.json_rows import read_rows
from service.predict.instances import Features, Matrix, TableRows, as_matrix
from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.loaded_models import Found, LoadedModels
from service.predict.predict import check_n_outputs, check_n_steps
from service.settings import Limits
from storage.models.versions import ModelReference


def explain_outputs(model: LoadedModel, given: Features, limits: Limits, http: HttpRequest) -> dict[str, Any]:
    """Return the members that show what each feature, or each column, contributes to z.

    Raises:
        InvalidRequestError: there are too many contributions for one request, or they take too long.
        BusyError: other work that takes long is under way.
        ClientGoneError: the client went away meanwhile.
        OutputNotFiniteError: a contribution is too large for a 64-bit float.
    """
    network = model.trained.network
    n_values = len(given) * network.n_inputs * network.n_outputs * (1 if len(network.layers) == 1 else N_STEPS)
    if n_values > limits.max_inline_values:
        refuse(
            "/explain",
            f"may take at most {limits.max_inline_values} numbers (MAX_INLINE_VALUES), not {n_values}: instances x "
            f"features x outputs, and {N_STEPS} times that with hidden layers",
        )
    # At each point of the path: forward, and back from each output.
    n_steps_each = 1 if len(network.layers) == 1 else N_STEPS * (1 + network.n_outputs) * model.n_steps_forward
    what = f"instances x {N_STEPS} x (1 + outputs) x (parameters + 20 x neurons)"
    check_n_steps(len(given) * n_steps_each, limits, "/explain", what)
    with http.room.for_work(len(given) * n_steps_each) if http.room is not None else nullcontext():
        explanation = _explain_in_parts(network, as_matrix(given), max(LONG_STEPS // n_steps_each, 1), http)
    if (encoder := model.trained.encoder) is not None:
        by_column = np.add.reduceat(explanation.contributions, encoder.first_features, axis=2)
        explanation = replace(explanation, contributions=by_column)
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

    Versions that take the same are read for once, and are one matrix product.

    Args:
        versions: their numbers, or "aliases" for all that an alias names.
        instances: as they are in the body, since versions may differ in what they take.

    Raises:
        ModelNotFoundError, VersionNotFoundError: a version does not exist.
        InvalidRequestError, WrongDimensionError: a version takes something else, or there is too much to compute.
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
    groups: dict[Any, list[LoadedModel]] = {}
    for one in found:
        inputs = one.model.inputs
        groups.setdefault((inputs.names, inputs.encoder, inputs.target), []).append(one.model)
    by_version: dict[int, dict[str, Any]] = {}
    for group in groups.values():
        try:
            given = read_rows(instances, "/instances", group[0].inputs)
        except InvalidRequestError as error:
            fault = error.faults[0]
            detail = f"{fault.detail} for version {group[0].trained.version}"
            raise type(error)([Fault(fault.pointer, detail)]) from error
        networks = [each.trained.network for each in group]
        all_outputs: Sequence[Floats]
        if isinstance(given.features, TableRows):
            all_outputs = outputs_of_table(networks, given.features)
        else:
            all_outputs = predict_side_by_side(networks, as_matrix(given.features))
        warned = {} if given.warnings is None else {"warnings": given.warnings.shown("/instances")}
        for each, outputs in zip(group, all_outputs, strict=True):
            members = {"outputs": outputs, "predictions": predictions(each.trained.task, outputs)}
            by_version[each.trained.version] = members | warned
    return by_version
