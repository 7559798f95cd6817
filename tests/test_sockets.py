"""Listening sockets: ports that are free, addresses that browsers take."""

import re

import pytest

from fer_attention.sockets import address, is_loopback, open_socket, own_names


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False)],  # noqa: S104
)
def test_addresses_of_this_machine_alone_have_names_of_their_own(host, alone):
    assert is_loopback(host) is alone
    assert (own_names(host) is not None) is alone


class Listener:
    """A socket of an address, which this machine may not have."""

    def __init__(self, *name):
        self.name = name

    def getsockname(self):
        return self.name


def test_an_address_is_one_that_a_browser_takes():
    assert address(Listener("0.0.0.0", 80)) == "http://127.0.0.1:80"  # noqa: S104
    assert address(Listener("::1", 80, 0, 0)) == address(Listener("::", 80, 0, 0)) == "http://[::1]:80"


def test_a_taken_port_is_an_error_that_names_a_free_one():
    with open_socket("127.0.0.1", first=0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"Port {port} is taken") as caught:
            open_socket("127.0.0.1", first=0, port=port)
    free = int(re.search(r"--port (\d+)", str(caught.value))[1])
    open_socket("127.0.0.1", first=0, port=free).close()


def test_without_a_port_the_next_free_one_is_taken():
    with open_socket("127.0.0.1", first=0) as taken:
        port = taken.getsockname()[1]
        with open_socket("127.0.0.1", first=port) as second:
            assert second.getsockname()[1] > port


def test_an_address_of_another_machine_is_an_error():
    with pytest.raises(OSError, match=r"Cannot serve on 192\.0\.2\.1, port \d+: [^(]+\.$"):
        open_socket("192.0.2.1", first=0)
