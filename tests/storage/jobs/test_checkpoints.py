"""Checkpoints as bytes: what is read is what was written, and other bytes are refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perceptron import OPTIMIZERS, Candidate, Dataset, NetworkConfig, TrainingConfig, fit, fit_sweep
from storage.codec import load_arrays, save_arrays
from storage.errors import CorruptDataError
from storage.jobs.checkpoints import Checkpoint, RefitStage, decode_checkpoint, encode_checkpoint
from storage.jobs.reports import LeaderboardEntry
from tests.builders import RESULT

RNG = np.random.default_rng(0)
DATASET = Dataset(RNG.normal(size=(30, 3)), RNG.integers(0, 2, size=(30, 1)).astype(float))


def checkpoint(state: Any, refit: RefitStage | None = None) -> Checkpoint:
    return Checkpoint("job_1", 12, 3.5, state, refit)


def test_a_training_resumes_from_the_bytes_as_from_the_state() -> None:
    network, config = NetworkConfig("sigmoid", (4,)), TrainingConfig(optimizer="adam", max_epochs=20, tolerance=0.0)
    results = list(fit(DATASET, network, config))
    read = decode_checkpoint(encode_checkpoint(checkpoint(results[11].state)))
    *_, last = fit(DATASET, network, config, resume_from=read.state)
    assert last.state.iterate.parameters.tobytes() == results[-1].state.iterate.parameters.tobytes()
    assert (read.job_id, read.total_epochs, read.used_s) == ("job_1", 12, 3.5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_state_of_every_optimizer_is_read_as_it_was_written(optimizer: str) -> None:
    network = NetworkConfig("step" if optimizer == "perceptron_rule" else "sigmoid")
    state = next(fit(DATASET, network, TrainingConfig(optimizer=optimizer, max_epochs=3, tolerance=0.0))).state
    content = encode_checkpoint(checkpoint(state))
    assert encode_checkpoint(decode_checkpoint(content)) == content


def test_a_sweep_resumes_from_the_bytes_as_from_the_state() -> None:
    candidates = [Candidate(0.1, 0.0, 0), Candidate(1e200, 1.0, 0), Candidate(2.0, 0.1, 1)]
    config = TrainingConfig(max_epochs=20, tolerance=1e-6)
    states = [progress.state() for progress in fit_sweep(DATASET, NetworkConfig("sigmoid"), config, candidates)]
    read = decode_checkpoint(encode_checkpoint(checkpoint(states[9])))
    *_, last = fit_sweep(DATASET, NetworkConfig("sigmoid"), config, candidates, resume_from=read.state)
    assert last.state().kept.parameters.tobytes() == states[-1].kept.parameters.tobytes()
    assert read.state.stop_reasons == (None, "diverged", "converged")


def test_what_the_sweep_came_to_is_kept_for_its_refit() -> None:
    entry = LeaderboardEntry(1, 0, "auto", 0.1, 0, 0.1 + 0.2, None, 7, 6, "max_epochs")
    result = replace(RESULT, leaderboard=(entry,), metrics={"accuracy": 1 / 3, "confusion_matrix": [[1, 0], [0, 3]]})
    stage = RefitStage(result, replace(result, stop_reason="time_limit"), b"\x00weights", 40)
    read = decode_checkpoint(encode_checkpoint(checkpoint(None, stage))).refit
    assert read is not None
    assert vars(read) == vars(stage)


def test_bytes_cut_short_or_of_something_else_are_no_checkpoint() -> None:
    content = encode_checkpoint(checkpoint(None))
    other_json = save_arrays({"json": np.frombuffer(b"[1, 2]", dtype=np.uint8)})
    for broken in (b"", content[:-3], save_arrays({"json": np.zeros(3)}), other_json):
        with pytest.raises(CorruptDataError):
            decode_checkpoint(broken)


def test_a_checkpoint_of_code_with_other_states_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.jobs.checkpoints._FORMAT", "other")
    content = encode_checkpoint(checkpoint(None))
    monkeypatch.undo()
    with pytest.raises(CorruptDataError, match="has format other"):
        decode_checkpoint(content)


def test_a_type_that_is_no_part_of_a_state_is_not_made() -> None:
    arrays = load_arrays(encode_checkpoint(checkpoint(None)))
    forged = arrays["json"].tobytes().replace(b'"state": null', b'"state": {"type": "Popen", "fields": ["id"]}')
    with pytest.raises(CorruptDataError, match="no checkpoint: KeyError"):
        decode_checkpoint(save_arrays({"json": np.frombuffer(forged, dtype=np.uint8)}))
