"""Uploaded photos, held in memory from the moment they have arrived."""

from __future__ import annotations

import json
import mimetypes
import os
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fer_attention.demo.photo import Limits, PhotoError, too_large

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

WAITING = 64
"""Photos that may wait for their answers."""

_BYTES = 500_000_000  # of all photos that wait
_SHOWN = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/avif")
_GONE = PhotoError("The photo is no longer here", "Too many photos were waiting. Upload it again.")


@dataclass
class _Upload:
    """Content of a file, None above the limit; its size; and how many uploads wait for their answers."""

    content: bytes | None
    size: int
    waiting: int = 0


class Uploads:
    """Photos between upload and answer.

    Gradio stores equal files at one path. Here each upload is counted, so that the answer to one visitor
    leaves the photos of the others alone, and no file outlives its upload.

    Args:
        folder: Folder of uploaded files. No other file is read or deleted.
        limits: Files above `limits.upload_bytes` are deleted unread.
    """

    def __init__(self, folder: str | os.PathLike[str], limits: Limits) -> None:
        self.folder = Path(folder).resolve()
        self._limits = limits
        self._held: OrderedDict[Path, _Upload] = OrderedDict()
        self._lock = threading.Lock()

    def path(self, path: str) -> Path:
        """Return the path of an uploaded file; PermissionError for any other path."""
        resolved = Path(path).resolve()
        if self.folder not in resolved.parents:
            raise PermissionError(f"{path!r} is not an uploaded file.")
        return resolved

    def receive(self, path: str) -> None:
        """Move an uploaded file into memory; PermissionError for a file that was not uploaded."""
        file = self.path(path)
        with self._lock:
            equal = self._held.pop(file, None)
            upload = self._moved(file) or equal  # the file of an equal upload was moved a moment ago
            if upload is None:
                return
            upload.waiting = (equal.waiting if equal else 0) + 1
            self._held[file] = upload
            while len(self._held) > WAITING or self._bytes() > _BYTES:
                self._held.popitem(last=False)

    def take(self, path: str) -> bytes:
        """Return the content of an upload, once for each time that it was received.

        Raises:
            PermissionError: The file was not uploaded.
            PhotoError: The photo is above the limit, or too many others came after it.
        """
        file = self.path(path)
        if file.is_file():
            self.receive(path)
        with self._lock:
            upload = self._held.get(file)
            if upload is None:
                raise _GONE
            upload.waiting -= 1
            if not upload.waiting:
                del self._held[file]
        if upload.content is None:
            raise too_large(upload.size, self._limits)
        return upload.content

    def _moved(self, file: Path) -> _Upload | None:
        """Read and delete a file; None if it is gone."""
        try:
            size = file.stat().st_size
            return _Upload(file.read_bytes() if size <= self._limits.upload_bytes else None, size)
        except FileNotFoundError:
            return None
        finally:
            file.unlink(missing_ok=True)
            with suppress(OSError):  # Gradio creates a folder for each content
                file.parent.rmdir()

    def _bytes(self) -> int:
        return sum(len(upload.content or b"") for upload in self._held.values())

    def preview(self, path: str) -> tuple[bytes, str] | None:
        """Return the content and the media type of a photo that waits, or None."""
        kind = mimetypes.guess_type(path)[0]
        with self._lock:
            upload = self._held.get(Path(path))
        return (upload.content, kind) if upload and upload.content and kind in _SHOWN else None


class KeepUploads:
    """Middleware around Gradio's app: files are in memory before their visitor learns that they arrived."""

    def __init__(self, app: ASGIApp, *, uploads: Uploads) -> None:
        self._app, self._uploads = app, uploads
        self._files = f"/gradio_api/file={uploads.folder}{os.sep}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope.get("path", "")
        if scope["type"] == "http" and scope["method"] == "POST" and path.endswith("/gradio_api/upload"):
            await self._app(scope, receive, self._receiving(send))
        elif scope["type"] == "http" and self._files in path and ".." not in path:
            await self._show(path[path.index("=") + 1 :], send)
        else:
            await self._app(scope, receive, send)

    def _receiving(self, send: Send) -> Send:
        """Return a `send` that receives the files whose paths pass through it."""
        answered, body = 0, b""

        async def watched(message: Message) -> None:
            nonlocal answered, body
            if message["type"] == "http.response.start":
                answered = message["status"]
            elif message["type"] == "http.response.body" and answered == 200:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    for name in json.loads(body):
                        self._uploads.receive(name)
            await send(message)

        return watched

    async def _show(self, path: str, send: Send) -> None:
        """Answer the preview of a photo that waits, or "no content" once it has been answered."""
        content, kind = self._uploads.preview(path) or (b"", "")
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode())]
        start = {"status": 200, "headers": headers} if content else {"status": 204, "headers": []}
        await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": content})
