"""The benchmarks of attention's cost: how they time, what they compare, and what their records hold."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from attention_cost import main
from candidates import NAIVE, Candidate, build_block, build_network, listed, share_weights
from cost_record import RECORDS, SCHEMA, Record, read_records, schema
from cost_setup import Setup, machine, measured_case
from hypothesis import given
from hypothesis import strategies as st
from naive_attention import place_naive
from timing import Effort, held_mib, interleaved, peak_mib, ratio, spread, turned

from fer_attention import ModelSpec
from fer_attention.models.factory import from_spec
from tests.support.gates import awake, gate, maps
from tests.support.paths import ROOT

BENCHMARKS = ROOT / "benchmarks"

TINY = ["--rounds", "3", "--least-ms", "0", "--threads", "1"]


class TestTiming:
    @given(st.integers(1, 8), st.integers(0, 40))
    def test_every_round_has_every_name_once_and_each_has_each_place_as_often(self, count, start):
        names = [str(number) for number in range(count)]
        orders = [turned(names, turn) for turn in range(start, start + 2 * count)]
        assert all(sorted(order) == names for order in orders)
        for place in zip(*orders, strict=True):
            assert {place.count(name) for name in names} == {2}

    def test_calls_run_side_by_side_after_a_warm_up(self):
        ran = []
        calls = {name: lambda name=name: ran.append(name) for name in "abc"}
        times = interleaved(calls, Effort(rounds=4, warmup=2, least_ms=0))
        assert "".join(ran[:6]) == "aabbcc"
        assert ["".join(ran[i : i + 3]) for i in range(6, 18, 3)] == ["abc", "cba", "bca", "acb"]
        assert all(len(values) == 4 and min(values) > 0 for values in times.values())

    def test_quick_calls_are_repeated_within_a_sample_and_counted_singly(self):
        ran = []
        [times] = interleaved({"a": lambda: ran.append(0)}, Effort(rounds=3, least_ms=1)).values()
        assert len(ran) > 100
        assert max(times) < 0.1

    def test_the_time_limit_ends_the_rounds_but_not_before_three(self):
        [times] = interleaved({"a": lambda: None}, Effort(rounds=9, seconds=0, least_ms=0)).values()
        assert len(times) == 3

    @pytest.mark.parametrize("wrong", [{"rounds": 0}, {"warmup": 0}, {"seconds": -1.0}, {"least_ms": -1}])
    def test_impossible_efforts_are_refused(self, wrong):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is a number from"):
            Effort(**wrong)

    def test_spread_and_ratio_are_those_of_numpy(self):
        above, below = [3.0, 4.0, 9.0, 8.0], [1.0, 2.0, 3.0, 2.0]
        assert spread(above) == {"median": 6.0, "q25": 3.75, "q75": 8.25}
        found = ratio(above, below)
        assert found == ratio(above, below)
        assert found["median"] == np.median([3, 2, 3, 4])
        assert 2 <= found["low"] <= found["median"] <= found["high"] <= 4
        assert ratio([2.0] * 5, [1.0] * 5) == {"median": 2, "low": 2, "high": 2}

    def test_peak_memory_is_the_largest_sum_of_living_tensors(self):
        x = torch.zeros(256, 1024)  # 1 MiB

        def call():
            a = x + 1
            b = torch.cat([a, a])
            del a
            return b.sum() + (b[:256] * 2).sum()  # 2 and 1 living at once

        assert peak_mib(call) == pytest.approx(3, abs=0.01)
        assert held_mib(torch.nn.Linear(1024, 256, bias=False), x) == 2


class TestCandidates:
    def test_what_there_is_in_timm_and_as_naive_code_is_compared(self):
        names = [one.name for one in listed(["se", "simam"], ["plain", "timm", "naive"])]
        assert names == ["se plain", "se timm", "se naive", "simam plain"]
        assert {"none timm", "cbam timm"} <= {c.name for c in listed(["cbam"], ["timm"], "resnet50")}
        assert [c.name for c in listed(["cbam"], ["timm"], "resnetv2_50")] == ["none plain", "none timm"]
        assert [c.name for c in listed(["cbam"], ["timm"], "vgg16")] == ["none plain"]
        assert "none compiled" in {c.name for c in listed(["cbam"], ["compiled"], "vgg16")}

    def test_blocks_with_several_implementations_are_compared_in_each(self, monkeypatch):
        known = {"se": ("reduction", "implementation"), "simam": ()}
        monkeypatch.setattr("candidates.attention_options", known.__getitem__)
        found = listed(["se", "simam"], ["plain", "fused", "auto", "compiled"])
        assert {one.name: one.options.get("implementation") for one in found} == {
            **{"se plain": "plain", "se fused": "fused", "se auto": "auto", "se compiled": "plain"},
            **{"simam plain": None, "simam compiled": None},
        }

    def test_unknown_candidates_are_refused_by_name(self):
        with pytest.raises(ValueError, match="No candidate 'cbma' 'plain'. Attention is one of bam, "):
            Candidate("cbma", "plain")

    @pytest.mark.parametrize("name", NAIVE)
    def test_naive_blocks_give_the_numbers_of_ours(self, name):
        ours, naive = gate(name), NAIVE[name](32)
        copy_parameters(ours, naive)
        x = maps(3, 32, 7, 5)
        torch.testing.assert_close(naive(x), ours(x), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "resnetv2_18", "resnetv2_50", "vgg11"])
    def test_naive_blocks_stand_where_ours_stand(self, backbone):
        torch.manual_seed(0)
        spec = ModelSpec(backbone, attention="cbam", activation="elu", width=0.25, img_size=32)
        ours = awake(from_spec(spec)).eval()
        theirs = from_spec(ModelSpec(backbone, activation="elu", width=0.25, img_size=32)).eval()
        theirs.load_state_dict({k: v for k, v in ours.state_dict().items() if ".attn." not in f".{k}"})
        gates = [module.attn for module in ours.modules() if hasattr(module, "attn")]
        for own, naive in zip(gates, place_naive(theirs, "cbam"), strict=True):
            copy_parameters(own, naive.eval())
        x = maps(2, 1, 32, 32)
        torch.testing.assert_close(theirs(x), ours(x), rtol=1e-4, atol=1e-5)

    def test_timm_s_network_has_timm_s_blocks_and_our_activation(self):
        model = build_network(Candidate("eca", "timm"), "resnet18", size=32, activation="elu")
        kinds = [type(module).__name__ for module in model.modules()]
        assert (kinds.count("EcaModule"), "ELU" in kinds, "ReLU" in kinds) == (8, True, False)
        assert type(build_block(Candidate("cbam", "timm"), 32)).__module__.startswith("timm")

    def test_networks_share_the_weights_that_they_have_in_common(self):
        plain, gated = (
            build_network(Candidate(attention, "plain"), "resnet18", size=32, activation="elu")
            for attention in ("none", "se")
        )
        share_weights(gated, plain)
        assert gated.conv1.weight.data_ptr() == plain.conv1.weight.data_ptr()
        logits = gated(maps(2, 1, 32, 32))
        logits.sum().backward()
        assert gated.conv1.weight.grad is not None
        assert plain.conv1.weight.grad is None


def copy_parameters(source, target):
    with torch.no_grad():
        for own, other in zip(source.parameters(), target.parameters(), strict=True):
            other.copy_(own.view_as(other))


class TestCases:
    facts = {"subject": "block", "mode": "inference", "size": 8, "shape": (1, 8, 2, 2)}  # noqa: RUF012
    setup = Setup(effort=Effort(rounds=3, least_ms=0))

    def test_a_candidate_that_fails_is_named_with_its_reason_and_the_others_are_measured(self):
        def fail():
            raise RuntimeError("no such kernel\nsecond line")

        calls = {"none plain": lambda: None, "se fused": fail, "se plain": lambda: None}
        pairs = [("se plain", "se fused")]
        case = measured_case(self.facts, calls, self.setup, base="none plain", pairs=pairs)
        assert case.left_out == {"se fused": "RuntimeError: no such kernel"}
        assert [one.name for one in case.candidates] == ["none plain", "se plain"]
        assert [(one.of, one.to) for one in case.ratios] == [("se plain", "none plain")]
        with pytest.raises(RuntimeError, match="no such kernel"):
            measured_case(self.facts, calls, self.setup, base="se fused")

    def test_the_machine_s_settings_are_given_back(self):
        before = torch.get_num_threads(), torch.backends.cudnn.benchmark
        with machine(before[0] + 1, "cuda"):
            assert (torch.get_num_threads(), torch.backends.cudnn.benchmark) == (before[0] + 1, True)
        assert (torch.get_num_threads(), torch.backends.cudnn.benchmark) == before


class TestRecords:
    def test_the_schema_is_up_to_date(self):
        def without_twice(part):  # older pydantics write an enum of one beside a const
            return {key: value for key, value in part.items() if key != "enum" or "const" not in part}

        kept = json.loads(SCHEMA.read_text(encoding="utf-8"))
        assert kept == json.loads(schema(), object_hook=without_twice)

    def test_the_committed_records_are_valid(self):
        records = read_records()
        assert len(records) == len(list(RECORDS.glob("*.json")))

    def run(self, path, *options):
        main([*map(str, options), *TINY, "--record", str(path)])
        record = Record.model_validate_json(path.read_bytes())
        assert str(path) not in record.command
        assert record.environment.threads == 1
        return record

    def test_blocks_are_timed_in_a_process_of_their_own(self, tmp_path):
        path = tmp_path / "blocks.json"
        tiny = ["--attentions", "se", "cbam", "--sizes", "16", "--stages", "1", "--batch-size", "2"]
        command = [sys.executable, BENCHMARKS / "attention_cost.py", "blocks", *tiny, *TINY, "--record", path]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        inference, training = Record.model_validate_json(path.read_bytes()).cases
        assert (inference.mode, training.mode) == ("inference", "training")
        names = {one.name for one in training.candidates}
        assert {"product plain", "se plain", "se timm", "se naive", "cbam plain"} <= names
        for one in training.candidates:
            assert one.ms.q25 <= one.ms.median <= one.ms.q75
            assert one.memory.added_mib > inference.find(one.name).memory.added_mib > 0
        assert training.ratio("cbam plain", "cbam timm").median > 0

    def test_networks_are_timed_against_the_plain_one(self, tmp_path):
        options = ["--networks", "resnet18", "resnetv2_18", "--attentions", "eca", "--sizes", "32"]
        ways = ["--ways", "plain", "timm", "naive", "--batch-size", "2"]
        record = self.run(tmp_path / "networks.json", "networks", *options, *ways)
        assert [case.subject for case in record.cases] == ["resnet18"] * 2 + ["resnetv2_18"] * 2
        inference, training, *second = record.cases
        assert [one.name for one in inference.candidates] == [
            *("none plain", "none timm", "eca plain", "eca timm", "eca naive")
        ]
        plain, naive = training.find("none plain").memory, training.find("eca naive").memory
        assert naive.peak_mib > plain.peak_mib > 42  # 11 million parameters
        assert all("eca timm" in case.left_out for case in second)
        assert all(case.ratio("eca plain", "none plain") for case in record.cases)

    def test_the_grid_counts_what_it_times(self, tmp_path):
        path = tmp_path / "new" / "grid.json"
        record = self.run(path, "grid", "--networks", "resnet18", "--batch-size", "2")
        assert [case.shape[0] for case in record.cases] == [1, 2]
        none, *gated = record.cases[0].candidates
        assert (none.parameters, len(gated)) == (11_173_831, 3)
        assert all(one.parameters > none.parameters and one.macs > none.macs for one in gated)

    def test_photos_go_from_end_to_end(self, tmp_path):
        pytest.importorskip("onnxruntime")
        pytest.importorskip("skimage")
        record = self.run(tmp_path / "photo.json", "photo", "--batches", "2")
        photo, faces = record.cases
        assert photo.facts["faces"] == 1
        assert photo.ratio("detection", "fer_attention").median < 1
        assert photo.find("fer") or photo.left_out["fer"].startswith("not measured")
        assert faces.shape == (2, 1, 48, 48)
        assert faces.find("onnxruntime")
        assert faces.facts["largest difference of logits"] < 1e-4

    def test_profiles_say_which_operators_take_the_time(self, tmp_path):
        options = ["--networks", "resnet18", "--sizes", "32", "--batch-size", "2", "--modes", "inference"]
        record = self.run(tmp_path / "profile.json", "profile", *options)
        assert [one.candidate.split()[0] for one in record.profiles] == ["none", "se", "eca", "cbam"]
        for one in record.profiles:
            times = [operator.self_ms for operator in one.operators]
            assert times == sorted(times, reverse=True)
            assert 0.5 * one.total_ms < sum(times) <= one.total_ms * 1.01
            assert one.operators[0].name.startswith("aten::")

    def test_without_a_file_the_record_is_printed(self, capsys):
        main(["blocks", "--attentions", "eca", "--sizes", "16", "--stages", "1", "--batch-size", "1", *TINY])
        printed = capsys.readouterr()
        assert Record.model_validate(json.loads(printed.out)).section == "blocks"
        assert re.search(r"block \(1, 256, 4, 4\) training: 3 rounds of \d", printed.err)

    @pytest.mark.slow
    def test_the_resident_set_of_a_fresh_process_confirms_the_peak(self, tmp_path):
        options = ["--networks", "resnet18", "--attentions", "cbam", "--ways", "plain", "--sizes", "80"]
        more = ["--modes", "training", "--resident"]
        [case] = self.run(tmp_path / "r.json", "networks", *options, *more).cases
        for one in case.candidates:
            assert 0.6 < one.memory.resident_added_mib / one.memory.added_mib < 1.8

    @pytest.mark.slow
    def test_compiled_blocks_run(self, tmp_path):
        options = ["--attentions", "se", "--sizes", "16", "--stages", "1", "--batch-size", "2", "--compile"]
        record = self.run(tmp_path / "compiled.json", "blocks", *options)
        assert all(case.find("se compiled") for case in record.cases)

    @pytest.mark.gpu
    def test_a_gpu_is_timed_by_its_events(self, tmp_path):
        options = ["--device", "cuda", "--dtype", "bfloat16", "--sizes", "32", "--batch-size", "2"]
        record = self.run(tmp_path / "cuda.json", "networks", "--networks", "resnet18", *options)
        assert record.environment.device.startswith("cuda")
        assert all(one.memory.added_mib > 0 for case in record.cases for one in case.candidates)


def test_the_commands_in_the_documents_parse():
    from attention_cost import parser

    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$cost (.+)$", text, re.M)
    assert len(commands) >= 10
    for command in commands:
        assert parser().parse_args(command.split()).record is not None
