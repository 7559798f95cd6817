"""Published results of the paper."""

import csv

import pytest

from fer_attention.study.paper import COLUMNS, PROTOCOLS, paper_protocol, paper_remark, published

BACKBONES = [
    "vgg16", "vgg19", "resnet50", "resnet101", "resnet152", "resnetv2_50", "resnetv2_101", "resnetv2_152",
]  # fmt: skip
MODELS = [f"{one}{attention}_elu" for one in BACKBONES for attention in ("", "_se", "_eca", "_cbam")]


@pytest.mark.parametrize(
    ("model", "data", "accuracy"),
    [
        ("vgg19_cbam_elu", "fer2013", 0.6407),
        ("vgg16_elu", "fer2013", 0.6066),
        ("resnet50_se_elu", "ckplus", 0.8901),
        ("resnetv2_50_cbam_elu", "jaffe", 0.8444),
        ("resnetv2_152_eca_elu", "ck+", 0.8982),
        ("resnet152_cbam_elu", "JAFFE", 0.1566),
        ("resnetv2_50_cbam_elu", "CK+", 0.8901),
    ],
)
def test_published_values_are_shares(model, data, accuracy):
    assert published(model, data) == pytest.approx(accuracy, abs=1e-12)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("resnet50_se", "fer2013"),  # the paper has only ELU
        ("resnet50_se_selu", "fer2013"),
        ("resnetv2_18_se_elu", "fer2013"),
        ("resnet50_coord_elu", "fer2013"),
        ("resnet50_se_elu", "ferplus"),
        ("resnet50_se_elu", ""),
    ],
)
def test_models_and_data_outside_the_paper_have_no_value(model, data):
    assert published(model, data) is None


def test_every_model_of_the_paper_has_a_value_on_every_data_set():
    shares = {(model, data): published(model, data) for model in MODELS for data in COLUMNS}
    assert len(MODELS) == 32
    assert all(0.15 < share < 0.93 for share in shares.values())
    assert max(shares[model, "fer2013"] for model in MODELS) == shares["vgg19_cbam_elu", "fer2013"]


@pytest.mark.data
def test_the_table_equals_the_reference(shared_dir):
    text = (shared_dir / "reference" / "paper_results.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert sorted(row["model"] for row in rows) == sorted(MODELS)
    for row in rows:
        for data in ("ckplus", "jaffe", "fer2013"):
            assert f"{published(row['model'], data) * 100:.2f}" == row[f"{data}_accuracy"]


def test_each_column_has_a_protocol():
    for data, column in COLUMNS.items():
        assert paper_protocol(data) == paper_protocol(data.upper()) == PROTOCOLS[column]
    assert "one run" in paper_protocol("fer2013")
    assert "highest of three" in paper_protocol("ckplus")
    assert "highest of three" in paper_protocol("jaffe")
    assert paper_protocol("affectnet") is None


def test_only_values_at_chance_have_a_remark():
    remarked = {(model, data) for model in MODELS for data in COLUMNS if paper_remark(model, data)}
    assert remarked == {(f"resnet152{one}_elu", "jaffe") for one in ("", "_se", "_eca", "_cbam")}
    assert "15.66 %" in paper_remark("resnet152_elu", "jaffe")
    assert paper_remark("resnet152_elu", "no such set") is None
