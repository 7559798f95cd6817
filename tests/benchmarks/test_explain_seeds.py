"""Faithfulness of maps over the seeds of a study, and its table in the documents."""

import json
from pathlib import Path

import explain_seeds
import torch

from fer_attention import create_model
from fer_attention.explain import attention_maps

EXPLAIN = Path(__file__).parents[2] / "docs" / "explain.md"


def test_the_table_in_the_documents_follows_from_the_record():
    record = json.loads(explain_seeds.RECORDS.read_text(encoding="utf-8"))
    assert explain_seeds.table(record) in EXPLAIN.read_text(encoding="utf-8")


def test_spatial_attention_is_the_mean_of_the_first_stage_enlarged():
    torch.manual_seed(0)
    model = create_model("resnetv2_18_cbam", width=0.25, stem="half").eval()
    images = torch.randn(2, 1, 48, 48)
    found = explain_seeds.spatial_attention(model, images)
    maps = [one.spatial for one in attention_maps(model, images) if one.layer.startswith("stages.0.")]
    maps = [one for one in maps if one is not None]
    assert len(maps) == 2
    assert found.shape == (2, 48, 48)
    expected = (maps[0] + maps[1]) / 2
    for row in (0, 1):
        torch.testing.assert_close(found[row].mean(), expected[row].mean(), atol=1e-4, rtol=0)


def test_means_have_intervals_from_two_runs_on():
    assert explain_seeds.mean_of([-0.25], sign="+") == "−0.250"
    assert explain_seeds.mean_of([0.1, 0.2, 0.3], sign="") == "0.200 (−0.048 to 0.448)"
