"""The table of the ways to predict: what the event loop finds by it is what Flask routes."""

import re

import pytest
from redis import Redis

from service.app import create_app
from service.predict.protocols.table import PREDICT, find, pattern
from service.settings import Limits
from storage.blobs import BlobStore


def test_every_way_to_predict_is_a_route_of_flask(redis: Redis, blobs: BlobStore) -> None:
    rules = {rule.rule: rule.methods for rule in create_app(redis, blobs, Limits()).url_map.iter_rules()}
    assert PREDICT
    for rule in PREDICT:
        assert rules[rule] == {"POST", "OPTIONS"}


def test_every_way_to_predict_is_found_by_post_alone() -> None:
    for rule, read in PREDICT.items():
        path = re.sub("<name:.*?>", "a.model-1", rule)
        path = re.sub("<version:.*?>", "12", path)
        match = find("POST", path)
        assert match is not None and match.read is read
        assert find("GET", path) is None
        assert find("POST", path + "/") is None
    assert find("POST", "/jobs") is None


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/a/or/7:go", {"model": "or", "v": "7"}),
        ("/a/o_.-r/999999999999999:go", {"model": "o_.-r", "v": "999999999999999"}),
        (f"/a/{'x' * 128}/7:go", {"model": "x" * 128, "v": "7"}),
        (f"/a/{'x' * 129}/7:go", None),
        ("/a/a:b/7:go", None),
        ("/a/.or/7:go", None),
        ("/a/or/07:go", {"model": "or", "v": "07"}),  # the reader says that there is no such version
        ("/a/or/1234567890123456:go", {"model": "or", "v": "1234567890123456"}),
        ("/a/or/production:go", None),
        ("/a/or/7:go\n", None),
        ("/a/or/7/go", None),
    ],
)
def test_names_and_versions_stand_where_the_rule_has_them(path: str, values: dict[str, str] | None) -> None:
    found = pattern("/a/<name:model>/<version:v>:go").fullmatch(path)
    assert (found and found.groupdict()) == values
