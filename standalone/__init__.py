"""The whole service on one machine: an embedded server and a supervisor, as one process tree."""

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
