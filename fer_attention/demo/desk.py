"""Handlers of a visitor's requests: photo and choices in, HTML out, without Gradio."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fer_attention.demo.analysis import analyse
from fer_attention.demo.choices import Choices
from fer_attention.demo.clip import analyse_clip
from fer_attention.demo.photo import Limits, PhotoError, frame_bytes, read_photo
from fer_attention.demo.render import render
from fer_attention.demo.uploads import Uploads
from fer_attention.pipeline.results import PhotoPrediction
from fer_attention.pipeline.writers import encoded
from fer_attention.recognizer import EmotionRecognizer
from fer_attention.registry import UnknownNameError
from fer_attention.samples import sample_photo

SESSIONS = 16
_FAILED = "The terminal that the page was started from says why. Try another file or detector."

_log = logging.getLogger(__name__)


class Desk:
    """Answers requests, one at a time.

    The bytes of a photo stay in memory, so that another model can analyse it, until the visitor leaves or
    uploads another photo, or until 16 other visitors have uploaded theirs.

    Args:
        choices: Models and detectors.
        limits: Bounds of one request.
        uploads: Folder of uploaded files. No other file is read or deleted.

    Attributes:
        uploads: Photos that wait for their answers.
    """

    def __init__(
        self, choices: Choices, limits: Limits | None = None, *, uploads: str | os.PathLike[str]
    ) -> None:
        self.choices = choices
        self.limits = limits or Limits()
        self.uploads = Uploads(uploads, self.limits)
        self._photos: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._lock = threading.Lock()  # handlers run in threads, and a detector serves one at a time

    def photo(self, upload: Mapping[str, Any], model: str, detector: str, maps: bool, session: str) -> str:
        """Answer a photo, given by Gradio's record of an upload; PermissionError for another file."""
        take, name = self._received(upload, "photo")
        return self._html_of(lambda: self._first(name, take, model, detector, maps, session))

    def sample(self, model: str, detector: str, maps: bool, session: str) -> str:
        """Answer the photo that comes with the package; arguments as for `photo`."""
        photo = sample_photo()
        return self._html_of(
            lambda: self._first(photo.name, photo.read_bytes, model, detector, maps, session)
        )

    def clip(self, upload: Mapping[str, Any], model: str, detector: str) -> str:
        """Answer a clip; arguments as for `photo`. Nothing of it is held."""
        take, name = self._received(upload, "clip")
        return self._html_of(lambda: self._clip(name, take(), model, detector))

    def frame(self, url: str, model: str, detector: str) -> str:
        """Answer a frame of a camera, given by its data URL. Nothing of it is held."""
        return self._html_of(lambda: self._frame(frame_bytes(url), model, detector))

    def again(self, model: str, detector: str, maps: bool, session: str) -> str:
        """Answer the same photo with other choices; arguments as for `photo`."""

        def answer() -> str:
            held = self._photos.get(session)
            if held is None:
                return render("empty")
            self._photos.move_to_end(session)
            return self._answer(*held, model, detector, maps)

        return self._html_of(answer)

    def forget(self, session: str) -> None:
        """Drop the photo of a visitor who has left."""
        with self._lock:
            self._photos.pop(session, None)

    def _received(self, upload: Mapping[str, Any], unnamed: str) -> tuple[Callable[[], bytes], str]:
        """Return a function that takes an upload's content, and the file's name."""
        path = str(self.uploads.path(str(upload["path"])))
        return partial(self.uploads.take, path), str(upload.get("orig_name") or unnamed)

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

    def _first(
        self, name: str, read: Callable[[], bytes], model: str, detector: str, maps: bool, session: str
    ) -> str:
        """Answer a new photo, and hold it for other choices."""
        self._photos.pop(session, None)
        content = read()
        html = self._answer(name, content, model, detector, maps)
        self._photos[session] = name, content  # only photos that could be read
        while len(self._photos) > SESSIONS:
            self._photos.popitem(last=False)
        return html

    def _answer(self, name: str, content: bytes, model: str, detector: str, maps: bool) -> str:
        recognizer = self.choices.recognizer(model, detector)
        photo = read_photo(content, self.limits)
        analysis = analyse(recognizer, photo, limits=self.limits, maps=maps)
        record = PhotoPrediction(name, photo.size, analysis.predictions).to_dict()
        files = _files([record], recognizer)
        return render("result", analysis=analysis, model=model, detector=detector, files=files)

    def _clip(self, name: str, content: bytes, model: str, detector: str) -> str:
        recognizer = self.choices.recognizer(model, detector)
        start = time.perf_counter()
        analysis = analyse_clip(recognizer, content, limits=self.limits)
        files = _files(analysis.records, recognizer)
        spent = time.perf_counter() - start
        return render(
            "clip", analysis=analysis, name=name, model=model, detector=detector, files=files, spent=spent
        )

    def _frame(self, content: bytes, model: str, detector: str) -> str:
        photo = read_photo(content, self.limits)
        analysis = analyse(self.choices.recognizer(model, detector), photo, limits=self.limits)
        return render("live", analysis=analysis)


def _files(records: list[dict[str, Any]], recognizer: EmotionRecognizer) -> dict[str, bytes]:
    """Return the files to download, by kind."""
    return {kind: encoded(kind, records, recognizer.labels) for kind in ("json", "csv")}
