"""The Open Inference Protocol, asked by the client that most use, tritonclient, on the process that is shipped."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_on_loop
from tritonclient.utils import InferenceServerException

from tests.api_process import Api, running_api
from tests.builders import publish, publish_network
from tests.tables import CHURN, publish_table

FEATURES = np.array([[0.5, -1.5], [2.0, 1.0], [-1.0, -1.0]])
# weights 1 and 1, bias 0: z is the sum of the features
Y_HAT = 1 / (1 + np.exp(-FEATURES.sum(axis=1, keepdims=True)))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("api")) as api:
        publish(api.jobs), publish(api.jobs)
        publish(api.jobs, "counted"), publish(api.jobs, "counted")
        # y_hat is softmax of (x0, x1, 0): the largest of the three decides
        publish_network(api.jobs, "animals", classes=["bär", "cat", "日本"], weights=[[1, 0, 0], [0, 1, 0]])
        publish_table(api.jobs, "churn", CHURN)
        publish_network(api.jobs, "lists", classes=None, is_list=True, weights=[[1, 2], [3, -4]])
        yield api


@pytest.fixture(scope="module")
def client(api: Api) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{api.port}") as client:
        yield client


def given(features: np.ndarray, datatype: str = "FP64", *, binary: bool = True) -> list[triton.InferInput]:
    tensor = triton.InferInput("input", features.shape, datatype)
    tensor.set_data_from_numpy(features, binary_data=binary)
    return [tensor]


def asked(*names: str, binary: bool) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def test_it_sees_what_is_there(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("or") and client.is_model_ready("or", "1")
    assert not client.is_model_ready("or", "3") and not client.is_model_ready("nope")
    assert client.get_server_metadata() == {
        "name": "perceptron-service",
        "version": "0.1.0",
        "extensions": ["binary_tensor_data", "model_configuration", "model_repository", "statistics"],
    }
    assert client.get_model_metadata("or", "1") == {
        "name": "or",
        "versions": ["1", "2"],
        "platform": "perceptron_safetensors",
        "inputs": [{"name": "input", "datatype": "FP64", "shape": [-1, 2]}],
        "outputs": [
            {"name": "output", "datatype": "FP64", "shape": [-1, 1]},
            {"name": "prediction", "datatype": "INT64", "shape": [-1]},
        ],
    }
    config = client.get_model_config("or")
    assert config["input"] == [{"name": "input", "data_type": "TYPE_FP64", "dims": [-1, 2]}]
    assert config["output"][1] == {"name": "prediction", "data_type": "TYPE_INT64", "dims": [-1]}
    assert config["max_batch_size"] == 0
    index = client.get_model_repository_index()
    assert [(entry["name"], entry["version"]) for entry in index] == [
        ("animals", "1"), ("churn", "1"), ("counted", "1"), ("counted", "2"), ("lists", "1"), ("or", "1"), ("or", "2")
    ]  # fmt: skip
    assert all((entry["state"], entry["reason"]) == ("READY", "") for entry in index)


def test_its_defaults_are_binary_in_and_out(client: triton.InferenceServerClient) -> None:
    result = client.infer("or", given(FEATURES))
    response = result.get_response()
    assert (response["model_name"], response["model_version"]) == ("or", "2")
    assert [output["name"] for output in response["outputs"]] == ["output", "prediction"]
    assert all("data" not in output for output in response["outputs"])
    np.testing.assert_allclose(result.as_numpy("output"), Y_HAT, rtol=1e-15)
    np.testing.assert_array_equal(result.as_numpy("prediction"), [0, 1, 0])
    assert result.as_numpy("prediction").dtype == np.int64


def test_single_precision_comes_back_as_such_and_rounded_once(client: triton.InferenceServerClient) -> None:
    result = client.infer("or", given(FEATURES.astype(np.float32), "FP32"))
    # The features are exact in 32 bits, so only the output is rounded.
    np.testing.assert_array_equal(result.as_numpy("output"), Y_HAT.astype(np.float32))
    assert result.as_numpy("output").dtype == np.float32


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_json_and_binary_are_the_same_numbers(
    client: triton.InferenceServerClient, binary_in: bool, binary_out: bool
) -> None:
    expected = client.infer("or", given(FEATURES)).as_numpy("output")
    outputs = asked("prediction", "output", binary=binary_out)
    result = client.infer("or", given(FEATURES, binary=binary_in), outputs=outputs, request_id="me-1")
    assert result.get_response()["id"] == "me-1"
    assert [output["name"] for output in result.get_response()["outputs"]] == ["prediction", "output"]
    np.testing.assert_array_equal(result.as_numpy("output"), expected)
    np.testing.assert_array_equal(result.as_numpy("prediction"), [0, 1, 0])


@pytest.mark.parametrize("sent", ["gzip", "deflate", None])
@pytest.mark.parametrize("received", ["gzip", "deflate", None])
def test_both_ways_may_be_compressed(
    client: triton.InferenceServerClient, sent: str | None, received: str | None
) -> None:
    features = np.tile(FEATURES, (100, 1))
    result = client.infer(
        "or",
        given(features),
        request_compression_algorithm=sent,
        response_compression_algorithm=received,
    )
    np.testing.assert_allclose(result.as_numpy("output"), np.tile(Y_HAT, (100, 1)), rtol=1e-15)


@pytest.mark.parametrize("binary", [True, False])
def test_names_of_classes_are_bytes(client: triton.InferenceServerClient, binary: bool) -> None:
    features = np.array([[3.0, 1.0], [-1.0, 2.0], [-1.0, -2.0]])
    result = client.infer("animals", given(features), outputs=asked("prediction", binary=binary))
    texts = [text.decode() if binary else text for text in result.as_numpy("prediction")]
    assert texts == ["bär", "cat", "日本"]
    assert client.get_model_metadata("animals")["outputs"][1]["datatype"] == "BYTES"
    assert client.get_model_config("animals")["output"][1]["data_type"] == "TYPE_STRING"


def test_a_regression_of_lists_predicts_lists(client: triton.InferenceServerClient) -> None:
    # y_hat = (x0 + 3 x1, 2 x0 - 4 x1)
    for datatype, dtype in (("FP64", np.float64), ("FP32", np.float32)):
        result = client.infer("lists", given(np.array([[1, 2], [0.5, -1]], dtype), datatype))
        np.testing.assert_array_equal(result.as_numpy("output"), [[7, -6], [-2.5, 5]])
        np.testing.assert_array_equal(result.as_numpy("prediction"), [[7, -6], [-2.5, 5]])
        assert (result.as_numpy("output").dtype, result.as_numpy("prediction").dtype) == (dtype, np.float64)
    outputs = client.get_model_metadata("lists")["outputs"]
    assert [output["shape"] for output in outputs] == [[-1, 2], [-1, 2]]


@pytest.mark.parametrize("datatype", ["INT8", "INT64", "UINT8", "UINT64"])
@pytest.mark.parametrize("binary", [True, False])
def test_whole_numbers_are_taken_if_they_are_exact(
    client: triton.InferenceServerClient, datatype: str, binary: bool
) -> None:
    features = np.array([[1, 2]], datatype.lower())
    result = client.infer("lists", given(features, datatype, binary=binary))
    np.testing.assert_array_equal(result.as_numpy("output"), [[7, -6]])
    if datatype.endswith("64"):
        largest = np.array([[1, 2**53 + 1]], datatype.lower())
        with pytest.raises(InferenceServerException, match=r"the value at \[0, 1\]"):
            client.infer("lists", given(largest, datatype, binary=binary))


def test_it_counts(client: triton.InferenceServerClient) -> None:
    client.infer("counted", given(FEATURES), model_version="1")
    client.infer("counted", given(FEATURES))
    client.infer("counted", given(FEATURES))
    with pytest.raises(InferenceServerException):
        client.infer("counted", given(FEATURES[:, :1]))
    first, second = client.get_inference_statistics("counted")["model_stats"]
    assert (first["version"], first["inference_count"], first["execution_count"]) == ("1", 3, 1)
    assert (second["version"], second["inference_count"], second["execution_count"]) == ("2", 6, 2)
    stats = second["inference_stats"]
    assert (stats["success"]["count"], stats["fail"]["count"], stats["queue"]["count"]) == (2, 1, 2)
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert 0 < sum(stats[part]["ns"] for part in parts) == stats["success"]["ns"] < 1_000_000_000
    assert client.get_inference_statistics("counted", "2")["model_stats"] == [second]
    everything = client.get_inference_statistics()["model_stats"]
    assert [entry for entry in everything if entry["name"] == "counted"] == [first, second]
    assert {entry["name"] for entry in everything} == {"animals", "churn", "counted", "lists", "or"}


@pytest.mark.parametrize(
    ("features", "datatype", "status", "text"),
    [
        (FEATURES[:, :1], "FP64", "422", "input 'input': expected [-1, 2], got [3, 1]"),
        (FEATURES[0], "FP64", "422", "input 'input': expected [-1, 2], got [2]"),
        (FEATURES > 0, "BOOL", "422", "got 'BOOL'"),
        (FEATURES * np.nan, "FP64", "422", "the value at [0, 0] must be finite"),
        (FEATURES * np.array([1, np.inf]), "FP64", "422", "the value at [0, 1] must be finite"),
    ],
)
def test_errors_are_raised_with_our_text(
    client: triton.InferenceServerClient, features: np.ndarray, datatype: str, status: str, text: str
) -> None:
    with pytest.raises(InferenceServerException) as raised:
        client.infer("or", given(features, datatype))
    assert text in raised.value.message()
    assert raised.value.status() == status


def test_what_does_not_exist_is_404_in_its_words(client: triton.InferenceServerClient) -> None:
    for ask in (
        lambda: client.infer("nope", given(FEATURES)),
        lambda: client.get_model_metadata("nope"),
        lambda: client.get_model_config("or", "7"),
        lambda: client.get_inference_statistics("or", "7"),
        lambda: client.infer("or", given(FEATURES), model_version="7"),
    ):
        with pytest.raises(InferenceServerException) as raised:
            ask()
        assert raised.value.status() == "404"
        assert "nope" in raised.value.message() or "7" in raised.value.message()


def test_what_is_not_supported_says_so(client: triton.InferenceServerClient) -> None:
    for ask in (
        lambda: client.load_model("or"),
        lambda: client.unload_model("or"),
        lambda: client.register_system_shared_memory("region", "/key", 8),
        lambda: client.unregister_system_shared_memory(),
        lambda: client.get_system_shared_memory_status("region"),
        lambda: client.register_cuda_shared_memory("region", b"handle", 0, 8),
        lambda: client.get_cuda_shared_memory_status(),
        lambda: client.get_trace_settings(),
        lambda: client.update_trace_settings("or"),
        lambda: client.get_log_settings(),
        lambda: client.update_log_settings({}),
    ):
        with pytest.raises(InferenceServerException, match="is not supported") as raised:
            ask()
        assert raised.value.status() == "400"


def test_the_client_for_asyncio_gets_the_same(api: Api, client: triton.InferenceServerClient) -> None:
    features = np.tile(FEATURES, (100, 1))
    expected = client.infer("or", given(features)).as_numpy("output")

    async def run() -> None:
        async with triton_on_loop.InferenceServerClient(f"127.0.0.1:{api.port}") as client:
            assert await client.is_server_live() and await client.is_model_ready("or")
            assert (await client.get_model_metadata("or"))["versions"] == ["1", "2"]
            for algorithm in ("gzip", "deflate", None):
                result = await client.infer(
                    "or",
                    given(features),
                    request_compression_algorithm=algorithm,
                    response_compression_algorithm=algorithm,
                )
                np.testing.assert_array_equal(result.as_numpy("output"), expected)
            with pytest.raises(InferenceServerException, match=r"expected \[-1, 2\], got \[3, 1\]"):
                await client.infer("or", given(FEATURES[:, :1]))

    asyncio.run(run())


def column(name: str, values: np.ndarray, datatype: str, *, binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput(name, values.shape, datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


@pytest.mark.parametrize("binary", [True, False])
def test_it_sends_a_tensor_for_each_column_of_a_table(client: triton.InferenceServerClient, binary: bool) -> None:
    metadata = client.get_model_metadata("churn")
    assert [(each["name"], each["datatype"]) for each in metadata["inputs"]] == [
        ("age", "FP64"), ("income", "FP64"), ("member", "BOOL"), ("plan", "BYTES")
    ]  # fmt: skip
    inputs = [
        column("plan", np.array(["plus", "gold", "pro"], dtype=np.object_), "BYTES", binary=binary),
        column("age", np.array([[52.0], [52.0], [20.0]]), "FP64", binary=binary),
        column("income", np.array([25.5, 25.5, 10.0]), "FP64", binary=binary),
        column("member", np.array([True, True, False]), "BOOL", binary=binary),
    ]
    result = client.infer("churn", inputs)
    y_hat = result.as_numpy("output")[:2, 0]
    np.testing.assert_allclose(y_hat, [0.0356365493, 0.0503273762], rtol=0, atol=1e-6)  # scikit-learn's
    assert result.as_numpy("prediction")[:2].tolist() == [b"churn", b"churn"]
