"""Networks of tables as bytes: with the columns that they take, and the one that they learned."""

import numpy as np
import pytest

from perceptron import Column, Layer, Network, Standardization, TableEncoder
from storage.codec import decode_model, encode_model
from storage.errors import CorruptDataError

ENCODER = TableEncoder((Column("a", "numeric", mean=2.5, has_gaps=True), Column("c", "categorical", ("elm", "日本"))))
NETWORK = Network((Layer(np.arange(4.0).reshape(4, 1), np.ones(1), "identity"),))


def test_columns_and_target_are_read_back_as_they_were_written() -> None:
    standardization = Standardization(np.arange(4.0), np.full(4, 2.0))

    stored = decode_model(encode_model(NETWORK, standardization, ENCODER, "größe"), ("identity",))

    assert (stored.encoder, stored.target) == (ENCODER, "größe")
    assert stored.network.layers[0].weights.tolist() == [[0], [1], [2], [3]]
    assert stored.standardization.scale.tolist() == [2, 2, 2, 2]


def test_a_network_of_features_has_neither_columns_nor_target() -> None:
    stored = decode_model(encode_model(NETWORK, None), ("identity",))

    assert (stored.encoder, stored.target) == (None, None)


@pytest.mark.parametrize("damaged", [b'"kind":"numeric"', b'"a"'])
def test_damaged_columns_are_named_as_such(damaged: bytes) -> None:
    content = encode_model(NETWORK, None, ENCODER)
    assert damaged in content

    with pytest.raises(CorruptDataError, match="the bytes are no columns"):
        decode_model(content.replace(damaged, b"\0" * len(damaged)), ("identity",))
