"""Weights of face detectors that are fetched when the user asks, and checked before any use.

Nothing here runs on import or when a detector is made: `download_weights` is the one function that touches
the network.
"""

from __future__ import annotations

import hashlib
import re
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import torch

from fer_attention.atomic import replacing
from fer_attention.registry import unknown_name

TIMEOUT = 30.0  # seconds without any answer
_CHUNK = 1 << 16


class DownloadError(RuntimeError):
    """Weights could not be fetched; no file was written."""


class WeightsNotFoundError(FileNotFoundError):
    """Weights that a detector needs were not downloaded yet."""


def _is_safe(url: str) -> bool:
    """https, or plain http on this machine."""
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "localhost")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))


@dataclass(frozen=True)
class DownloadableWeights:
    """A file on the network of which every byte is known beforehand.

    Args:
        name: The detector's name in `DETECTORS`.
        url: Where the file itself lies. https; http only on this machine.
        sha256: Its checksum, 64 lower-case hex digits.
        size: Its length in bytes.
        licence: Its terms, and whose they are.
        source: The page to read about it.

    Raises:
        ValueError: A fact has the wrong form.
    """

    name: str
    url: str
    sha256: str
    size: int
    licence: str
    source: str

    def __post_init__(self) -> None:
        if not _is_safe(self.url):
            raise ValueError(f"url is an https address; got {self.url!r}.")
        if not self.filename:
            raise ValueError(f"url ends in the file's name; got {self.url!r}.")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 is 64 lower-case hex digits; got {self.sha256!r}.")
        if self.size < 1:
            raise ValueError(f"size is at least 1 byte; got {self.size}.")

    @property
    def filename(self) -> str:
        """The file's own name: the last part of the address."""
        return PurePosixPath(urlsplit(self.url).path).name


_ZOO = "47534e27c9851bb1128ccc0102f1145e27f23f98"

DOWNLOADABLE: dict[str, DownloadableWeights] = {
    "yunet": DownloadableWeights(
        name="yunet",
        # a Git LFS file: raw.githubusercontent.com would give the pointer to it
        url=f"https://media.githubusercontent.com/media/opencv/opencv_zoo/{_ZOO}/models/face_detection_yunet/"
        "face_detection_yunet_2026may.onnx",
        sha256="ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0",
        size=229738,
        licence="MIT (copyright 2020 Shiqi Yu)",
        source=f"https://github.com/opencv/opencv_zoo/tree/{_ZOO}/models/face_detection_yunet",
    )
}


def weights_folder() -> Path:
    """Where downloads are kept: `fer_attention` in torch's hub folder, so TORCH_HOME moves it."""
    return Path(torch.hub.get_dir()) / "fer_attention"


def downloadable(name: str) -> DownloadableWeights:
    """What is known of the weights of that name.

    Raises:
        UnknownNameError: No such weights.
    """
    if name not in DOWNLOADABLE:
        raise unknown_name("downloadable weights", name, DOWNLOADABLE)
    return DOWNLOADABLE[name]


def verified(path: Path, weights: DownloadableWeights) -> bool:
    """Whether a file is there and is the known one, by its size and sha256."""
    if not path.is_file() or path.stat().st_size != weights.size:
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == weights.sha256


def installed_weights(name: str, *, folder: Path | None = None) -> Path:
    """The downloaded file, checked. Touches no network.

    Args:
        name: A name in `DOWNLOADABLE`.
        folder: Where it was downloaded to; None means `weights_folder()`.

    Raises:
        UnknownNameError: No such weights.
        WeightsNotFoundError: They were not downloaded yet. A FileNotFoundError.
        ValueError: The file there is not the known one.
    """
    weights = downloadable(name)
    path = _place(weights, folder)
    mend = (
        f"Run `fer-attention weights download {name}`, or give a file of your own: "
        "weights='/path/to/file.onnx'."
    )
    if not path.exists():
        raise WeightsNotFoundError(f"The weights of {name!r} are not there ({path}). {mend}")
    if not verified(path, weights):
        raise ValueError(f"The file {path} is damaged or another: its sha256 is not {weights.sha256}. {mend}")
    return path


def download_weights(
    name: str, *, folder: Path | None = None, on_progress: Callable[[int, int], None] | None = None
) -> Path:
    """Fetches weights, unless the right file is there already.

    The file gets its name only when its size and sha256 are the known ones: whatever happens, what lay there
    before stays. Proxies are taken from the environment, as urllib does.

    Args:
        name: A name in `DOWNLOADABLE`.
        folder: Where to keep it, created if need be; None means `weights_folder()`.
        on_progress: Called with the bytes that have come and the bytes in all.

    Raises:
        UnknownNameError: No such weights.
        DownloadError: No connection, no such file, a slow, short, long or wrong answer, or no place for it.
    """
    weights = downloadable(name)
    target = _place(weights, folder)
    if verified(target, weights):
        return target
    request = urllib.request.Request(weights.url, headers={"User-Agent": "fer_attention"})  # noqa: S310 - checked by the record
    opener = urllib.request.build_opener(_SafeRedirects)
    try:
        with opener.open(request, timeout=TIMEOUT) as response:
            _check_offer(response.headers.get("Content-Length"), weights)
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary, temporary.open("wb") as file:
                _copy(response, file, weights, on_progress)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise _failure(weights, _reason(error)) from error
    return target


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not _is_safe(newurl):
            fp.close()
            raise URLError(f"it redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _place(weights: DownloadableWeights, folder: Path | None) -> Path:
    return (weights_folder() if folder is None else Path(folder)) / weights.filename


def _check_offer(length: str | None, weights: DownloadableWeights) -> None:
    if length is not None and length.strip() != str(weights.size):
        raise _failure(weights, f"the server offers {length} bytes, not the {weights.size} that are known")


def _copy(
    response: IO[bytes],
    file: IO[bytes],
    weights: DownloadableWeights,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Copies an answer as long as it can be the known file, and checks it at the end."""
    digest = hashlib.sha256()
    done = 0
    while chunk := response.read(_CHUNK):
        done += len(chunk)
        if done > weights.size:
            raise _failure(weights, f"more came than the {weights.size} bytes that are known")
        digest.update(chunk)
        file.write(chunk)
        if on_progress is not None:
            on_progress(done, weights.size)
    if done < weights.size:
        raise _failure(weights, f"the answer ended after {done} of {weights.size} bytes")
    if digest.hexdigest() != weights.sha256:
        raise _failure(weights, f"its sha256 is {digest.hexdigest()}, not the known {weights.sha256}")


def _reason(error: OSError | HTTPException) -> str:
    if isinstance(error, HTTPError):
        return f"the server answered {error.code} {error.reason}"
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    if isinstance(cause, HTTPException):
        return f"the answer is no proper HTTP ({cause!r})"
    return str(cause) or type(cause).__name__


def _failure(weights: DownloadableWeights, what: str) -> DownloadError:
    return DownloadError(
        f"The weights of {weights.name!r} could not be downloaded from {weights.url}: {what}. Nothing was "
        f"written. To fetch them by hand, see {weights.source}, and give the file as "
        f"`--detector-weights FILE` or `create_detector({weights.name!r}, weights=FILE)`."
    )
