"""Handlers of a visitor's requests: photo and choices in, HTML out, without Gradio."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fer_attention.demo.analysis import analyse
from fer_attention.demo.choices import Choices
from fer_attention.demo.photo import Limits, PhotoError, read_photo, too_large
from fer_attention.demo.render import render
from fer_attention.registry import UnknownNameError

SESSIONS = 16
_FAILED = "The terminal that the page was started from says why. Try another photo or detector."

_log = logging.getLogger(__name__)


class Desk:
    """Answers requests, one at a time.

    A photo is read from its uploaded file, which is deleted immediately. Its bytes stay in memory, so that
    another model can analyse it, until the visitor leaves or uploads another photo, or until 16 other
    visitors have uploaded theirs.

    Args:
        choices: Models and detectors.
        limits: Bounds of one request.
        uploads: Folder of uploaded files. No other file is read or deleted.
    """

    def __init__(
        self, choices: Choices, limits: Limits | None = None, *, uploads: str | os.PathLike[str]
    ) -> None:
        self.choices = choices
        self.limits = limits or Limits()
        self._uploads = Path(uploads).resolve()
        self._photos: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()  # handlers run in threads, and a detector serves one at a time

    def uploaded(self, path: str) -> Path:
        """Return the path of an uploaded file; PermissionError for any other path."""
        resolved = Path(path).resolve()
        if self._uploads not in resolved.parents:
            raise PermissionError(f"{path!r} is not an uploaded file.")
        return resolved

    def photo(self, upload: Mapping[str, Any], model: str, detector: str, maps: bool, session: str) -> str:
        """Answer a photo, given by Gradio's record of an upload; PermissionError for another file."""
        path = self.uploaded(str(upload["path"]))

        def answer() -> str:
            self._photos.pop(session, None)
            if (size := path.stat().st_size) > self.limits.upload_bytes:
                raise too_large(size, self.limits)
            content = path.read_bytes()
            html = self._answer(content, model, detector, maps)
            self._photos[session] = content  # only photos that could be read
            while len(self._photos) > SESSIONS:
                self._photos.popitem(last=False)
            return html

        try:
            return self._html_of(answer)
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # Gradio creates a folder for each upload
                path.parent.rmdir()

    def again(self, model: str, detector: str, maps: bool, session: str) -> str:
        """Answer the same photo with other choices; arguments as for `photo`."""

        def answer() -> str:
            content = self._photos.get(session)
            if content is None:
                return render("empty")
            self._photos.move_to_end(session)
            return self._answer(content, model, detector, maps)

        return self._html_of(answer)

    def forget(self, session: str) -> None:
        """Drop the photo of a visitor who has left."""
        with self._lock:
            self._photos.pop(session, None)

    def _html_of(self, work: Callable[[], str]) -> str:
        """Do one piece of work at a time; an error becomes a message on the page."""
        with self._lock:
            try:
                return work()
            except PhotoError as error:
                title, advice = error.title, error.advice
            except UnknownNameError as error:
                title, advice = "There is no such choice", str(error)
            except ImportError as error:
                title, advice = "A library is missing", str(error)
            except Exception:
                _log.exception("A request to the demo failed.")
                title, advice = "This did not work", _FAILED
            return render("message", title=title, advice=advice)

    def _answer(self, content: bytes, model: str, detector: str, maps: bool) -> str:
        recognizer = self.choices.recognizer(model, detector)
        photo = read_photo(content, self.limits)
        analysis = analyse(recognizer, photo, limits=self.limits, maps=maps)
        return render("result", analysis=analysis, model=model, detector=detector)
