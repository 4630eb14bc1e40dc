"""The codes of alarms: what a line of the log has in `code`. `docs/operations.md` has a section for each."""

STORE_DAMAGED = "store_damaged"
REDIS_REPLACED = "redis_replaced"
UNEXPECTED_ERROR = "unexpected_error"
PROCESS_FAILED = "process_failed"
