"""The `yunet` detector; tests of all detectors are in test_contracts.py."""

import numpy as np
import pytest

from fer_attention.faces import create_detector, load_image

WEIGHTS = "yunet_2026may.onnx"


@pytest.mark.data
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_score": 1.5}, r"min_score is a number in \[0, 1\]; got 1.5"),
        ({"iou": -1}, r"iou is a number in \[0, 1\]"),
        ({"device": "cuda:99"}, "not available|runs on the CPU"),
        ({"weights": "absent.onnx"}, r"no file 'absent\.onnx' to read the YuNet model"),
        ({"weights": __file__}, "not a YuNet model"),
        ({"max_side": 3}, "max_side is at least"),
    ],
)
def test_invalid_options_are_refused(options, message, shared_dir):
    given = {"weights": shared_dir / "models" / WEIGHTS, "device": "cpu", **options}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        create_detector("yunet", **given)


def test_missing_weights_name_the_download_command(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="fer-attention weights download yunet"):
        create_detector("yunet", device="cpu")


@pytest.mark.data
def test_results_agree_with_opencv(shared_dir):
    cv2 = pytest.importorskip("cv2")
    path = shared_dir / "media" / "multiface.jpg"
    pixels = np.asarray(load_image(path))
    weights = str(shared_dir / "models" / WEIGHTS)
    network = cv2.FaceDetectorYN.create(weights, "", (pixels.shape[1], pixels.shape[0]), 0.6, 0.3)
    _, rows = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    whole = create_detector("yunet", device="cpu", weights=weights, max_side=None)
    boxes = sorted(face.box for face in whole.detect([path])[0])
    expected = sorted((x, y, x + w, y + h) for x, y, w, h in rows[:, :4].astype(float))
    np.testing.assert_allclose(boxes, expected, atol=1e-3)


@pytest.mark.data
def test_a_face_too_large_for_the_network_is_found_after_shrinking(shared_dir):
    path = shared_dir / "media" / "single_medium.jpg"  # a face of 1,500 pixels
    weights = shared_dir / "models" / WEIGHTS
    assert create_detector("yunet", device="cpu", weights=weights, max_side=None).detect([path]) == [[]]
    [[face]] = create_detector("yunet", device="cpu", weights=weights).detect([path])
    assert face.height > 1000
