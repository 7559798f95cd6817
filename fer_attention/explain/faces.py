"""From a photo to explanations: each face, what the network saw of it and where it looked."""

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
from fer_attention.registry import unknown_name


@dataclass(frozen=True)
class Explanation:
    """One face of a photo, as one model sees it.

    Attributes:
        model: The model's name.
        prediction: The face and its probabilities.
        crop: uint8 (H, W) grey or (H, W, 3) RGB, the model's input before normalisation.
        target: The label that `cam` speaks for.
        method: How `cam` was made.
        cam: float32 (H, W) in [0, 1], from `grad_cam`.
        attention: From `attention_maps`, of this face alone; empty for a model without attention.
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
    """Explain a recogniser's answer for each face of a photo, the largest face first.

    Args:
        recognizer: With a model that torch runs; an exported one shows its answers alone.
        photo: What `EmotionRecognizer.predict` takes.
        target: The label to be explained; None is each face's most probable one.
        method: A name of `grad_cam`'s. LayerCAM's maps are the most faithful ones for `.fer2013`
            (`docs/explain.md`).
        layer: A layer for `grad_cam`; None is the method's usual one.
        limit: Only the so many largest faces.

    Returns:
        One record for each face; an empty list where there is no face.

    Raises:
        ImageError: The photo cannot be read.
        UnknownNameError: The model does not know the label, the method or the layer.
        ValueError: The model is an exported one, or the limit is below 1.
    """
    explainable(recognizer, target)  # before the photo is searched
    if limit is not None and limit < 1:
        raise ValueError(f"limit is at least 1 face; got {limit}.")
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
    """As `explain_faces`, of faces that the recogniser has found and named in the upright photo already."""
    labels, preprocessing = recognizer.labels, recognizer.preprocessing
    model = explainable(recognizer, target)
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


def explainable(recognizer: EmotionRecognizer, target: str | None = None) -> FERModel:
    """Return the recogniser's model, if torch runs it and it knows the label to be explained.

    Raises:
        UnknownNameError: The model does not know the label.
        ValueError: Something else than torch runs the model.
    """
    classifier = recognizer.classifier
    if not isinstance(classifier, TorchClassifier):
        raise ValueError(
            f"A {type(classifier).__name__} shows its answers alone, no maps and no gradients. Explain the "
            "weights file that the model was exported from."
        )
    if target is not None and target not in recognizer.labels:
        raise unknown_name("label", target, recognizer.labels)
    return classifier.model
