"""The settings of a training worker."""

import pytest

from worker.settings import Settings

ENV = {"REDIS_URL": "redis://127.0.0.1:6379/0"}


def test_the_number_of_attempts_is_three_unless_it_is_set() -> None:
    assert Settings.from_env(ENV).max_attempts == 3
    assert Settings.from_env(ENV | {"MAX_ATTEMPTS": "1"}).max_attempts == 1


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "three"])
def test_a_number_of_attempts_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ValueError):
        Settings.from_env(ENV | {"MAX_ATTEMPTS": value})
