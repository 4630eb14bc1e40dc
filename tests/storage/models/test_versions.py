"""The one rule for the version that a request means, and the one bound of its number."""

import re

import pytest

from storage.errors import AliasNotFoundError, VersionNotFoundError
from storage.models.versions import MAX_VERSION, VERSION_PATTERN, Model, ModelReference

CHURN = Model("churn", versions=(2, 3, 11), aliases={"production": 3})


@pytest.mark.parametrize(
    ("version", "alias", "number"),
    [
        (None, None, 11),
        (2, None, 2),
        (11, None, 11),
        (1, None, None),
        (4, None, None),
        (12, None, None),
        (None, "production", 3),
        (None, "staging", None),
    ],
)
def test_the_version_meant_is_the_one_given_the_aliass_or_the_latest(
    version: int | None, alias: str | None, number: int | None
) -> None:
    assert CHURN.number(version, alias) == number


def test_what_is_missing_is_named() -> None:
    assert isinstance(CHURN.missing(4), VersionNotFoundError)
    assert str(CHURN.missing(alias="staging")) == "model 'churn' has no alias 'staging'"
    assert isinstance(CHURN.missing(alias="staging"), AliasNotFoundError)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("churn", ModelReference("churn")),
        ("churn@production", ModelReference("churn", alias="production")),
        ("churn/3", ModelReference("churn", version=3)),
        (f"churn/{MAX_VERSION}", ModelReference("churn", version=MAX_VERSION)),
    ],
)
def test_a_model_with_a_version_or_an_alias_is_read_from_one_text(text: str, reference: ModelReference) -> None:
    assert ModelReference.parse(text) == reference


@pytest.mark.parametrize(
    "text", ["", "churn/0", "churn/03", "churn@", "churn@a/3", f"churn/{MAX_VERSION + 1}", "churn\n"]
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be like churn, churn@production or churn/3"):
        ModelReference.parse(text)


def test_the_pattern_and_the_bound_of_a_version_are_the_same() -> None:
    assert re.fullmatch(VERSION_PATTERN, str(MAX_VERSION))
    assert not re.fullmatch(VERSION_PATTERN, str(MAX_VERSION + 1))
    assert int(float(MAX_VERSION)) == MAX_VERSION  # so every JSON parser reads it exactly
