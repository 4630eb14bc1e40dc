"""`client.models` against the running service."""

import pickle

import numpy as np
import pytest

from perceptron_client import Client
from perceptron_client.errors import (
    AliasNotFound,
    InvalidArgument,
    ModelNotFound,
    NotFound,
    VersionInUse,
    VersionNotFound,
)

from .conftest import LINE, ONE_STEP


def test_a_version_has_its_weights_as_arrays_that_cannot_be_changed(client: Client, line: str):
    version = client.models.version(line, 1)
    np.testing.assert_allclose(version.weights[0], [[0.14], [0.04]], rtol=1e-12)
    np.testing.assert_allclose(version.bias[0], [0.06], rtol=1e-12)
    assert (version.feature_names, version.aliases, version.task["kind"]) == (("a", "b"), ("production",), "regression")
    with pytest.raises(ValueError, match="read-only"):
        version.weights[0][0] = 1
    assert client.models.version(line, "production") == client.models.version(line) == version


def test_what_this_client_does_not_know_is_in_raw_and_an_attribute(client: Client, line: str):
    version = client.models.version(line, 1)
    assert version.digests == version.raw["digests"]
    assert not hasattr(version, "nothing_of_this_name")


def test_answers_are_pickled_with_what_the_service_said(client: Client, line: str):
    version = client.models.version(line, 1)
    job = client.jobs.get(version.job)
    for answer in (version, job, client.models.get(line), client.predict(line, [[1, 2]])):
        assert pickle.loads(pickle.dumps(answer)) == answer
        assert hash(pickle.loads(pickle.dumps(answer))) == hash(answer)


def test_aliases_move_and_guard_their_version(client: Client):
    for _ in range(2):
        client.jobs.wait(client.jobs.create(model="moves", data=LINE, training=ONE_STEP))
    model = client.models.set_alias("moves", "production", 1)
    assert (model.aliases, model.latest_version, [each.version for each in model.versions]) == (
        {"production": 1},
        2,
        [1, 2],
    )
    assert model.versions[0].metrics["evaluated_on"] == "training"
    with pytest.raises(VersionInUse):
        client.models.delete_version("moves", 1)
    client.models.set_alias("moves", "production", 2)
    client.models.delete_version("moves", 1)
    with pytest.raises(VersionNotFound):
        client.models.version("moves", 1)
    client.models.delete_alias("moves", "production")
    with pytest.raises(AliasNotFound):
        client.models.delete_alias("moves", "production")
    client.models.delete("moves")
    with pytest.raises(ModelNotFound):
        client.models.get("moves")


def test_models_are_listed_by_name(client: Client, line: str, trees: str, monkeypatch):
    monkeypatch.setattr("perceptron_client._sync.http.PAGE", 1)
    names = [model.name for model in client.models.list()]
    assert names == sorted(names) and {line, trees} <= set(names)
    shown = next(model for model in client.models.list() if model.name == line)
    assert (shown.n_versions, shown.versions, shown.aliases) == (1, None, {"production": 1})


def test_an_alias_that_is_not_there_names_those_that_are(client: Client, line: str):
    with pytest.raises(AliasNotFound, match="'staging'; its aliases: production"):
        client.models.version(line, "staging")
    with pytest.raises(NotFound):
        client.models.version("a/b?c", 1)  # quoted, so it is no other route
    with pytest.raises(InvalidArgument):
        client.models.get("..")


def test_ready_says_how_the_service_is(client: Client):
    ready = client.ready()
    assert (ready.is_ready, ready.status, ready.workers, ready.redis) == (True, "ready", 1, "ok")
