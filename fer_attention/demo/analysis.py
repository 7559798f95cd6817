"""One photo's answer: faces, expressions, what the network looked at, and the time it took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from fer_attention.classifiers import TorchClassifier
from fer_attention.demo.photo import Limits
from fer_attention.explain import explain_predictions, overlay
from fer_attention.faces import annotate, cut_face
from fer_attention.recognizer import EmotionRecognizer, FacePrediction

PICTURE_SIDE = 1280
CROP_SIDE = 224

NO_MAPS = (
    "An exported ONNX model gives answers alone: to see what the network looked at, start the demo with the "
    "weights file that it was exported from."
)


@dataclass(frozen=True)
class FaceView:
    """One face to be shown, by its number in the photo, from 1, the largest first.

    Attributes:
        crop: What of the photo the network is given, in colour and larger than it sees it.
        seen: The crop under the map of the regions that spoke for the answer (LayerCAM), if asked for.
    """

    number: int
    prediction: FacePrediction
    crop: Image.Image
    seen: Image.Image | None = None


@dataclass(frozen=True)
class Seconds:
    """Wall-clock times of one photo: finding the faces, naming their expressions, and the maps."""

    detection: float
    recognition: float
    maps: float | None = None


@dataclass(frozen=True)
class PhotoAnalysis:
    """All that is shown of one photo.

    Attributes:
        picture: The photo with every face marked, at most 1280 pixels long.
        faces: The largest ones, in order.
        found: How many there are in all.
        seconds: What took how long.
        note: Why something that was asked for is missing; empty if nothing is.
    """

    picture: Image.Image
    faces: tuple[FaceView, ...]
    found: int
    seconds: Seconds
    note: str = ""


def analyse(
    recognizer: EmotionRecognizer, photo: Image.Image, *, limits: Limits | None = None, maps: bool = False
) -> PhotoAnalysis:
    """Finds the faces of a photo (of `read_photo`) and names their expressions.

    Args:
        recognizer: Detector and model.
        photo: An RGB photo, upright.
        limits: How many faces are shown.
        maps: Whether to compute what the network looked at; ImportError if a library for it is missing.
    """
    shown = (limits or Limits()).faces
    start = time.perf_counter()
    [faces] = recognizer.detector.detect([photo])
    found = time.perf_counter()
    predictions = recognizer.classify(photo, faces)
    seconds = Seconds(found - start, time.perf_counter() - found)
    rule, (height, width) = recognizer.preprocessing.crop_rule, recognizer.preprocessing.size
    larger = CROP_SIDE / max(height, width)
    size = (round(height * larger), round(width * larger))
    views = [
        FaceView(number, prediction, cut_face(photo, prediction.face, rule, size=size)[0])
        for number, prediction in enumerate(predictions[:shown], start=1)
    ]
    note = ""
    if maps and not isinstance(recognizer.classifier, TorchClassifier):
        note = NO_MAPS
    elif maps and views:
        start = time.perf_counter()
        explanations = explain_predictions(recognizer, photo, predictions[:shown])
        pairs = zip(views, explanations, strict=True)
        views = [replace(view, seen=overlay(view.crop, one.cam)) for view, one in pairs]
        seconds = replace(seconds, maps=time.perf_counter() - start)
    return PhotoAnalysis(_marked(photo, predictions, shown), tuple(views), len(predictions), seconds, note)


def _marked(photo: Image.Image, predictions: Sequence[FacePrediction], shown: int) -> Image.Image:
    captions = [f"{number} {face.emotion}" for number, face in enumerate(predictions[:shown], start=1)]
    captions += [""] * (len(predictions) - len(captions))
    picture = annotate(photo, [prediction.face for prediction in predictions], captions)
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
    return picture
