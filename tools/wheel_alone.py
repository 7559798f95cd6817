"""What the wheel does alone, in a fresh environment without extras, far from the checkout: `make test-wheel`.

    python tests/wheel_alone.py DIST [--environment FOLDER]

A new command of `fer-attention` gets a line in `COMMANDS`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np
from PIL import Image

# A command line, and the extra that its one line of error names; None where it works without.
COMMANDS = [
    ("--version", None),
    ("--help", None),
    ("models resnet18_*", None),
    ("predict --sample", None),
    ("predict photo.png --json answer.json --output annotated", None),
    ("predict photo.png --detector yunet --detector-weights detector.onnx", "faces"),
    ("predict photo.png --detector yolo --detector-weights detector.onnx", "faces"),
    ("predict photo.png --weights model.onnx", "export"),
    ("faces photo.png --output crops", None),
    ("faces photo.png --output crops_yunet --detector yunet --detector-weights detector.onnx", "faces"),
    ("faces photo.png --output crops_parquet --format parquet", "faces"),
    ("video clip.mp4 --json clip.json", "faces"),
    ("data audit data", None),
    ("data split data --protocol stratified_kfold --output folds.json", "train"),
    ("train compact --data data --output run", "train"),
    ("campaign campaign.yaml --output campaign --path data=data", "train"),
    ("evaluate resnetv2_18_eca_elu.fer2013 --data data", "train"),
    ("calibrate resnetv2_18_eca_elu.fer2013 --data data --output calibrated.safetensors", None),
    ("study list", "study"),
    ("study plan smoke --data data", "study"),
    ("study run smoke --data data --output study", "study"),
    ("study report study", "study"),
    ("export resnetv2_18_eca_elu.fer2013", "export"),
    ("explain photo.png", "explain"),
    ("demo", "demo"),
    ("serve", "serve"),
    ("weights list", None),
]
UNTRIED = {"weights download": "it fetches from the network"}

IMPORT = "import fer_attention; print(fer_attention.__file__)"
FORWARD = """
import torch, fer_attention
model = fer_attention.create_model("resnetv2_50_cbam_elu", num_classes=7, in_chans=1, img_size=48).eval()
with torch.no_grad():
    logits = model(torch.rand(2, 1, 48, 48))
assert logits.shape == (2, 7) and logits.isfinite().all()
"""
PREDICT = """
import warnings
warnings.simplefilter("error")
from fer_attention import EmotionRecognizer
[face] = EmotionRecognizer.from_pretrained().predict("photo.png")
print(face.emotion)
"""
LIST = """
from fer_attention.cli.lazy import COMMANDS, LazyGroup

for name in COMMANDS:
    for child in getattr(LazyGroup.load(name), "commands", [""]):
        print(" ".join(filter(None, (name, child))))
"""


def fill(folder):
    """Write a photo, a data set of random faces, and files that are a clip and models by name only."""
    import skimage.data  # here, because the tests look at COMMANDS without it

    Image.fromarray(skimage.data.astronaut()).save(folder / "photo.png")
    generator = np.random.default_rng(0)
    for emotion in ("happy", "sad"):
        for split, count in (("train", 10), ("validation", 5)):
            (folder / "data" / split / emotion).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (48, 48), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "data" / split / emotion / f"{number}.png")
    (folder / "campaign.yaml").write_text(
        'data: {faces: {path: "{data}"}}\nruns: [{name: one, recipe: quick, data: faces}]\n'
    )
    for name in ("clip.mp4", "detector.onnx", "model.onnx"):
        (folder / name).write_bytes(b"not reached")


def uncovered(commands):
    """Those of the app's commands ("study run") that no line above tries."""
    tried = [line for line, _ in COMMANDS] + list(UNTRIED)
    return [name for name in commands if not any(f"{line} ".startswith(f"{name} ") for line in tried)]


def fault(result, extra):
    """Return the fault of a finished command, or None."""
    if "Traceback" in result.stdout + result.stderr:
        return "a traceback"
    if extra is None:
        return None if result.returncode == 0 else f"exit code {result.returncode}, not 0"
    if result.returncode != 2:
        return f"exit code {result.returncode}, not 2"
    lines = result.stderr.strip().splitlines()
    if len(lines) != 1 or not lines[0].startswith("error: ") or f"fer_attention[{extra}]" not in lines[0]:
        return f"not one line of error that names fer_attention[{extra}]"
    return None


class Alone:
    """The wheel in an environment of its own; every check prints a line."""

    def __init__(self, environment, folder):
        self.scripts = environment / ("Scripts" if os.name == "nt" else "bin")
        self.folder = folder
        self.failed = 0
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        kept.pop("VIRTUAL_ENV", None)
        weights = str(folder.parent / "fetched")  # none is there: this machine's user may have some
        self.variables = kept | {"COLUMNS": "200", "NO_COLOR": "1", "TORCH_HOME": weights}

    def run(self, program, *arguments):
        """Run a program of the environment in the empty folder."""
        command = [str(self.scripts / program), *arguments]
        streams = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
        return subprocess.run(
            command, cwd=self.folder, env=self.variables, check=False, timeout=3600, **streams
        )

    def report(self, title, wrong, result):
        """Print how a check ended, with all that was printed if it failed."""
        self.failed += wrong is not None
        print(f"{'ok    ' if wrong is None else 'FAILED'} {title}" + (f": {wrong}" if wrong else ""))
        for text in (result.stdout, result.stderr) if wrong else ():
            print("".join(f"       | {line}\n" for line in text.splitlines()[-15:]), end="")
        sys.stdout.flush()

    def python(self, title, code, right):
        """Run a piece of Python: it is silent on standard error, and `right` holds of what it prints."""
        result = self.run("python", "-c", code)
        wrong = None if result.returncode == 0 else f"exit code {result.returncode}"
        if wrong is None and result.stderr:
            wrong = "it is not silent"
        if wrong is None and not right(result.stdout.strip()):
            wrong = f"unexpected answer {result.stdout.strip()!r}"
        self.report(title, wrong, result)
        return result.stdout

    def command(self, line, extra):
        """Run a command line of `fer-attention`, and look whether a refused one left files."""
        before = set(self.folder.rglob("*"))
        result = self.run("fer-attention", *line.split())
        wrong = fault(result, extra)
        left = sorted(path.name for path in set(self.folder.rglob("*")) - before)
        if (
            wrong is None and extra is not None and left and not line.startswith("faces ")
        ):  # its journal stays
            wrong = f"it left {', '.join(left[:5])}"
        self.report(f"fer-attention {line}" + (f"  -> {extra}" if extra else ""), wrong, result)


def main():
    """Install, try everything, and end with exit code 1 if anything fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dist", type=Path, help="Folder of the wheel.")
    parser.add_argument("--environment", type=Path, help="One that has the wheel; by default a fresh one.")
    options = parser.parse_args()
    [wheel] = options.dist.resolve().glob("*.whl")
    with tempfile.TemporaryDirectory() as temporary:
        environment = options.environment and options.environment.resolve()
        if environment is None:
            environment = Path(temporary) / "environment"
            venv.create(environment, with_pip=True)
        folder = Path(temporary) / "folder"
        folder.mkdir()
        fill(folder)
        alone = Alone(environment, folder)
        if options.environment is None:
            alone.run("python", "-m", "pip", "install", "--quiet", str(wheel)).check_returncode()
        inside = environment.resolve()
        alone.python("import", IMPORT, lambda printed: inside in Path(printed).resolve().parents)
        alone.python("create_model, forward", FORWARD, lambda printed: printed == "")
        alone.python("predict says happy", PREDICT, lambda printed: printed == "happy")
        missing = uncovered(alone.python("list of commands", LIST, bool).splitlines())
        if missing:
            alone.failed += 1
            print(f"FAILED no line in COMMANDS tries {', '.join(missing)}")
        for line, extra in COMMANDS:
            alone.command(line, extra)
        if alone.run("fer-attention", "--version").stdout.strip() != wheel.name.split("-")[1]:
            alone.failed += 1
            print("FAILED --version is not the wheel's")
    print(f"{alone.failed} failed" if alone.failed else "The wheel works alone.")
    sys.exit(1 if alone.failed else 0)


if __name__ == "__main__":
    main()
