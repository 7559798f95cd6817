"""Run the HTTP interface until it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from fer_attention.optional import needs_extra
from fer_attention.serve.app import create_app
from fer_attention.serve.limits import ServeLimits
from fer_attention.sockets import own_names

if TYPE_CHECKING:
    from fer_attention.recognizer import EmotionRecognizer

PATIENCE = 30
"""Seconds that requests in work have to end when the server is told to stop."""


def serve(
    recognizer: EmotionRecognizer,
    listener: socket.socket,
    *,
    limits: ServeLimits | None = None,
    workers: int | None = None,
    ready: Callable[[], None] | None = None,
) -> None:
    """Serve a recogniser on a listening socket until Ctrl-C or SIGTERM; requests in work are answered first.

    On an address of this machine alone, requests under other host names are refused.

    Args:
        recognizer: Finds faces and names their expressions.
        listener: A listening socket, as `fer_attention.sockets.open_socket` opens it.
        limits: Bounds of what requests may ask for.
        workers: Number of threads; by default one for each core, at most eight.
        ready: Called once the first request can come.

    Raises:
        ImportError: FastAPI or uvicorn is not installed.
    """
    with needs_extra("serve", "The server runs on uvicorn"):
        import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if ready is not None:
                ready()

    app = create_app(recognizer, limits=limits, workers=workers, hosts=own_names(listener.getsockname()[0]))
    config = uvicorn.Config(
        app, log_config=None, log_level="error", access_log=False, timeout_graceful_shutdown=PATIENCE
    )
    Server(config).run(sockets=[listener])
