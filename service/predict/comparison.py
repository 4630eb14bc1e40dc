"""What a prediction adds when it is asked to: how it came about, and what other versions say."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron import explain, predict_side_by_side, predictions
from perceptron.explanation import N_STEPS
from service.http.errors import Fault, WrongDimensionError
from service.http.parsing import parse_matrix, refuse
from service.predict.answering import check_n_outputs
from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.loaded_models import LoadedModels
from service.settings import Limits


def explained(model: LoadedModel, features: NDArray[np.float64], limits: Limits) -> dict[str, Any]:
    """Make the members that say what each feature contributes to z.

    Raises:
        InvalidRequestError: that is too much for one request.
        OutputNotFiniteError: a contribution is larger than a 64-bit float can hold.
    """
    network = model.trained.network
    n_values = features.size * network.n_outputs * (1 if len(network.layers) == 1 else N_STEPS)
    if n_values > limits.max_inline_values:
        limit = f"{limits.max_inline_values} numbers (MAX_INLINE_VALUES)"
        refuse(
            "/explain",
            f"takes at most {limit}: instances x features x outputs, {N_STEPS} times that with hidden layers, "
            f"and these are {n_values}",
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


def compared(
    model: str, versions: Sequence[int] | str, instances: Sequence[Any], models: LoadedModels, limits: Limits
) -> tuple[dict[str, Any], bool]:
    """Make the member that holds what each of the versions gives, and say whether one is stale.

    Versions that take the same features are one matrix product.

    Raises:
        ModelNotFoundError, VersionNotFoundError: what is named does not exist.
        InvalidRequestError, WrongDimensionError: a version takes other instances.
    """
    aliases = models.aliases(model) if isinstance(versions, str) else {}
    numbers = sorted(set(aliases.values())) if isinstance(versions, str) else list(dict.fromkeys(versions))
    found = [models.get(model, version=number) for number in numbers]
    n_outputs = sum(one.model.trained.network.n_outputs for one in found)
    check_n_outputs(len(instances), n_outputs, limits, pointer="/versions")
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
