"""Packages with an entry point are found in a fresh process and are equal to this one."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.support.forked import run_python
from tests.support.paths import ROOT
from tests.support.tiny_studies import tiny_fields

EXAMPLE = ROOT / "examples" / "plugin"

LOOK = """
import json, sys, fer_attention
assert "fer_attention_mirror" not in sys.modules
import timm, torch
print(json.dumps({
    "imported": "fer_attention_mirror" in sys.modules,
    "names": fer_attention.list_models("*mirror*"),
    "timm": timm.list_models("*mirror*"),
    "logits": list(timm.create_model("convnet_16_mirror_elu", num_classes=3)(torch.rand(2, 1, 48, 48)).shape),
}))
"""
USE = """
import json, sys
from fer_attention import create_model
from fer_attention.data import load_data
from fer_attention.faces import create_detector
from fer_attention.study import StudyError, expand, load_study
from fer_attention.training import load_recipe
try:
    load_study(sys.argv[2])
except StudyError as error:
    wrong = str(error)
crops = load_data(sys.argv[1])
print(json.dumps({
    "gate": type(create_model("resnet18_mirror", device="meta").layer1[0].attn).__name__,
    "crops": [len(crops), crops.label_names[crops.labels[0]], str(crops.subjects[0])],
    "faces": create_detector("middle").detect([crops.images[0]])[0][0].box,
    "recipe": load_recipe("mirror").model,
    "runs": sorted({run.config.model for run in expand(load_study("mirror-vs-se"))}),
    "wrong": wrong,
}))
"""


def run(*command, plugins=()):
    """Return output and errors of a Python that imports the package anew."""
    path = os.pathsep.join([str(ROOT), *map(str, plugins)])
    code, output, errors = run_python(*command, bare=True, PYTHONPATH=path, COLUMNS="200")
    assert code == 0, output + errors
    return output, errors


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A folder with the wheel of examples/plugin unpacked in it, which is all that an installation does."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("plugin")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(command, cwd=EXAMPLE, check=True, capture_output=True)
    [wheel] = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A folder with an installed plug-in that cannot be imported."""
    site = tmp_path_factory.mktemp("broken")
    (site / "half_done.py").write_text("raise RuntimeError('no key for the camera')\n")
    info = site / "half_done-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: half-done\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[fer_attention.plugins]\nhalf = half_done\n")
    return site


@pytest.fixture(scope="module")
def found(example, tmp_path_factory):
    """The plug-in in a fresh process: first its names, then one entry of every kind."""
    folder = tmp_path_factory.mktemp("found")
    (folder / "data").mkdir()
    Image.fromarray(np.full((60, 40), 90, np.uint8)).save(folder / "data" / "happy@ann.png")
    text = (EXAMPLE / "fer_attention_mirror" / "studies" / "mirror-vs-se.yaml").read_text()
    (folder / "wrong.yaml").write_text(text.replace("mirror]", "miror]"))
    shown = run("-c", LOOK + USE, folder / "data", folder / "wrong.yaml", plugins=[example])[0]
    return [json.loads(line) for line in shown.splitlines()]


def test_a_block_and_a_family_of_a_plug_in_have_names_here_and_in_timm(found):
    names, _ = found
    assert names["imported"]
    assert {"resnet50_mirror_elu", "convnet_16_mirror", "vgg16_bn_mirror"} <= set(names["names"])
    assert sorted(names["timm"]) == names["names"]
    assert names["logits"] == [2, 3]


def test_a_plug_in_adds_every_kind_of_entry(found):
    _, entries = found
    assert entries["gate"] == "MirrorGate"
    assert entries["crops"] == [1, "happy", "ann"]
    assert entries["faces"] == [12, 12, 36, 36]
    assert entries["recipe"] == "convnet_16_mirror"
    assert entries["runs"] == ["convnet_16", "convnet_16_mirror", "convnet_16_se"]
    assert "Did you mean 'mirror'" in entries["wrong"]


@pytest.mark.slow
def test_the_command_line_lists_plug_ins_and_warns_of_a_broken_one(example, broken):
    command = "-m", "fer_attention.cli", "models", "convnet_16_mir*"
    shown, errors = run(*command, plugins=[broken, example])
    rows = [line for line in shown.splitlines() if "convnet_16_mirror" in line]
    assert len(rows) == 2
    [line] = [line for line in errors.splitlines() if line]
    assert line == (
        "warning: The plug-in 'half_done' of half-done 0.3 was not loaded, RuntimeError: no key for the "
        "camera. Fix the package, or uninstall it: pip uninstall half-done."
    )
    helped = run("-m", "fer_attention.cli", "train", "--help", plugins=[example])[0]
    assert "mirror, " in helped
    assert "middle" in run("-m", "fer_attention.cli", "predict", "--help", plugins=[example])[0]


def test_a_broken_plug_in_warns_once_and_leaves_the_rest_whole(broken):
    code = (
        "import warnings, fer_attention.plugins as plugins\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    from fer_attention import create_model, list_models\n"
        "    import timm\n"
        "    list_models(), timm.list_models(), create_model('resnet18_se', device='meta')\n"
        "print(*[w.message for w in caught if w.category is plugins.PluginWarning], sep='\\n')"
    )
    [line] = run("-c", code, plugins=[broken])[0].splitlines()
    assert "half-done 0.3" in line
    assert "no key for the camera" in line


IMPORT_ALL = """
import importlib, pkgutil, sys, fer_attention, fer_attention.plugins as plugins
sys.meta_path = [finder for finder in sys.meta_path if type(finder).__module__ != "fer_attention.timm_names"]
looks = []
plugins.load_plugins = lambda: looks.append(list(sys.modules)[-1])
for module in pkgutil.walk_packages(fer_attention.__path__, "fer_attention."):
    if not module.name.startswith(("fer_attention.cli", "fer_attention.demo")):  # which no plug-in needs
        try:
            importlib.import_module(module.name)
        except ImportError:  # of an optional library
            pass
print(looks, "torch" in sys.modules)
"""


@pytest.mark.slow
def test_no_module_looks_up_an_entry_while_it_is_imported():
    assert run("-c", IMPORT_ALL)[0] == "[] True\n"  # else a plug-in would find modules half imported


BLOCK = ROOT / "examples" / "energy_block.py"


@pytest.mark.slow
def test_a_block_in_a_file_has_its_models_with_the_option_plugin(tmp_path):
    shown = run_python("-m", "fer_attention.cli", "--plugin", BLOCK, "models", "resnet18_ener*")[1]
    assert "resnet18_energy" in shown
    assert "resnet18_energy_elu" in shown
    code = (
        "import sys, torch; from fer_attention.plugins import load_plugin; import timm, fer_attention\n"
        f"load_plugin({str(BLOCK)!r}); load_plugin({str(BLOCK)!r})\n"
        "model = timm.create_model('resnet18_energy', attention_options={'gain': 2.0})\n"
        "model(torch.rand(2, 1, 48, 48)).sum().backward()\n"
        "print(model.layer1[0].attn.weight.grad.shape)"
    )
    assert run("-c", code)[0] == "torch.Size([64, 1, 1])\n"


REFUSED = {
    "missing": (None, "there is no such file."),
    "failing": ("1 / 0", "ZeroDivisionError: division by zero."),
    "without device": (
        BLOCK.read_text().replace("device: ", "machine: "),
        "EnergyGate has no parameter device",
    ),
    "taken": (BLOCK.read_text().replace('"energy"', '"se"'), "The attention 'se' is already registered"),
}
FORKED = """
import json, os, sys
import timm, fer_attention.models
from fer_attention.cli import app
for folder, arguments in json.loads(sys.argv[1]):
    if not (child := os.fork()):
        os.chdir(folder)
        for descriptor, name in enumerate(("stdout", "stderr"), start=1):
            os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY), descriptor)
        try:
            app(arguments)
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """(exit status, output, errors, folder) of command lines with a plug-in of the current folder.

    Each runs in a fork of one Python that has imported what commands need.
    """
    folders = {case: tmp_path_factory.mktemp("named") for case in ("module", *REFUSED)}
    (folders["module"] / "my_lab").mkdir()
    (folders["module"] / "my_lab" / "blocks.py").write_text(BLOCK.read_text())
    cases = [(str(folders["module"]), ["--plugin", "my_lab.blocks", "models", "resnet18_energy"])]
    for case, (text, _) in REFUSED.items():
        if text is not None:
            (folders[case] / "mine.py").write_text(text)
        arguments = ["--plugin", str(folders[case] / "mine.py"), "models", "vgg11"]
        cases.append((str(folders[case]), arguments))
    statuses = map(int, run("-c", FORKED, json.dumps(cases))[0].split())
    return {
        case: (status, *((folder / name).read_text() for name in ("stdout", "stderr")), folder)
        for status, (case, folder) in zip(statuses, folders.items(), strict=True)
    }


def test_a_module_in_the_current_folder_can_be_named_as_a_plug_in(named):
    status, output, errors, _ = named["module"]
    assert (status, errors) == (0, "")
    assert "resnet18_energy" in output


@pytest.mark.parametrize("case", REFUSED)
def test_a_named_plug_in_that_fails_ends_the_command_with_its_reason(case, named):
    status, _, errors, folder = named[case]
    [line] = errors.splitlines()
    assert status == 2
    assert line.startswith(f"error: The plug-in {folder / 'mine.py'} was not loaded: ")
    assert REFUSED[case][1] in line


@pytest.mark.slow
def test_workers_of_a_study_know_a_named_plug_in(tmp_path):
    fields = tiny_fields(factors__attention=["none", "energy"], replications__seeds=1)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(fields))
    command = ["study", "run", tmp_path / "study.yaml", "--output", tmp_path / "out", "--workers", "1"]
    code, _, errors = run_python("-m", "fer_attention.cli", "--plugin", BLOCK, *command)
    assert code == 0, errors
    records = [json.loads(path.read_text()) for path in (tmp_path / "out" / "runs").glob("*/record.json")]
    assert sorted(record["model"] for record in records) == ["resnetv2_18_elu", "resnetv2_18_energy_elu"]
