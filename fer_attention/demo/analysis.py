"""Analysis of one photo: faces, expressions, maps of what the network looked at, and times."""

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
    "An exported ONNX model has no maps. To see what the network looked at, start the demo with the weights "
    "file that the model was exported from."
)


@dataclass(frozen=True)
class FaceView:
    """One face of a photo.

    >>> from fer_attention.faces import Face
    >>> prediction = FacePrediction(Face((10, 10, 50, 60), score=0.9), {"happy": 0.8, "sad": 0.2})
    >>> FaceView(1, prediction, crop=Image.new("RGB", (224, 224))).prediction.emotion
    'happy'

    Attributes:
        number: Its number in the photo, from 1, the largest first.
        crop: The region that the network is given, in colour and larger than the network's input.
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

    >>> PhotoAnalysis(Image.new("RGB", (64, 48)), (), found=0, seconds=Seconds(0.1, 0.0)).note
    ''

    Attributes:
        picture: The photo with every face marked, its longer side at most 1280 pixels.
        faces: The largest faces, in order.
        found: Number of all faces.
        seconds: Time of each step.
        note: Reason why a requested part is missing; empty if nothing is.
    """

    picture: Image.Image
    faces: tuple[FaceView, ...]
    found: int
    seconds: Seconds
    note: str = ""


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
    captions = [f"{number} {face.answer}" for number, face in enumerate(predictions[:shown], start=1)]
    captions += [""] * (len(predictions) - len(captions))
    picture = annotate(photo, [prediction.face for prediction in predictions], captions)
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
    return picture
