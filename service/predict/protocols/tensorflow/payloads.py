"""The JSON bodies and answers of TensorFlow Serving, KServe v1 and Vertex AI."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.predict.inputs import Inputs
from storage.models.versions import Model
from storage.tenants import local

_DTYPES = {"numeric": "DT_DOUBLE", "boolean": "DT_BOOL", "categorical": "DT_STRING"}


class TensorFlowRequest(BaseModel):
    """Instances by row, or the input by column. Other members are ignored, and so is `signature_name`."""

    model_config = ConfigDict(json_schema_extra={"example": {"instances": [[0, 1], [0, 0]]}})

    instances: list[Any] | None = Field(
        None,
        description="Each a list of values in the order of the features or columns, an object by their names, an "
        'object like {"input": [0, 1]}, or for a single one a value.',
    )
    inputs: list[Any] | dict[str, Any] | None = Field(
        None, description='Instead: the rows, bare or as {"input": [...]}, or an object with a list for each feature.'
    )
    signature_name: str | None = None


class TensorFlowAnswer(BaseModel):
    """y_hat, one row for each instance: `predictions` for `instances`, `outputs` for `inputs`."""

    predictions: list[list[float]] | None = None
    outputs: list[list[float]] | None = None


class ModelNames(BaseModel):
    """The names of all models, as in KServe v1."""

    models: list[str]


class StatusPayload(BaseModel):
    """The error of a version; there is none."""

    error_code: Literal["OK"] = "OK"
    error_message: Literal[""] = ""


class VersionStatus(BaseModel):
    """The status of one version."""

    version: str
    state: Literal["AVAILABLE"] = "AVAILABLE"
    status: StatusPayload = StatusPayload()


class ModelStatus(BaseModel):
    """The status of a model for TensorFlow Serving; `name` and `ready` are KServe v1's."""

    name: str
    ready: Literal[True] = True
    model_version_status: list[VersionStatus] = Field(description="Newest first.")

    @classmethod
    def of(cls, model: Model, *versions: int) -> "ModelStatus":
        """Return the status of the given versions of a model, by default of all."""
        numbers = versions or model.versions[::-1]
        statuses = [VersionStatus(version=str(number)) for number in numbers]
        return cls(name=local(model.name), model_version_status=statuses)


class ModelSpec(BaseModel):
    """The version that is described."""

    name: str
    signature_name: Literal[""] = ""
    version: str


class TensorFlowMetadata(BaseModel):
    """A version's tensors, as a TensorFlow signature."""

    model_spec: ModelSpec
    metadata: dict[str, Any] = Field(
        description="`signature_def`: the input `input`, or one for each column of a table, and the output `output`."
    )

    @classmethod
    def of(cls, model: str, version: int, *, inputs: Inputs, n_outputs: int) -> "TensorFlowMetadata":
        """Return the signature of a version."""
        columns = {each.name: _tensor(each.name, dtype=_DTYPES[each.kind]) for each in inputs.columns}
        signature = {
            "inputs": columns or {"input": _tensor("input", len(inputs.names))},
            "outputs": {"output": _tensor("output", n_outputs)},
            "method_name": "tensorflow/serving/predict",
        }
        return cls(
            model_spec=ModelSpec(name=local(model), version=str(version)),
            metadata={"signature_def": {"signature_def": {"serving_default": signature}}},
        )


def _tensor(name: str, width: int | None = None, *, dtype: str = "DT_DOUBLE") -> dict[str, Any]:
    sizes = [{"size": str(size), "name": ""} for size in (-1, width) if size is not None]
    return {"dtype": dtype, "tensor_shape": {"dim": sizes, "unknown_rank": False}, "name": f"{name}:0"}
