"""The alarm about damaged data: it names what is damaged, in the log. Knows nothing of Redis."""

import logging
import time

from storage.log.alarm_codes import STORE_DAMAGED

SAY_AGAIN_AFTER_S = 60.0

_log = logging.getLogger(__name__)
_said_at_s: dict[str, float] = {}
_n_said = 0


def report(damage: object) -> None:
    """Log an alarm that names what is damaged; the same one once a minute."""
    global _n_said
    text, now_s = str(damage), time.monotonic()
    if now_s - _said_at_s.get(text, float("-inf")) >= SAY_AGAIN_AFTER_S:
        if len(_said_at_s) > 10_000:
            _said_at_s.clear()
        _said_at_s[text] = now_s
        _n_said += 1
        _log.critical("ALARM: what is stored is damaged: %s", text, extra={"code": STORE_DAMAGED})


def take() -> int:
    """Return how many alarms this process has logged since the last call, for whoever counts them."""
    global _n_said
    n, _n_said = _n_said, 0
    return n
