"""What the documents say is run, or regenerated and compared."""

import csv
import json
import re

import generate_models
import numpy as np
import pretrained
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_attention import create_model
from fer_attention.attention import ATTENTIONS, AttentionGate
from fer_attention.cli import app
from fer_attention.digests import file_sha256
from fer_attention.evaluation.doubt import LABELS, PLURALITY
from fer_attention.models import (
    BACKBONES,
    bundled_names,
    bundled_path,
    list_models,
    list_pretrained,
    load_weights,
    read_metadata,
)
from fer_attention.models.bundled import DEFAULT, pretrained_record
from fer_attention.study import expand, load_study, study_names
from tests.support.paths import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{path.stem}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.S))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_code_in_the_documents_runs(block, tmp_path, monkeypatch, astronaut, capsys):
    Image.fromarray(np.asarray(astronaut)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "document", "exec"), {})  # noqa: S102
    if "EmotionRecognizer" in block and "photo.jpg" in block:
        assert "happy" in capsys.readouterr().out


def test_the_study_in_the_documents_is_a_study(tmp_path):
    text = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    (tmp_path / "own.yaml").write_text(block, encoding="utf-8")
    assert len(expand(load_study(tmp_path / "own.yaml"))) == 2 * 2 * 5
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", text, re.M)) == study_names()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_costs_in_the_readme_are_the_measured_ones():
    measured = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"#### ResNet-50, 80×80, batch 32 \(.*?(?=\n####)", measured, re.S)
    rows = dict(re.findall(r"^\| `(.*?)` \|(.*)\|$", section, re.M))

    def ratios(way):
        _, inference, _, training, _, memory = rows[way].split("|")
        return [f"{float(cell.split()[0]):.2f}" for cell in (training, inference, memory)]

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in ("SE", "ECA", "CBAM"):
        ours, timms = ratios(f"{block.lower()} fused"), ratios(f"{block.lower()} timm")
        model = create_model(f"resnet50_{block.lower()}_elu", device="meta")
        millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        cells = [f"{millions:.2f} M", *(f"{a} ({b})" for a, b in zip(ours, timms, strict=True))]
        assert f"| {block} | {' | '.join(cells)} |" in text
    assert f"| none | 23.52 M | {' | '.join(f'1 ({timms})' for timms in ratios('none timm'))} |" in text


def test_the_faithfulness_of_maps_in_the_documents_is_the_recorded_one():
    text = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8").replace("−", "-")
    record = ROOT / "benchmarks" / "records" / "explain_faithfulness.cpu.json"
    for found in json.loads(record.read_text(encoding="utf-8"))["results"]:
        assert found["count"] == 300
        by_control = {advantage["control"]: advantage for advantage in found["advantages"]}
        gains = [(by_control["other image's"], "insertion")]
        gains += [(by_control["centre"], kind) for kind in ("deletion", "insertion")]
        cells = [f"{found['grid']}×{found['grid']}", f"{found['deletion']:.3f}", f"{found['insertion']:.3f}"]
        for gain, kind in gains:
            low, high = gain[f"{kind}_interval"]
            cells.append(f"{gain[kind]:+.3f} ({low:+.3f} to {high:+.3f})")
        assert f", {found['layer'] or 'last map'} | {' | '.join(cells)} |" in text


def test_badges_in_the_readme_are_true():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (python,) = re.findall(r"badge/python-([\d.]+)%2B", text)
    (licence,) = re.findall(r"badge/licence-([\w.-]+)-\w+\)", text)
    assert f'requires-python = ">={python}"' in project
    assert f'license = "{licence.replace("--", "-")}"' in project
    assert len(re.findall(r"img\.shields\.io", text)) == 3  # no badge that nobody checks


def test_the_readme_has_the_registries_counts_and_blocks():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert generate_models.readme(text) == text
    (blocks,) = re.findall(r"All blocks with their papers\]\(\S+\): (.*)\.$", text, re.M)
    assert re.findall(r"`(\w+)`", blocks) == list(ATTENTIONS)


def test_the_answer_in_the_readme_is_that_of_the_studies():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (answer,) = re.findall(r"\[start:answer\] -->\n(.*?)<!--", text, re.S)
    smoke, gates, full = (comparisons(name) for name in ("smoke", "open_gates", "open_gates_full"))
    published, opened = means_over_blocks()
    verdicts = [gates[f"{name}-open", name]["verdict"] for name in ("se", "eca", "cbam")]
    assert [*verdicts, gates["half", "none"]["verdict"], smoke["elu", "relu"]["verdict"]] == [
        *["better"] * 3,
        "worse",
        "better",
    ]
    singles = [gates["half", "none"], *(gates[f"{name}-open", name] for name in ("se", "eca", "cbam"))]
    values = [*published, *(100 * float(row["mean"]) for row in singles), *opened]
    assert full["cbam-open", "none"]["verdict"] == "equivalent"
    values += [100 * float(full["cbam-open", "none"][name]) for name in ("mean", "low", "high")]
    values += [100 * float(smoke["elu", "relu"]["mean"])]
    values[1:3] = sorted(values[1:3], key=abs)  # of a loss
    assert re.findall(r"\b\d\.\d\d\b", answer) == [f"{abs(value):.2f}" for value in values]


def comparisons(study):
    """Pooled comparisons of a published study by level and baseline."""
    table = ROOT / "docs" / "studies" / study / "report" / "tables" / "comparisons.csv"
    with table.open(encoding="utf-8", newline="") as file:
        return {
            (row["level"], row["baseline"]): row for row in csv.DictReader(file) if row["pooled"] == "True"
        }


def means_over_blocks():
    """Mean gain of published and of open gates over none in points, each with its 95 % interval."""
    pd, stats = pytest.importorskip("pandas"), pytest.importorskip("scipy.stats")
    runs = pd.read_csv(ROOT / "docs" / "studies" / "open_gates" / "report" / "records.csv")
    accuracy = 100 * runs.pivot(index="seed", columns="attention", values="test_accuracy")
    for kind in ("", "-open"):
        gain = accuracy[[f"{name}{kind}" for name in ("se", "eca", "cbam")]].mean(axis=1) - accuracy["none"]
        yield (gain.mean(), *stats.ttest_1samp(gain, 0).confidence_interval(0.95))


@pytest.mark.slow
def test_the_model_page_is_up_to_date():
    assert (ROOT / "docs" / "models.md").read_text(encoding="utf-8") == generate_models.page()


def test_the_model_page_has_every_block_and_backbone():
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert generate_models.blocks() in text
    first_cells = re.findall(r"^\| `(\w+)` \|", text, re.M)
    assert sorted(first_cells) == sorted([*ATTENTIONS, *BACKBONES, *BACKBONES])
    assert f" {len(list_models())} names" in text.replace("\n", " ")


@pytest.mark.parametrize("name", ATTENTIONS)
def test_docstrings_of_blocks_name_their_source_and_bounds(name):
    title, source = generate_models.heading(name)
    assert title
    assert re.search(r"20\d\d", source)
    assert generate_models.granularity(name)
    if issubclass(ATTENTIONS[name], AttentionGate):
        low, high = ATTENTIONS[name].bounds
        assert f"One scale in ({low:g}, {high:g}) per" in " ".join(ATTENTIONS[name].__doc__.split())


def test_bundled_weights_are_small():
    assert all(bundled_path(name).stat().st_size <= 6_000_000 for name in bundled_names())


def test_cards_and_tables_of_pretrained_models_follow_from_their_records():
    for path, text in pretrained.render().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python benchmarks/pretrained.py render"
    assert list_pretrained()[0].name == DEFAULT


@pytest.mark.parametrize("model", list_pretrained(), ids=lambda model: model.name)
def test_a_record_is_of_the_file_that_it_lies_beside(model):
    weights = load_weights(bundled_path(model.name))
    assert file_sha256(bundled_path(model.name)) == model.sha256
    assert bundled_path(model.name).stat().st_size == model.size
    assert weights.labels == model.labels
    assert sum(parameter.numel() for parameter in weights.parameters()) == model.parameters


@pytest.mark.parametrize("model", list_pretrained(), ids=lambda model: model.name)
def test_candidates_of_bundled_models_covered_nine_tenths_of_privatetest(model):
    fitted = read_metadata(bundled_path(model.name)).calibration
    assert (fitted.split, fitted.coverage) == ("public", 0.9)
    plain = next(iter(pretrained_record(model.name)["evaluations"].values()))
    found = plain["doubt"]["all images"][PLURALITY if fitted.truth == "votes" else LABELS]
    assert found["coverage"] == pytest.approx(0.9, abs=0.015)


@pytest.mark.data
@pytest.mark.parametrize("model", list_pretrained(), ids=lambda model: model.name)
@pytest.mark.slow
def test_the_documented_accuracy_is_what_a_bundled_file_gives(model, shared_dir, tmp_path):
    arguments = ["evaluate", model.name, "--json", str(tmp_path / "numbers.json"), "--emotions", "fer2013"]
    data = ["--data", str(shared_dir / "data" / "fer2013.zip"), "--device", "cpu"]
    votes = ["--votes", str(shared_dir / "data" / "ferplus_votes.csv")]
    result = CliRunner().invoke(app, arguments + data + votes)
    assert result.exit_code == 0, result.output
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    # a processor with other instructions may decide a face or two otherwise
    assert numbers["results"]["all images"]["accuracy"] == pytest.approx(model.label_accuracy.value, abs=1e-3)
    crowd = numbers["crowd"]["all images"]["levels"]["6 votes or more"]
    assert crowd["accuracy"] == pytest.approx(model.crowd_accuracy.value, abs=1e-3)
    assert crowd["n"] == model.crowd_accuracy.n


def test_messages_among_the_questions_are_the_library_s():
    text = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    messages = re.findall(r"^### `(.+)`$", text, re.M)
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "fer_attention").rglob("*.py"))
    assert len(messages) > 5
    assert [message for message in messages if message not in source] == []
