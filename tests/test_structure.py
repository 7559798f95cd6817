"""The shape of the package: public names, and imports that point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fer_attention

PACKAGE = Path(fer_attention.__file__).parent

# What each part may import of the others; everything may import the ground floor.
GROUND = {
    "registry", "plugins", "timm_names", "emotions", "atomic", "device", "messages", "modes", "optional",
}  # fmt: skip
ALLOWED = {
    "registry": set(),
    "plugins": {"registry"},
    "timm_names": set(),
    "emotions": set(),
    "atomic": set(),
    "device": set(),
    "messages": {"registry"},
    "modes": set(),
    "optional": set(),
    "activations": set(),
    "attention": set(),
    "faces": set(),
    "data": {"faces"},
    "models": {"activations", "attention", "data"},
    "evaluation": {"attention", "data", "models"},
    "training": {"data", "models", "evaluation"},
    "export": {"faces", "data", "models", "evaluation"},
    "recognizer": {"faces", "data", "models", "evaluation", "export"},
    "video": {"faces", "recognizer"},
    "explain": {"attention", "evaluation", "export", "faces", "models", "recognizer"},
    "demo": {"explain", "export", "faces", "models", "recognizer"},
    "study": {"activations", "attention", "data", "models", "evaluation", "training"},
    "cli": {
        "faces",
        "data",
        "models",
        "evaluation",
        "training",
        "study",
        "recognizer",
        "video",
        "export",
        "explain",
        "demo",
    },
}


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Parts of the package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [node.module]
                if node.module != "fer_attention"
                else [f"fer_attention.{a.name}" for a in node.names]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("fer_attention."):
                yield name.split(".")[1]


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(path):
    part = part_of(path)
    foreign = set(imports(path)) - {part} - (GROUND if part not in GROUND else set())
    assert foreign <= ALLOWED[part]


def test_every_part_of_the_package_has_its_place():
    assert {part_of(path) for path in FILES} == set(ALLOWED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_files_stay_readable_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_the_public_names_are_the_settled_ones():
    assert set(fer_attention.__all__) == {
        "build_model", "create_model", "list_models", "list_pretrained", "ModelSpec", "SEBlock", "ECABlock",
        "CBAM", "create_attention", "add_attention", "swap_activation", "EmotionRecognizer", "FacePrediction",
    }  # fmt: skip
    assert all(hasattr(fer_attention, name) for name in fer_attention.__all__)


IMPORT = """
import random, sys, warnings
import timm, torch, torchvision, torchvision.models.resnet, torch.utils.flop_counter  # their own doings

def state():
    filters = list(warnings.filters)
    return torch.get_default_dtype(), torch.get_rng_state().tolist(), random.getstate(), filters

before, loaded = state(), set(sys.modules)
import fer_attention
from fer_attention import *
assert state() == before
optional = ("accelerate", "av", "cv2", "facenet_pytorch", "gradio", "jinja2", "kornia", "matplotlib", "onnx",
            "onnxruntime", "onnxscript", "pandas", "pyarrow", "pytorch_grad_cam", "ray", "scipy", "skimage",
            "sklearn", "statsmodels")
print([name for name in optional if name in sys.modules and name not in loaded])
"""


def test_importing_is_silent_and_loads_no_optional_library():
    result = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", IMPORT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
    assert result.stderr == ""
