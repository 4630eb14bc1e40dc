"""A hint for those who search settings one job at a time."""

from __future__ import annotations

import logging
import sys
from functools import cache

SWEPT = frozenset({"learning_rate", "l2", "random_state"})
"""What the candidates of a sweep can differ in."""


def hint_if_searched() -> None:
    """Say once in a process that a sweep is faster, if a search of scikit-learn fits candidates that it could train."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        # scikit-learn fits each candidate in this function; of other cross-validations it has no parameters.
        if frame.f_code.co_name == "_fit_and_score":
            parameters = frame.f_locals.get("parameters")
            if isinstance(parameters, dict) and parameters:
                if {name.rpartition("__")[2] for name in parameters} <= SWEPT:
                    _hint()
                return


@cache
def _hint() -> None:
    # Not as a warning: where warnings are errors, the search would fail.
    logging.getLogger("perceptron_client.sklearn").warning(
        "This search sends a job for each candidate and fold. A sweep trains all of them in one job, which is faster: "
        'client.jobs.create(..., sweep={"l2": [0.001, 0.01], "learning_rate": [0.1, 0.5]}, validation={"folds": 5})'
    )
