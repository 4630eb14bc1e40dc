"""Products of a tall matrix with a narrow one, in pieces that BLAS multiplies fastest.

OpenBLAS has a faster way for products of at most 10^6 multiplications, where the CPU has AVX-512. A product of 1797 x
64 with 64 x 10 numbers takes half of the time in two pieces; of 16384 x 100 with 100 x 16, a third. Elsewhere the
pieces cost nothing. NumPy multiplies a stack of pieces in one call.
"""

import numpy as np

from perceptron.arrays import Floats

MAX_MULTIPLICATIONS = 1_000_000
MIN_ROWS = 128
"""Pieces of fewer rows are not worth a call of BLAS each."""


def multiply(features: Floats, weights: Floats) -> Floats:
    """Give features @ weights: (n_rows, n_inputs) times (n_inputs, n_outputs)."""
    n_pieces, n_stacked = _pieces(features, weights.shape[1])
    if n_pieces == 1:
        whole: Floats = features @ weights
        return whole
    outputs = np.empty((len(features), weights.shape[1]), features.dtype)
    np.matmul(_stack(features, n_pieces, n_stacked), weights, out=_stack(outputs, n_pieces, n_stacked))
    np.matmul(features[n_stacked:], weights, out=outputs[n_stacked:])
    return outputs


def multiply_transposed(features: Floats, deltas: Floats) -> Floats:
    """Give features.T @ deltas: (n_rows, n_inputs) and (n_rows, n_outputs) to (n_inputs, n_outputs)."""
    n_pieces, n_stacked = _pieces(features, deltas.shape[1])
    if n_pieces == 1:
        whole: Floats = features.T @ deltas
        return whole
    products = _stack(features, n_pieces, n_stacked).transpose(0, 2, 1) @ _stack(deltas, n_pieces, n_stacked)
    total: Floats = products.sum(axis=0)
    total += features[n_stacked:].T @ deltas[n_stacked:]
    return total


def _pieces(features: Floats, n_outputs: int) -> tuple[int, int]:
    """Give the number of equal pieces, and how many rows they hold together: fewer than pieces are left over."""
    n_rows, n_inputs = features.shape
    if n_outputs == 1:  # a product with a vector has a way of its own
        return 1, n_rows
    n_pieces = min(-(-n_rows * n_inputs * n_outputs // MAX_MULTIPLICATIONS), max(n_rows // MIN_ROWS, 1))
    return n_pieces, n_rows // n_pieces * n_pieces


def _stack(rows: Floats, n_pieces: int, n_stacked: int) -> Floats:
    return rows[:n_stacked].reshape(n_pieces, -1, rows.shape[1])
