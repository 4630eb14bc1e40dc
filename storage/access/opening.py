"""When the API may let everybody in: while there is no access key, and only this machine reaches it or INSECURE is set.

The command checks it before it starts anything, gunicorn before it listens, and each process with every request.
"""

import ipaddress
import socket
from collections.abc import Iterable

from redis import Redis

from storage.access.store import AccessKeyStore
from storage.availability import is_unavailable
from storage.errors import OpenToAllError


def is_of_this_machine(host: str) -> bool:
    """Whether only this machine reaches what listens on a host: a name, an address, or the path of a unix socket."""
    if host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = {str(address[0]) for *_, address in socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    return bool(host) and all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in found)


def check_may_listen(hosts: Iterable[str], redis: Redis, *, is_insecure: bool) -> None:
    """Check that the API would not let everybody in who reaches it from another machine.

    While Redis is away nobody knows; the API may start, since it lets nobody in before it has read the access keys.

    Raises:
        OpenToAllError: there is no access key, and a host is not of this machine.
    """
    reachable = [host for host in hosts if not is_of_this_machine(host)]
    if is_insecure or not reachable:
        return
    try:
        is_any = AccessKeyStore(redis).all().is_any
    except Exception as error:
        if not is_unavailable(error):
            raise
        return
    if not is_any:
        raise OpenToAllError(reachable[0] or "0.0.0.0")
