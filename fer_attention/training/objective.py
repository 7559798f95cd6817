"""Objective of training: target distributions, and the loss between them and the logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from fer_attention.data import DataError, FaceDataset, vote_targets
from fer_attention.emotions import label_map
from fer_attention.evaluation import predict_crops
from fer_attention.models import load_weights
from fer_attention.models.bundled import weights_path
from fer_attention.training.config import TrainConfig

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

BLOCK = 2048
"""Images per block of a teacher's predictions; `between` is called before each block."""


def target_distributions(
    data: FaceDataset,
    config: TrainConfig,
    *,
    device: torch.device,
    between: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Compute the training targets, float32 (N, classes): votes or labels, mixed with the teachers' answers.

    With `targets="votes"` they are FER+'s distributions of the data's votes (Barsoum et al. 2016), whatever
    the data's own targets and labels are.

    `between` is called between blocks of a teacher's predictions; it can raise an exception to stop.
    """
    if config.targets == "votes":
        targets = torch.from_numpy(vote_targets(data))
    elif data.targets is not None:
        targets = torch.from_numpy(np.asarray(data.targets))
    else:
        targets = F.one_hot(torch.from_numpy(data.labels), len(data.label_names)).float()
    if config.teachers:
        answers = [
            teacher_probabilities(source, data, views=config.teacher_views, device=device, between=between)
            for source in config.teachers
        ]
        targets = torch.lerp(targets, torch.stack(answers).mean(0), config.teacher_weight)
    return targets.to(device)


def teacher_probabilities(
    source: str,
    data: FaceDataset,
    *,
    views: str = "flip",
    device: torch.device,
    between: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Predict the teacher's probabilities for each image over the data's labels, float32 (N, classes).

    Distillation at temperature 1 (Hinton et al. 2015, arXiv:1503.02531), on the images without augmentation.
    Probabilities are renormalised over the labels that the data has.

    Args:
        source: A weights file or the name of bundled weights.
        data: Images to label.
        views: Test-time augmentation, a name in `evaluation.VIEWS`.
        device: Device to compute on.
        between: Called before each block of images.

    Raises:
        DataError: The data has labels that the teacher lacks.
    """
    teacher = load_weights(weights_path(source), device=device)
    labels = teacher.labels or ()
    columns = label_map(data.label_names, labels)
    if unknown := [data.label_names[label] for label, index in columns.items() if index is None]:
        raise DataError(
            f"The teacher {source} does not know {', '.join(unknown)}; it knows "
            f"{', '.join(labels) or 'no labels'}."
        )
    blocks = []
    for start in range(0, len(data), BLOCK):
        between()
        part = data.take(np.arange(start, min(start + BLOCK, len(data))))
        blocks.append(torch.from_numpy(predict_crops(teacher, part, tta=views)).float())
    probabilities = torch.cat(blocks)
    shared = probabilities[:, [index for index in columns.values() if index is not None]]
    return shared / shared.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def logit_adjustment_of(targets: torch.Tensor, labels: Sequence[str], tau: float) -> torch.Tensor:
    """Compute tau × log of the class frequencies, (classes,) (Menon et al. 2021, arXiv:2007.07314).

    Added to the logits in the loss (eq. 10), or subtracted from those of a trained model (eq. 9), it moves
    predictions from frequent to rare classes. tau = 1 is optimal for equally frequent classes.

    Args:
        targets: Distributions over the classes, (N, classes); their mean is the class frequencies.
        labels: Names of the classes.
        tau: Strength of the adjustment; 0 gives zeros.

    Raises:
        DataError: A class does not occur, so its frequency has no logarithm.
    """
    shares = targets.double().mean(0)
    if tau and not bool((shares > 0).all()):
        missing = [name for name, share in zip(labels, shares.tolist(), strict=True) if share == 0]
        raise DataError(
            f"logit_adjustment needs training images of every label; there are none of {', '.join(missing)}."
        )
    return (tau * shares.clamp(min=torch.finfo(torch.float64).tiny).log()).float()


def create_loss(
    config: TrainConfig, labels: NDArray[np.int64], *, classes: int, device: torch.device
) -> Loss:
    """Build the loss between logits and target distributions, both (N, classes): a scalar, the mean over N.

    With `class_weights="balanced"` a class has the weight 1 / its count in `labels`, normalised to a mean
    of 1 over the images, as in scikit-learn.
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
        """Compute the focal loss (Lin et al. 2017, arXiv:1708.02002, eq. 5) of target distributions."""
        log_p = F.log_softmax(logits, 1)
        hard = (1 - log_p.exp()) ** config.focal_gamma
        return -(smooth(targets) * weights * hard * log_p).sum(1).mean()

    def binary(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Sum the classes' binary cross-entropies (Wightman et al. 2021, arXiv:2110.00476, section 2)."""
        each = F.binary_cross_entropy_with_logits(logits, smooth(targets), weight=weights, reduction="none")
        return each.sum(1).mean()

    def generalised(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Compute the generalised cross-entropy (Zhang and Sabuncu 2018, arXiv:1805.07836, eq. 6)."""
        q = config.gce_q
        each = (1 - (q * F.log_softmax(logits, 1)).exp()) / q
        return (smooth(targets) * weights * each).sum(1).mean()

    def smooth(targets: torch.Tensor) -> torch.Tensor:
        return targets * (1 - smoothing) + smoothing / classes

    losses = {"cross_entropy": cross_entropy, "focal": focal, "binary": binary, "generalised": generalised}
    return losses[config.loss]
