"""All measurements that wait for a GPU: slices, resuming, and the commands themselves."""

import sys

import attention_cost
import gpu
import pytest
from cost_record import Record, StepRates
from gpu import REMAIN, Slices, Step, main, plan

from tests.support.live import wait_until_gone

APPEND = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"


def appending(name, path):
    return Step(name, ("-c", APPEND, str(path), name))


def outcomes(slices):
    return {step.name: slices.outcome(step) for step in slices.steps}


def test_a_slice_runs_the_steps_and_later_ones_only_what_remains(tmp_path, capsys):
    seen = tmp_path / "seen"
    steps = [appending("a", seen), Step("bad", ("-c", "raise SystemExit('no kernel')")), appending("c", seen)]
    Slices(steps, tmp_path / "state").run(600)
    assert "no kernel" in capsys.readouterr().out
    again = Slices([*steps, appending("d", seen)], tmp_path / "state")
    assert outcomes(again) == {"a": "done", "bad": "failed", "c": "done", "d": None}
    assert [step.name for step in again.remaining()] == ["d"]
    again.run(600)
    assert seen.read_text() == "acd"
    assert [step.name for step in again.remaining(retry=True)] == ["bad"]


def test_a_step_with_other_arguments_runs_again(tmp_path):
    seen = tmp_path / "seen"
    Slices([appending("a", seen)], tmp_path / "state").run(600)
    changed = Slices([Step("a", ("-c", APPEND, str(seen), "b"))], tmp_path / "state")
    changed.run(600)
    assert seen.read_text() == "ab"


def test_nothing_starts_after_the_end_of_a_slice(tmp_path):
    slices = Slices([appending("a", tmp_path / "seen")], tmp_path / "state")
    slices.run(0)
    assert outcomes(slices) == {"a": None}


WAITING = """
import os, subprocess, sys, time
started, go = sys.argv[1:]
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(started, "a").write(f"{os.getpid()} {child.pid} ")
while not os.path.exists(go):
    time.sleep(0.05)
child.kill()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_a_step_that_is_cut_short_ends_with_its_children_and_starts_again(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "START", -1)
    started, go = tmp_path / "started", tmp_path / "go"
    slices = Slices([Step("long", ("-c", WAITING, str(started), str(go)))], tmp_path / "state")
    while not (started.exists() and started.read_text()):  # a slice may end before the step has started
        slices.run(3)
    assert outcomes(slices) == {"long": None}
    assert wait_until_gone(map(int, started.read_text().split())) == []
    go.touch()
    slices.run(600)
    assert outcomes(slices) == {"long": "done"}


def test_a_step_that_needs_more_than_a_slice_has_failed(tmp_path):
    slices = Slices([Step("long", ("-c", "import time; time.sleep(600)"))], tmp_path / "state")
    slices.run(0.2)
    assert outcomes(slices) == {"long": "too long"}
    assert slices.remaining() == []


def test_the_plan_covers_tests_costs_rates_and_faces(tmp_path):
    options = gpu.parser().parse_args(["--records", str(tmp_path), "--yolo", "yolo.onnx"])
    steps = plan(options)
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    assert {"tests test_triton_gpu", "step rate resnet50", "faces mtcnn", "faces yolo", "page"} <= set(names)
    costs = [step.arguments[1:] for step in steps if step.arguments[0] == "benchmarks/attention_cost.py"]
    parsed = [attention_cost.parser().parse_args(arguments) for arguments in costs]
    assert {one.section for one in parsed} == set(attention_cost.SECTIONS)
    assert {(one.device, one.dtype) for one in parsed} == {("cuda", "bfloat16")}
    assert len({one.record for one in parsed}) == len(parsed)


def test_without_a_gpu_the_message_names_the_trial(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="--quick --device cpu"):
        main(["--state", str(tmp_path)])


@pytest.mark.slow
def test_the_quick_trial_runs_on_a_cpu_and_resumes(tmp_path, capsys):
    pytest.importorskip("skimage")
    pytest.importorskip("facenet_pytorch")
    command = ["--quick", "--device", "cpu", "--allow-busy", "--records", str(tmp_path)]
    command += ["--state", str(tmp_path / "state")]
    assert main([*command, "--minutes", "0"]) == REMAIN
    assert "4 of 4 steps remain" in capsys.readouterr().out
    assert main([*command, "--minutes", "30"]) == 0, capsys.readouterr().out
    assert "All 4 steps have run" in capsys.readouterr().out
    text = (tmp_path / "attention_cost" / "resnet18_32.cpu.json").read_bytes()
    record = Record.model_validate_json(text)
    assert record.environment.cpu_features is not None
    StepRates.model_validate_json((tmp_path / "step_rate_resnet18.cpu.json").read_bytes())
    assert main([*command, "--minutes", "0"]) == 0
    assert main([*command, "--list"]) == 0
    assert capsys.readouterr().out.count("done ") == 4
