"""Listening sockets for pages and servers on this machine."""

from __future__ import annotations

import errno
import socket

from fer_attention.os_errors import reason_of

_TRIES = 20  # ports after the first


def is_loopback(host: str) -> bool:
    """Return True for an address that only this machine can reach.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    return host in ("localhost", "::1") or host.startswith("127.")


def own_names(host: str) -> list[str] | None:
    """Return the host names of a loopback address, or None for an address that others can reach.

    A server that accepts these names alone is safe from foreign pages that give it a name of theirs (DNS
    rebinding).
    """
    return ["127.0.0.1", "localhost", "::1", "[::1]", host] if is_loopback(host) else None


def open_socket(host: str, *, first: int, port: int | None = None) -> socket.socket:
    """Open a listening socket, before anything slow is done.

    Args:
        host: Address to listen on.
        first: Port to try first where none is given; the next free one is taken.
        port: The port to take, or None.

    Raises:
        OSError: The port is taken, or this machine does not have the address.
    """
    ports = [port] if port is not None else range(first, first + 1 + _TRIES)
    for candidate in ports:
        try:
            return _bound(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                reason = reason_of(error).partition(" (while")[0]  # Python repeats the address
                raise OSError(
                    f"Cannot serve on {host or 'an empty host'}, port {candidate}: {reason}."
                ) from error
    if port is None:
        raise OSError(f"Ports {first} to {first + _TRIES} are all taken. Name a free one: --port N.")
    raise OSError(f"Port {port} is taken by another program. Name another: --port {_free_port(host)}.")


def address(listener: socket.socket) -> str:
    """Return the address of a listening socket, as a browser on this machine takes it."""
    host, port = listener.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


def _bound(host: str, port: int) -> socket.socket:
    family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    return socket.create_server(target, family=family, backlog=128, dualstack_ipv6=both)


def _free_port(host: str) -> int:
    with _bound(host, 0) as free:
        return int(free.getsockname()[1])
