"""Weights of face detectors, downloaded on request and verified before use.

Only `download_weights` uses the network; importing and creating a detector never do.
"""

from __future__ import annotations

import socket
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.error import HTTPError

import torch

from fer_attention.digests import file_sha256
from fer_attention.registry import Registry

TIMEOUT = 30.0  # seconds without an answer


class DownloadError(RuntimeError):
    """Weights could not be downloaded."""


def weights_folder() -> Path:
    """Return the download folder: `fer_attention` in torch's hub folder, which TORCH_HOME moves."""
    return Path(torch.hub.get_dir()) / "fer_attention"


class DownloadableWeights(NamedTuple):
    """A fixed version of a downloadable file; `source` is the page that describes it, `size` is in bytes."""

    url: str
    sha256: str
    size: int
    licence: str
    source: str

    @property
    def path(self) -> Path:
        """Path of the downloaded file."""
        return weights_folder() / PurePosixPath(self.url).name

    def verified(self) -> bool:
        """Return True if the file exists and has the expected sha256."""
        return self.path.is_file() and file_sha256(self.path) == self.sha256


DOWNLOADABLE: Registry[DownloadableWeights] = Registry("downloadable weights")
_ZOO = "47534e27c9851bb1128ccc0102f1145e27f23f98"

DOWNLOADABLE.register("yunet")(
    DownloadableWeights(
        # a Git LFS file: raw.githubusercontent.com returns a pointer instead
        url=f"https://media.githubusercontent.com/media/opencv/opencv_zoo/{_ZOO}/models/face_detection_yunet/"
        "face_detection_yunet_2026may.onnx",
        sha256="ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0",
        size=229738,
        licence="MIT (copyright 2020 Shiqi Yu)",
        source=f"https://github.com/opencv/opencv_zoo/tree/{_ZOO}/models/face_detection_yunet",
    )
)


def installed_weights(name: str) -> Path:
    """Return the path of downloaded weights after verifying them, without using the network.

    Raises:
        UnknownNameError: No weights have this name.
        FileNotFoundError: The weights have not been downloaded.
        ValueError: The file has a different sha256.
    """
    path = (weights := DOWNLOADABLE[name]).path
    remedy = f"Run `fer-attention weights download {name}`, or pass a file: weights='/path/to/file.onnx'."
    if not path.exists():
        raise FileNotFoundError(f"The weights of {name!r} are not at {path}. {remedy}")
    if not weights.verified():
        raise ValueError(
            f"The file {path} is damaged or another: its sha256 is not {weights.sha256}. {remedy}"
        )
    return path


def download_weights(name: str, *, progress: bool = False) -> Path:
    """Download weights unless the verified file exists, and return its path.

    A file gets its name only after it was verified.

    Raises:
        UnknownNameError: No weights have this name.
        DownloadError: The server cannot be reached, does not answer or sends a different file, or the folder
            is not writable.
    """
    path = (weights := DOWNLOADABLE[name]).path
    if weights.verified():
        return path
    timeout = socket.getdefaulttimeout()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(TIMEOUT if timeout is None else timeout)  # torch.hub has no option for it
        torch.hub.download_url_to_file(weights.url, str(path), hash_prefix=weights.sha256, progress=progress)
    except (OSError, HTTPException, RuntimeError) as error:
        cause = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
        reason = " ".join((getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).split())
        raise DownloadError(
            f"The weights of {name!r} could not be downloaded from {weights.url} to {path}: {reason}. To use "
            f"a file from {weights.source}, pass `--detector-weights FILE` or "
            f"`create_detector({name!r}, weights=FILE)`."
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    return path
