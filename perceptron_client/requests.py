"""From settings and arguments to requests, and from answers to errors: all that has nothing to await."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote
from urllib.request import getproxies

import httpx

from perceptron_client.bodies.uploads import Upload
from perceptron_client.errors import ApiError, Fault, InvalidArgument, UnexpectedAnswer, kind_of
from perceptron_client.retries import retry_after_s

DEFAULT_URL = "http://127.0.0.1:8000"
MAX_TIMEOUT_S = 1e6
"""The timeout of a socket overflows far above it."""

KEY_VARIABLE, KEY_FILE_VARIABLE = "PERCEPTRON_API_KEY", "PERCEPTRON_API_KEY_FILE"
_MAX_KEY_FILE = 65_536

JSON = "application/json"
USER_AGENT = "perceptron-client"


@dataclass(frozen=True)
class Settings:
    """How a client reaches the service."""

    base_url: str = field(repr=False)
    """It may hold a password."""
    api_key: str | None = field(repr=False)
    timeout_s: float
    retry_for_s: float

    @classmethod
    def of(cls, base_url: str | None, api_key: str | None, *, timeout_s: float, retry_for_s: float) -> Settings:
        """Fill in what is None from the environment.

        Raises:
            InvalidArgument: the address is none of HTTP, or no key can be read.
        """
        url = (base_url or os.environ.get("PERCEPTRON_URL") or DEFAULT_URL).rstrip("/")
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise InvalidArgument(f"{without_password(url)!r} is no address: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise InvalidArgument(f"{without_password(url)!r} is no address: it must be like {DEFAULT_URL}")
        if not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise InvalidArgument(f"timeout_s must be above 0 and at most {MAX_TIMEOUT_S:,.0f}, not {timeout_s}")
        key = (api_key or key_of_environment() or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise InvalidArgument("the API key has characters that no key has")  # and is not shown
        return cls(url, key or None, timeout_s, max(retry_for_s, 0.0))

    @property
    def shown_url(self) -> str:
        """The address without a password."""
        return without_password(self.base_url)

    def headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        headers = {"User-Agent": USER_AGENT, "Accept": JSON}
        return headers if self.api_key is None else headers | {"Authorization": f"Bearer {self.api_key}"}

    def needs_certificates(self) -> bool:
        """Tell whether TLS is ever used. Loading the trusted certificates takes 0.15 s; redirects are not followed."""
        return self.base_url.startswith("https:") or bool(getproxies())


def key_of_environment() -> str | None:
    """Return the access key of PERCEPTRON_API_KEY, or of the file that PERCEPTRON_API_KEY_FILE names.

    Raises:
        InvalidArgument: both are given, or the file has none.
    """
    key, path = os.environ.get(KEY_VARIABLE), os.environ.get(KEY_FILE_VARIABLE)
    if not path:
        return key or None
    if key:
        raise InvalidArgument(f"give {KEY_VARIABLE} or {KEY_FILE_VARIABLE}, not both")
    try:
        with open(path, encoding="utf-8") as file:
            key = file.read(_MAX_KEY_FILE).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidArgument(f"{KEY_FILE_VARIABLE} {path} cannot be read: {reason}") from error
    if not key:
        raise InvalidArgument(f"{KEY_FILE_VARIABLE} {path} is empty")
    return key


@dataclass(frozen=True)
class Call:
    """One request, which may take several tries."""

    method: str
    path: str
    """Below the address of the service, without a query."""
    params: Mapping[str, str] | None = None
    content: bytes | None = None
    upload: Upload | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True
    extra_timeout_s: float = 0.0
    """What the service needs by itself before it answers."""
    is_deletion: bool = False
    """Of a repeated one, 404 means that the first one was done."""
    accepts: frozenset[int] = frozenset()
    """Statuses above 399 that are answers, too; they are not repeated."""
    retry_for_s: float | None = None
    """None: as the client's settings say."""

    @property
    def what(self) -> str:
        """The request as messages name it."""
        return f"{self.method} {self.path}"


def without_password(url: str) -> str:
    """Return an address, good or not, as it may be shown."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url)


@lru_cache(maxsize=256)
def _base_of(url: str) -> httpx.URL:
    return httpx.URL(url)


def url_of(base_url: str, path: str, params: Mapping[str, str] | None) -> httpx.URL:
    """Return the address of a request. Reading an address takes as long as reading an answer of one row."""
    url = _base_of(base_url + path)
    return url if not params else url.copy_merge_params(params)


@lru_cache(maxsize=1024)
def path_of(*parts: str | int) -> str:
    """Return a path whose parts are quoted."""
    for part in parts:
        if part in ("", ".", ".."):
            raise InvalidArgument(f"{part!r} is no name")
    try:
        return "/" + "/".join(quote(str(part), safe="") for part in parts)
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{error.object!r} is no name: {error.reason}") from error


def query_of(**members: Any) -> dict[str, str]:
    """Return a query without members that are None."""
    return {name: str(value) for name, value in members.items() if value is not None}


def json_of(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        UnexpectedAnswer: it is none.
    """
    try:
        value = json.loads(response.content)
    except (ValueError, RecursionError):
        value = None
    if type(value) is not dict:
        url = without_password(str(response.request.url))
        raise UnexpectedAnswer(
            f"{response.request.method} {url}: the answer, status {response.status_code}, is no JSON "
            f"object: is there another server at this address? It begins with {response.text[:80]!r}"
        )
    return value


def error_of(response: httpx.Response) -> ApiError:
    """Return the error of an answer, whoever gave it."""
    try:
        problem = json.loads(response.content)
    except (ValueError, RecursionError):
        problem = None
    status = response.status_code
    if type(problem) is not dict:
        problem = {}
    code = str(problem.get("code") or f"status_{status}")
    detail = str(problem.get("detail") or response.reason_phrase or f"status {status}")
    faults = problem.get("errors")
    return kind_of(status, code)(
        status,
        code,
        detail,
        errors=tuple(_fault(each) for each in faults) if type(faults) is list else (),
        request_id=problem.get("request_id") or response.headers.get("x-request-id"),
        retry_after_s=retry_after_s(response),
        members=problem,
    )


def _fault(value: Any) -> Fault:
    if type(value) is dict:
        return Fault(str(value.get("pointer", "")), str(value.get("detail", "")))
    return Fault("", str(value))


def objects_of(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of a page of a list.

    Raises:
        UnexpectedAnswer: it has none.
    """
    data = page.get("data")
    if type(data) is not list or not all(type(each) is dict for each in data):
        raise UnexpectedAnswer("the answer has no list `data` of objects")
    return data
