"""The `mtcnn` detector; tests of all detectors are in test_contracts.py."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from fer_attention.faces import Face, create_detector, load_image
from tests.support.forked import run_python

COLLINS = Face(box=(181, 62, 268, 172), score=1.0)


@pytest.fixture(scope="module")
def detector():
    return create_detector("mtcnn", device="cpu")


def only(detector, image):
    [[face]] = detector.detect([image])
    return face


def test_results_agree_with_facenet_pytorch(detector, astronaut):
    with warnings.catch_warnings():  # it changes the warning filters
        from facenet_pytorch import MTCNN

        reference = MTCNN(keep_all=True, device="cpu")
        boxes, scores, points = reference.detect(Image.fromarray(np.asarray(astronaut)), landmarks=True)
    face = only(detector, astronaut)
    np.testing.assert_allclose(face.box, boxes[0].astype(float), atol=0.01)
    assert face.score == pytest.approx(float(scores[0]), abs=1e-4)
    np.testing.assert_allclose(face.landmarks, points[0].astype(float), atol=0.01)


@pytest.mark.data
def test_results_agree_with_facenet_pytorch_on_a_crowd(shared_dir):
    with warnings.catch_warnings():
        from facenet_pytorch import MTCNN

        photo = load_image(shared_dir / "media" / "multiface.jpg")
        boxes, scores, _ = MTCNN(keep_all=True, device="cpu").detect(photo, landmarks=True)
    faces = create_detector("mtcnn", device="cpu", min_score=0).detect([photo])[0]
    assert len(faces) == len(boxes) >= 3
    for box in boxes:
        assert max(Face(tuple(box), 1).iou(face) for face in faces) > 0.99


@pytest.mark.parametrize("side", [5, 12, 20])
def test_tiny_images_have_no_face(detector, side):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    assert detector.detect([pixels]) == [[]]


@pytest.mark.parametrize("value", [0, 127, 255])
def test_blank_images_have_no_face(detector, value):
    assert detector.detect([np.full((90, 120, 3), value, np.uint8)]) == [[]]


def test_loose_thresholds_on_noise_give_valid_faces():
    loose = create_detector("mtcnn", device="cpu", thresholds=(0.0, 0.0, 0.0), min_score=0, min_face_size=12)
    generator = np.random.default_rng(0)
    for height, width in ((13, 40), (30, 30), (25, 61)):
        for face in loose.detect([generator.integers(0, 256, (height, width, 3), dtype=np.uint8)])[0]:
            assert face.area > 0


def test_grey_transparent_and_rotated_photos_give_the_same_face(detector, astronaut, tmp_path):
    picture = Image.fromarray(np.asarray(astronaut))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90).save(tmp_path / "rotated.png", exif=exif)
    for source in (picture.convert("L"), picture.convert("RGBA"), tmp_path / "rotated.png"):
        assert only(detector, source).iou(COLLINS) > 0.6


def test_large_photos_are_shrunk_but_boxes_are_in_original_pixels(astronaut):
    large = Image.fromarray(np.asarray(astronaut)).resize((2048, 2048))
    face = only(create_detector("mtcnn", device="cpu", max_side=512), large)
    scaled = Face(tuple(value * 4 for value in COLLINS.box), 1)
    assert face.iou(scaled) > 0.6


@pytest.mark.parametrize(
    "options",
    [{"min_face_size": 5}, {"thresholds": (0.5, 0.5)}, {"min_score": 2}, {"max_side": 4}, {"device": "gpu"}],
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"got"):
        create_detector("mtcnn", **{"device": "cpu", **options})


def test_random_state_and_warning_filters_are_unchanged(astronaut):
    code = (
        "import warnings, torch, fer_attention.faces as faces, torchvision, timm.layers, numpy as np\n"
        "filters, state = list(warnings.filters), torch.get_rng_state()\n"
        "faces.create_detector('mtcnn', device='cpu').detect([np.zeros((60, 60, 3), np.uint8)])\n"
        "assert list(warnings.filters) == filters\n"
        "assert torch.equal(torch.get_rng_state(), state)\n"
    )
    code, _, errors = run_python("-c", code)
    assert code == 0, errors


def test_the_gradient_mode_is_unchanged(detector, astronaut):
    before = torch.is_grad_enabled()
    only(detector, astronaut)
    assert torch.is_grad_enabled() == before


@pytest.mark.data
@pytest.mark.parametrize("name", ["single_large.jpg", "single_medium.jpg"])
def test_portraits_have_one_main_face(detector, shared_dir, name):
    faces = detector.detect([shared_dir / "media" / name])[0]
    assert faces[0].score > 0.95
    assert all(face.area < 0.2 * faces[0].area for face in faces[1:])


@pytest.mark.parametrize("min_face_size", [12, 13, 41, 47, 49, 94, 98, 107])
def test_an_image_about_as_small_as_the_smallest_face_is_searched(min_face_size):
    detector = create_detector("mtcnn", min_face_size=min_face_size, device="cpu")
    blanks = [Image.new("RGB", (min_face_size + extra, min_face_size)) for extra in (-1, 0, 1)]
    assert detector.detect(blanks) == [[], [], []]


def test_a_batch_gives_the_same_faces_as_single_photos(detector, astronaut):
    pixels = np.asarray(astronaut)
    photos = [pixels, pixels[:, ::-1], np.zeros_like(pixels), np.vstack([pixels[40:296]] * 2), pixels]
    together = detector.detect(photos)
    assert [len(faces) for faces in together] == [1, 1, 0, 2, 1]
    for photo, faces in zip(photos, together, strict=True):
        for a, b in zip(detector.detect([photo])[0], faces, strict=True):
            np.testing.assert_allclose(a.box, b.box, atol=1e-3)
            np.testing.assert_allclose(a.landmarks, b.landmarks, atol=1e-3)


def test_batches_are_limited_in_photos_and_pixels(detector, astronaut, monkeypatch):
    module, searched, search = sys.modules[type(detector).__module__], [], type(detector)._search

    def watched(self, group, found):
        searched.append(len(group))
        search(self, group, found)

    monkeypatch.setattr(type(detector), "_search", watched)
    small = np.asarray(astronaut)[:256, 100:400]
    photos = [small, np.zeros((200, 300, 3), np.uint8), small, small[:, ::-1], small, small]
    for held, together, groups in ((200_000, 4, [2, 1, 3]), (10**9, 2, [2, 2, 1, 1]), (10**9, 4, [4, 1, 1])):
        monkeypatch.setattr(module, "_WAITING_PIXELS", held)
        monkeypatch.setitem(module._BATCH_SIZE, "cpu", together)
        searched.clear()
        assert [len(faces) for faces in detector.detect(photos)] == [1, 0, 1, 1, 1, 1]
        assert searched == groups


def test_min_score_drops_weak_faces_and_the_largest_comes_first(astronaut):
    options = {"thresholds": (0.5, 0.3, 0.05), "device": "cpu"}
    every = create_detector("mtcnn", min_score=0, **options).detect([astronaut])[0]
    sure = create_detector("mtcnn", min_score=0.9, **options).detect([astronaut])[0]
    assert sure == [face for face in every if face.score >= 0.9]
    assert len(sure) == 1 < len(every)
    assert [face.area for face in every] == sorted((face.area for face in every), reverse=True)


def test_a_long_thin_photo_can_be_shrunk():
    assert create_detector("mtcnn", max_side=100, device="cpu").detect([np.zeros((1, 9000), np.uint8)]) == [
        []
    ]


def test_the_default_dtype_does_not_matter(astronaut):
    torch.set_default_dtype(torch.float64)
    try:
        assert only(create_detector("mtcnn", device="cpu"), astronaut).iou(COLLINS) > 0.6
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.data
def test_a_batch_gives_the_same_faces_for_a_repeated_crowd(detector, shared_dir):
    photo = shared_dir / "media" / "multiface.jpg"
    [[*alone], [*first], [*second]] = detector.detect([photo]) + detector.detect([photo, photo])
    assert len(alone) == len(first) == len(second) == 6
    for a, b, c in zip(alone, first, second, strict=True):
        np.testing.assert_allclose([a.box, a.box], [b.box, c.box], atol=1e-3)


VARIED = """
import numpy as np
from PIL import Image
from skimage.data import astronaut
from fer_attention.faces import create_detector

def resident():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

detector = create_detector("mtcnn", device="cpu")
photo, generator = Image.fromarray(astronaut()), np.random.default_rng(0)
for number in range(1, 351):
    detector.detect([photo.resize(generator.integers(120, 420, 2).tolist())])
    if number == 150:
        early = resident()
print(resident() - early)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_levels_off_over_photos_of_varied_sizes():
    # The pyramids of 200 photos take about 1 GB; the C library's heap stops growing after some 150 sizes.
    result = subprocess.run([sys.executable, "-c", VARIED], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 150
