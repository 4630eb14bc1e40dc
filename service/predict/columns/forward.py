"""Forward propagation for rows of a table, a block of features at a time."""

from collections.abc import Sequence

import numpy as np

from perceptron import Network, OutputNotFiniteError, predict_outputs, predict_side_by_side
from service.predict.instances import Matrix, TableRows


def outputs_of_table(networks: Sequence[Network], rows: TableRows) -> list[Matrix]:
    """Return the outputs (n_instances, n_outputs) of each network, all of which take the features of one encoder.

    Raises:
        OutputNotFiniteError: an output is infinite or not a number.
    """
    parts: list[list[Matrix]] = [[] for _ in networks]
    first = 0
    for features in rows.blocks():
        try:
            if len(networks) == 1:
                outputs = [predict_outputs(networks[0], features)]
            else:
                outputs = predict_side_by_side(networks, features)
        except OutputNotFiniteError as error:
            raise OutputNotFiniteError(first + error.index) from error
        for of_network, part in zip(outputs, parts, strict=True):
            part.append(np.asarray(of_network, dtype=np.float64))
        first += len(features)
    return [np.concatenate(part) for part in parts]
