"""Serialize checkpoints: arrays as safetensors, the rest as one JSON entry among them.

The blob store names a checkpoint by its sha256 and verifies it when it is read. A checkpoint names types, and only
those of `state_types` are known, so reading one runs no code.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from perceptron import state_types
from storage.codec import load_arrays, save_arrays
from storage.errors import CorruptDataError
from storage.jobs.reports import Result
from storage.log.faults import describe

State: TypeAlias = Any
"""What a training of `perceptron` yields and resumes from: one of `state_types`, which the training checks."""

_MEANING = 2
"""Increase it when states keep their fields but change their meaning, or when the JSON entry changes."""

_FORMAT = hashlib.sha256(
    json.dumps([_MEANING, {name: kind._fields for name, kind in state_types().items()}]).encode()
).hexdigest()[:16]
"""Fingerprint of the state types; a checkpoint with another one is discarded."""


@dataclass(frozen=True, eq=False)
class RefitStage:
    """The outcome of a sweep whose winner is being trained once more, on all rows."""

    result: Result
    """The result of the sweep, published with the refitted network."""
    fallback: Result
    """The result of a network that was measured, published if the time limit passes before the refit ends."""
    fallback_weights: bytes
    """That network, as `encode_model` wrote it."""
    total_epochs: int
    """The epochs of the sweep."""


_REFIT = TypeAdapter(RefitStage)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training between two epochs."""

    job_id: str
    """Makes the bytes of two jobs differ, so that deleting the one never deletes the other."""
    total_epochs: int
    """The epochs of all attempts together; a later checkpoint of the job has more."""
    used_s: float
    """How much of the job's time limit is used up."""
    state: State
    """None when the stage has not begun."""
    refit: RefitStage | None = None


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Write a checkpoint. The arrays of its state are copied, so the training may continue."""
    arrays: dict[str, NDArray[Any]] = {}
    content = {
        "format": _FORMAT,
        "job_id": checkpoint.job_id,
        "total_epochs": checkpoint.total_epochs,
        "used_s": checkpoint.used_s,
        "state": _to_json(checkpoint.state, "state", arrays),
    }
    refit = checkpoint.refit
    if refit is not None:
        arrays["fallback"] = np.frombuffer(refit.fallback_weights, dtype=np.uint8)
        content["refit"] = _REFIT.dump_python(refit, exclude={"fallback_weights"})
    arrays["json"] = np.frombuffer(json.dumps(content).encode(), dtype=np.uint8)
    return save_arrays(arrays)


def decode_checkpoint(content: bytes) -> Checkpoint:
    """Read what `encode_checkpoint` wrote.

    Raises:
        CorruptDataError: the bytes are something else, or were written by code with other state types.
    """
    arrays = load_arrays(content)
    try:
        tree = json.loads(arrays["json"].tobytes())
        if tree["format"] != _FORMAT:
            raise CorruptDataError(f"the checkpoint has format {tree['format']}, and this code reads {_FORMAT}")
        refit = None
        if "refit" in tree:
            refit = _REFIT.validate_python({**tree["refit"], "fallback_weights": arrays["fallback"].tobytes()})
        return Checkpoint(
            job_id=str(tree["job_id"]),
            total_epochs=int(tree["total_epochs"]),
            used_s=float(tree["used_s"]),
            state=_from_json(tree["state"], arrays),
            refit=refit,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptDataError(f"the bytes are no checkpoint: {describe(error)}") from error


def _to_json(value: Any, path: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """Turn a state into JSON, and move its arrays to `arrays`, by path."""
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
            # A copy is aligned, the bytes that were read may not be; and the order of sums depends on the alignment.
            return arrays[path].copy()
        case {"tuple": list(items)}:
            return tuple(_from_json(item, arrays) for item in items)
        case {"type": str(name), "fields": list(items)}:
            return state_types()[name](*(_from_json(item, arrays) for item in items))
        case None | bool() | int() | float() | str():
            return value
    raise ValueError(f"unknown part {str(value)[:40]!r}")
