"""From a photo to expressions, and the bundled model's time per face in PyTorch and in ONNX Runtime."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cost_record import Case
from cost_setup import Setup, inference, log, measured_case
from numpy.typing import NDArray
from timing import Call

from fer_attention import EmotionRecognizer
from fer_attention.attention import attention_options
from fer_attention.classifiers.prepared import PreparedModel
from fer_attention.faces import load_image
from fer_attention.models import FERModel
from fer_attention.models.factory import from_spec
from fer_attention.optional import needs_extra

OPSET = 17
BATCHES = (1, 32)


def photo(
    setup: Setup, *, photos: Sequence[Path] = (), detector: str = "mtcnn", batches: Sequence[int] = BATCHES
) -> Iterator[Case]:
    """Time photos from pixels to expressions, then batches of faces; the default photo is the astronaut."""
    pixels = [np.asarray(load_image(path)) for path in photos] or [_astronaut()]
    recognizer = EmotionRecognizer.from_pretrained(detector=detector, device=setup.device)
    for index, image in enumerate(pixels):
        yield _end_to_end(image, recognizer, setup, name=photos[index].name if photos else "astronaut")
    for batch in batches:
        yield _faces(batch, recognizer.classifier.model, setup)


def _astronaut() -> NDArray[np.uint8]:
    with needs_extra("dev", "The astronaut comes with scikit-image"):
        import skimage.data
    return np.asarray(skimage.data.astronaut())  # type: ignore[no-untyped-call]


def _end_to_end(image: NDArray[np.uint8], recognizer: EmotionRecognizer, setup: Setup, *, name: str) -> Case:
    calls: dict[str, Call] = {
        "fer_attention": lambda: recognizer.predict(image),
        "detection": lambda: recognizer.detector.detect([image]),
    }
    found = recognizer.predict(image)
    absent = {}
    try:
        calls["fer"] = _pypi_fer(image)
    except Exception as error:  # an old package on new libraries may raise anything
        absent["fer"] = f"not measured: {type(error).__name__}: {error}".splitlines()[0][:200]
    height, width = image.shape[:2]
    case = measured_case(
        {"subject": "photo", "mode": "inference", "size": max(height, width), "shape": (1, 3, height, width)},
        calls,
        setup,
        base="fer_attention",
    )
    facts = {"photo": name, "faces": len(found), "detector": type(recognizer.detector).__name__}
    return case.model_copy(update={"left_out": {**absent, **case.left_out}, "facts": facts})


def _pypi_fer(image: NDArray[np.uint8]) -> Call:
    """Return a call of the package `fer`, used as its page shows it: Haar cascade and mini-XCEPTION."""
    from fer import FER  # type: ignore[import-not-found, unused-ignore]

    theirs = FER()
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    return lambda: theirs.detect_emotions(bgr)


def _faces(batch: int, model: FERModel, setup: Setup) -> Case:
    shape = (batch, *model.spec.input_size)
    images = replace(setup, channels_last=False, dtype="float32").images(*shape)
    as_set = replace(setup, dtype="float32")
    torch_call = inference(model, images, as_set)
    calls, absent, facts = {"torch": torch_call}, {}, {}
    if setup.device == "cpu":
        prepared = PreparedModel(model, images)  # what a recogniser runs
        calls["torch, prepared"] = torch.inference_mode()(lambda: prepared.logits(images))
    try:
        calls["onnxruntime"], apart = _onnx_runtime(model, images)
        facts["largest difference of logits"] = apart
    except ImportError as error:
        absent["onnxruntime"] = f"not measured: {error}"[:200]
    case = measured_case(
        {"subject": "face", "mode": "inference", "size": shape[-1], "shape": shape},
        calls,
        as_set,
        base="torch",
    )
    return case.model_copy(update={"left_out": {**absent, **case.left_out}, "facts": facts})


def _onnx_runtime(model: FERModel, images: torch.Tensor) -> tuple[Call, float]:
    """Return a call of the exported model, and the largest difference of its logits from torch's."""
    with needs_extra("faces", "The comparison runs ONNX Runtime"):
        import onnxruntime
    twin = plain_twin(model).cpu()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated, and warns of every traced size
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            twin, (images.cpu(),), str(path), dynamo=False, opset_version=OPSET, input_names=["images"]
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        providers = ["CUDAExecutionProvider"] * images.is_cuda + ["CPUExecutionProvider"]
        if missing := set(providers) - set(onnxruntime.get_available_providers()):
            raise ImportError(f"this ONNX Runtime has no {', '.join(missing)}.")
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    feed = {"images": images.cpu().numpy()}
    with torch.inference_mode():
        apart = np.abs(session.run(None, feed)[0] - twin(images.cpu()).numpy()).max()
    log(f"ONNX Runtime's logits differ from torch's by {apart:.1e}.")
    return lambda: session.run(None, feed), float(f"{apart:.1e}")


def plain_twin(model: FERModel) -> FERModel:
    """Copy a model into operators that every exporter supports."""
    spec: Any = model.spec
    if "implementation" in attention_options(spec.attention):
        spec = replace(spec, attention_options={**spec.attention_options, "implementation": "plain"})
    twin = from_spec(spec)
    twin.load_state_dict(model.state_dict())
    return twin.eval()
