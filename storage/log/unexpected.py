"""Logs what nobody foresaw, so that the line has the code of its alarm."""

import logging

from storage.log.alarm_codes import UNEXPECTED_ERROR


def log_unexpected(log: logging.Logger, error: BaseException, text: str, *args: object, **members: object) -> None:
    """Log an unexpected error with its traceback.

    Args:
        text, args: as for `log.error`.
        members: of the line, beside `code`; `storage.log.form` has their names.
    """
    log.error(text, *args, exc_info=error, extra={**members, "code": UNEXPECTED_ERROR}, stacklevel=2)
