"""What happens when a visitor does something: requests in, HTML out, without Gradio."""

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

_log = logging.getLogger(__name__)


class Desk:
    """Answers requests, one at a time.

    A photo is read from its uploaded file, which is deleted at once. Its bytes stay in memory, so that the
    same photo can be asked about with another model, until the visitor leaves, brings another, or 16 others
    have brought theirs.

    Args:
        choices: Models and detectors.
        limits: What one request may ask for.
        uploads: The folder of uploaded files; no other file is read or deleted.
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
        """The path, if it is one of an uploaded file.

        Raises:
            PermissionError: It leads elsewhere.
        """
        resolved = Path(path).resolve()
        if self._uploads not in resolved.parents:
            raise PermissionError(f"{path!r} is no uploaded file.")
        return resolved

    def photo(self, upload: Mapping[str, Any], model: str, detector: str, maps: bool, session: str) -> str:
        """The answer to a new photo.

        Args:
            upload: Gradio's record of the file, with its `path`.
            model: A label of the choices.
            detector: A name of the choices.
            maps: Whether to show what the network looked at.
            session: Whose photo it is.

        Raises:
            PermissionError: The path is not one of an uploaded file.
        """
        path = self.uploaded(str(upload["path"]))

        def answer() -> str:
            self._photos.pop(session, None)
            content = _content(path, self.limits)
            html = self._answer(content, model, detector, maps)
            self._photos[session] = content  # only what could be read is worth another question
            while len(self._photos) > SESSIONS:
                self._photos.popitem(last=False)
            return html

        try:
            return self._in_words(answer)
        finally:
            _delete(path)

    def again(self, model: str, detector: str, maps: bool, session: str) -> str:
        """The answer to the same photo with other choices; the arguments as for `photo`."""

        def answer() -> str:
            content = self._photos.get(session)
            if content is None:
                return render("empty")
            self._photos.move_to_end(session)
            return self._answer(content, model, detector, maps)

        return self._in_words(answer)

    def forget(self, session: str) -> None:
        """The visitor has left."""
        with self._lock:
            self._photos.pop(session, None)

    def _in_words(self, work: Callable[[], str]) -> str:
        """One piece of work at a time; an error becomes a message that stays on the page."""
        with self._lock:
            try:
                return work()
            except PhotoError as error:
                return render("message", title=error.title, advice=error.advice)
            except UnknownNameError as error:
                return render("message", title="There is no such choice", advice=str(error))
            except ImportError as error:
                return render("message", title="A library is missing", advice=str(error))
            except Exception:
                _log.exception("A request to the demo failed.")
                return render(
                    "message",
                    title="This did not work",
                    advice="The terminal that the page was started from says why. Try another photo or "
                    "detector.",
                )

    def _answer(self, content: bytes, model: str, detector: str, maps: bool) -> str:
        recognizer = self.choices.recognizer(model, detector)
        photo = read_photo(content, self.limits)
        analysis = analyse(recognizer, photo, limits=self.limits, maps=maps)
        return render("result", analysis=analysis, model=model, detector=detector)


def _content(path: Path, limits: Limits) -> bytes:
    """A file's bytes, if they are not too many."""
    if (size := path.stat().st_size) > limits.upload_bytes:
        raise too_large(size, limits)
    return path.read_bytes()


def _delete(path: Path) -> None:
    """The file, and its folder if nothing else is in it: Gradio makes one for each upload."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()
