"""What an answer adds on request: how the outputs came about, and what other versions give."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perceptron import explain, predict_side_by_side, predictions
from perceptron.explanation import N_STEPS
from service.http.errors import Fault, WrongDimensionError
from service.http.parsing import parse_matrix, refuse
from service.predict.instances import Matrix
from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.loaded_models import LoadedModels
from service.predict.predict import check_n_outputs
from service.settings import Limits
from storage.models.versions import ModelReference


def explain_outputs(model: LoadedModel, features: Matrix, limits: Limits) -> dict[str, Any]:
    """Return the members that show what each feature contributes to z.

    Raises:
        InvalidRequestError: there are too many contributions for one request.
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
    explanation = explain(network, features)
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


def compare(
    model: str, versions: Sequence[int] | str, instances: Sequence[Any], models: LoadedModels, limits: Limits
) -> tuple[dict[str, Any], bool]:
    """Return the member with the outputs of several versions, and whether one of them is stale.

    Versions with the same features are one matrix product.

    Args:
        versions: their numbers, or "aliases" for all that an alias names.
        instances: as they are in the body, since versions may differ in their features.

    Raises:
        ModelNotFoundError, VersionNotFoundError: a version does not exist.
        InvalidRequestError, WrongDimensionError: a version has other features.
    """
    aliases: Mapping[str, int] = models.aliases(model) if isinstance(versions, str) else {}
    numbers = sorted(set(aliases.values())) if isinstance(versions, str) else list(dict.fromkeys(versions))
    found = [models.get(ModelReference(model, number)) for number in numbers]
    check_n_outputs(len(instances), sum(one.model.n_outputs for one in found), limits, "/versions")
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
    for number in by_version if isinstance(versions, str) else ():
        by_version[number]["aliases"] = [alias for alias, target in aliases.items() if target == number]
    ordered = {str(number): by_version[number] for number in numbers}
    return {"by_version": ordered}, any(one.is_stale for one in found)
