"""How much memory a training takes at most: an estimate, to refuse what cannot end well before it begins."""

from itertools import pairwise

from perceptron.architecture import Architecture
from perceptron.arrays import block_rows
from perceptron.objective import BLOCK_BYTES, MIN_BLOCK_ROWS, PARTS_OF_MANY, rows_together
from perceptron.optimizers import OPTIMIZERS

_ANY_TRAINING_BYTES = 64_000_000
"""Of memory that is set aside for threads and small objects."""
_DATA_COPIES = 4
"""Of the data set: as it came, in the units of training, in its dtype, and the rows held out."""
_BYTES_PER_NETWORK = 2_000
"""Of the objects that describe one network of a sweep."""
_HESSIAN_COPIES = 4
_MAPPED_BYTES = 64_000_000


def is_mapped(n_instances: int, n_features: int) -> bool:
    """Tell whether the rows of a table are kept in a file, and their features made block by block."""
    return n_instances * n_features * 8 > _MAPPED_BYTES


def training_bytes(
    architecture: Architecture,
    optimizer: str,
    *,
    n_instances: int,
    n_networks: int = 1,
    n_folds: int = 0,
    itemsize: int = 8,
    n_threads: int = 1,
) -> int:
    """Estimate the memory that a training and its evaluation take, in bytes, besides the libraries.

    Measured on 13 jobs, the peak of the memory set aside was 0.2 to 0.8 of it.

    Args:
        n_networks: trained at once: candidates times folds.
        n_folds: of a cross-validation.
        itemsize: bytes of a number in the dtype of the training.
    """
    widths, n_parameters = architecture.widths, architecture.n_parameters
    record = OPTIMIZERS[optimizer]
    n_blocks = -(-n_instances // rows_together(architecture, n_networks, itemsize))
    n_parts = n_threads + min(n_blocks, 2 * PARTS_OF_MANY).bit_length()  # at a time, each with sums in float64
    data = _DATA_COPIES * 8 * n_instances * (widths[0] + widths[-1])
    folds = 2 * itemsize * n_folds * n_instances
    parameters = n_networks * n_parameters * (itemsize * record.n_arrays + 8 * n_parts)
    hessian = _HESSIAN_COPIES * 8 * n_parameters**2 if record.uses_hessian else 0
    smallest_block = MIN_BLOCK_ROWS * itemsize * 3 * sum(widths[1:])
    training = 2 * n_threads * max(BLOCK_BYTES, smallest_block)
    widest = max(before + after for before, after in pairwise(widths))
    evaluation = 2 * 8 * min(n_instances, block_rows(max(widths))) * widest
    return (
        _ANY_TRAINING_BYTES
        + data
        + folds
        + parameters
        + hessian
        + training
        + evaluation
        + n_networks * _BYTES_PER_NETWORK
    )
