"""The page on a port of this machine: private files that go away, nothing from other hosts, a clean end."""

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
    """A folder for this run's temporary files, Gradio's among them, which is gone at the end.

    Gradio reads its folder from the environment when a page is built; both that and Python's own choice are
    afterwards as they were. SIGTERM ends the block as an exception would.
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
    """Serves the page until Ctrl-C or SIGTERM.

    Args:
        page: From `build_demo`, within `private_files`.
        listener: From `open_socket`.
        limits: Those of the page.
        open_browser: Whether to show the page in this machine's browser.
        ready: Called when the first request can come.

    Raises:
        KeyboardInterrupt: Ctrl-C, after all is closed.
        SystemExit: SIGTERM, likewise.
        ImportError: Gradio is missing.
    """
    with needs_extra("demo", "The web page is made of Gradio's parts"):
        import uvicorn
    app = demo_app(page, host=listener.getsockname()[0], limits=limits)
    config = uvicorn.Config(
        app, log_config=None, log_level="error", access_log=False, timeout_graceful_shutdown=0
    )

    class Server(uvicorn.Server):
        """Tells that it is ready only once it answers, and ends in order if it is stopped at that moment."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if ready is not None:
                ready()
            if open_browser:  # in a thread: a text browser would hold the server up
                threading.Thread(target=webbrowser.open, args=[address(listener)], daemon=True).start()

    server = Server(config)

    def before_the_end(_: logging.LogRecord) -> bool:
        return not server.should_exit

    log = logging.getLogger("uvicorn.error")
    log.addFilter(before_the_end)  # pages that are open have a request open; that it is cut is no error
    try:
        server.run(sockets=[listener])
    finally:
        log.removeFilter(before_the_end)


def demo_app(page: gradio.Blocks, *, host: str = "127.0.0.1", limits: Limits | None = None) -> FastAPI:
    """The page as an app of its own.

    On an address of this machine alone it is answered under the machine's own names only, so that no foreign
    page can reach it under a name of its making (DNS rebinding).
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
    """Tells browsers to ask no other host for anything and to keep no copy of a photo.

    An upload is deleted as soon as it has been read. If the browser then asks for its preview, the answer is
    "no content" rather than an error.
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
