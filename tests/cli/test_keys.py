"""`perceptron keys`, on an embedded server of its own and on that of REDIS_URL."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from standalone import EmbeddedServer
from storage.access.key_text import read_text
from storage.access.store import AccessKeyStore
from storage.blobs import BlobStore
from storage.keys import OLDER_STORE_IDENTITY, SCHEMA, STORE_IDENTITY, STORE_IDENTITY_MARK, access_key
from tests.cli.conftest import Command
from tests.free_port import free_port
from tests.stack import ROOT, Stack

TEXT = r"psk_([0-9a-f]{16})_[A-Za-z0-9_-]{43}"


@pytest.fixture
def keys(redis: Redis, server: EmbeddedServer, alone: Command) -> Command:
    """The command with the REDIS_URL of an empty Redis."""
    alone.env["REDIS_URL"] = server.url
    return alone


def test_a_key_is_printed_once_and_alone_on_stdout(keys: Command, redis: Redis) -> None:
    made = keys(
        "keys", "create", "--scope", "train,predict", "--tenant", "acme", "--name", "billing", "--expires", "90d"
    )
    text = made.stdout.rstrip("\n")
    assert re.fullmatch(TEXT, text)
    assert text not in made.stderr
    said = read_text(text)
    assert said is not None
    key = AccessKeyStore(redis).get(said.key_id)
    assert (key.digest, key.scopes, key.tenant, key.name) == (said.digest, {"train", "predict"}, "acme", "billing")
    assert key.expires_at_ms == key.created_at_ms + 90 * 86_400_000
    listed = keys.good("keys")
    assert text not in listed
    header, row = listed.splitlines()
    assert header.split("\t")[:5] == ["key", "name", "tenant", "scopes", "state"]
    assert row.split("\t")[:5] == [key.id, "billing", "acme", "predict,train", "in force"]


def test_a_key_is_rotated_and_revoked(keys: Command) -> None:
    old = json.loads(keys.good("keys", "create", "--scope", "read", "--json"))
    assert sorted(old) == [
        *("created_at", "expires_at", "id", "key", "name", "revoked_at", "rotated_into", "scopes", "state", "tenant")
    ]
    rotated = keys("keys", "rotate", old["id"], "--overlap", "1h", "--json")
    new = json.loads(rotated.stdout)
    assert f"The old key {old['id']} works until" in rotated.stderr
    again = keys.error("keys", "rotate", old["id"], "--overlap", "1s")
    assert f"access key '{old['id']}' was rotated before, into '{new['id']}': rotate that one" in again
    assert json.loads(keys.good("keys", "revoke", new["id"], "--json"))["state"] == "revoked"
    states = {
        key["id"]: (key["state"], key["expires_at"] is None) for key in json.loads(keys.good("keys", "--json"))["data"]
    }
    assert states == {old["id"]: ("in force", False), new["id"]: ("revoked", True)}
    assert "was revoked; make another one" in keys.error("keys", "rotate", new["id"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scope", "root"], "there is no scope 'root': choose from read, predict, train, admin"),
        (["--scope", "read", "--tenant", "Acme"], "'Acme' is no name of a tenant"),
        (["--scope", "read", "--expires", "soon"], "'soon' must be a whole number and s, m, h or d, such as 90d"),
        (["--scope", "read", "--name", "a\x1b[2J"], "all printable"),
        (["--scope", "read", "--expires", "0s"], "'0s' is shorter than 1s"),
        ([], "Missing option '--scope'"),
    ],
)
def test_a_wrong_call_makes_no_key(keys: Command, redis: Redis, arguments: list[str], message: str) -> None:
    ran = keys("keys", "create", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert message in ran.stderr
    assert not AccessKeyStore(redis).all().is_any


def test_a_call_in_the_wrong_folder_begins_no_redis_there(alone: Command, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    alone.folder = wrong
    for call in (["keys"], ["keys", "list"], ["keys", "revoke", "0" * 16], ["keys", "rotate", "0" * 16]):
        refused = alone.error(*call)
        assert "data has no data, so no access key: name another directory with --data-dir" in refused
        assert "'perceptron keys create --scope admin' makes the first key" in refused
    assert list(wrong.iterdir()) == []
    alone.good("keys", "create", "--scope", "read")
    assert len(alone.good("keys").splitlines()) == 2


def test_only_create_writes_to_an_empty_redis(keys: Command, redis: Redis) -> None:
    unused = "0123456789abcdef"
    for call in (["keys"], ["keys", "list"], ["keys", "revoke", unused], ["keys", "rotate", unused]):
        refused = keys.error(*call)
        assert "this Redis has no data of the service, so no access key: check REDIS_URL" in refused
        assert "'perceptron keys create --scope admin' makes the first key" in refused
    assert redis.keys() == []
    keys.good("keys", "create", "--scope", "read")
    assert len(keys.good("keys").splitlines()) == 2


def test_keys_are_listed_of_a_redis_that_only_an_older_release_has_used(keys: Command, redis: Redis) -> None:
    redis.set(OLDER_STORE_IDENTITY, "a" * 32)
    keys.good("keys")
    assert redis.get(STORE_IDENTITY) == b"a" * 32


def test_a_redis_that_lost_the_data_of_the_blob_store_is_named_so(keys: Command, redis: Redis, tmp_path: Path) -> None:
    BlobStore((tmp_path / "data" / "blobs").as_uri()).write_mark(STORE_IDENTITY_MARK, b"a" * 32)
    assert "Redis was emptied or replaced: it has no data of this service" in keys.error("keys")
    assert redis.keys() == []


def test_a_key_whose_record_is_damaged_is_revoked(keys: Command, redis: Redis) -> None:
    redis.set(STORE_IDENTITY, "a" * 32)
    key, _ = AccessKeyStore(redis).create(["admin"])
    redis.hset(access_key(key.id), "tenant", "A B")
    ran = keys("keys", "revoke", key.id, "--json")
    assert (ran.returncode, json.loads(ran.stdout)) == (0, {"id": key.id, "state": "revoked"})
    assert f"{key.id} is revoked, though its record is damaged." in ran.stderr
    assert redis.hexists(access_key(key.id), "revoked_at_ms")
    redis.delete(access_key(key.id))
    redis.set(access_key(key.id), "text")
    assert "has another type" in keys.error("keys", "revoke", key.id)


def test_errors_say_what_to_do(keys: Command, redis: Redis, tmp_path: Path) -> None:
    redis.set(STORE_IDENTITY, "a" * 32)
    assert "'perceptron keys' lists the keys" in keys.error("keys", "revoke", "0123456789abcdef")
    nobody = f"unix://{tmp_path}/nobody.sock"
    assert "'perceptron doctor' looks for the reason" in keys.error("keys", "list", "--redis-url", nobody)


def test_a_redis_of_another_service_or_a_newer_release_gets_no_key(keys: Command, redis: Redis, tmp_path: Path) -> None:
    redis.set(STORE_IDENTITY, "a" * 32)
    keys.good("keys")
    ours = redis.get(STORE_IDENTITY)
    blobs = BlobStore((tmp_path / "data" / "blobs").as_uri())
    blobs.write_mark(STORE_IDENTITY_MARK, b"another")
    for command in (["keys", "create", "--scope", "admin"], ["keys"], ["keys", "revoke", "0123456789abcdef"]):
        refused = keys.error(*command)
        assert "Redis was emptied or replaced" in refused and f"{tmp_path}/data/blobs: if it is another" in refused
    blobs.write_mark(STORE_IDENTITY_MARK, ours)  # type: ignore[arg-type]
    redis.set(SCHEMA, "2 9.0.0")
    assert "needs release 9.0.0 or newer" in keys.error("keys", "create", "--scope", "admin")
    assert not AccessKeyStore(redis).all().is_any
    redis.set(SCHEMA, "1 0.1.0")
    assert "BLOB_URL" in keys.error("keys", BLOB_URL="nonsense://")


def up(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cli", "up", "--data-dir", str(folder), "--port", str(free_port()), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_first_key_lets_up_listen_for_other_machines(own_stack, alone: Command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    refused = up(tmp_path / "data", "--host", "0.0.0.0")
    assert refused.returncode == 1
    assert [line for line in refused.stderr.splitlines() if line.startswith("perceptron: error:")] == [
        "perceptron: error: other machines can reach 0.0.0.0, and there is no access key, so everybody could do "
        "everything: make a key with 'perceptron keys create --scope admin', or let everybody in with --insecure "
        "(INSECURE=true)"
    ]
    text = alone.good("keys", "create", "--scope", "admin", DATA_DIR=str(tmp_path / "data")).strip()
    stack: Stack = own_stack("--host", "0.0.0.0")
    assert stack.http.get("/jobs").status_code == 401
    found = {"PERCEPTRON_URL": stack.url}
    assert "Set PERCEPTRON_API_KEY" in alone.error("jobs", **found)
    alone.good("jobs", PERCEPTRON_API_KEY=text, **found)
    reader = alone.good("keys", "create", "--scope", "predict", DATA_DIR=str(tmp_path / "data")).strip()
    message = alone.error("jobs", PERCEPTRON_API_KEY=reader, **found)
    assert "the scope read or train or admin; this access key has predict" in message
    assert "perceptron keys create --scope" in message


def test_insecure_lets_everybody_in_and_says_so(own_stack, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    stack: Stack = own_stack("--host", "0.0.0.0", "--insecure")
    assert stack.http.get("/jobs").status_code == 200
    assert "access is off: there is no access key" in (tmp_path / "data.log").read_text()
