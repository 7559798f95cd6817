"""What each family of backbones declares is true of its models, and a new one needs no other file."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from timm.layers import DropPath
from torch import nn

import fer_attention
from fer_attention.evaluation.complexity import paper_parameters
from fer_attention.models import BACKBONES, FERModel, ModelSpec, Traits, build_model, list_models
from fer_attention.models.base import gate_of, initialise

every = pytest.mark.parametrize("backbone", BACKBONES)


def member(family):
    """The first backbone of each family stands for it."""
    return next(name for name in BACKBONES if BACKBONES[name].family is family)


FAMILIES = {entry.family: member(entry.family) for entry in BACKBONES.values()}
one_of_each = pytest.mark.parametrize("backbone", FAMILIES.values())


@every
def test_declared_levels_and_strides_match_the_model(backbone):
    traits = BACKBONES[backbone].traits
    for stem, stride in traits.total_stride.items():
        model = build_model(backbone, stem=stem, width=0.25, img_size=64, device="meta")
        assert len(model.levels()) == len(model.feature_info) == traits.feature_levels
        assert model.feature_info[-1]["reduction"] == stride
        assert model.default_cfg["pool_size"] == (64 // stride, 64 // stride)


@one_of_each
def test_each_declared_choice_builds_and_gives_logits(backbone):
    traits = BACKBONES[backbone].traits
    x = torch.empty(2, 1, 64, 64, device="meta")
    for changes in (
        *({"head": head} for head in traits.heads),
        *({"stem": stem} for stem in traits.total_stride),
        *({"stride_on": stride} for stride in traits.stride_on),
    ):
        model = build_model(backbone, width=0.25, img_size=64, device="meta", **changes)
        assert model(x).shape == (2, 7), changes


@one_of_each
def test_drop_path_needs_residual_blocks_and_reaches_them(backbone):
    if BACKBONES[backbone].traits.residual_blocks:
        model = build_model(backbone, width=0.25, drop_path_rate=0.2, device="meta")
        assert any(isinstance(module, DropPath) for module in model.modules())
    else:
        with pytest.raises(ValueError, match=f"{backbone} has none"):
            ModelSpec(backbone, drop_path_rate=0.2)


@one_of_each
def test_only_families_that_declare_it_give_logits_by_position(backbone):
    if BACKBONES[backbone].traits.unpooled_logits:
        model = build_model(backbone, width=0.25, global_pool="", img_size=64, device="meta")
        assert model(torch.empty(2, 1, 64, 64, device="meta")).shape == (2, 7, 2, 2)
    else:
        with pytest.raises(ValueError, match="global_pool=''"):
            ModelSpec(backbone, global_pool="")


def test_hidden_layers_exist_only_with_their_head():
    model = build_model("vgg11", width=0.25, device="meta")
    assert any(name.startswith(f"{model.hidden_layers}.") for name in model.state_dict())
    model = build_model("vgg11", width=0.25, head="gap", device="meta")
    assert not any(name.startswith(f"{model.hidden_layers}.") for name in model.state_dict())


class Strided(FERModel):
    """A family of one file: convolutions with stride 2, one gate, a linear layer."""

    traits = Traits(total_stride={"imagenet": 4, "patch": 8}, feature_levels=2)
    first_conv = "conv1"
    classifier = "fc"

    def __init__(self, spec, *, channels, device=None, dtype=None):
        super().__init__(spec)
        factory = {"device": device, "dtype": dtype}
        stride = {"imagenet": 2, "patch": 4}[spec.stem]
        self.conv1 = nn.Conv2d(spec.in_chans, channels, 3, stride=stride, padding=1, **factory)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=2, padding=1, **factory)
        self.attn = gate_of(spec, channels, factory)
        self.fc = nn.Linear(channels, spec.num_classes, **factory)
        self.feature_info = [
            {"num_chs": channels, "reduction": stride, "module": "conv1"},
            {"num_chs": channels, "reduction": 2 * stride, "module": "conv2"},
        ]
        initialise(self)

    def levels(self):
        return [[self.conv1], [self.conv2] if self.attn is None else [self.conv2, self.attn]]

    def forward_head(self, x, pre_logits=False):
        return self.fc(x.mean((2, 3)) if self.num_classes else x)

    def build_classifier(self, num_classes, global_pool):
        self.fc = nn.Linear(16, num_classes, **self.placement) if num_classes else nn.Identity()


@pytest.fixture
def strided(open_registries):
    """Its backbone `strided_16`, for one test."""
    Strided.register("strided_16", channels=16)
    return "strided_16"


def test_a_registered_family_is_listed_parsed_and_built(strided):
    assert f"{strided}_cbam_elu" in list_models("strided*")
    spec = ModelSpec.parse(f"{strided}_eca", stem="patch")
    assert ModelSpec.from_json(spec.to_json()) == spec
    model = build_model(strided, attention="eca", stem="patch", img_size=64)
    assert model.default_cfg["pool_size"] == (8, 8)
    assert model(torch.zeros(2, 1, 64, 64)).shape == (2, 7)


def test_a_spec_refuses_what_the_family_does_not_declare(strided):
    for wrong, message in (
        ({"stem": "half"}, "Unknown stem of strided_16 'half'. Known: imagenet, patch"),
        ({"head": "fc"}, "strided_16 has no head='fc': its head is 'gap'"),
        ({"drop_path_rate": 0.1}, "strided_16 has none"),
        ({"global_pool": ""}, "global_pool=''"),
        ({"stride_on": "1x1"}, "stride_on='1x1' is not for strided_16"),
    ):
        with pytest.raises(ValueError, match=message):
            ModelSpec(strided, **wrong)
    with pytest.raises(ValueError, match="The paper has no strided_16"):
        paper_parameters(strided)


def test_timm_knows_the_names_of_a_new_family(strided):
    assert timm.create_model(f"{strided}_se_elu", num_classes=3)(torch.zeros(1, 1, 48, 48)).shape == (1, 3)
    features = timm.create_model(f"{strided}_se_elu", features_only=True)
    assert len(features(torch.zeros(1, 1, 48, 48))) == Strided.traits.feature_levels


def test_a_class_with_missing_declarations_is_refused():
    class Bare(FERModel):
        first_conv = "conv1"

    with pytest.raises(TypeError, match="Bare does not declare traits, classifier"):
        Bare.register("bare")
    with pytest.raises(ValueError, match="stem='imagenet'.*only 'patch'"):
        replace(Strided.traits, total_stride={"patch": 8})
    with pytest.raises(ValueError, match=r"heads=\(\)"):
        replace(Strided.traits, heads=())
    assert "bare" not in BACKBONES


def test_no_code_recognises_a_family_by_its_name():
    package = Path(fer_attention.__file__).parent
    prefixes = [name.rstrip("0123456789") for name in BACKBONES] + list(BACKBONES)
    found = []
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.args if isinstance(node, ast.Call) and "startswith" in ast.unparse(node.func) else []
            parts = [*parts, *node.comparators] if isinstance(node, ast.Compare) else parts
            words = {c.value for part in parts for c in ast.walk(part) if isinstance(c, ast.Constant)}
            found += [f"{path.name}:{node.lineno}" for word in words if word in prefixes]
    assert found == []
