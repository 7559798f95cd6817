"""Campaigns: runs in order that learn from each other, stop anywhere, and continue to the same weights."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
import yaml

from fer_attention.models import load_weights, read_metadata
from fer_attention.training import TrainingError
from fer_attention.training import campaign as module
from fer_attention.training.campaign import Campaign, run_campaign, run_state
from fer_attention.training.objective import teacher_probabilities
from tests.support.tiny_campaigns import described, run, said, write_faces, written
from tests.support.tiny_runs import assert_same_run, checkpoint_of


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, faces):
    """A campaign that was never disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    run_campaign(Campaign(**described()), folder, paths={"faces": faces}, device="cpu")
    return folder


def assert_same_campaign(a, b):
    for name in ("first", "second"):
        assert_same_run(a / name, b / name)


def test_a_later_run_learns_from_an_earlier_one(whole, faces):
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


def test_a_later_run_may_start_from_an_earlier_one(tmp_path, faces):
    second = {"weights": "{first}", "structure": {}, "teachers": [], "lr": 1e-9, "ema_decay": 0.0}
    path = written(tmp_path, second=second)
    result = run(path, "--output", tmp_path / "runs", "--path", f"faces={faces}")
    assert result.exit_code == 0, result.output
    start = load_weights(tmp_path / "runs" / "first" / "best.safetensors")
    after = checkpoint_of(tmp_path / "runs" / "second")["model"]  # at a rate that moves nothing
    for name, value in start.named_parameters():
        torch.testing.assert_close(after[name], value.detach(), rtol=1e-4, atol=1e-5)
    record = json.loads((tmp_path / "runs" / "second" / "config.json").read_text())
    assert (record["model"], record["structure"]) == ("resnetv2_18_eca_elu", {})


def test_the_command_says_what_it_does_and_does_nothing_twice(tmp_path, faces, whole):
    path = written(tmp_path)
    command = [path, "--output", tmp_path / "runs", "--path", f"faces={faces}"]
    result = run(*command)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "data set faces: 77 images"
    steps = [line.split(":")[0] for line in lines if line.startswith(("first", "second"))]
    assert steps == ["first starts", "first is done", "second starts", "second is done"]
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
    assert "data set" not in result.output  # nothing is read for nothing
    assert said(result).endswith(
        f"2 of 2 runs were done before, in {tmp_path / 'runs'}; nothing was trained."
    )
    assert before == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in before}


def test_images_that_are_left_out_are_counted(tmp_path, faces):
    damaged = tmp_path / "fer2013.csv"
    damaged.write_text(faces.read_text() + "3,1 2 3,Training\n")
    content = described()
    content["data"]["faces"] = {"path": str(damaged), "options": {"on_error": "skip"}}
    path = tmp_path / "campaign.yaml"
    path.write_text(yaml.safe_dump(content))
    result = run(path, "--output", tmp_path / "runs", "--minutes", "0")
    assert result.exit_code == 0, result.output
    assert "data set faces: 77 images; left out: 1, the first row 78 (3 pixels instead of 2304" in said(
        result
    )


def test_a_campaign_that_leaves_after_minutes_continues_to_the_same_weights(
    tmp_path, faces, whole, monkeypatch
):
    seconds = itertools.count()  # each look at the clock is one later
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    campaign, folder = Campaign(**described()), tmp_path / "runs"
    parts = []
    while not parts or parts[-1]["second"] != "done":
        states = run_campaign(campaign, folder, paths={"faces": faces}, minutes=5.5 / 60, device="cpu")
        assert states == {name: run_state(folder / name) for name in states}
        parts.append({name: progress_of(folder / name) for name in states})
        assert parts.count(parts[-1]) == 1  # each part gets on
    assert len(parts) > 5
    assert_same_campaign(whole, folder)


def progress_of(folder):
    if run_state(folder) != "started":
        return run_state(folder)
    state = checkpoint_of(folder)
    return len(state["history"]), state["position"][0]


def test_minutes_that_are_over_are_said(tmp_path, faces):
    command = [written(tmp_path), "--output", tmp_path / "runs", "--path", f"faces={faces}"]
    result = run(*command, "--minutes", "0")
    assert result.exit_code == 0, result.output
    assert "0 of 2 runs are done. The same command resumes with first." in said(result)
    result = run(*command, "--minutes", "-1")
    assert result.exit_code == 2


def test_the_folder_of_a_campaign_may_move(tmp_path, faces, whole, monkeypatch):
    campaign = Campaign(**described())
    shutil.copytree(whole, tmp_path / "done")
    states = run_campaign(campaign, tmp_path / "done", paths={"faces": faces}, device="cpu")
    assert set(states.values()) == {"done"}

    class LeftError(Exception):
        pass

    def end_run(run, state):
        if state == "done":
            raise LeftError

    folder = tmp_path / "here"
    with pytest.raises(LeftError):
        run_campaign(campaign, folder, paths={"faces": faces}, device="cpu", on_run=end_run)
    asked = iter([1, 2, 2, 3])  # its teacher, one step of the second run, and its time is over
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(asked)))
    run_campaign(campaign, folder, paths={"faces": faces}, minutes=1.5 / 60, device="cpu")
    assert progress_of(folder / "second") == (0, 1)
    shutil.move(folder, tmp_path / "there")
    run_campaign(campaign, tmp_path / "there", paths={"faces": faces}, device="cpu")
    assert_same_campaign(whole, tmp_path / "there")


def test_a_finished_run_of_another_config_is_refused(tmp_path, faces, whole):
    shutil.copytree(whole, tmp_path / "runs")
    path = written(tmp_path, second={"lr": 0.3})
    result = run(path, "--output", tmp_path / "runs", "--path", f"faces={faces}")
    assert result.exit_code == 2
    message = (
        "second holds a finished run of another config: lr was 0.1, is 0.3. Give the changed run another name"
    )
    assert message in said(result)
    free = Campaign(**described(second={"checkpoint_minutes": 3, "workers": 0}))  # no number depends on them
    assert set(run_campaign(free, tmp_path / "runs", paths={"faces": faces}).values()) == {"done"}
    config = tmp_path / "runs" / "first" / "config.json"
    older = json.loads(config.read_text())
    del (
        older["logit_adjustment"],
        older["augment"]["degrade"],
    )  # as a release wrote it that had no such fields
    config.write_text(json.dumps(older))
    assert set(run_campaign(free, tmp_path / "runs", paths={"faces": faces}).values()) == {"done"}
    changed = Campaign(**described(first={"logit_adjustment": 0.5}))
    with pytest.raises(
        TrainingError, match=r"first holds a finished run .* logit_adjustment was 0.0, is 0.5"
    ):
        run_campaign(changed, tmp_path / "runs", paths={"faces": faces})


def start(path, faces, folder):
    command = [
        sys.executable,
        "-u",
        "-m",
        "fer_attention.cli",
        "campaign",
        str(path),
        "--output",
        str(folder),
    ]
    return subprocess.Popen(
        [*command, "--path", f"faces={faces}", "--threads", "1", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(process, words):
    for line in process.stdout:
        if line.startswith(words):
            return
    raise AssertionError(f"ended without {words!r}")


@pytest.mark.slow
def test_a_campaign_that_is_killed_again_and_again_ends_with_the_same_weights(tmp_path, faces):
    path = written(tmp_path, first={"epochs": 20}, second={"epochs": 20})
    undisturbed = start(path, faces, tmp_path / "whole")
    assert undisturbed.communicate()[0].strip().endswith("runs are done, in " + str(tmp_path / "whole") + ".")
    assert undisturbed.returncode == 0
    generator = random.Random(0)
    for epochs in (0, *(generator.randint(4, 7) for _ in range(5))):  # of 40; the first kill is at the start
        process = start(path, faces, tmp_path / "parts")
        for _ in range(epochs):
            wait_for(process, "epoch ")
        time.sleep(generator.uniform(0, 0.1 if epochs else 6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    process = start(path, faces, tmp_path / "parts")
    process.communicate()
    assert process.returncode == 0
    assert_same_campaign(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends_a_campaign(tmp_path, faces, number, code):
    path = written(tmp_path, first={"epochs": 200, "checkpoint_minutes": 60})
    process = start(path, faces, tmp_path / "runs")
    wait_for(process, "epoch   2")
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == code
    assert "Traceback" not in output
    state = checkpoint_of(tmp_path / "runs" / "first")
    assert len(state["history"]) >= 2
    assert run_state(tmp_path / "runs" / "first") == "started"
    assert "the same command resumes from there." in " ".join(output.split())
