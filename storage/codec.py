"""Convert arrays to bytes and back, as safetensors: named arrays of numbers, so reading them runs no code."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import orjson
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors import SafetensorError

from perceptron import Column, Dataset, Layer, Network, PerceptronError, Standardization, TableEncoder
from storage.errors import CorruptDataError
from storage.log.faults import describe

_NAMES = TypeAdapter(tuple[str, ...])
_COLUMNS = TypeAdapter(tuple[Column, ...])


class StoredNetwork(NamedTuple):
    """A network as it was trained, with what is applied before its first layer."""

    network: Network
    standardization: Standardization
    """The identity if none was written."""
    encoder: TableEncoder | None = None
    """Turns rows of a table into the features that are standardized; None: the network takes features."""
    target: str | None = None
    """The column of the table that was learned, if it has a name."""


def encode_dataset(dataset: Dataset, feature_names: Sequence[str] = ()) -> bytes:
    """Write features, targets and, if given, weights and names of the features. Equal data sets give equal bytes."""
    arrays = {field.name: getattr(dataset, field.name) for field in fields(dataset)}
    if feature_names:
        arrays["feature_names"] = np.frombuffer(encode_names(feature_names), dtype=np.uint8)
    return save_arrays({name: array for name, array in arrays.items() if array is not None})


def decode_dataset(content: bytes) -> tuple[Dataset, tuple[str, ...]]:
    """Read what `encode_dataset` wrote: the data set, and the names of its features, if it has them.

    Raises:
        CorruptDataError: the bytes are something else.
    """
    arrays = load_arrays(content)
    try:
        names = decode_names(arrays["feature_names"].tobytes()) if "feature_names" in arrays else ()
        dataset = Dataset(
            arrays["features"], arrays["targets"], arrays.get("instance_weights"), arrays.get("class_weights")
        )
    except (KeyError, PerceptronError) as error:
        raise CorruptDataError(f"the bytes are no data set: {describe(error)}") from error
    return dataset, names


def encode_names(names: Sequence[str]) -> bytes:
    """Write the names of features as JSON."""
    return orjson.dumps(names)


def decode_names(content: bytes) -> tuple[str, ...]:
    """Read what `encode_names` wrote.

    Raises:
        CorruptDataError: the bytes are something else.
    """
    try:
        return _NAMES.validate_json(content)
    except ValueError as error:
        raise CorruptDataError(f"the bytes are no names of features: {describe(error)}") from error


def encode_model(
    network: Network,
    standardization: Standardization | None,
    encoder: TableEncoder | None = None,
    target: str | None = None,
) -> bytes:
    """Write a network as it was trained and, as arrays of their own, the mean and scale of its features, as JSON the
    columns that its encoder takes, and as text the name of the target's column."""
    arrays: dict[str, NDArray[Any]] = {}
    for k, layer in enumerate(network.layers):
        arrays[f"layers.{k}.weights"] = layer.weights
        arrays[f"layers.{k}.bias"] = layer.bias
    if standardization is not None:
        arrays["standardization.mean"] = standardization.mean
        arrays["standardization.scale"] = standardization.scale
    if encoder is not None:
        arrays["columns"] = np.frombuffer(_COLUMNS.dump_json(encoder.columns), dtype=np.uint8)
    if target is not None:
        arrays["target"] = np.frombuffer(target.encode(), dtype=np.uint8)
    return save_arrays(arrays)


def decode_model(content: bytes, activations: tuple[str, ...]) -> StoredNetwork:
    """Read what `encode_model` wrote.

    Args:
        activations: the activation of each layer, from the version's description.

    Raises:
        CorruptDataError: the bytes are something else.
    """
    arrays = load_arrays(content)
    try:
        network = Network(
            tuple(
                Layer(arrays[f"layers.{k}.weights"], arrays[f"layers.{k}.bias"], activation)
                for k, activation in enumerate(activations)
            )
        )
        standardization = Standardization.identity(network.n_inputs)
        if "standardization.mean" in arrays:
            standardization = Standardization(arrays["standardization.mean"], arrays["standardization.scale"])
        return StoredNetwork(network, standardization, *decode_columns(content))
    except (KeyError, ValueError) as error:
        raise CorruptDataError(f"the bytes are no network with {len(activations)} layers: {describe(error)}") from error


def decode_columns(content: bytes) -> tuple[TableEncoder | None, str | None]:
    """Read the encoder and the target that `encode_model` wrote, if there are any, without looking at the network.

    Raises:
        CorruptDataError: the bytes are something else.
    """
    columns, target = _bytes_of(content, "columns"), _bytes_of(content, "target")
    try:
        encoder = None if columns is None else TableEncoder(_COLUMNS.validate_json(columns))
        return encoder, None if target is None else target.decode()
    except ValueError as error:
        raise CorruptDataError(f"the bytes are no columns of a table: {describe(error)}") from error


def has_columns(content: bytes) -> bool:
    """Tell whether `encode_model` wrote an encoder into these bytes."""
    return _bytes_of(content, "columns") is not None


def _bytes_of(content: bytes, name: str) -> bytes | None:
    """Return the bytes of one array; None if there is none, or the bytes are no safetensors.

    The library would copy all arrays. Before them come the length of their table of contents, 8 bytes, and that table.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        begin, end = orjson.loads(content[8:start])[name]["data_offsets"]
        return content[start + begin : start + end]
    except (ValueError, TypeError, KeyError):
        return None


def save_arrays(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Write arrays under their names."""
    return safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def load_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote.

    Raises:
        CorruptDataError: the bytes are something else.
    """
    try:
        return safetensors.numpy.load(content)
    except SafetensorError as error:
        raise CorruptDataError(f"the bytes are no safetensors: {describe(error)}") from error
