"""Images that weights have seen, and the fold that they were trained on, in the weights' record."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_attention.data.protocols import create_protocol
from fer_attention.data.records import DataError, Division, FaceDataset
from fer_attention.data.splits import PARTS, TEST

SEEN = "seen_images"
"""Entry of a weights' record: digests of images."""

DIVISION = "division"
"""Entry of a weights' record: the fold of a protocol."""

BYTES = 6
"""Bytes of a digest in a record, so that FER2013's training images take 230 kB of text.

An image is mistaken for one of 30,000 others once in ten billion.
"""


@dataclass(frozen=True, eq=False)
class SeenImages:
    """Digests of the images that weights were trained on, and of those that selected their epoch.

    They are digests of pixels as the data set's reader returns them: a photo at two sizes counts as two
    images.

    >>> faces = FaceDataset(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), np.zeros(2, int),
    ...                   np.array(["a", "b"]), np.array(["train", "public"]), ("happy",))
    >>> seen = SeenImages.of(faces.split("train"), faces.split("public"))
    >>> seen.trained_on(faces).tolist(), seen.selected_on(faces).tolist()
    ([True, False], [False, True])

    Attributes:
        training: uint64, sorted, digests of the training images; of start weights and teachers, too.
        selection: uint64, sorted, digests of the images that selected an epoch.
    """

    training: NDArray[np.uint64]
    selection: NDArray[np.uint64]

    @classmethod
    def of(cls, training: FaceDataset, selection: FaceDataset) -> SeenImages:
        """Return the images of a run."""
        return cls(np.unique(_short(training)), np.unique(_short(selection)))

    def __or__(self, other: SeenImages) -> SeenImages:
        """Return the union of both, for training and for selection."""
        return SeenImages(
            np.union1d(self.training, other.training), np.union1d(self.selection, other.selection)
        )

    def trained_on(self, crops: FaceDataset) -> NDArray[np.bool_]:
        """Compute (N,) flags, true where an image is, pixel for pixel, one of the training images."""
        return np.isin(_short(crops), self.training)

    def selected_on(self, crops: FaceDataset) -> NDArray[np.bool_]:
        """Compute (N,) flags, true where an image is, pixel for pixel, one that selected an epoch."""
        return np.isin(_short(crops), self.selection)

    def to_record(self) -> dict[str, Any]:
        """Return the entry for a weights record, for JSON."""
        return {SEEN: {"training": _text(self.training), "selection": _text(self.selection)}}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SeenImages | None:
        """Read the entry of a weights record; None if it does not name the images that the weights have seen.

        Raises:
            DataError: The entry is damaged.
        """
        if SEEN not in record:
            return None
        try:
            return cls(*(_digests(record[SEEN][part]) for part in ("training", "selection")))
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise DataError(
                f"The weights' record of the images that they have seen is damaged ({type(error).__name__}: "
                f"{error}); train or download the weights again."
            ) from error


def without_digests(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a weights record without the digests, for people."""
    return {name: value for name, value in record.items() if name != SEEN}


def division_record(data: FaceDataset) -> dict[str, Any]:
    """Return the entry for a weights' record, for JSON; empty where no protocol divided the data."""
    return {} if data.division is None else {DIVISION: asdict(data.division)}


def division_of(record: Mapping[str, Any]) -> Division | None:
    """Read the fold from a weights' record; None if it does not say.

    Raises:
        DataError: The entry is damaged.
    """
    if DIVISION not in record:
        return None
    try:
        return Division(**record[DIVISION])
    except TypeError as error:
        raise DataError(
            f"The weights' record of their fold is damaged ({error}); train or download the weights again."
        ) from error


def divided_as_trained(data: FaceDataset, record: Mapping[str, Any]) -> FaceDataset | None:
    """Divide data into the fold that weights were trained on, so that its split `test` is new to them.

    Args:
        data: The whole data set, not yet divided by a protocol.
        record: The weights' record.

    Returns:
        The fold; None if the record does not name one, the data differ from those of the training, or the
        data's own test split is that of the fold.
    """
    division, seen = division_of(record), SeenImages.from_record(record)
    if division is None or seen is None or data.division is not None:
        return None
    try:
        made = create_protocol(division.protocol, data, seed=division.seed, **division.options)
        divided = made.fold(division.fold).apply(data)
    except (ValueError, TypeError):  # other data, a protocol of one's own
        return None
    _, validation, test = (divided.split(part) for part in PARTS)
    own = next((data.split(name) for name in TEST if name in data.splits), None)
    if own is not None and set(own.names.tolist()) == set(test.names.tolist()):
        return None
    same = seen.selected_on(validation).all() and not seen.trained_on(test).all()
    return divided if same else None


def _short(crops: FaceDataset) -> NDArray[np.uint64]:
    return crops.digests & np.uint64(2 ** (8 * BYTES) - 1)


def _text(digests: NDArray[np.uint64]) -> str:
    octets = digests.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :BYTES]
    return base64.b64encode(octets.tobytes()).decode()


def _digests(text: str) -> NDArray[np.uint64]:
    octets = np.frombuffer(base64.b64decode(text, validate=True), np.uint8).reshape(-1, BYTES)
    whole = np.zeros((len(octets), 8), np.uint8)
    whole[:, :BYTES] = octets
    return whole.view("<u8")[:, 0].astype(np.uint64)
