"""The shape of the package: public names, and imports that point one way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fer_attention
from tests.support.forked import run_python

PACKAGE = Path(fer_attention.__file__).parent

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_imports_point_one_way():
    """The floors are listed in pyproject.toml."""
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())",
    ]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


UNWANTED = {
    "fer_attention.attention": ("fer_attention.data", "fer_attention.faces"),
    "fer_attention.models": ("fer_attention.data", "fer_attention.faces"),
    "fer_attention.classifiers": ("fer_attention.data", "fer_attention.faces"),
    "fer_attention.faces": ("fer_attention.data", "fer_attention.models", "fer_attention.attention"),
}
CLOSURE = """
import importlib, json, os, sys, torchvision  # PyTorch once, each part in a fork
for module, unwanted in json.loads(sys.argv[1]).items():
    if not (child := os.fork()):
        importlib.import_module(module)
        print(json.dumps([name for name in sys.modules if name.startswith(tuple(unwanted))]), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
def test_a_part_loads_no_file_of_the_parts_above_it():
    code, output, errors = run_python("-c", CLOSURE, json.dumps(UNWANTED), bare=True)
    assert code == 0, errors
    loaded = map(json.loads, output.splitlines())
    assert dict(zip(UNWANTED, loaded, strict=True)) == dict.fromkeys(UNWANTED, [])


def test_files_stay_readable_in_one_sitting():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: count for path, count in lines.items() if count > 300} == {}


def test_the_public_names_are_the_settled_ones():
    assert set(fer_attention.__all__) == {
        "build_model", "create_model", "list_models", "list_pretrained", "ModelSpec", "SEBlock", "ECABlock",
        "CBAM", "create_attention", "add_attention", "swap_activation", "EmotionRecognizer", "FacePrediction",
        "sample_photo",
    }  # fmt: skip
    assert all(hasattr(fer_attention, name) for name in fer_attention.__all__)


IMPORT = """
import random, sys, warnings
warnings.simplefilter("error")
warnings.simplefilter("ignore", ResourceWarning)
import timm, torch, torchvision, torchvision.models.resnet, torch.utils.flop_counter  # their own doings
import torch.library, torch._library.custom_ops

def state():
    filters = list(warnings.filters)
    return torch.get_default_dtype(), torch.get_rng_state().tolist(), random.getstate(), filters

before, loaded = state(), set(sys.modules)
import fer_attention
from fer_attention import *
import fer_attention.attention.fused.cuda
assert state() == before
optional = ("accelerate", "av", "cv2", "facenet_pytorch", "gradio", "jinja2", "kornia", "matplotlib", "onnx",
            "onnxruntime", "onnxscript", "pandas", "pyarrow", "pytorch_grad_cam", "ray", "scipy", "skimage",
            "sklearn", "statsmodels", "triton")
print([name for name in optional if name in sys.modules and name not in loaded])
"""


def test_importing_is_silent_and_loads_no_optional_library():
    assert run_python("-c", IMPORT, bare=True) == (0, "[]\n", "")
