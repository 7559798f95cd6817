"""Campaigns: runs that use earlier ones, interruptions, and errors in the campaign's file."""

import itertools
import json
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch
import yaml

from fer_attention.models import load_weights, read_metadata
from fer_attention.training import TrainingError
from fer_attention.training import campaign as module
from fer_attention.training.campaign import Campaign, load_campaign, run_campaign, run_state
from fer_attention.training.objective import teacher_probabilities
from tests.support.forked import python, run_python
from tests.support.tiny_campaigns import campaign_fields, campaign_file, output_of, run, write_faces
from tests.support.tiny_runs import StoppedError, assert_same_run, checkpoint_of

pytestmark = pytest.mark.usefixtures("without_curves")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, faces):
    """A campaign that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run_campaign(Campaign(**campaign_fields()), folder, paths={"faces": faces}, device="cpu")
    return folder


def assert_same_campaign(a, b):
    for name in ("first", "second"):
        assert_same_run(a / name, b / name)


def test_a_later_run_can_learn_from_an_earlier_one(whole, faces):
    from fer_attention.data import load_fer2013  # noqa: PLC0415

    second = json.loads((whole / "second" / "config.json").read_text())
    assert second["teachers"] == [str(whole / "first" / "best.safetensors")]
    training = load_fer2013(faces).split("train")
    answers = teacher_probabilities(second["teachers"][0], training, device=torch.device("cpu"))
    labels = torch.eye(7)[training.labels]
    targets = checkpoint_of(whole / "second")["targets"]
    torch.testing.assert_close(targets, 0.1 * labels + 0.9 * answers)
    for name in ("first", "second"):
        record = read_metadata(whole / name / "best.safetensors").record
        assert (record["selected_on"], record["training_images"], record["selection_images"]) == (
            "public",
            56,
            14,
        )


def test_a_later_run_can_start_from_an_earlier_one(tmp_path, faces):
    second = {"weights": "{first}", "structure": {}, "teachers": [], "teacher_weight": 0.5}  # the default
    second |= {"lr": 1e-9, "ema_decay": 0.0}
    path = campaign_file(tmp_path, second=second)
    result = run(path, "--output", tmp_path / "runs", "--path", f"faces={faces}")
    assert result.exit_code == 0, result.output
    start = load_weights(tmp_path / "runs" / "first" / "best.safetensors")
    after = checkpoint_of(tmp_path / "runs" / "second")["model"]  # at a learning rate without effect
    for name, value in start.named_parameters():
        torch.testing.assert_close(after[name], value.detach(), rtol=1e-4, atol=1e-5)
    record = json.loads((tmp_path / "runs" / "second" / "config.json").read_text())
    assert (record["model"], record["structure"]) == ("resnetv2_18_eca_elu", {})


def test_the_command_reports_progress_and_trains_only_once(tmp_path, faces, whole):
    path = campaign_file(tmp_path)
    command = [path, "--output", tmp_path / "runs", "--path", f"faces={faces}"]
    result = run(*command)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("data set faces: fer2013; 77 images: ")
    steps = [line.split(":")[0] for line in lines if line.startswith(("first", "second"))]
    trained = " in float32"  # the precision of the file
    assert steps == [f"first starts{trained}", "first is done", f"second starts{trained}", "second is done"]
    best = json.loads((tmp_path / "runs" / "first" / "result.json").read_text())["best"]
    assert f"first is done: {best['validation_accuracy']:.2%} on the selection split" in result.output
    assert lines[-1] == f"2 of 2 runs are done, in {tmp_path / 'runs'}."
    assert_same_campaign(whole, tmp_path / "runs")
    before = {
        p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "runs").rglob("*") if p.is_file()
    }
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert "starts" not in result.output
    assert "data set" not in result.output  # data sets are not read
    assert output_of(result).endswith(
        f"2 of 2 runs were done before, in {tmp_path / 'runs'}; nothing was trained."
    )
    assert before == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in before}


def test_skipped_images_are_reported(tmp_path, faces):
    damaged = tmp_path / "fer2013.csv"
    damaged.write_text(faces.read_text() + "3,1 2 3,Training\n")
    content = campaign_fields()
    content["data"]["faces"] = {"path": str(damaged), "options": {"on_error": "skip"}}
    path = tmp_path / "campaign.yaml"
    path.write_text(yaml.safe_dump(content))
    result = run(path, "--output", tmp_path / "runs", "--minutes", "0")
    assert result.exit_code == 0, result.output
    text = output_of(result)
    assert "data set faces: fer2013; 77 images: " in text
    assert "; left out: 1, the first row 78 (3 pixels instead of 2304" in text


def test_a_campaign_stopped_by_minutes_ends_with_identical_weights(tmp_path, faces, whole, monkeypatch):
    seconds = itertools.count()  # the clock advances by one at each reading
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    campaign, folder = Campaign(**campaign_fields()), tmp_path / "runs"
    parts = []
    while not parts or parts[-1]["second"] != "done":
        states = run_campaign(campaign, folder, paths={"faces": faces}, minutes=5.5 / 60, device="cpu")
        assert states == {name: run_state(folder / name) for name in states}
        parts.append({name: progress_of(folder / name) for name in states})
        assert parts.count(parts[-1]) == 1  # each part makes progress
    assert len(parts) > 5
    assert_same_campaign(whole, folder)


def progress_of(folder):
    if run_state(folder) != "started":
        return run_state(folder)
    state = checkpoint_of(folder)
    return len(state["history"]), state["position"][0]


def test_an_expired_time_limit_is_reported(tmp_path, faces):
    command = [campaign_file(tmp_path), "--output", tmp_path / "runs", "--path", f"faces={faces}"]
    result = run(*command, "--minutes", "0")
    assert result.exit_code == 0, result.output
    assert "0 of 2 runs are done. The same command resumes with first." in output_of(result)
    result = run(*command, "--minutes", "-1")
    assert result.exit_code == 2


def test_the_folder_of_a_campaign_can_move(tmp_path, faces, whole, monkeypatch):
    campaign = Campaign(**campaign_fields())
    shutil.copytree(whole, tmp_path / "done")
    states = run_campaign(campaign, tmp_path / "done", paths={"faces": faces}, device="cpu")
    assert set(states.values()) == {"done"}

    def stop_after_first(run, config, state):
        if state == "done":
            raise StoppedError

    folder = tmp_path / "here"
    with pytest.raises(StoppedError):
        run_campaign(campaign, folder, paths={"faces": faces}, device="cpu", on_run=stop_after_first)
    asked = iter([1, 2, 2, 3])  # teacher, one step of the second run, time is up
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(asked)))
    run_campaign(campaign, folder, paths={"faces": faces}, minutes=1.5 / 60, device="cpu")
    assert progress_of(folder / "second") == (0, 1)
    shutil.move(folder, tmp_path / "there")
    run_campaign(campaign, tmp_path / "there", paths={"faces": faces}, device="cpu")
    assert_same_campaign(whole, tmp_path / "there")


def test_a_finished_run_of_another_config_is_rejected(tmp_path, faces, whole):
    shutil.copytree(whole, tmp_path / "runs")
    path = campaign_file(tmp_path, second={"lr": 0.3})
    result = run(path, "--output", tmp_path / "runs", "--path", f"faces={faces}")
    assert result.exit_code == 2
    message = (
        "second contains a finished run of another config: lr was 0.1, is 0.3. Give the changed run another "
        "name, or remove that folder"
    )
    assert message in output_of(result)
    free = Campaign(
        **campaign_fields(second={"checkpoint_minutes": 3, "workers": 0})
    )  # without effect on the result
    assert set(run_campaign(free, tmp_path / "runs", paths={"faces": faces}).values()) == {"done"}
    config = tmp_path / "runs" / "first" / "config.json"
    older = json.loads(config.read_text())
    del (
        older["logit_adjustment"],
        older["augment"]["degrade"],
    )  # as written by a version without these fields
    config.write_text(json.dumps(older))
    assert set(run_campaign(free, tmp_path / "runs", paths={"faces": faces}).values()) == {"done"}
    changed = Campaign(**campaign_fields(first={"logit_adjustment": 0.5}))
    with pytest.raises(
        TrainingError, match=r"first contains a finished run .* logit_adjustment was 0.0, is 0.5"
    ):
        run_campaign(changed, tmp_path / "runs", paths={"faces": faces})


def test_replaced_files_of_finished_runs_are_noticed(tmp_path, faces, whole, monkeypatch):
    folder, data = shutil.copytree(whole, tmp_path / "runs"), shutil.copy(faces, tmp_path / "fer2013.csv")
    campaign = Campaign(**campaign_fields())
    with monkeypatch.context() as patched:  # the same content elsewhere is not read again
        patched.setattr(module, "load_data", lambda *_, **__: pytest.fail("the data were read"))
        run_campaign(campaign, folder, paths={"faces": data}, device="cpu")
    lines = data.read_text().splitlines()
    data.write_text("\n".join([lines[0], *reversed(lines[1:57]), *lines[57:]]) + "\n")
    with pytest.raises(TrainingError, match="first contains a finished run on other data"):
        run_campaign(campaign, folder, paths={"faces": data}, device="cpu")
    shutil.copy(folder / "second" / "best.safetensors", folder / "first" / "best.safetensors")
    with pytest.raises(TrainingError, match="second contains a finished run whose .* teachers have changed"):
        run_campaign(campaign, folder, paths={"faces": faces}, device="cpu")


SCRIPT = """
import os, random, signal, sys
file, folder, faces, mode = sys.argv[1:]
from pathlib import Path
from tests.support.tiny_runs import kill_after

generator = random.Random(mode)
last, epochs, delay = mode.removeprefix("kill in epoch "), 0, generator.uniform(0, 0.1)
if mode == "kill at the start":
    kill_after(generator.uniform(0, 0.3))
from fer_attention.training import TrainingCallbacks
from fer_attention.training.campaign import load_campaign, run_campaign

def on_epoch(epoch):
    global epochs
    epochs += 1
    if str(epochs) == last:
        kill_after(delay)

callbacks = TrainingCallbacks(on_epoch=on_epoch)
run_campaign(load_campaign(file), Path(folder), paths={"faces": faces}, device="cpu", callbacks=callbacks)
if mode != "train":  # a fast machine was done before the end of the delay
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run_script(path, faces, folder, mode):
    """Run a campaign in a process of its own, which may kill itself; return its exit code."""
    return run_python("-c", SCRIPT, path, folder, faces, mode)[0]


@pytest.mark.slow
def test_a_repeatedly_killed_campaign_ends_with_identical_weights(tmp_path, faces):
    """The first kills find it in its first run, the last ones in its second."""
    path = campaign_file(tmp_path, first={"epochs": 12}, second={"epochs": 12})
    assert run_script(path, faces, tmp_path / "whole", "train") == 0
    for mode in ("kill at the start", *(f"kill in epoch {epoch}" for epoch in (1, 3, 5, 4, 2))):
        assert run_script(path, faces, tmp_path / "parts", mode) == -signal.SIGKILL
    assert run_script(path, faces, tmp_path / "parts", "train") == 0
    assert_same_campaign(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends_a_campaign(tmp_path, faces, number, code):
    path = campaign_file(tmp_path, first={"epochs": 2000, "checkpoint_minutes": 60})
    command = ["-m", "fer_attention.cli", "campaign", path, "--output", tmp_path / "runs"]
    command += ["--path", f"faces={faces}", "--threads", "1", "--device", "cpu"]
    with python(*command) as process:
        assert any(line.startswith("epoch   2") for line in process.stdout)
        process.send_signal(number)
        output = "".join(process.communicate())
    assert process.returncode == code
    assert "Traceback" not in output
    state = checkpoint_of(tmp_path / "runs" / "first")
    assert len(state["history"]) >= 2
    assert run_state(tmp_path / "runs" / "first") == "started"
    assert "the same command resumes from there." in " ".join(output.split())


def changed_fields(change):
    content = campaign_fields()
    change(content)
    return content


def set_in(*path, value):
    def change(content):
        part = content
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("run", value=[]), "No field 'run'. Did you mean 'runs'"),
        (
            set_in("runs", 1, "recipes", value="quick"),
            "No field 'runs.1.recipes'. Did you mean",
        ),
        (set_in("runs", value=[]), "runs: "),
        (set_in("runs", 1, "name", value="first"), "Two runs are named 'first'."),
        (set_in("runs", 1, "name", value="../out"), "runs.1.name: "),
        (
            set_in("runs", 1, "data", value="fces"),
            "run second: Unknown data set 'fces'. Did you mean 'faces'",
        ),
        (
            set_in("runs", 1, "recipe", value="quik"),
            "run second: Unknown recipe 'quik'. Did you mean 'quick'",
        ),
        (
            set_in("runs", 1, "changes", "epoch", value=3),
            "No field 'epoch'. Did you mean 'epochs'",
        ),
        (
            set_in("runs", 1, "changes", "lr", value=-1),
            "run second: The recipe quick with these changes cannot",
        ),
        (
            set_in("runs", 1, "changes", "teachers", value=["{frist}"]),
            "run second: '{frist}': Unknown run 'frist'. Did you mean 'first'",
        ),
        (
            set_in("runs", 0, "changes", "teachers", value=["{second}"]),
            "run first: '{second}' stands for weights that do not exist yet; a run can use those of earlier "
            "runs: none.",
        ),
        (
            set_in("runs", 0, "changes", "weights", value="{first}"),
            "run first: '{first}' stands for weights that do not exist yet",
        ),
        (
            set_in("data", "faces", "path", value="{fer2013}"),
            "data set faces: '{fer2013}': Unknown path 'fer2013'. Known: faces. Give its path with --path "
            "fer2013=PATH.",
        ),
        (set_in("data", "faces", "path", value="nowhere.zip"), "data set faces: nowhere.zip does not exist"),
        (
            set_in("data", "faces", "data_format", value="fer2031"),
            "data set faces: Unknown data format 'fer2031'",
        ),
        (
            set_in("data", "faces", "options", value={"on_eror": "skip"}),
            "data set faces: Unknown option of the data format 'fer2013': 'on_eror'",
        ),
    ],
)
def test_errors_in_any_run_are_found_before_training(tmp_path, faces, change, message):
    path = tmp_path / "campaign.yaml"
    path.write_text(yaml.safe_dump(changed_fields(change)))
    result = run(path, "--output", tmp_path / "runs", "--path", f"faces={faces}")
    assert result.exit_code == 2
    assert message in output_of(result)
    assert len(result.output.splitlines()) <= 2
    assert "pydantic" not in result.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "campaign.yaml cannot be read: no such file or directory."),
        ("runs: [", "campaign.yaml is not valid YAML: line 1, column 8: expected the node content"),
        ("- first", "campaign.yaml must hold named fields; got a list."),
        ("", "campaign.yaml must hold named fields; got nothing"),
        ("data: {}\nruns: []\ndata: {}", "line 3, column 1: the field 'data' is given twice"),
        (b"\x80\x81", "campaign.yaml is not valid YAML: "),
    ],
)
def test_invalid_campaign_files_are_rejected_in_one_line(tmp_path, content, message):
    path = tmp_path / "campaign.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run(path, "--output", tmp_path / "runs")
    assert result.exit_code == 2
    assert message in output_of(result)
    assert len(result.output.splitlines()) == 1
    with pytest.raises(ValueError, match="campaign.yaml"):
        load_campaign(path)


@pytest.mark.parametrize("text", ["faces", "=x", "faces="])
def test_a_path_option_needs_a_name_and_a_path(tmp_path, text):
    result = run(campaign_file(tmp_path), "--output", tmp_path / "runs", "--path", text)
    assert result.exit_code == 2
    assert output_of(result) == f"error: --path takes NAME=PATH, got {text!r}."


def test_an_output_that_cannot_be_created_fails_before_training(tmp_path, faces):
    (tmp_path / "file").write_text("")
    result = run(campaign_file(tmp_path), "--output", tmp_path / "file" / "runs", "--path", f"faces={faces}")
    assert result.exit_code == 2
    assert (
        f"Cannot create the folder {tmp_path / 'file' / 'runs'}: a part of the path is a file, not a folder."
        in output_of(result)
    )
    assert "starts" not in result.output
