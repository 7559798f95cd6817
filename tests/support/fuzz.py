"""Damaged weights files, configs and data sets, drawn by seed, and what reading them gives.

`python -m tests.support.fuzz weights 2000` runs more of them than the tests do.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import resource
import shutil
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from fer_attention.data import DataError, load_data
from fer_attention.data.labels import open_labels
from fer_attention.models import WeightsError, create_model, fill_backbone, load_weights, save_weights
from fer_attention.plugins import RECIPES, STUDIES
from fer_attention.study import StudyError, load_study
from fer_attention.training import load_recipe
from fer_attention.training.campaign import load_campaign

MAX_MESSAGE, MAX_LINES, MAX_SECONDS, MAX_BYTES = 4000, 16, 10, 2_000_000_000

VALUES = [
    None, True, -1, 0, 10**9, 10**400, 1e308, float("nan"), float("inf"), 48.5, [30_000, 30_000],
    "", "x" * 100_000, "../../etc/passwd", "\u0000", "🙂", "none",
    [], {}, [[]], [None] * 10_000, ["se", "se"], {"a": {"a": {}}},
]  # fmt: skip
"""Values in the place of sound ones."""

TEXTS = [
    "*a",
    "&a [*a]",
    "!!python/object/apply:os.system [ls]",
    "!mine 1",
    "[" * 200,
    "{",
    ": :",
    "\t",
    "2001-99-99",
]


@dataclass
class Tally:
    """Counts of the cases of a run, and the cases that broke a rule."""

    read: int = 0
    refused: int = 0
    seconds: float = 0.0
    longest: int = 0
    broken: list[str] = field(default_factory=list)

    def case(self, what, path, call, errors):
        """Call a reader; its error must be ours, bounded, and name the file."""
        start = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call()
            self.read += 1
        except errors as error:
            text = str(error)
            self.refused += 1
            self.longest = max(self.longest, len(text))
            if str(path) not in text:
                self.broken.append(f"{what}: the file is not named: {text[:300]}")
            if len(text) > MAX_MESSAGE or text.count("\n") > MAX_LINES or "weights_only" in text:
                self.broken.append(f"{what}: message of {len(text)} characters: {text[:300]}")
        except BaseException as error:  # any other is what the run looks for
            self.broken.append(f"{what}: {type(error).__name__}: {str(error)[:300]}")
        seconds = time.process_time() - start
        self.seconds = max(self.seconds, seconds)
        if seconds > MAX_SECONDS:
            self.broken.append(f"{what}: {seconds:.0f} s")


def damaged(draw, content):
    """Cut, exchange, insert or overwrite bytes, most often near the start or the end, where headers are."""
    content = bytearray(content)
    region = draw.choice([512, 4096, len(content)])
    for _ in range(draw.choice([1, 1, 2, 8])):
        at = draw.randrange(min(region, len(content)) or 1)
        at = draw.choice([at, max(0, len(content) - 1 - at)])
        kind = draw.randrange(5)
        if kind == 0:
            del content[at:]
        elif kind == 1 and content:
            content[at % len(content)] = draw.randrange(256)
        elif kind == 2:
            content[at:at] = draw.randbytes(draw.choice([1, 8, 1000]))
        elif kind == 3:
            del content[at : at + draw.choice([1, 8, 1000])]
        else:
            content[at : at + 64] = draw.choice([b"\xff", b"\0", b"9", b"{"]) * 64
    return bytes(content)


def changed(draw, value, depth=0):
    """Exchange, remove, rename or add one part of nested lists and mappings."""
    if depth and (draw.random() < 0.35 or not isinstance(value, (dict, list)) or not value):
        return draw.choice(VALUES)
    if isinstance(value, list):
        result = list(value)
        at = draw.randrange(len(result))
        result[at] = changed(draw, result[at], depth + 1)
        return result
    result = dict(value)
    name = draw.choice(list(result))
    kind = draw.randrange(6)
    if kind == 0:
        del result[name]
    elif kind == 1:
        result[draw.choice([f"{name}s", "x" * 50_000, "", "🙂"])] = result.pop(name)
    else:
        result[name] = changed(draw, result[name], depth + 1)
    return result


def weights(count, seed, folder, tally):
    """Files of weights: ours with changed bytes, headers and metadata, and checkpoints with changed bytes."""
    model = create_model("resnet18_eca_elu", width=0.125)
    ours = save_weights(model, folder / "ours.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", ours[:8])
    header, body = json.loads(ours[8 : 8 + length]), ours[8 + length :]
    pickles = []
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        buffer = io.BytesIO()
        torch.save({"net": model.state_dict(), "acc": 70, "epoch": 3}, buffer, **options)
        pickles.append(buffer.getvalue())
    for number in range(count):
        draw = random.Random(f"weights {seed} {number}")
        kind = draw.randrange(5)
        path = folder / f"w{number}{draw.choice(['.safetensors', '.pth', '.ckpt'])}"
        if kind == 0:
            path.write_bytes(damaged(draw, ours))
        elif kind == 1:
            path.write_bytes(damaged(draw, draw.choice(pickles)))
        elif kind == 2:
            text = json.dumps(changed(draw, header)).encode()
            path.write_bytes(struct.pack("<Q", len(text)) + text + body)
        elif kind == 3:
            part = draw.choice(["spec", "preprocessing", "labels", "record"])
            new = json.dumps(changed(draw, json.loads(header["__metadata__"][part]) or {"a": 1}))
            text = json.dumps({**header, "__metadata__": {**header["__metadata__"], part: new}}).encode()
            path.write_bytes(struct.pack("<Q", len(text)) + text + body)
        else:
            path.write_bytes(draw.choice([b"", b"PK\x03\x04", b"\x80\x02", b"<html>"]) + draw.randbytes(500))
        tally.case(f"load_weights {seed} {number}", path, lambda at=path: load_weights(at), WeightsError)
        if kind in (1, 4):
            fill = lambda at=path: fill_backbone(model, at)  # noqa: E731
            tally.case(f"fill_backbone {seed} {number}", path, fill, ValueError)
        path.unlink()


def configs(count, seed, folder, tally):
    """Recipes, studies, campaigns and label maps with changed values and changed text."""
    campaign = {
        "data": {"d": {"path": "{data}", "options": {"size": 48}}},
        "runs": [
            {"name": "one", "recipe": "quick", "data": "d", "changes": {"epochs": 2}},
            {"name": "two", "recipe": "quick", "data": "d", "changes": {"weights": "{one}"}},
        ],
    }
    labels = {"joy": "happy", "0": "angry", "blurred": None, "1": "sad"}
    sound = [(load_recipe, yaml.safe_load(RECIPES[name].read_text())) for name in RECIPES]
    sound += [(load_study, yaml.safe_load(STUDIES[name].read_text())) for name in STUDIES]
    sound += [(load_campaign, campaign), (open_labels, labels)] * 3
    for number in range(count):
        draw = random.Random(f"config {seed} {number}")
        load, fields = draw.choice(sound)
        path = folder / f"c{number}.yaml"
        for _ in range(draw.choice([0, 1, 1, 2])):
            fields = changed(draw, fields) if fields else fields
        text = yaml.dump(fields, Dumper=yaml.CSafeDumper, allow_unicode=True).encode()
        if draw.random() < 0.3:
            text = damaged(draw, text)
        elif draw.random() < 0.2:
            text = text.replace(b": ", f": {draw.choice(TEXTS)} ".encode(), 1)
        path.write_bytes(text)
        what = f"{load.__name__} {seed} {number}"
        tally.case(what, path, lambda at=path, read=load: read(at), (ValueError, StudyError))
        path.unlink()


def picture(draw):
    buffer = io.BytesIO()
    pixels = np.frombuffer(draw.randbytes(48 * 48), np.uint8).reshape(48, 48)
    Image.fromarray(pixels).save(buffer, draw.choice(["PNG", "JPEG", "BMP"]))
    return buffer.getvalue()


def members(draw):
    """Files of a small data set by name, some of them odd."""
    layout = draw.choice(
        ["{e}/{i}.png", "train/{e}/{i}.jpg", "{e}/{i}.bmp", "outer/test/{e}/Training_{i}.png"]
    )
    number = draw.choice([6, 6, 6, 7, 8])
    files = {
        layout.format(e=emotion, i=i): picture(draw)
        for emotion in draw.sample(
            ["happy", "sad", "angry", "fear", "joy", "neutral", "odd", "1"][:number], 3
        )
        for i in range(3)
    }
    odd = {
        "happy/x.png": draw.randbytes(300),
        "sad/deep/deeper/y.png": picture(draw),
        "labels.csv": b"file,label\nx.png,happy\n",
        "happy/\u0416\u202e.png": picture(draw),
        f"sad/{'n' * 200}.png": b"",
        "fer2013.csv": b"emotion,pixels\n",
        "z.png": picture(draw),
    }
    files |= {name: odd[name] for name in draw.sample(list(odd), draw.randrange(3))}
    return {name: damaged(draw, file) if draw.random() < 0.1 else file for name, file in files.items()}


def table(draw):
    """A table of pixels with changed cells and changed text."""
    rows = []
    for _ in range(6):
        row = [str(draw.randrange(7)), " ".join(["7"] * 2304), draw.choice(["Training", "PublicTest"])]
        if draw.random() < 0.4:
            odd = ["", "9" * 5000, "-1", "3.0", "x", '"', "\0", "1 " * 70_000, "nan"]
            row[draw.randrange(3)] = draw.choice(odd)
        rows.append(draw.choice([",", ",", ",", ";"]).join(row))
    header = draw.choice(["emotion,pixels,Usage", "emotion,pixels,Usage", "pixels,emotion", "", "a,b,c"])
    return "\n".join([header, *rows]).encode(draw.choice(["utf-8", "utf-8", "utf-16"]))


def data_sets(count, seed, folder, tally):
    """Tables, archives and folders: with odd names and cells, and with changed bytes."""
    for number in range(count):
        draw = random.Random(f"data {seed} {number}")
        kind, path = draw.randrange(3), folder / f"d{number}"
        options = {"on_error": draw.choice(["raise", "skip"])}
        if kind == 0:
            path = path.with_suffix(".csv")
            content = table(draw)
            path.write_bytes(damaged(draw, content) if draw.random() < 0.3 else content)
        elif kind == 1:
            path = path.with_suffix(".zip")
            with zipfile.ZipFile(
                path, "w", draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
            ) as archive:
                for name, content in members(draw).items():
                    archive.writestr(name, content)
            if draw.random() < 0.7:
                path.write_bytes(damaged(draw, path.read_bytes()))
        else:
            for name, content in members(draw).items():
                with contextlib.suppress(OSError):  # a folder of that name
                    (path / name).parent.mkdir(parents=True, exist_ok=True)
                    (path / name).write_bytes(content)
        read = lambda at=path, given=options: load_data(at, **given)  # noqa: E731
        tally.case(f"load_data {seed} {number}", path, read, DataError)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


KINDS = {"weights": weights, "configs": configs, "data": data_sets}


def run(kind, count, seed=0):
    """Run cases in a temporary folder; the address space is limited, so that a bomb is an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * MAX_BYTES, hard))
    tally = Tally()
    try:
        with tempfile.TemporaryDirectory() as folder:
            KINDS[kind](count, seed, Path(folder), tally)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    if (peak := peak_memory()) > MAX_BYTES:
        tally.broken.append(f"{peak / 1e9:.1f} GB of memory")
    return tally


def peak_memory():
    """The most memory of this program in bytes; ru_maxrss begins at that of the process that started it."""
    (line,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.M)
    return 1024 * int(line)


if __name__ == "__main__":
    result = run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    print(
        f"{result.read} read, {result.refused} refused, slowest {result.seconds:.1f} s of processor time, "
        f"longest message {result.longest} characters, peak {peak_memory() / 1e9:.1f} GB"
    )
    print("\n".join(result.broken))
    sys.exit(bool(result.broken))
