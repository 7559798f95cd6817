"""Explanations of the predictions for the faces of a photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fer_attention.attention import AttentionBlock
from fer_attention.classifiers import TorchClassifier
from fer_attention.explain.attention_maps import AttentionMap, attention_maps
from fer_attention.explain.grad_cam import Method, grad_cam
from fer_attention.faces import ImageSource, cut_input
from fer_attention.faces.images import borrow_image
from fer_attention.models import FERModel
from fer_attention.recognizer import EmotionRecognizer, FacePrediction
from fer_attention.registry import check_choice


@dataclass(frozen=True)
class Explanation:
    """Explanation of one model's prediction for one face.

    Attributes:
        model: Name of the model.
        prediction: The face and its probabilities.
        crop: uint8 (H, W) grey or (H, W, 3) RGB, the model's input before normalisation.
        target: Label that `cam` explains.
        method: Method of `cam`.
        cam: float32 (H, W) in [0, 1], from `grad_cam`.
        attention: From `attention_maps`, for this face; empty for a model without attention.

    >>> [face] = explain_faces(EmotionRecognizer.from_pretrained(), "photo.jpg")  # doctest: +SKIP
    >>> face.prediction.emotion, face.target, face.cam.shape  # doctest: +SKIP
    ('happy', 'happy', (48, 48))
    """

    model: str
    prediction: FacePrediction
    crop: NDArray[np.uint8]
    target: str
    method: Method
    cam: NDArray[np.float32]
    attention: tuple[AttentionMap, ...]


def explain_faces(
    recognizer: EmotionRecognizer,
    photo: ImageSource,
    *,
    target: str | None = None,
    method: Method = "layercam",
    layer: str | None = None,
    limit: int | None = None,
) -> list[Explanation]:
    """Explain a recogniser's prediction for each face of a photo, the largest face first.

    >>> recognizer = EmotionRecognizer.from_pretrained()  # doctest: +SKIP
    >>> for face in explain_faces(recognizer, "photo.jpg", target="sad"):  # doctest: +SKIP
    ...     overlay(face.crop, face.cam).show()

    Args:
        recognizer: Recogniser with a PyTorch model; exported models have no gradients.
        photo: Path, array or PIL image, as for `EmotionRecognizer.predict`.
        target: Label to explain; None explains each face's most probable label.
        method: Method of `grad_cam`. LayerCAM was the most faithful for `.fer2013` (`docs/explain.md`).
        layer: Layer for `grad_cam`; None uses the method's default.
        limit: Maximum number of faces; the largest ones are explained.

    Returns:
        One record per face; an empty list if no face is found.

    Raises:
        ImageError: The photo cannot be read.
        UnknownNameError: The label, the method or the layer does not exist.
        ValueError: The model is an exported one, or the limit is below 1.
    """
    explainable_model(recognizer, target)  # before detecting faces
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1; got {limit}.")
    image = borrow_image(photo)
    predictions = recognizer.predict(image)[:limit]
    return explain_predictions(recognizer, image, predictions, target=target, method=method, layer=layer)


def explain_predictions(
    recognizer: EmotionRecognizer,
    image: Image.Image,
    predictions: Sequence[FacePrediction],
    *,
    target: str | None = None,
    method: Method = "layercam",
    layer: str | None = None,
) -> list[Explanation]:
    """Explain predictions that the recogniser has already made for a photo.

    >>> predictions = recognizer.predict(photo)  # doctest: +SKIP
    >>> explanations = explain_predictions(recognizer, photo, predictions[:1])  # doctest: +SKIP

    Arguments and errors are those of `explain_faces`; `image` is upright, and the result has one record per
    prediction.
    """
    labels, preprocessing = recognizer.labels, recognizer.preprocessing
    model = explainable_model(recognizer, target)
    if not predictions:
        return []
    crops = np.stack([cut_input(image, prediction.face, preprocessing) for prediction in predictions])
    inputs = preprocessing.normalize(torch.from_numpy(crops)).to(next(model.parameters()).device)
    targets = [target or prediction.emotion for prediction in predictions]
    classes = [labels.index(name) for name in targets]
    cams = grad_cam(model, inputs, target=classes, layer=layer, method=method).numpy()
    gated = any(isinstance(module, AttentionBlock) for module in model.modules())
    maps = attention_maps(model, inputs) if gated else []
    pictures = crops[:, 0] if preprocessing.channels == 1 else crops.transpose(0, 2, 3, 1)
    return [
        Explanation(
            model=model.spec.name,
            prediction=prediction,
            crop=pictures[index],
            target=targets[index],
            method=method,
            cam=cams[index],
            attention=tuple(found.of_image(index) for found in maps),
        )
        for index, prediction in enumerate(predictions)
    ]


def explainable_model(recognizer: EmotionRecognizer, target: str | None = None) -> FERModel:
    """Return the recogniser's PyTorch model, after checking the label to explain.

    Raises:
        UnknownNameError: The model does not have the label.
        ValueError: The model is not a PyTorch model.
    """
    classifier = recognizer.classifier
    if not isinstance(classifier, TorchClassifier):
        raise ValueError(
            "Only PyTorch models have maps and gradients to explain. Give the weights file from which this "
            "model was exported."
        )
    if target is not None:
        check_choice("label", target, recognizer.labels)
    return classifier.model
