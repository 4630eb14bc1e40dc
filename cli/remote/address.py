"""Which service a command talks to."""

import os
import socket
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click

from perceptron_client.requests import without_password

DEFAULT_URL = "http://127.0.0.1:8000"
_CONNECT_WITHIN_S = 5.0


@dataclass(frozen=True)
class Address:
    """The address of the service, and where it was found."""

    url: str
    source: str
    """What named it, for messages: `--url`, `PERCEPTRON_URL`, a data directory, or `the default`."""
    data_dir: Path | None = None
    """The directory that named it."""
    is_stale: bool = False
    """Whether the process that wrote it has ended without removing it."""

    @property
    def shown_url(self) -> str:
        """The address without a password."""
        return without_password(self.url)

    @property
    def remedy(self) -> str:
        """Return what to do when nothing answers there."""
        if self.data_dir is not None:
            return f"start it with 'perceptron up --data-dir {self.data_dir}', or name another address with --url"
        if self.source == "the default":
            return "start a service with 'perceptron up', or name the address of a running one with --url"
        return f"start the service, or correct {self.source}"


class UnreachableError(click.ClickException):
    """Nothing listens at the address."""

    def __init__(self, address: Address, reason: str) -> None:
        of_whom = f"named by {address.source}"
        if address.is_stale:
            of_whom = f"of {address.data_dir}, whose service was killed"
        super().__init__(
            f"no service answers at {address.shown_url} ({of_whom}): {reason}. To go on, {address.remedy}."
        )


def find_address(url: str | None) -> Address:
    """Return the address that was given, else that of PERCEPTRON_URL, of the data directory, or the default.

    Raises:
        click.UsageError: it is no HTTP address.
    """
    if url:
        return Address(checked_url(url, "--url"), "--url")
    if of_env := os.environ.get("PERCEPTRON_URL"):
        return Address(checked_url(of_env, "PERCEPTRON_URL"), "PERCEPTRON_URL")
    data_dir = Path(os.environ.get("DATA_DIR") or "./data")
    return address_in(data_dir) or Address(DEFAULT_URL, "the default")


def address_in(data_dir: Path) -> Address | None:
    """Return the address of the service that `perceptron up` runs, or ran until it was killed, in a directory."""
    if not (data_dir / "lock").is_file():
        return None
    from standalone.data_directory import owner_of  # here, as it takes time to load

    owner = owner_of(data_dir)
    if owner is None or not owner.address.startswith("http"):
        return None
    return Address(owner.address, f"the data directory {data_dir}", data_dir, is_stale=not owner.is_alive)


def checked_url(text: str, source: str) -> str:
    """Return the address with its scheme.

    Raises:
        click.UsageError: it is no HTTP address.
    """
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port
        is_good = False
    if not is_good:
        raise click.UsageError(f"{source} must be an address such as {DEFAULT_URL}, not {without_password(text)!r}")
    return url.rstrip("/")


def check_answers(address: Address) -> None:
    """Check that something listens there. The client would try again for a minute before it says so.

    Raises:
        UnreachableError: nothing does.
    """
    parts = urlsplit(address.url)
    if urllib.request.getproxies().get(parts.scheme) and not urllib.request.proxy_bypass(parts.hostname or ""):
        return  # the client connects to the proxy
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=_CONNECT_WITHIN_S).close()
    except (socket.gaierror, UnicodeError) as error:  # a part of the name is too long, or none
        raise UnreachableError(address, f"the host {parts.hostname} is unknown") from error
    except TimeoutError as error:
        raise UnreachableError(address, f"no connection within {_CONNECT_WITHIN_S:.0f} s") from error
    except OSError as error:
        raise UnreachableError(address, (error.strerror or str(error)).lower()) from error
