"""The settings of a training worker."""

import pytest

from worker.settings import Settings

ENV = {"REDIS_URL": "redis://127.0.0.1:6379/0"}


def test_the_number_of_attempts_is_three_unless_it_is_set() -> None:
    assert Settings.from_env(ENV).max_attempts == 3
    assert Settings.from_env(ENV | {"MAX_ATTEMPTS": "1"}).max_attempts == 1


@pytest.mark.parametrize("setting", ["TRAINING_THREADS", "MAX_ATTEMPTS"])
@pytest.mark.parametrize("value", ["0", "-1", "2.5", "three"])
def test_a_whole_number_below_one_is_refused_by_the_name_of_its_setting(setting: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} must be a whole number of at least 1, not '{value}'"):
        Settings.from_env(ENV | {setting: value})


@pytest.mark.parametrize("value", ["0.5", "nan", "inf", "a month"])
def test_jobs_are_kept_for_a_day_at_least_and_not_for_ever(value: str) -> None:
    with pytest.raises(ValueError, match=f"KEEP_JOBS_DAYS must be a number of at least 1, not '{value}'"):
        Settings.from_env(ENV | {"KEEP_JOBS_DAYS": value})
    assert Settings.from_env(ENV | {"KEEP_JOBS_DAYS": "1.5"}).keep_jobs_days == 1.5
