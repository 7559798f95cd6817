"""The HTTP interface: photos in, the records of `fer-attention predict --json` out."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from PIL import Image

from fer_attention import __version__
from fer_attention.faces.images import ImageError, load_image
from fer_attention.http_guard import bounded, foreign_origin
from fer_attention.optional import needs_extra
from fer_attention.serve.limits import ServeLimits
from fer_attention.serve.queue import BatchQueue, QueueFullError
from fer_attention.threads import default_workers

with needs_extra("serve", "The server is built on FastAPI"):
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException
    from starlette.middleware.trustedhost import TrustedHostMiddleware

if TYPE_CHECKING:
    from fer_attention.recognizer import EmotionRecognizer

Record: TypeAlias = dict[str, Any]
Photo: TypeAlias = tuple[str, bytes]
"""A photo's name in the answer, and its file."""

BATCH = 8
"""Photos that one thread answers together."""

_log = logging.getLogger(__name__)
_PHOTO = {"type": "string", "format": "binary"}
_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": _PHOTO},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"photos": {"type": "array", "items": _PHOTO}}}
        },
    },
}
_ERRORS = {
    400: "The body or the form is empty.",
    413: "A file or the form is too large.",
    422: "The body is not a readable photo.",
    503: "Too many photos are waiting; try again later.",
}


def create_app(
    recognizer: EmotionRecognizer,
    *,
    limits: ServeLimits | None = None,
    workers: int | None = None,
    hosts: Sequence[str] | None = None,
) -> FastAPI:
    """Create an ASGI application that names the expressions in the photos sent to it.

    - `POST /predict` with the bytes of one photo returns its record; with a form of files it returns a list
      of records in their order, in which a photo that cannot be read has an `error`.
    - `GET /healthz` returns the number of waiting photos and the model's emotions.
    - `GET /openapi.json` describes the interface.

    Photos are read in memory and not stored. Requests that pages of another origin send are refused.

    Args:
        recognizer: Finds faces and names their expressions.
        limits: Largest files and photos, and how many may wait.
        workers: Number of threads; by default one for each core, at most eight.
        hosts: Host names that requests may use; None accepts any.

    Raises:
        ImportError: FastAPI is not installed.
    """
    bounds = limits or ServeLimits()

    def answer(photos: Sequence[Photo]) -> list[Record | Exception]:
        return _answer(recognizer, photos, max_pixels=round(bounds.megapixels * 1e6))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.queue = BatchQueue(
            answer, workers=workers or default_workers(), batch_size=BATCH, capacity=bounds.waiting
        )
        yield
        await app.state.queue.close()

    app = FastAPI(
        title="fer_attention",
        description="Expressions of faces in photos. A label is a perceived expression, not a felt emotion.",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
    )
    if hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    @app.get("/healthz", summary="Tell that the server answers.")
    async def healthz() -> Record:
        return {"status": "ok", "waiting": len(app.state.queue), "labels": list(recognizer.labels)}

    @app.post(
        "/predict",
        summary="Name the expressions of all faces in photos.",
        openapi_extra={"requestBody": _BODY},
        responses={status: {"description": text} for status, text in _ERRORS.items()},
    )
    async def predict(request: Request) -> Any:
        _refuse_foreign_pages(request)
        several = request.headers.get("content-type", "").startswith("multipart/form-data")
        photos = await (_form(request, bounds) if several else _body(request, bounds))
        try:
            answers = await app.state.queue.submit(photos)
        except QueueFullError as error:
            raise HTTPException(503, str(error), headers={"Retry-After": "1"}) from error
        records = [_record(photo, found) for photo, found in zip(photos, answers, strict=True)]
        if several:
            return records
        return JSONResponse(records[0], 422 if "error" in records[0] else 200)

    return app


def _answer(
    recognizer: EmotionRecognizer, photos: Sequence[Photo], *, max_pixels: int
) -> list[Record | Exception]:
    read: list[Image.Image | Exception] = []
    for _, content in photos:
        try:
            read.append(load_image(content, max_pixels=max_pixels))
        except Exception as error:  # one request's trouble must not become another's
            read.append(error)
    images = [image for image in read if isinstance(image, Image.Image)]
    found = iter(recognizer.predict(images))
    return [
        image
        if isinstance(image, Exception)
        else {
            "image": name,
            "width": image.width,
            "height": image.height,
            "faces": [face.to_dict() for face in next(found)],
        }
        for (name, _), image in zip(photos, read, strict=True)
    ]


def _record(photo: Photo, answer: Record | Exception) -> Record:
    """Return the record of an answered photo, or of the reason why there is none."""
    if isinstance(answer, ImageError):
        return {"image": photo[0], "error": str(answer)}
    if isinstance(answer, Exception):
        _log.error("A photo could not be answered.", exc_info=answer)
        raise HTTPException(500, "The server failed on this photo; its log says why.") from answer
    return answer


def _refuse_foreign_pages(request: Request) -> None:
    """Refuse requests of pages from elsewhere, which a browser sends to this machine without being asked."""
    if (origin := foreign_origin(request.headers)) is not None:
        raise HTTPException(403, f"Pages of {origin} may not use this server.")


async def _body(request: Request, limits: ServeLimits) -> list[Photo]:
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > limits.upload_bytes:
            raise _too_large(limits)
    if not content:
        raise HTTPException(400, "The body is empty. Send a photo's bytes, or a form of files.")
    return [("body", bytes(content))]


async def _form(request: Request, limits: ServeLimits) -> list[Photo]:
    receive: Any = bounded(request.receive, limits.body_bytes, lambda: _too_large(limits))
    async with Request(request.scope, receive).form(max_files=limits.files, max_fields=limits.files) as form:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise HTTPException(400, "The form holds no file. Send photos as files, such as `photos`.")
        if any((file.size or 0) > limits.upload_bytes for file in files):
            raise _too_large(limits)
        return [(file.filename or f"photo {n}", await file.read()) for n, file in enumerate(files, start=1)]


def _too_large(limits: ServeLimits) -> HTTPException:
    return HTTPException(
        413, f"A file may have up to {limits.upload_mb:g} MB, and a form up to {limits.files} files."
    )
