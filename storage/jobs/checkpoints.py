"""Checkpoints as bytes: what a training goes on from, its arrays as safetensors and all else as JSON among them.

The blob store names them by their sha256 and compares it when they are read. They name types, and only those of
`state_types` are known: nothing in them is run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron import state_types
from storage.codec import load_arrays, save_arrays
from storage.errors import CorruptDataError

_MEANING = 1
"""To be raised when the fields of the states stay the same and what they mean does not."""

_FORMAT = hashlib.sha256(
    json.dumps([_MEANING, {name: kind._fields for name, kind in state_types().items()}]).encode()
).hexdigest()[:16]
"""Changes with the types of the states: what other code wrote is not gone on from."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a training was."""

    job_id: str
    """Makes the bytes of two jobs differ, so that one can be deleted without a look at the other."""
    total_epochs: int
    """Done by all attempts together; a later checkpoint of the job has more."""
    used_s: float
    """Of the job's time limit."""
    state: Any
    """A `TrainingState`, `RaceState` or `OneByOneState`; None when the stage has not begun."""
    stage: Mapping[str, Any]
    """What the worker has to know beside: the outcome of stages that are over. Goes through JSON."""


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Write a checkpoint. The arrays of its state are copied, so the training may go on."""
    arrays: dict[str, NDArray[Any]] = {}
    tree = _to_json(checkpoint.state, "state", arrays)
    content = {
        "format": _FORMAT,
        "job_id": checkpoint.job_id,
        "total_epochs": checkpoint.total_epochs,
        "used_s": checkpoint.used_s,
        "state": tree,
        "stage": checkpoint.stage,
    }
    arrays["json"] = np.frombuffer(json.dumps(content).encode(), dtype=np.uint8)
    return save_arrays(arrays)


def decode_checkpoint(content: bytes) -> Checkpoint:
    """Read what `encode_checkpoint` wrote.

    Raises:
        CorruptDataError: the bytes are something else, or were written by code with other states.
    """
    arrays = load_arrays(content)
    try:
        tree = json.loads(arrays["json"].tobytes())
        if tree["format"] != _FORMAT:
            raise CorruptDataError(f"the checkpoint has format {tree['format']}, and this code reads {_FORMAT}")
        return Checkpoint(
            job_id=str(tree["job_id"]),
            total_epochs=int(tree["total_epochs"]),
            used_s=float(tree["used_s"]),
            state=_from_json(tree["state"], arrays),
            stage=tree["stage"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptDataError(f"the bytes are no checkpoint: {error!r}") from error


def _to_json(value: Any, path: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """Turn a state into JSON, and put its arrays aside under their paths."""
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"array": path}
    if isinstance(value, tuple):
        items = [_to_json(item, f"{path}.{k}", arrays) for k, item in enumerate(value)]
        if hasattr(value, "_fields"):
            return {"type": type(value).__name__, "fields": items}
        return {"tuple": items}
    return value


def _from_json(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    match value:
        case {"array": str(path)}:
            # A copy: the bytes that it came in have any alignment, and one order of sums goes with one alignment.
            return arrays[path].copy()
        case {"tuple": list(items)}:
            return tuple(_from_json(item, arrays) for item in items)
        case {"type": str(name), "fields": list(items)}:
            return state_types()[name](*(_from_json(item, arrays) for item in items))
        case None | bool() | int() | float() | str():
            return value
    raise ValueError(f"unknown part {str(value)[:40]!r}")
