import re

from typer.testing import CliRunner

from fer_attention.cli import app
from fer_attention.models import list_models, list_pretrained


def run(*arguments):
    return CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "200"})


def test_every_match_is_printed_with_its_costs():
    result = run("resnet18*")
    assert result.exit_code == 0
    rows = [line for line in result.stdout.splitlines() if "resnet18" in line]
    assert len(rows) == len(list_models("resnet18*"))
    assert all(re.search(r"11\.\d\d", row) for row in rows)


def test_unlisted_activations_are_known_and_typos_get_a_suggestion():
    assert "resnet18_se_gelu" in run("resnet18_se_gelu").stdout
    result = run("resnet18_sa")
    assert result.exit_code == 2
    assert "Did you mean 'resnet18_s" in result.stderr


def test_pretrained_models_are_listed_with_their_accuracies():
    result = run("--pretrained")
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    for model in list_pretrained():
        assert model.name in shown
        assert model.sha256 in shown.replace(" ", "").replace("│", "")
        assert f"{model.crowd_accuracy.value:.1%}" in shown
        assert f"{model.size / 1e6:.2f} MB" in shown
    assert "the default of predict" in shown
    only = run("*.fer2013", "--pretrained").stdout
    assert "resnetv2_18_eca_elu.fer2013" in only
    assert "resnetv2_18_eca_elu.ferplus" not in only
    wrong = run("resnetv2_18_eca_elu.fer2012", "--pretrained")
    assert wrong.exit_code == 2
    assert "Did you mean 'resnetv2_18_eca_elu.fer2013'" in wrong.stderr
