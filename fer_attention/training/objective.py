"""What a step is to lower: target distributions, and the loss between them and the logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from fer_attention.data import DataError, FaceCrops
from fer_attention.evaluation import predict_logits
from fer_attention.models import load_weights
from fer_attention.models.bundled import weights_path
from fer_attention.training.config import TrainConfig

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def target_distributions(data: FaceCrops, config: TrainConfig, *, device: torch.device) -> torch.Tensor:
    """float32 (N, classes): votes where the set has them, else the label; then the teacher's share."""
    if data.targets is not None:
        targets = torch.from_numpy(np.asarray(data.targets))
    else:
        targets = F.one_hot(torch.from_numpy(data.labels), len(data.label_names)).float()
    if config.teacher is not None:
        targets = torch.lerp(
            targets, teacher_probabilities(config.teacher, data, device), config.teacher_weight
        )
    return targets.to(device)


def teacher_probabilities(source: str, data: FaceCrops, device: torch.device) -> torch.Tensor:
    """float32 (N, classes): what trained weights say of each image, the mean over it and its mirror.

    Distillation at temperature 1 (Hinton et al. 2015, arXiv:1503.02531), from one look at the plain image.

    Raises:
        DataError: The teacher knows other labels than the data.
    """
    teacher = load_weights(weights_path(source), device=device)
    if teacher.labels != data.label_names or teacher.preprocessing is None:
        raise DataError(f"The teacher {source} names {teacher.labels}, the data has {data.label_names}.")
    parts = []
    for start in range(0, len(data), 2048):
        crops = data.images[start : start + 2048]
        images = teacher.preprocessing.normalize(teacher.preprocessing.prepare(crops))
        views = (predict_logits(teacher, view).softmax(1) for view in (images, images.flip(-1)))
        parts.append(torch.stack(list(views)).mean(0))
    return torch.cat(parts)


def create_loss(
    config: TrainConfig, labels: NDArray[np.int64], *, classes: int, device: torch.device
) -> Loss:
    """The loss of logits (N, classes) under target distributions (N, classes): the mean over N, a scalar.

    Args:
        config: Names the loss, its smoothing and the class weights.
        labels: Of the training images; `balanced` weighs a class by 1 / its count, 1 on average over the
            images, as scikit-learn does.
        classes: Number of classes.
        device: Of the logits.
    """
    weights = torch.ones(classes, device=device)
    if config.class_weights == "balanced":
        counts = np.bincount(labels, minlength=classes)
        balanced = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        weights = torch.from_numpy(balanced * (counts > 0)).float().to(device)
    smoothing = config.label_smoothing

    def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing)

    def focal(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Focal loss (Lin et al. 2017, arXiv:1708.02002, eq. 5), over target distributions."""
        log_p = F.log_softmax(logits, 1)
        hard = (1 - log_p.exp()) ** config.focal_gamma
        return -(smooth(targets) * weights * hard * log_p).sum(1).mean()

    def binary(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """A yes-or-no question per class, summed (Wightman et al. 2021, arXiv:2110.00476, section 2)."""
        each = F.binary_cross_entropy_with_logits(logits, smooth(targets), weight=weights, reduction="none")
        return each.sum(1).mean()

    def smooth(targets: torch.Tensor) -> torch.Tensor:
        return targets * (1 - smoothing) + smoothing / classes

    return {"cross_entropy": cross_entropy, "focal": focal, "binary": binary}[config.loss]
