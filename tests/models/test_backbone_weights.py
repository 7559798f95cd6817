"""Start from timm's state dicts: only gates, and a classifier of another size, are new."""

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from fer_attention.attention import ATTENTIONS
from fer_attention.models import build_model, create_model, fill_backbone

SOURCES = ("resnet18", "resnetv2_18")
CLASSIFIER = {"resnet18": ("fc.bias", "fc.weight"), "resnetv2_18": ("head.fc.bias", "head.fc.weight")}
STEM = {"resnet18": "conv1.weight", "resnetv2_18": "stem.conv.weight", "vgg11": "features.0.weight"}


def timm_state(name, **options):
    torch.manual_seed(3)
    model = timm.create_model(name, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # away from their start, so that copying them shows
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
            module.num_batches_tracked.fill_(17)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def states():
    return {name: timm_state(name, num_classes=10) for name in SOURCES}


@pytest.fixture(scope="module")
def files(states, tmp_path_factory):
    folder = tmp_path_factory.mktemp("timm")
    paths = {}
    for name, state in states.items():
        paths[name, ".safetensors"] = folder / f"{name}.safetensors"
        save_file(state, paths[name, ".safetensors"])
        paths[name, ".pth"] = folder / f"{name}.pth"
        torch.save(state, paths[name, ".pth"])
    return {key: str(path) for key, path in paths.items()}


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    state = timm_state("vgg11", num_classes=10)
    path = tmp_path_factory.mktemp("timm") / "vgg11.safetensors"
    save_file(state, path)
    return str(path), state


@pytest.mark.parametrize(
    ("backbone", "attention", "suffix"),
    [("resnet18", attention, ".safetensors") for attention in ATTENTIONS]
    + [
        ("resnet18", "cbam", ".pth"),
        ("resnetv2_18", "cbam", ".safetensors"),
        ("resnetv2_18", "cbam", ".pth"),
    ],
)
def test_only_gates_and_a_classifier_of_another_size_are_new(backbone, attention, suffix, files, states):
    torch.manual_seed(0)
    model = build_model(backbone, attention=attention, activation="elu", in_chans=3)
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    unfilled = fill_backbone(model, files[backbone, suffix])

    gates = {name for name in fresh if ".attn." in name}
    assert bool(gates) == (attention != "simam")  # which has no tensor at all
    assert unfilled == sorted(gates | set(CLASSIFIER[backbone]))
    for name, tensor in model.state_dict().items():
        expected = fresh[name] if name in unfilled else states[backbone][name]
        assert torch.equal(tensor, expected), name


@pytest.mark.parametrize("backbone", SOURCES)
def test_with_the_classifier_filled_logits_equal_those_of_timm(backbone, files, states):
    model = build_model(backbone, num_classes=10, in_chans=3, backbone_weights=files[backbone, ".pth"])
    theirs = timm.create_model(backbone, num_classes=10)
    theirs.load_state_dict(states[backbone])
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("backbone", SOURCES)
def test_a_model_without_classifier_is_filled(backbone, files, states):
    model = build_model(backbone, num_classes=0, in_chans=3)
    assert fill_backbone(model, files[backbone, ".pth"]) == []
    assert all(torch.equal(tensor, states[backbone][name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("backbone", SOURCES)
def test_for_grey_the_first_convolution_is_summed_over_rgb(backbone, files, states):
    model = build_model(
        backbone, attention="eca", in_chans=1, backbone_weights=files[backbone, ".safetensors"]
    )
    rgb = states[backbone][STEM[backbone]]
    torch.testing.assert_close(model.state_dict()[STEM[backbone]], rgb.sum(1, keepdim=True))


def test_a_grey_model_gives_the_logits_of_the_rgb_model_on_grey_pictures(files):
    source = files["resnet18", ".pth"]
    grey = build_model("resnet18", num_classes=10, in_chans=1, backbone_weights=source).eval()
    rgb = build_model("resnet18", num_classes=10, in_chans=3, backbone_weights=source).eval()
    x = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(grey(x), rgb(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


def test_filling_keeps_type_and_mode(files):
    model = build_model("resnet18", in_chans=3, dtype=torch.float64).eval()
    fill_backbone(model, files["resnet18", ".pth"])
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert not model.training


@pytest.mark.parametrize(
    ("structure", "tensors"),
    [
        ({"backbone": "resnet34"}, ["missing: layer1.2.bn1.bias"]),
        ({"backbone": "resnetv2_18"}, ["share no name; it has bn1.bias"]),
        ({"backbone": "vgg11"}, ["share no name; it has bn1.bias", "does not fit vgg11"]),
        (
            {"backbone": "resnet18", "width": 0.5},
            [r"bn1.bias is \(64,\), expected \(32,\)", "width=0.5"],
        ),
        (
            {"backbone": "resnet18", "stem": "half"},
            [r"conv1.weight is \(64, 3, 7, 7\), expected \(64, 3, 3, 3\)", "'half'"],
        ),
    ],
    ids=str,
)
def test_a_source_of_another_structure_is_refused_and_nothing_changes(structure, tensors, files):
    model = build_model(**structure, attention="se", in_chans=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="resnet18.pth does not fit") as caught:
        fill_backbone(model, files["resnet18", ".pth"])
    for text in tensors:
        assert caught.match(text)
    assert len(str(caught.value)) < 1000
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
def test_a_missing_file_is_refused_with_its_path(suffix, tmp_path):
    path = str(tmp_path / f"absent{suffix}")
    with pytest.raises(ValueError, match="is not a file") as caught:
        build_model("resnet18", backbone_weights=path)
    assert path in str(caught.value)


@pytest.mark.parametrize("name", ["resnet18.no_such_tag", "resnet18_se", "nonsense", "resnet18,a1_in1k"])
def test_an_unknown_source_is_refused_with_the_names_that_timm_has(name):
    with pytest.raises(ValueError, match="neither a weights file nor a pretrained model of timm") as caught:
        build_model("resnet18", backbone_weights=name)
    assert repr(name) in str(caught.value)
    for known in timm.list_pretrained("resnet18.*"):
        assert known in str(caught.value)


def test_the_message_says_none_if_timm_has_no_weights_for_the_backbone(monkeypatch):
    monkeypatch.setattr(timm, "list_pretrained", lambda pattern: [])
    with pytest.raises(ValueError, match="For resnetv2_18 timm has: none"):
        build_model("resnetv2_18", backbone_weights="resnetv2_18.absent")


def test_weights_of_a_timm_name_come_from_timm(monkeypatch, states):
    asked = []
    real = timm.create_model

    def create_model(name, pretrained=False, **options):
        asked.append((name, pretrained))
        model = real(name.split(".")[0], num_classes=10)
        model.load_state_dict(states["resnet18"])
        return model

    monkeypatch.setattr(timm, "create_model", create_model)
    monkeypatch.setattr(timm, "is_model_pretrained", lambda name: name == "resnet18.made_up")
    model = build_model("resnet18", attention="cbam", in_chans=3, backbone_weights="resnet18.made_up")
    assert asked == [("resnet18.made_up", True)]
    assert torch.equal(model.layer4[1].conv2.weight, states["resnet18"]["layer4.1.conv2.weight"])


@pytest.mark.parametrize(("name", "size"), [("resnet18", 64), ("vgg11", 224)])
def test_state_dicts_of_torchvision_give_its_logits(name, size, tmp_path):
    torch.manual_seed(3)
    theirs = torchvision.models.get_model(name, num_classes=10).eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    model = build_model(
        name, in_chans=3, img_size=size, num_classes=10, backbone_weights=str(tmp_path / "theirs.pth")
    ).eval()
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model(x), theirs(x), rtol=1e-4, atol=1e-5)


class TestVGG:
    def test_a_head_for_another_size_stays_as_initialised_with_a_warning(self, vgg_file):
        path, state = vgg_file
        torch.manual_seed(0)
        model = build_model("vgg11", attention="se", img_size=48, in_chans=3)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with pytest.warns(
            UserWarning, match=r"pre_logits\.fc1\.weight.*another input size than 48.*head='gap'"
        ):
            unfilled = fill_backbone(model, path)
        gates = [name for name in before if name.startswith("attn.")]
        assert unfilled == sorted([*gates, "head.fc.bias", "head.fc.weight", "pre_logits.fc1.weight"])
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[name] if name in unfilled else state[name]), name

    def test_the_warning_points_at_the_caller(self, vgg_file):
        with pytest.warns(UserWarning, match="stay as initialised") as caught:
            build_model("vgg11", img_size=48, in_chans=3, backbone_weights=vgg_file[0])
        assert caught[0].filename == __file__

    @pytest.mark.filterwarnings("error")
    def test_global_pooling_needs_no_head_and_no_warning(self, vgg_file):
        path, state = vgg_file
        model = build_model("vgg11", attention="eca", head="gap", img_size=48, in_chans=3)
        assert fill_backbone(model, path) == ["attn.conv.weight", "head.fc.bias", "head.fc.weight"]
        assert torch.equal(model.features[0].weight, state["features.0.weight"])

    @pytest.mark.filterwarnings("error")
    def test_global_pooling_gets_a_fresh_classifier_for_any_class_count(self, vgg_file):
        model = build_model("vgg11", head="gap", num_classes=10, in_chans=3)
        assert fill_backbone(model, vgg_file[0]) == ["head.fc.bias", "head.fc.weight"]

    @pytest.mark.filterwarnings("error")
    def test_at_the_size_of_timm_everything_is_filled(self, vgg_file):
        model = build_model("vgg11", img_size=224, num_classes=10, in_chans=3)
        assert fill_backbone(model, vgg_file[0]) == []


def test_activations_with_weights_stay_as_initialised(tmp_path):
    path = tmp_path / "resnet18.safetensors"
    save_file(timm.create_model("resnet18").state_dict(), path)
    model = create_model("resnet18_se_prelu", in_chans=3)
    fresh = fill_backbone(model, str(path))
    assert "act1.weight" in fresh
    assert "layer1.0.act2.weight" in fresh
    assert not any("conv" in name or "bn" in name for name in fresh)


@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [
        ("resnet50_se", "seresnet50", {}),
        ("resnet18_se", "seresnet18", {"attention_options": {"hidden_floor": 8}}),
    ],
)
def test_gates_of_se_resnets_of_timm_fill_ours(name, theirs, options, tmp_path):
    torch.manual_seed(3)
    model = timm.create_model(theirs, num_classes=10).eval()
    torch.save(model.state_dict(), tmp_path / "se.pth")
    ours = create_model(name, in_chans=3, num_classes=10, img_size=64, **options).eval()
    assert fill_backbone(ours, tmp_path / "se.pth") == []
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), model(x), rtol=1e-4, atol=1e-5)


def test_gates_that_a_model_lacks_are_named(tmp_path):
    torch.save(timm.create_model("seresnet18").state_dict(), tmp_path / "se.pth")
    for name, message in {"resnet18": "left over: layer1.0.se.fc1", "resnet18_cbam": "left over"}.items():
        with pytest.raises(ValueError, match=message):
            fill_backbone(create_model(name, in_chans=3), tmp_path / "se.pth")
