"""The whole service on one machine: an embedded server and a supervisor, as one process tree.

A name is imported when it is asked for: the command looks at every call who runs a data directory, and needs no Redis
for that.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from standalone.data_directory import DataDirectory
    from standalone.errors import DataLostError, StandaloneError
    from standalone.redis_server import EmbeddedServer, find_server_binary
    from standalone.stack import UpSettings, exec_api, exec_worker, up
    from standalone.supervisor import ChildSpec, Supervisor, Timing

__all__ = [
    "ChildSpec",
    "DataDirectory",
    "DataLostError",
    "EmbeddedServer",
    "StandaloneError",
    "Supervisor",
    "Timing",
    "UpSettings",
    "exec_api",
    "exec_worker",
    "find_server_binary",
    "up",
]

_MODULE_OF = {
    **dict.fromkeys(("ChildSpec", "Supervisor", "Timing"), "supervisor"),
    **dict.fromkeys(("DataLostError", "StandaloneError"), "errors"),
    **dict.fromkeys(("EmbeddedServer", "find_server_binary"), "redis_server"),
    **dict.fromkeys(("UpSettings", "exec_api", "exec_worker", "up"), "stack"),
    "DataDirectory": "data_directory",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'standalone' has no attribute {name!r}")
    return getattr(importlib.import_module(f"standalone.{_MODULE_OF[name]}"), name)
