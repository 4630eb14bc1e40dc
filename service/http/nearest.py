"""The name that was probably meant, for the message about one that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

_MAX_COMPARED = 200
_MAX_LENGTH = 128


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of some names that is most like the given one, None if none is; only the first 200 are looked at.

    A name that differs in upper and lower case or in blanks around it alone is the nearest.
    """
    known = [each for each in islice(names, _MAX_COMPARED) if len(each) <= _MAX_LENGTH]
    folded = name.strip().casefold()
    same = next((each for each in known if each.strip().casefold() == folded), None)
    return same or next(iter(get_close_matches(name, known, 1)), None)
