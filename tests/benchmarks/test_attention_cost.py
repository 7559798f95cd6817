"""The command of the attention benchmarks: every section measures and writes a valid record."""

import json
import re
import runpy
import sys

import pytest
import torch
from attention_cost import main, parser
from cost_record import RECORDS, SCHEMA, Record, read_records, schema
from cost_setup import Setup, machine, measured_case
from timing import Effort

from tests.support.paths import ROOT

BENCHMARKS = ROOT / "benchmarks"

TINY = ["--rounds", "3", "--least-ms", "0", "--threads", "1", "--allow-busy"]

FACTS = {"subject": "block", "mode": "inference", "size": 8, "shape": (1, 8, 2, 2)}
SETUP = Setup(effort=Effort(rounds=3, least_ms=0))


def test_a_failing_candidate_is_reported_and_the_others_are_measured():
    def fail():
        raise RuntimeError("no such kernel\nsecond line")

    calls = {"none plain": lambda: None, "se fused": fail, "se plain": lambda: None}
    pairs = [("se plain", "se fused")]
    case = measured_case(FACTS, calls, SETUP, base="none plain", pairs=pairs)
    assert case.left_out == {"se fused": "RuntimeError: no such kernel"}
    assert [one.name for one in case.candidates] == ["none plain", "se plain"]
    assert [(one.of, one.to) for one in case.ratios] == [("se plain", "none plain")]
    with pytest.raises(RuntimeError, match="no such kernel"):
        measured_case(FACTS, calls, SETUP, base="se fused")


def test_threads_and_cudnn_settings_are_restored():
    before = torch.get_num_threads(), torch.backends.cudnn.benchmark
    with machine(before[0] + 1, "cuda"):
        assert (torch.get_num_threads(), torch.backends.cudnn.benchmark) == (before[0] + 1, True)
    assert (torch.get_num_threads(), torch.backends.cudnn.benchmark) == before


def test_the_schema_is_up_to_date():
    def without_twice(part):  # older versions of pydantic write an enum of one value beside a const
        return {key: value for key, value in part.items() if key != "enum" or "const" not in part}

    stored = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert stored == json.loads(schema(), object_hook=without_twice)


def test_the_committed_records_are_valid():
    records = read_records()
    assert len(records) == len(list(RECORDS.glob("*.json")))


def run(path, *options):
    main([*map(str, options), *TINY, "--record", str(path)])
    record = Record.model_validate_json(path.read_bytes())
    assert str(path) not in record.command
    assert record.environment.threads == 1
    return record


def test_the_blocks_section_runs_as_a_command(tmp_path, monkeypatch):
    path = tmp_path / "blocks.json"
    tiny = ["--attentions", "se", "cbam", "--sizes", "16", "--stages", "1", "--batch-size", "2"]
    script = str(BENCHMARKS / "attention_cost.py")
    monkeypatch.setattr(sys, "argv", [script, "blocks", *tiny, *TINY, "--record", str(path)])
    monkeypatch.setenv("KINETO_LOG_LEVEL", "99")  # which the script sets, too
    runpy.run_path(script, run_name="__main__")
    inference, training = Record.model_validate_json(path.read_bytes()).cases
    assert (inference.mode, training.mode) == ("inference", "training")
    names = {one.name for one in training.candidates}
    assert {"product plain", "se plain", "se timm", "se naive", "cbam plain"} <= names
    for one in training.candidates:
        assert one.ms.q25 <= one.ms.median <= one.ms.q75
        assert one.memory.added_mib > inference.find(one.name).memory.added_mib > 0
    assert training.ratio("cbam plain", "cbam timm").median > 0


@pytest.mark.slow
def test_networks_are_compared_with_the_plain_network(tmp_path):
    options = ["--networks", "resnet18", "resnetv2_18", "--attentions", "eca", "--sizes", "32"]
    variants = ["--variants", "plain", "timm", "naive", "--batch-size", "2"]
    record = run(tmp_path / "networks.json", "networks", *options, *variants)
    assert [case.subject for case in record.cases] == ["resnet18"] * 2 + ["resnetv2_18"] * 2
    inference, training, *second = record.cases
    assert [one.name for one in inference.candidates] == [
        *("none plain", "none timm", "eca plain", "eca timm", "eca naive")
    ]
    plain, naive = training.find("none plain").memory, training.find("eca naive").memory
    assert naive.peak_mib > plain.peak_mib > 42  # 11 million parameters
    assert all("eca timm" in case.left_out for case in second)
    assert all(case.ratio("eca plain", "none plain") for case in record.cases)


def test_the_grid_records_parameters_and_macs(tmp_path):
    path = tmp_path / "new" / "grid.json"
    record = run(path, "grid", "--networks", "resnet18", "--batch-size", "2")
    assert [case.shape[0] for case in record.cases] == [1, 2]
    none, *gated = record.cases[0].candidates
    assert (none.parameters, len(gated)) == (11_173_831, 3)
    assert all(one.parameters > none.parameters and one.macs > none.macs for one in gated)


def test_the_photo_section_times_detection_and_classification(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("skimage")
    record = run(tmp_path / "photo.json", "photo", "--batches", "2")
    photo, faces = record.cases
    assert photo.facts["faces"] == 1
    assert photo.ratio("detection", "fer_attention") is not None
    assert photo.find("fer") or photo.left_out["fer"].startswith("not measured")
    assert faces.shape == (2, 1, 48, 48)
    assert faces.find("onnxruntime")
    assert faces.facts["largest difference of logits"] < 1e-4


def test_profiles_list_operators_by_self_time(tmp_path):
    options = ["--networks", "resnet18", "--sizes", "32", "--batch-size", "2", "--modes", "inference"]
    record = run(tmp_path / "profile.json", "profile", *options)
    assert [one.candidate.split()[0] for one in record.profiles] == ["none", "se", "eca", "cbam"]
    for one in record.profiles:
        times = [operator.self_ms for operator in one.operators]
        assert times == sorted(times, reverse=True)
        assert 0.5 * one.total_ms < sum(times) <= one.total_ms * 1.01
        assert one.operators[0].name.startswith("aten::")


def test_the_record_is_printed_without_an_output_file(capsys):
    main(["blocks", "--attentions", "eca", "--sizes", "16", "--stages", "1", "--batch-size", "1", *TINY])
    printed = capsys.readouterr()
    assert Record.model_validate(json.loads(printed.out)).section == "blocks"
    assert re.search(r"block \(1, 256, 4, 4\) training: 3 rounds of \d", printed.err)


@pytest.mark.slow
def test_peak_memory_agrees_with_the_resident_set_of_a_fresh_process(tmp_path):
    options = ["--networks", "resnet18", "--attentions", "cbam", "--variants", "plain", "--sizes", "80"]
    more = ["--modes", "training", "--resident"]
    [case] = run(tmp_path / "r.json", "networks", *options, *more).cases
    for one in case.candidates:
        assert 0.6 < one.memory.resident_added_mib / one.memory.added_mib < 1.8


@pytest.mark.slow
def test_compiled_blocks_are_timed(tmp_path):
    options = ["--attentions", "se", "--sizes", "16", "--stages", "1", "--batch-size", "2", "--compile"]
    record = run(tmp_path / "compiled.json", "blocks", *options)
    assert all(case.find("se compiled") for case in record.cases)


@pytest.mark.gpu
def test_networks_are_timed_on_a_gpu(tmp_path):
    options = ["--device", "cuda", "--dtype", "bfloat16", "--sizes", "32", "--batch-size", "2"]
    record = run(tmp_path / "cuda.json", "networks", "--networks", "resnet18", *options)
    assert record.environment.device.startswith("cuda")
    assert all(one.memory.added_mib > 0 for case in record.cases for one in case.candidates)


def test_the_documented_commands_are_valid():
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$cost (.+)$", text, re.M)
    assert len(commands) == 7
    for command in commands:
        assert parser().parse_args(command.split()).record is not None
