"""Recognise the expressions in photos: detect faces, cut them out, classify them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from PIL import Image

from fer_attention.calibration import Calibration, answer_of
from fer_attention.classifiers import Classifier, as_classifier, load_classifier
from fer_attention.classifiers.base import calibration_of
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
    """A face and the probability of each emotion.

    >>> found = FacePrediction(Face(box=(10, 10, 50, 60), score=0.98), {"happy": 0.75, "sad": 0.25})
    >>> found.emotion, found.probability
    ('happy', 0.75)
    >>> found.unsure, found.candidates
    (True, ('happy', 'sad'))

    Attributes:
        face: Box, score and landmarks, in pixels of the upright photo.
        probabilities: Probability of each emotion, in the order of the model's labels; they sum to 1.
        calibration: Rule for the candidates, from the model.

    Raises:
        ValueError: The probabilities do not sum to 1.
    """

    face: Face
    probabilities: Mapping[str, float]
    calibration: Calibration = Calibration()

    def __post_init__(self) -> None:
        total = sum(self.probabilities.values())
        if not self.probabilities or not math.isclose(total, 1, abs_tol=1e-3):
            raise ValueError(f"Probabilities must sum to 1; got {dict(self.probabilities)}, sum {total:.4f}.")

    @property
    def emotion(self) -> str:
        """Most probable emotion."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def probability(self) -> float:
        """Probability of `emotion`."""
        return self.probabilities[self.emotion]

    @property
    def candidates(self) -> tuple[str, ...]:
        """Emotions that remain possible, the most probable first.

        By a fitted calibration, the right emotion is among them for 90 % of faces.
        """
        return self.calibration.candidates(self.probabilities)

    @property
    def unsure(self) -> bool:
        """True if there is more than one candidate."""
        return len(self.candidates) > 1

    @property
    def answer(self) -> str:
        """The emotion, or the candidates if there are several: `unsure (happy / neutral)`."""
        return answer_of(self.candidates)

    @property
    def caption(self) -> str:
        """The emotion with its probability, `happy 97%`, or the candidates if there are several."""
        return self.answer if self.unsure else f"{self.emotion} {self.probability:.0%}"

    def to_dict(self) -> dict[str, Any]:
        """Return box, score, landmarks, emotion, candidates and probabilities for JSON, rounded for readers.

        The `turn` of the face is added if it is not 0.
        """
        landmarks = self.face.landmarks
        return {
            "box": [round(value, 2) for value in self.face.box],
            "score": round(self.face.score, 4),
            "landmarks": None if landmarks is None else [[round(v, 2) for v in point] for point in landmarks],
            **({"turn": self.face.turn} if self.face.turn else {}),
            "emotion": self.emotion,
            "unsure": self.unsure,
            "candidates": list(self.candidates),
            "probabilities": {name: round(p, 4) for name, p in self.probabilities.items()},
        }


class EmotionRecognizer:
    """End-to-end recognition of facial expressions in photos: detector, crops and classifier.

    >>> import numpy as np
    >>> recognizer = EmotionRecognizer.from_pretrained(device="cpu")
    >>> recognizer.predict(np.zeros((64, 64, 3), dtype=np.uint8))  # a photo without a face
    []

    Attributes:
        classifier: Computes the probability of each emotion from face crops.
        detector: Finds the faces.
        batch_size: Faces per forward pass.

    Args:
        model: A model with labels and preprocessing, or any `Classifier`.
        detector: A face detector, for instance from `faces.create_detector`.
        device: Device of a PyTorch model; `"auto"` takes the GPU if there is one. Other classifiers choose
            their own.
        batch_size: Faces per forward pass.

    Raises:
        WeightsError: The model lacks labels, preprocessing or weights.
        ValueError: The device does not exist.
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
        """Emotions in the order of the probabilities."""
        return self.classifier.labels

    @property
    def preprocessing(self) -> Preprocessing:
        """Preparation of a face in a photo for the classifier."""
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
        """Load a recogniser; only weights on the Hugging Face Hub are downloaded.

        Args:
            weights: Name of bundled weights, path of a weights file or an exported `.onnx` file, or
                `hf-hub:user/name`.
            detector: Name of a detector, or a detector with options of your own (`faces.create_detector`).
            device: Device of detector and model; `"auto"` takes the GPU if there is one.
            batch_size: Faces per forward pass.
            threads: CPU threads of ONNX Runtime, for an `.onnx` file only; None leaves the choice to it.

        Raises:
            UnknownNameError: `weights` is neither a file nor the name of bundled weights, or the detector is
                unknown.
            WeightsError: The file cannot be used or downloaded.
            ValueError: `threads` is given for weights that torch runs, or the device does not exist.
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
        """Find the faces in a photo and recognise their expressions, the largest face first.

        Args:
            photos: A path, a PIL image, a uint8 RGB array (H, W, 3) or tensor (3, H, W); or a list of these.

        Returns:
            The faces of one photo, empty if there are none; for several photos, a list of such lists.

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
        """Recognise any number of photos in threads, and yield the results in order.

        Photos are read as they are needed; only a few are in memory at a time.

        >>> recognizer = EmotionRecognizer.from_pretrained(detector="none", device="cpu")
        >>> photos = [np.zeros((64, 64, 3), dtype=np.uint8), "missing.jpg"]
        >>> for photo in recognizer.predict_iter(photos, on_error="skip"):
        ...     print(photo.source, len(photo.faces), photo.error)
        photo 1 1 None
        missing.jpg 0 Cannot read 'missing.jpg': no such file or directory.

        Args:
            photos: Paths, PIL images, arrays or tensors, as in `predict`; may be a generator.
            on_error: For a photo that cannot be read, `"raise"` an error, or `"skip"` it with a result that
                holds the `error`.
            faces: Faces to keep in each photo: `"all"`, the `"largest"` or the most `"central"`.
            min_size: Least shorter side of a face, in pixels of the photo.
            keep_images: Keep the photos in the results.
            workers: Number of threads; by default one per core, at most eight.

        Raises:
            ImageError: A photo cannot be read.
            ValueError: An option is unknown, or a number is out of range.
        """
        options = PhotoOptions(on_error, faces, min_size, keep_images)
        return predict_photos(photos, PhotoWorker(self, options), workers=workers)

    def classify(self, photo: ImageSource, faces: Sequence[Face]) -> list[FacePrediction]:
        """Recognise the expressions of given faces in a photo, in their order.

        Args:
            photo: As in `predict`.
            faces: Faces in the photo, from any detector.

        Raises:
            ImageError: The photo cannot be read.
            ValueError: A face lies outside the photo, or lacks the landmarks that the crop rule needs.
        """
        return self.classify_all([(borrow_image(photo), face) for face in faces])

    def classify_all(self, faces: Sequence[tuple[Image.Image, Face]]) -> list[FacePrediction]:
        """Recognise the expressions of given faces in several photos, in their order.

        Args:
            faces: (photo, face) pairs; photos are upright and RGB, as from `load_image`.

        Raises:
            ValueError: As in `classify`.
        """
        if not faces:
            return []
        crops = np.stack([cut_input(photo, face, self.preprocessing) for photo, face in faces])
        rows = self.classifier.probabilities(crops, batch_size=self.batch_size).tolist()
        calibration = calibration_of(self.classifier)
        return [
            FacePrediction(face, dict(zip(self.labels, row, strict=True)), calibration)
            for (_, face), row in zip(faces, rows, strict=True)
        ]
