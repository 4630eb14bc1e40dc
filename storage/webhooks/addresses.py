"""Which addresses events may go to."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_METADATA = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # most clouds
            "169.254.170.2",  # Amazon's containers
            "168.63.129.16",  # Azure's, in public address space
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",  # Amazon
            "fd20:ce::254",  # Google
        ),
    )
)
"""Where clouds give their machines credentials."""

_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""IPv6 addresses that a gateway translates to the IPv4 address in their last 32 bits (RFC 6052, RFC 8215)."""


def may_receive(address: Address, *, allow_private: bool) -> bool:
    """Return whether events may be sent to an address: a public one, or with `allow_private` one of a private network.

    Never to those where clouds keep credentials, nor to link-local, multicast, unspecified and reserved ones.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if (inner := _inner(address)) is not None:
            return may_receive(inner, allow_private=allow_private)
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if isinstance(address, IPv6Address) and address.is_site_local:
        return allow_private
    if address.is_loopback:  # ::1 is in a reserved range
        return allow_private
    return (address.is_global and not address.is_reserved) or (
        allow_private and address.is_private and _is_host(address)
    )


def _is_host(address: Address) -> bool:
    """Return whether a private address can be that of a machine: 0.0.0.0/8 and the broadcast address cannot."""
    return not (address.is_reserved or (isinstance(address, IPv4Address) and int(address) < 1 << 24))


def _inner(address: IPv6Address) -> Address | None:
    """Return the IPv4 address that an IPv6 address stands for."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _TRANSLATED) or (0xFFFF < int(address) < 1 << 32):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
