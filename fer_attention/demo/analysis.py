"""Analysis of one photo: faces, expressions, maps of what the network looked at, and times."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_attention.classifiers import TorchClassifier
from fer_attention.demo.photo import Limits
from fer_attention.explain import explain_predictions, overlay
from fer_attention.faces import annotate, cut_input
from fer_attention.recognizer import EmotionRecognizer, FacePrediction

PICTURE_SIDE = 1280
CROP_SIDE = 192

NO_MAPS = (
    "An exported ONNX model has no maps. To see what the network looked at, start the demo with the weights "
    "file that the model was exported from."
)


@dataclass(frozen=True)
class FaceView:
    """One face of a photo.

    >>> from fer_attention.faces import Face
    >>> prediction = FacePrediction(Face((10, 10, 50, 60), score=0.9), {"happy": 0.8, "sad": 0.2})
    >>> FaceView(1, prediction, crop=Image.new("L", (192, 192))).prediction.emotion
    'happy'

    Attributes:
        number: Its number in the photo, from 1, the largest first.
        crop: The pixels that the network is given, each enlarged to a square of equal pixels.
        seen: The crop under the map of the regions that support the answer (LayerCAM), if requested.
    """

    number: int
    prediction: FacePrediction
    crop: Image.Image
    seen: Image.Image | None = None


@dataclass(frozen=True)
class Seconds:
    """Wall-clock times of one photo in seconds: finding faces, naming expressions, and the maps.

    >>> Seconds(detection=0.21, recognition=0.03).maps is None
    True
    """

    detection: float
    recognition: float
    maps: float | None = None


@dataclass(frozen=True)
class PhotoAnalysis:
    """Everything that the page shows of one photo.

    >>> PhotoAnalysis(Image.new("RGB", (64, 48)), (), (), Seconds(0.1, 0.0), "48×48 pixels, grey").found
    0

    Attributes:
        picture: The photo with every face marked, its longer side at most 1280 pixels.
        faces: The largest faces, in order.
        predictions: All faces, also those that are not shown one by one.
        seconds: Time of each step.
        network_input: Size and colours of the network's input in words.
        note: Reason why a requested part is missing; empty if nothing is.
    """

    picture: Image.Image
    faces: tuple[FaceView, ...]
    predictions: tuple[FacePrediction, ...]
    seconds: Seconds
    network_input: str
    note: str = ""

    @property
    def found(self) -> int:
        """Number of all faces."""
        return len(self.predictions)


def analyse(
    recognizer: EmotionRecognizer, photo: Image.Image, *, limits: Limits | None = None, maps: bool = False
) -> PhotoAnalysis:
    """Find the faces of a photo and name their expressions.

    >>> recognizer = EmotionRecognizer.from_pretrained(detector="none", device="cpu")
    >>> analyse(recognizer, Image.new("RGB", (48, 48))).found
    1

    Args:
        recognizer: Detector and model.
        photo: An upright RGB photo, as `read_photo` returns it.
        limits: Number of faces that are shown.
        maps: Compute what the network looked at.

    Raises:
        ImportError: A library for the maps is missing.
    """
    shown = (limits or Limits()).faces
    start = time.perf_counter()
    [faces] = recognizer.detector.detect([photo])
    found = time.perf_counter()
    predictions = recognizer.classify(photo, faces)
    seconds = Seconds(found - start, time.perf_counter() - found)
    rule = recognizer.preprocessing
    views = [
        FaceView(number, prediction, _enlarged(cut_input(photo, prediction.face, rule)))
        for number, prediction in enumerate(predictions[:shown], start=1)
    ]
    (height, width), colours = rule.size, "grey" if rule.channels == 1 else "colour"
    note = ""
    if maps and not isinstance(recognizer.classifier, TorchClassifier):
        note = NO_MAPS
    elif maps and views:
        start = time.perf_counter()
        explanations = explain_predictions(recognizer, photo, predictions[:shown])
        pairs = zip(views, explanations, strict=True)
        views = [replace(view, seen=overlay(view.crop, one.cam)) for view, one in pairs]
        seconds = replace(seconds, maps=time.perf_counter() - start)
    return PhotoAnalysis(
        _marked(photo, predictions, shown),
        tuple(views),
        tuple(predictions),
        seconds,
        f"{width}×{height} pixels, {colours}",
        note,
    )


def _enlarged(pixels: NDArray[np.uint8]) -> Image.Image:
    """Enlarge a network's input, uint8 (channels, H, W), by a whole factor."""
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    factor = max(1, CROP_SIDE // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _marked(photo: Image.Image, predictions: Sequence[FacePrediction], shown: int) -> Image.Image:
    captions = [f"{number} {face.answer}" for number, face in enumerate(predictions[:shown], start=1)]
    captions += [""] * (len(predictions) - len(captions))
    picture = annotate(photo, [prediction.face for prediction in predictions], captions)
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
    return picture
