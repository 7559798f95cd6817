"""The page on a port of this machine, with private temporary files and nothing from other hosts."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from fer_attention.demo.page import mount_demo
from fer_attention.demo.photo import Limits
from fer_attention.http_guard import bounded, foreign_origin
from fer_attention.optional import needs_extra
from fer_attention.sockets import address, own_names

if TYPE_CHECKING:
    import gradio
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PORT = 7860
_PREFIX, _LOCK = "fer_attention_demo_", ".in_use"
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
)
BODY_BYTES = 1_000_000
"""Largest body of a request that is not an upload."""


@contextmanager
def private_files() -> Iterator[str]:
    """Put this run's temporary files, including Gradio's, into a folder that is deleted at the end.

    Gradio reads its folder from the environment when a page is built. That variable and Python's own folder
    are restored. SIGTERM ends the block as an exception would. Folders of runs that were killed are deleted.
    """
    _delete_folders_of_killed_runs()
    before, chosen = os.environ.get("GRADIO_TEMP_DIR"), tempfile.tempdir
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number)) if main else None
    try:
        with (
            tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as own,
            FileLock(Path(own) / _LOCK),
        ):
            folder = os.path.join(own, "files")
            os.mkdir(folder, 0o700)
            os.environ["GRADIO_TEMP_DIR"] = tempfile.tempdir = folder
            try:
                yield folder
            finally:
                tempfile.tempdir = chosen
                os.environ.pop("GRADIO_TEMP_DIR")
                if before is not None:
                    os.environ["GRADIO_TEMP_DIR"] = before
    finally:
        if main:
            signal.signal(signal.SIGTERM, handler)


def _delete_folders_of_killed_runs() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        lock = folder / _LOCK
        with suppress(OSError, Timeout):  # another user's, or of a run that works
            if lock.is_file():
                with FileLock(lock, blocking=False):
                    shutil.rmtree(folder)


def serve(
    page: gradio.Blocks,
    listener: socket.socket,
    *,
    limits: Limits | None = None,
    open_browser: bool = False,
    ready: Callable[[], None] | None = None,
) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    >>> from fer_attention.sockets import open_socket
    >>> with private_files(), open_socket("127.0.0.1", first=PORT) as listener:  # doctest: +SKIP
    ...     serve(build_demo(), listener, open_browser=True)

    Args:
        page: From `build_demo`, within `private_files`.
        listener: A listening socket, as `fer_attention.sockets.open_socket` opens it.
        limits: Those of the page.
        open_browser: Show the page in this machine's browser.
        ready: Called once the page answers requests.

    Raises:
        KeyboardInterrupt: Ctrl-C, after everything is closed.
        SystemExit: SIGTERM, likewise.
        ImportError: Gradio is missing.
    """
    with needs_extra("demo", "The web page is built with Gradio"):
        import uvicorn
    app = demo_app(page, host=listener.getsockname()[0], limits=limits)
    config = uvicorn.Config(
        app, log_config=None, log_level="error", access_log=False, timeout_graceful_shutdown=0
    )

    class Server(uvicorn.Server):
        """A server that calls `ready` once it answers."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if ready is not None:
                ready()
            if open_browser:  # in a thread, as a text browser would block the server
                threading.Thread(target=webbrowser.open, args=[address(listener)], daemon=True).start()

    server = Server(config)

    def still_running(_: logging.LogRecord) -> bool:
        return not server.should_exit

    log = logging.getLogger("uvicorn.error")
    log.addFilter(still_running)  # an open page has an open request, and cutting it is not an error
    try:
        server.run(sockets=[listener])
    finally:
        log.removeFilter(still_running)


def demo_app(page: gradio.Blocks, *, host: str = "127.0.0.1", limits: Limits | None = None) -> FastAPI:
    """Wrap the page in an app of its own.

    On a loopback address the app accepts the machine's own host names only, which protects it from DNS
    rebinding.
    """
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard)
    if (names := own_names(host)) is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=names)
    return mount_demo(app, page, path="/", limits=limits)


class Guard:
    """Middleware that refuses foreign pages and long bodies, and adds headers.

    The headers forbid browsers to load from other hosts, to show the page inside another, to guess types of
    files, and to store photos.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import PlainTextResponse

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = _POLICY
                headers["x-content-type-options"] = "nosniff"
                if scope["path"].startswith("/gradio_api/"):
                    headers["cache-control"] = "no-store"
            await send(message)

        if (origin := foreign_origin(Headers(scope=scope))) is not None:
            refusal = PlainTextResponse(f"Pages of {origin} may not use this page.", 403)
            await refusal(scope, receive, with_headers)
            return
        if scope["method"] == "POST" and not scope["path"].endswith("/gradio_api/upload"):
            try:  # the files of an upload have limits of their own
                receive = await _whole(receive)
            except _TooLargeError:
                refusal = PlainTextResponse(f"A request may have up to {BODY_BYTES:,} bytes.", 413)
                await refusal(scope, receive, with_headers)
                return
        await self._app(scope, receive, with_headers)


class _TooLargeError(Exception):
    """A request's body is too long."""


async def _whole(receive: Receive) -> Receive:
    """Read a request's body within the limit, and return a `receive` that gives it once more."""
    parts, within = [], bounded(receive, BODY_BYTES, _TooLargeError)
    while not parts or parts[-1].get("more_body"):
        parts.append(await within())

    async def again() -> Message:
        return parts.pop(0) if parts else await receive()

    return again
