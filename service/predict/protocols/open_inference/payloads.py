"""The JSON bodies and answers of the Open Inference Protocol v2, without the values of tensors."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from perceptron import Task
from service.predict.formats.tensors import datatype_of_prediction
from service.predict.inputs import Inputs
from service.predict.memory.statistics import Counters
from service.predict.protocols.open_inference.read_inputs import datatype_of
from storage.tenants import local

EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]


class ServerMetadata(BaseModel):
    """The server and its extensions."""

    name: Literal["perceptron-service"] = "perceptron-service"
    version: str
    extensions: list[str] = EXTENSIONS


class ServerLive(BaseModel):
    """The process answers."""

    live: Literal[True] = True


class ServerReady(BaseModel):
    """The server can infer."""

    ready: Literal[True] = True
    live: Literal[True] = True


class ModelReady(BaseModel):
    """The version can infer."""

    name: str
    ready: Literal[True] = True


class TensorMetadata(BaseModel):
    """One input or output."""

    name: str
    datatype: str
    shape: list[int] = Field(description="-1 stands for any number of instances.")


class ModelMetadata(BaseModel):
    """The input and outputs of a version."""

    name: str
    versions: list[str]
    platform: Literal["perceptron_safetensors"] = "perceptron_safetensors"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ConfiguredTensor(BaseModel):
    """One input or output in Triton's model configuration."""

    name: str
    data_type: str
    dims: list[int]


class ModelConfig(BaseModel):
    """Triton's model configuration, as far as it applies here."""

    name: str
    platform: Literal["perceptron_safetensors"] = "perceptron_safetensors"
    backend: Literal[""] = ""
    version_policy: dict[str, Any] = {"all": {}}
    max_batch_size: Literal[0] = Field(0, description="0: the dims include the number of instances.")
    input: list[ConfiguredTensor]
    output: list[ConfiguredTensor]


class Duration(BaseModel):
    """How often something happened, and the total time it took."""

    count: int = 0
    ns: int = 0


class InferenceStatistics(BaseModel):
    """Counts and times of the requests for one version."""

    success: Duration
    fail: Duration
    queue: Duration = Field(description="The wait for a thread: 0 for small requests, which need none.")
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration = Field(Duration(), description="Always 0: nothing is cached.")
    cache_miss: Duration = Duration()


class VersionStatistics(BaseModel):
    """The statistics of one version, since this process started."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    version: str
    last_inference: int = Field(description="In milliseconds since 1970; 0 if there was none.")
    inference_count: int = Field(description="Instances")
    execution_count: int = Field(description="Requests")
    inference_stats: InferenceStatistics
    batch_stats: list[Any] = []

    @classmethod
    def of(cls, name: str, version: int, counters: Counters) -> "VersionStatistics":
        """Return the payload for the counters of a version."""
        n = counters.n_successes
        return cls(
            name=local(name),
            version=str(version),
            last_inference=counters.last_inference_ms,
            inference_count=counters.n_instances,
            execution_count=n,
            inference_stats=InferenceStatistics(
                success=Duration(count=n, ns=counters.success_ns),
                fail=Duration(count=counters.n_failures, ns=counters.failure_ns),
                queue=Duration(count=n, ns=counters.queue_ns),
                compute_input=Duration(count=n, ns=counters.input_ns),
                compute_infer=Duration(count=n, ns=counters.infer_ns),
                compute_output=Duration(count=n, ns=counters.output_ns),
            ),
        )


class ModelStatistics(BaseModel):
    """The statistics of one process. Each process of the service counts its own requests."""

    model_config = ConfigDict(protected_namespaces=())

    model_stats: list[VersionStatistics]


class IndexRequest(BaseModel):
    """Which versions to list."""

    ready: bool = Field(False, description="Whether to list only versions that are ready. All of them are.")


class IndexEntry(BaseModel):
    """One version in the repository."""

    name: str
    version: str
    state: Literal["READY"] = "READY"
    reason: str = ""


class InferInput(BaseModel):
    """An input."""

    name: str = Field(description="`input` for all features or, of a model of a table, the name of a column.")
    shape: list[int] = Field(
        description="[n_instances, n_features]; of a column [n_instances] or [n_instances, 1]",
        min_length=1,
        max_length=2,
    )
    datatype: str = Field(description="FP64, FP32, INT8 to INT64, or UINT8 to UINT64; of a column also BOOL and BYTES.")
    parameters: dict[str, Any] | None = Field(
        None, description="`binary_data_size`: the number of bytes of values after the JSON."
    )
    data: list[Any] | None = Field(
        None, description="The values, nested or flat in row-major order; not needed if they are binary."
    )


class AskedOutput(BaseModel):
    """One output that the answer is to have."""

    name: Literal["output", "prediction"]
    parameters: dict[str, Any] | None = Field(None, description="`binary_data`: whether the output is binary.")


class InferRequest(BaseModel):
    """Instances to predict for. Other members and parameters are ignored."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"inputs": [{"name": "input", "shape": [2, 2], "datatype": "FP64", "data": [0, 1, 0, 0]}]}
        }
    )

    id: str | None = Field(None, description="Returned in the answer.")
    parameters: dict[str, Any] | None = Field(
        None, description="`binary_data_output`: whether outputs without a `binary_data` are binary."
    )
    inputs: list[InferInput] = Field(min_length=1)
    outputs: list[AskedOutput] | None = Field(
        None, description="The outputs, in the order of the answer; both by default."
    )


class OutputTensor(BaseModel):
    """One output of the answer."""

    name: Literal["output", "prediction"]
    datatype: Literal["FP64", "FP32", "INT64", "BYTES"]
    shape: list[int]
    parameters: dict[str, Any] | None = Field(None, description="`binary_data_size`, if the output is binary.")
    data: list[Any] | None = Field(None, description="The values, flat in row-major order, unless they are binary.")


class InferResponse(BaseModel):
    """The outputs of a version."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


def tensors_of(task: Task, inputs: Inputs) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
    """Return the inputs and the outputs of a version."""
    prediction_shape = [-1, task.n_outputs] if task.is_list else [-1]
    matrix = TensorMetadata(name="input", datatype="FP64", shape=[-1, len(inputs.names)])
    columns = [TensorMetadata(name=each.name, datatype=datatype_of(each.kind), shape=[-1]) for each in inputs.columns]
    return (
        [matrix] if inputs.encoder is None else columns,
        [
            TensorMetadata(name="output", datatype="FP64", shape=[-1, task.n_outputs]),
            TensorMetadata(name="prediction", datatype=datatype_of_prediction(task), shape=prediction_shape),
        ],
    )


def configured(tensors: list[TensorMetadata]) -> list[ConfiguredTensor]:
    """Return the same tensors for Triton's model configuration."""
    return [
        ConfiguredTensor(
            name=tensor.name,
            data_type="TYPE_" + ("STRING" if tensor.datatype == "BYTES" else tensor.datatype),
            dims=tensor.shape,
        )
        for tensor in tensors
    ]
