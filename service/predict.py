"""Predict: from the bytes of a request to the bytes of its answer. Knows no framework."""

import orjson

from perceptron import predict_outputs, predictions
from service.loaded_models import LoadedModels
from service.parsing import parse_matrix, parse_payload, refuse
from service.payloads import PredictionRequest
from service.settings import Limits


def predict(body: bytes, models: LoadedModels, limits: Limits) -> bytes:
    """Answer `POST /predict`.

    Raises:
        MalformedJsonError, InvalidRequestError, WrongDimensionError: the body is wrong.
        ModelNotFoundError, VersionNotFoundError, AliasNotFoundError: what it names does not exist.
        OutputNotFiniteError: an output is larger than a 64-bit float can hold.
    """
    request = parse_payload(PredictionRequest, body, limits)
    if request.version is not None and request.alias is not None:
        refuse("/alias", "give a version or an alias, not both")
    n_instances = len(request.instances)
    if not 1 <= n_instances <= limits.max_predict_instances:
        detail = f"must hold 1 to {limits.max_predict_instances} instances (MAX_PREDICT_INSTANCES), not {n_instances}"
        refuse("/instances", detail)
    model = models.get(request.model, version=request.version, alias=request.alias)
    features = parse_matrix(
        request.instances, "/instances", n_columns=len(model.feature_names), names=model.feature_names
    )
    outputs = predict_outputs(model.network, features)
    return orjson.dumps(
        {
            "model": model.name,
            "version": model.version,
            "outputs": outputs,
            "predictions": predictions(model.task, outputs),
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
