"""From a photo to expressions: detect, crop, normalise, classify."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from PIL import Image

from fer_attention.classifiers import Classifier, as_classifier, load_classifier
from fer_attention.faces import Face, FaceDetector, ImageSource, create_detector, cut_input
from fer_attention.faces.cropper import FaceSelection
from fer_attention.faces.images import borrow_image
from fer_attention.models import FERModel
from fer_attention.models.bundled import DEFAULT
from fer_attention.pipeline.photos import PhotoOptions, PhotoWorker, predict_photos
from fer_attention.pipeline.results import PhotoPrediction
from fer_attention.preprocessing import Preprocessing


@dataclass(frozen=True)
class FacePrediction:
    """One face and how its expression is perceived.

    Attributes:
        face: Box, score and landmarks, in pixels of the upright photo.
        probabilities: One per emotion, in the order of the model's labels, summing to 1.
    """

    face: Face
    probabilities: Mapping[str, float]

    def __post_init__(self) -> None:
        total = sum(self.probabilities.values())
        if not self.probabilities or not math.isclose(total, 1, abs_tol=1e-3):
            raise ValueError(f"Probabilities sum to 1; got {dict(self.probabilities)}, sum {total:.4f}.")

    @property
    def emotion(self) -> str:
        """The most probable emotion."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def probability(self) -> float:
        """The probability of `emotion`."""
        return self.probabilities[self.emotion]

    def to_dict(self) -> dict[str, Any]:
        """A record for JSON: box, score, landmarks, emotion and probabilities, rounded for reading."""
        landmarks = self.face.landmarks
        return {
            "box": [round(value, 2) for value in self.face.box],
            "score": round(self.face.score, 4),
            "landmarks": None if landmarks is None else [[round(v, 2) for v in point] for point in landmarks],
            "emotion": self.emotion,
            "probabilities": {name: round(p, 4) for name, p in self.probabilities.items()},
        }


class EmotionRecognizer:
    """Finds the faces of photos and names their expressions.

    >>> import numpy as np
    >>> recognizer = EmotionRecognizer.from_pretrained(device="cpu")
    >>> recognizer.predict(np.zeros((64, 64, 3), dtype=np.uint8))  # no face: an empty list
    []

    Attributes:
        classifier: What names the expressions.
        detector: What finds the faces.

    Args:
        model: A model with labels and preprocessing, or any classifier.
        detector: What finds the faces.
        device: Where a torch model runs; `"auto"` takes the GPU where there is one. Other classifiers have
            chosen.
        batch_size: Faces per pass.

    Raises:
        ValueError: The model lacks labels or preprocessing, or there is no such device.
    """

    def __init__(
        self,
        model: FERModel | Classifier,
        detector: FaceDetector,
        *,
        device: str | torch.device = "auto",
        batch_size: int = 64,
    ) -> None:
        self.classifier = as_classifier(model, device=device)
        self.detector = detector
        self.batch_size = batch_size

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions, in the order of the probabilities."""
        return self.classifier.labels

    @property
    def preprocessing(self) -> Preprocessing:
        """How a face in a photo becomes the classifier's input."""
        return self.classifier.preprocessing

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = DEFAULT,
        *,
        detector: str | FaceDetector = "mtcnn",
        device: str | torch.device = "auto",
        batch_size: int = 64,
        threads: int | None = None,
    ) -> EmotionRecognizer:
        """A recogniser that is ready to use; only a name of the Hugging Face Hub leads to a download.

        Args:
            weights: Bundled weights by name, the path of a weights file or of an exported `.onnx` file, or
                `hf-hub:user/name`.
            detector: A detector's name, or a detector of your own options (`create_detector`).
            device: Where detector and model run; `"auto"` takes the GPU where there is one.
            batch_size: Faces per pass.
            threads: Of ONNX Runtime, for an `.onnx` file; None leaves them to it.

        Raises:
            UnknownNameError: Neither a file nor bundled weights, or no such detector.
            WeightsError: The file cannot be used, or not be fetched.
            ValueError: `threads` for weights that torch runs.
        """
        classifier = load_classifier(weights, device=device, threads=threads)
        if isinstance(detector, str):
            detector = create_detector(detector, device=device)
        return cls(classifier, detector, device=device, batch_size=batch_size)

    @overload
    def predict(self, photos: ImageSource) -> list[FacePrediction]: ...

    @overload
    def predict(self, photos: list[Any] | tuple[Any, ...]) -> list[list[FacePrediction]]: ...

    def predict(
        self, photos: ImageSource | list[Any] | tuple[Any, ...]
    ) -> list[FacePrediction] | list[list[FacePrediction]]:
        """The faces of a photo with their expressions, the largest face first; empty where there is none.

        Args:
            photos: A path, a PIL image, a uint8 RGB array (H, W, 3) or tensor (3, H, W); or a list of these.

        Returns:
            A list for one photo; for a list of photos a list of lists, in its order.

        Raises:
            ImageError: A photo cannot be read.
        """
        if isinstance(photos, (list, tuple)):
            return [list(prediction.faces) for prediction in self.predict_iter(photos)]
        image = borrow_image(photos)
        [faces] = self.detector.detect([image])
        return self.classify_all([(image, face) for face in faces])

    def predict_iter(
        self,
        photos: Iterable[ImageSource],
        *,
        on_error: Literal["raise", "skip"] = "raise",
        faces: FaceSelection = "all",
        min_size: float = 0,
        keep_images: bool = False,
        workers: int | None = None,
    ) -> Iterator[PhotoPrediction]:
        """Recognise any number of photos in threads and yield the answers in their order.

        Photos are read as they are needed, and only a few are held in memory.

        >>> recognizer = EmotionRecognizer.from_pretrained(detector="none", device="cpu")
        >>> photos = [np.zeros((64, 64, 3), dtype=np.uint8), "missing.jpg"]
        >>> for photo in recognizer.predict_iter(photos, on_error="skip"):
        ...     print(photo.source, len(photo.faces), photo.error)
        photo 1 1 None
        missing.jpg 0 Cannot read 'missing.jpg': No such file or directory.

        Args:
            photos: Paths, PIL images, arrays or tensors, as in `predict`; a generator may give them.
            on_error: A photo that cannot be read ends the stream ("raise") or is answered by an `error`
                ("skip").
            faces: Selection among several faces: "all", the "largest" or the most "central".
            min_size: Shorter side of the smallest faces that count, in pixels of the photo.
            keep_images: Whether answers hold their photos.
            workers: Number of threads; by default one for each core, at most eight.

        Raises:
            ImageError: A photo cannot be read.
            ValueError: An option is not one of the known ones, or a number is out of range.
        """
        options = PhotoOptions(on_error, faces, min_size, keep_images)
        return predict_photos(photos, PhotoWorker(self, options), workers=workers)

    def classify(self, photo: ImageSource, faces: Sequence[Face]) -> list[FacePrediction]:
        """Name the expressions of faces that are known already, in their order.

        Args:
            photo: As in `predict`.
            faces: Faces in it, from any detector.

        Raises:
            ImageError: The photo cannot be read.
            ValueError: A face lies outside the photo, or lacks the landmarks that the crop rule needs.
        """
        return self.classify_all([(borrow_image(photo), face) for face in faces])

    def classify_all(self, faces: Sequence[tuple[Image.Image, Face]]) -> list[FacePrediction]:
        """Name the expressions of faces in several photos together, in their order.

        Args:
            faces: (photo, face) pairs; photos are upright and RGB, as `load_image` returns them.

        Raises:
            ValueError: As in `classify`.
        """
        if not faces:
            return []
        crops = np.stack([cut_input(photo, face, self.preprocessing) for photo, face in faces])
        rows = self.classifier.probabilities(crops, batch_size=self.batch_size).tolist()
        return [
            FacePrediction(face, dict(zip(self.labels, row, strict=True)))
            for (_, face), row in zip(faces, rows, strict=True)
        ]
