"""The page on a port of this machine, with private temporary files and nothing from other hosts."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fer_attention.demo.page import mount_demo
from fer_attention.demo.photo import Limits
from fer_attention.optional import needs_extra
from fer_attention.sockets import address, own_names

if TYPE_CHECKING:
    import gradio
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PORT = 7860
_log = logging.getLogger(__name__)
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'"
)


@contextmanager
def private_files() -> Iterator[str]:
    """Put this run's temporary files, including Gradio's, into a folder that is deleted at the end.

    Gradio reads its folder from the environment when a page is built. That variable and Python's own folder
    are restored. SIGTERM ends the block as an exception would.
    """
    before, chosen = os.environ.get("GRADIO_TEMP_DIR"), tempfile.tempdir
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number)) if main else None
    try:
        with tempfile.TemporaryDirectory(prefix="fer_attention_demo_", ignore_cleanup_errors=True) as folder:
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
    from gradio.utils import get_upload_folder
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_Headers, uploads=get_upload_folder())
    if (names := own_names(host)) is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=names)
    return mount_demo(app, page, path="/", limits=limits)


class _Headers:
    """Middleware whose headers forbid browsers to load from other hosts and to store photos.

    An upload is deleted once it has been read. A later request for its preview gets "no content" instead of
    an error.
    """

    def __init__(self, app: ASGIApp, *, uploads: str) -> None:
        self._app = app
        self._previews = f"/gradio_api/file={Path(uploads).resolve()}{os.sep}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import MutableHeaders

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        preview = scope["path"].startswith(self._previews) and ".." not in scope["path"]
        started = gone = False

        async def with_headers(message: Message) -> None:
            nonlocal started, gone
            if message["type"] == "http.response.start":
                started = True
                if preview and message["status"] >= 400:
                    gone = True
                    message = {"type": "http.response.start", "status": 204, "headers": []}
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = _POLICY
                if scope["path"].startswith("/gradio_api/"):
                    headers["cache-control"] = "no-store"
            elif gone:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, with_headers)
        except (FileNotFoundError, RuntimeError):  # Starlette's, if the file is gone at its `stat`
            if not preview:
                raise
            _log.info("An upload was deleted before its preview was sent.")
            if not started:
                await with_headers({"type": "http.response.start", "status": 404, "headers": []})
                await with_headers({"type": "http.response.body", "body": b""})
