"""Products in pieces are the products."""

import numpy as np
import pytest

from perceptron.products import MAX_MULTIPLICATIONS, MIN_ROWS, multiply, multiply_transposed

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "shape",
    [
        (1797, 64, 10),  # two pieces, one row left
        (10_007, 50, 16),  # nine pieces, eight rows left
        (2000, 100, 100),  # pieces of the fewest rows
        (100, 200, 200),  # too few rows for two pieces
        (5000, 300, 1),  # a vector
    ],
)
def test_products_in_pieces_are_those_of_the_whole(shape):
    n_rows, n_inputs, n_outputs = shape
    features, weights = RNG.normal(size=(n_rows, n_inputs)), RNG.normal(size=(n_inputs, n_outputs))
    deltas = RNG.normal(size=(n_rows, n_outputs))
    # einsum without optimize sums by itself, without BLAS
    np.testing.assert_allclose(multiply(features, weights), np.einsum("nd,dk->nk", features, weights), atol=1e-11)
    transposed = np.einsum("nd,nk->dk", features, deltas)
    np.testing.assert_allclose(multiply_transposed(features, deltas), transposed, atol=1e-10)


def test_only_a_product_with_more_than_a_million_multiplications_is_cut(monkeypatch):
    stacks = []
    matmul = np.matmul
    monkeypatch.setattr(np, "matmul", lambda a, b, out: stacks.append(a.shape) or matmul(a, b, out=out))
    multiply(np.ones((MAX_MULTIPLICATIONS // 100, 50)), np.ones((50, 2)))
    assert stacks == []
    multiply(np.ones((MAX_MULTIPLICATIONS // 100 + 1, 50)), np.ones((50, 2)))
    multiply(np.ones((3 * MIN_ROWS, 1000)), np.ones((1000, 1000)))
    assert [shape for shape in stacks if len(shape) == 3] == [(2, 5000, 50), (3, MIN_ROWS, 1000)]
