"""What timm's own tests ask of a timm model, asked of ours through `timm.create_model`."""

import copy
import math

import pytest
import timm
import torch
from timm.models import FeatureInfo, group_parameters
from timm.models._features_fx import GraphExtractNet, get_graph_node_names
from timm.optim import param_groups_layer_decay
from torch import nn
from torch.nn import functional as F

import fer_attention.models
from fer_attention.attention import ATTENTIONS
from fer_attention.models import BACKBONES, create_model, list_models, save_weights
from tests.support.gates import gate, maps

SMALL = ("resnet18", "resnet50", "resnetv2_18", "resnetv2_50", "vgg11", "vgg11_bn")
SAMPLED = [b for b in BACKBONES if b in SMALL or not b.startswith(("resnet", "vgg"))]
"""One or two of each family, and whatever family is registered later."""

FEW = [f"{backbone}_{variant}" for backbone in SAMPLED for variant in ("cbam", "elu")]
NAMES = FEW + [f"resnet18_{attention}" for attention in ATTENTIONS if attention != "cbam"]

GRAPHS = [f"{backbone}_cbam" for backbone in SAMPLED] + ["resnet18_elu"]
"""A gate that is more than an operation for each channel in every backbone, and ELU without a gate."""

every = pytest.mark.parametrize("name", NAMES)
few = pytest.mark.parametrize("name", FEW)


def is_vgg(name):
    return name.startswith("vgg")


def make(name, **options):
    torch.manual_seed(0)
    return timm.create_model(name, **{"width": 0.25, **options})


def faces(n=1, channels=1, size=(48, 48), seed=0):
    return torch.randn(n, channels, *size, generator=torch.Generator().manual_seed(seed))


def assert_exported(model, inputs):
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(model, (inputs(2),), dynamic_shapes=({0: batch},)).module()
    for n in (2, 5):
        torch.testing.assert_close(exported(inputs(n)), model(inputs(n)), rtol=1e-5, atol=2e-5)


class TestRegistration:
    def test_timm_knows_every_listed_name(self):
        known = set(timm.list_models())
        assert set(list_models()) <= known
        assert all(timm.is_model(name) for name in list_models())

    @pytest.mark.parametrize("pattern", ["*_cbam_*", "resnetv2_*_eca_elu", "vgg16_bn_*"])
    def test_wildcards_of_timm_find_our_names(self, pattern):
        ours = set(list_models(pattern))
        assert ours
        assert ours <= set(timm.list_models(pattern))
        assert set(timm.list_models("*_cbam_*")) == set(list_models("*_cbam_*"))

    def test_names_that_timm_has_stay_with_timm(self):
        for name in list_models():
            module = timm.model_entrypoint(name).__module__
            if name in BACKBONES:
                assert module.startswith("timm.models."), name
            else:
                assert module.startswith("fer_attention."), name
        assert type(timm.create_model("resnet50", device="meta")).__module__ == "timm.models.resnet"

    def test_each_of_our_names_has_a_default_configuration(self):
        for name in set(list_models()) - set(BACKBONES):
            cfg = timm.get_pretrained_cfg(name)
            assert cfg is not None, name
            assert (cfg.input_size, cfg.num_classes) == ((1, 48, 48), 7), name
            assert cfg.first_conv == (
                "features.0" if is_vgg(name) else "conv1" if "v2" not in name else "stem.conv"
            )
            if not timm.is_model_pretrained(name):
                assert cfg.mean == cfg.std == (0.5,)

    def test_timm_and_this_library_make_the_same_model(self):
        torch.manual_seed(0)
        ours = create_model("resnetv2_18_cbam_elu", width=0.25, stem="half", in_chans=3, num_classes=8)
        theirs = make("resnetv2_18_cbam_elu", stem="half", in_chans=3, num_classes=8)
        assert type(theirs) is type(ours)
        assert theirs.spec == ours.spec
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))

    def test_a_name_without_tag_has_no_facts_of_weights_that_are_not_loaded(self):
        tagged = {name.partition(".")[0] for name in list_models(pretrained=True)}
        for name in (*tagged, "resnet18_se"):
            cfg = timm.create_model(name).default_cfg
            assert cfg["mean"] == cfg["std"] == (0.5,), name
            assert cfg["input_size"] == (1, 48, 48), name
            assert not cfg.get("file"), name
            assert cfg["pool_size"] == (2, 2), name

    def test_the_record_of_a_fresh_model_is_that_of_its_structure(self):
        cfg = make(
            "resnetv2_18_eca_elu", img_size=(64, 40), stem="half", in_chans=3, num_classes=8
        ).default_cfg
        assert (cfg["input_size"], cfg["pool_size"], cfg["num_classes"]) == ((3, 64, 40), (4, 3), 8)
        assert cfg["mean"] == (0.5,) * 3

    @pytest.mark.parametrize("create", [create_model, timm.create_model])
    def test_output_stride_is_refused_with_the_option_that_serves_the_purpose(self, create):
        with pytest.raises(TypeError, match=r"no output_stride.*stem='half' \(÷16\)"):
            create("resnetv2_18_eca_elu", output_stride=16)

    def test_timm_passes_structure_keywords_on_and_refuses_unknown_ones(self):
        spec = make("resnet18_se", drop_rate=0.1, drop_path_rate=0.2, img_size=64, global_pool="max").spec
        assert (spec.drop_rate, spec.drop_path_rate, spec.img_size, spec.global_pool) == (0.1, 0.2, 64, "max")
        with pytest.raises(TypeError, match="img_sze"):
            make("resnet18_se", img_sze=64)

    def test_our_weights_file_is_a_timm_checkpoint(self, tmp_path):
        ours = create_model("resnet18_eca_elu", width=0.25).eval()
        path = save_weights(ours, tmp_path / "w.safetensors")
        theirs = make("resnet18_eca_elu", checkpoint_path=str(path)).eval()
        torch.testing.assert_close(theirs(faces()), ours(faces()), rtol=0, atol=0)

    @pytest.mark.parametrize("name", list_models(pretrained=True))
    def test_timm_loads_the_bundled_weights(self, name):
        ours, theirs = (
            create_model(name, pretrained=True).eval(),
            timm.create_model(name, pretrained=True).eval(),
        )
        x = faces(2, *[ours.in_chans], size=ours.spec.input_size[1:])
        torch.testing.assert_close(theirs(x), ours(x), rtol=0, atol=0)
        if name.endswith(".fer2013"):  # the first tag of its model
            untagged = timm.create_model(name.split(".")[0], pretrained=True).eval()
            torch.testing.assert_close(untagged(x), ours(x), rtol=0, atol=0)

    @pytest.mark.parametrize("name", list_models(pretrained=True))
    def test_timm_adapts_them_to_other_classes_and_channels(self, name):
        if tuple(map(int, timm.__version__.split(".")[:3])) < (1, 0, 31):
            pytest.skip(f"timm {timm.__version__} adapts weights of three channels only")
        adapted = timm.create_model(name, pretrained=True, num_classes=5, in_chans=3).eval()
        assert adapted(faces(2, 3)).shape == (2, 5)


class TestContainers:
    @few
    @pytest.mark.parametrize("training", [True, False])
    def test_hooks_on_every_module_on_the_way_are_called_once(self, name, training):
        model = make(name).train(training)
        calls = {}
        paths = [
            path for path, _ in model.named_modules() if path.split(".")[0] in ("stem", "stages", "features")
        ]
        for path in paths:
            model.get_submodule(path).register_forward_hook(
                lambda module, x, y, path=path: calls.update({path: calls.get(path, 0) + 1})
            )
        model(faces(2))
        inside_gate = [path for path in paths if ".attn" in path]  # a fused gate calls no module
        assert {path: calls.get(path) for path in paths if path not in inside_gate} == dict.fromkeys(
            [path for path in paths if path not in inside_gate], 1
        )

    @few
    def test_containers_give_the_same_map_as_the_levels(self, name):
        model = make(name).eval()
        last, _ = model.forward_intermediates(faces())
        torch.testing.assert_close(model.forward_features(faces()), last, rtol=0, atol=0)


class TestForward:
    @every
    def test_forward(self, name):
        outputs = make(name).eval()(faces())
        assert outputs.shape == (1, 7)
        assert outputs.isfinite().all()

    @every
    def test_backward_reaches_every_parameter(self, name):
        model = make(name, num_classes=42).train()
        outputs = model(faces(2))
        outputs.mean().backward()
        assert outputs.shape == (2, 42)
        missing = [path for path, p in model.named_parameters() if p.grad is None]
        assert not missing

    @few
    @pytest.mark.parametrize("size", [(64, 40), (33, 57)])
    def test_other_and_rectangular_sizes_work(self, name, size):
        model = make(name).eval()
        assert model(faces(size=size)).isfinite().all()
        built_for_it = make(name, img_size=size, in_chans=3).eval()
        features = built_for_it.forward_features(faces(channels=3, size=size))
        assert features.shape[2:] == tuple(math.ceil(side / 32) for side in size)
        assert built_for_it(faces(channels=3, size=size)).shape == (1, 7)


class TestConfiguration:
    @every
    def test_names_and_sizes_in_the_configuration_match_the_model(self, name):
        model = make(name).eval()
        cfg, state = model.default_cfg, model.state_dict()
        assert cfg is model.pretrained_cfg
        assert cfg["input_size"] == (1, 48, 48)
        assert cfg["num_classes"] == model.num_classes == 7
        assert f"{cfg['classifier']}.weight" in state
        assert f"{cfg['first_conv']}.weight" in state
        assert state[f"{cfg['first_conv']}.weight"].shape[1] == 1
        assert model.get_submodule(cfg["classifier"]) is model.get_classifier()

        features = model.forward_features(faces())
        assert features.shape == (1, model.num_features, *cfg["pool_size"])
        pooled = model.forward_head(features, pre_logits=True)
        assert pooled.shape == (1, model.head_hidden_size)
        torch.testing.assert_close(model.forward_head(features), model(faces()), rtol=0, atol=0)

    @every
    def test_classifier_and_pooling_can_be_removed(self, name):
        model = make(name).eval()
        x = faces()
        features = model.forward_features(x)
        pooled = model.forward_head(features, pre_logits=True)

        model.reset_classifier(0)
        assert model.num_classes == model.spec.num_classes == 0
        assert isinstance(model.get_classifier(), nn.Identity)
        torch.testing.assert_close(model(x), pooled, rtol=0, atol=0)

        model.reset_classifier(0, "")
        last = (1, 1) if is_vgg(name) else features.shape[2:]  # behind VGG's fully connected layers
        assert model(x).shape == (1, model.head_hidden_size, *last)

        without = make(name, num_classes=0, global_pool="").eval()
        assert without(x).shape == (1, without.head_hidden_size, *last)
        if not is_vgg(name):
            torch.testing.assert_close(model(x), features, rtol=0, atol=0)

    @few
    def test_a_fresh_classifier_can_be_added_again(self, name):
        model = make(name, dtype=torch.float64).eval()
        model.reset_classifier(0, "")
        model.reset_classifier(5, "catavgmax")
        assert model(faces().double()).shape == (1, 5)
        assert model.get_classifier().weight.dtype == torch.float64
        assert not model.get_classifier().training
        assert model.head_hidden_size == model.get_classifier().weight.shape[1]
        model.reset_classifier(3)
        assert (model.spec.num_classes, model.spec.global_pool) == (3, "catavgmax")
        assert model(faces().double()).shape == (1, 3)

    @few
    def test_a_classifier_brings_back_the_pooling_that_it_needs(self, name):
        model = make(name).eval()
        model.reset_classifier(0, "")
        model.reset_classifier(2)
        assert model.spec.global_pool == ("" if "v2" in name else "avg")
        assert model(faces()).shape[:2] == (1, 2)

    @pytest.mark.parametrize("name", [n for n in FEW if "v2" not in n])
    def test_a_linear_classifier_without_pooling_is_refused(self, name):
        model = make(name).eval()
        before, spec, labels = repr(model), model.spec, model.labels
        with pytest.raises(ValueError, match="num_classes=5"):
            model.reset_classifier(5, "")
        assert (repr(model), model.spec, model.labels) == (before, spec, labels)


class TestFeatures:
    @every
    def test_features_have_the_declared_channels_and_sizes(self, name):
        size = (64, 48)
        net = make(name, features_only=True).eval()
        assert len(net.feature_info) == (6 if is_vgg(name) else 5)
        outputs = net(faces(size=size))
        assert len(outputs) == len(net.feature_info.channels())
        for channels, reduction, output in zip(
            net.feature_info.channels(), net.feature_info.reduction(), outputs, strict=True
        ):
            assert output.shape == (
                1,
                channels,
                math.ceil(size[0] / reduction),
                math.ceil(size[1] / reduction),
            )
            assert output.isfinite().all()

    @few
    def test_chosen_features_are_those_of_the_whole_model(self, name):
        whole = make(name, features_only=True).eval()
        x, state, levels = faces(), whole.state_dict(), range(len(whole.feature_info))
        expected = whole(x)
        for out_indices in ((0,), (1, 3), (-1,), (-3, -2), 2):
            part = make(name, features_only=True, out_indices=out_indices).eval()
            part.load_state_dict({key: state[key] for key in part.state_dict()})
            last = isinstance(out_indices, int)
            chosen = levels[-out_indices:] if last else [levels[i] for i in out_indices]
            assert part.feature_info.channels() == [whole.feature_info.channels()[i] for i in chosen], (
                out_indices
            )
            for i, output in zip(chosen, part(x), strict=True):
                torch.testing.assert_close(output, expected[i], rtol=0, atol=0)

    @few
    @pytest.mark.parametrize("feature_cls", ["fx", "hook"])
    def test_other_feature_extractors_of_timm_work(self, name, feature_cls):
        net = make(name, features_only=True, feature_cls=feature_cls, out_indices=(1, 2, 4)).eval()
        expected = make(name, features_only=True, out_indices=(1, 2, 4)).eval()  # of the same seed
        outputs = net(faces())
        assert [o.shape[1] for o in outputs] == net.feature_info.channels()
        # one may be fused, the other not; traced, ELU is PyTorch's
        torch.testing.assert_close(outputs, expected(faces()), rtol=1e-4, atol=1e-3)


class TestIntermediates:
    @every
    def test_intermediates_end_with_the_map_of_forward_features(self, name):
        model = make(name).eval()
        x = faces()
        info = FeatureInfo(model.feature_info, tuple(range(len(model.feature_info))))
        last, maps = model.forward_intermediates(x)
        torch.testing.assert_close(last, model.forward_features(x), rtol=0, atol=0)
        assert [m.shape[1] for m in maps] == info.channels()
        assert [m.shape[2] for m in maps] == [math.ceil(48 / r) for r in info.reduction()]
        _, normed = model.forward_intermediates(x, norm=True)
        torch.testing.assert_close(normed[-1], last, rtol=0, atol=0)
        if "resnetv2" in name:
            assert not torch.equal(maps[-1], last)
        else:
            torch.testing.assert_close(maps[-1], last, rtol=0, atol=0)

    @few
    def test_maps_are_not_overwritten_by_later_layers(self, name):
        model, kept = make(name).eval(), {}
        levels = [level[-1] for level in model.levels()]
        for i, step in enumerate(levels):
            if isinstance(step, nn.Module):
                step.register_forward_hook(lambda m, x, o, i=i: kept.update({i: o.clone()}))
        maps = model.forward_intermediates(faces(), intermediates_only=True)
        assert kept
        for i, expected in kept.items():
            torch.testing.assert_close(maps[i], expected, rtol=0, atol=0)

    @few
    def test_indices_choose_levels(self, name):
        model = make(name).eval()
        x = faces()
        every_map = model.forward_intermediates(x, intermediates_only=True)
        for indices, chosen in {(0, 2): (0, 2), (-1,): (-1,), 2: (-2, -1), (3, 1): (1, 3)}.items():
            maps = model.forward_intermediates(x, indices=indices, intermediates_only=True)
            assert len(maps) == len(chosen)
            for i, output in zip(chosen, maps, strict=True):
                torch.testing.assert_close(output, every_map[i], rtol=0, atol=0)
        for wrong in ((7,), (-7,), 9):
            with pytest.raises((ValueError, AssertionError)):
                model.forward_intermediates(x, indices=wrong)

    @few
    def test_stopping_early_skips_the_layers_that_are_not_needed(self, name):
        model, ran = make(name).eval(), []
        for path, module in model.named_modules():
            if isinstance(module, nn.Conv2d) and "attn" not in path:
                module.register_forward_hook(lambda m, i, o, path=path: ran.append(path))
        x = faces()
        whole, maps = model.forward_intermediates(x, indices=[1])
        everything = list(ran)
        ran.clear()
        last, early = model.forward_intermediates(x, indices=[1], stop_early=True)
        assert 0 < len(ran) < len(everything)
        torch.testing.assert_close(early[0], maps[0], rtol=0, atol=0)
        torch.testing.assert_close(last, maps[0], rtol=0, atol=0)
        assert whole.shape[1] == model.num_features

    @pytest.mark.parametrize("name", ["resnet18_se", "vgg11_se"])
    def test_another_layout_is_refused(self, name):
        with pytest.raises(ValueError, match="'NCHW'.*'NHWC'"):
            make(name).forward_intermediates(faces(), output_fmt="NHWC")

    @few
    @pytest.mark.parametrize("index", [0, 2, -2, -1])
    def test_pruning_keeps_the_maps_and_drops_the_rest(self, name, index):
        model = make(name).eval()
        x, size = faces(), sum(p.numel() for p in model.parameters())
        (expected,) = model.forward_intermediates(x, indices=[index], intermediates_only=True)
        taken = model.prune_intermediate_layers([index])
        assert taken == [index % len(model.feature_info)]
        (after,) = model.forward_intermediates(x, indices=taken, intermediates_only=True)
        torch.testing.assert_close(after, expected, rtol=0, atol=0)
        assert sum(p.numel() for p in model.parameters()) < size
        assert model.num_features == model.head_hidden_size == expected.shape[1]
        if index != -1:
            torch.testing.assert_close(model(x), expected, rtol=0, atol=0)  # no head, no norm: the map itself
            assert not any("attn" in path and is_vgg(name) for path, _ in model.named_parameters())

    @few
    def test_a_pruned_model_can_get_a_new_classifier(self, name):
        model = make(name).eval()
        model.prune_intermediate_layers([2])
        model.reset_classifier(4, "avg")
        assert model(faces()).shape == (1, 4)

    @few
    def test_pruning_the_head_is_optional(self, name):
        model = make(name).eval()
        logits = model(faces())
        assert model.prune_intermediate_layers([-1], prune_head=False) == [len(model.feature_info) - 1]
        torch.testing.assert_close(model(faces()), logits, rtol=0, atol=0)


class TestCheckpointing:
    @every
    def test_checkpointing_changes_neither_loss_nor_gradients(self, name):
        plain = make(name).train()
        checkpointed = copy.deepcopy(plain)
        checkpointed.set_grad_checkpointing()
        x, y = faces(4), torch.tensor([0, 2, 4, 6])
        losses = [F.cross_entropy(model(x), y) for model in (plain, checkpointed)]
        torch.testing.assert_close(*losses, rtol=0, atol=0)
        for loss in losses:
            loss.backward()
        expected = dict(plain.named_parameters())
        for path, parameter in checkpointed.named_parameters():
            torch.testing.assert_close(parameter.grad, expected[path].grad, rtol=1e-6, atol=1e-7)

    @few
    def test_checkpointing_recomputes_blocks_until_it_is_switched_off(self, name):
        model, calls = make(name).train(), []
        first = next(m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
        first.register_forward_hook(lambda m, i, o: calls.append(1))
        counts = []
        for enable in (True, False):
            model.set_grad_checkpointing(enable)
            calls.clear()
            model(faces(2)).sum().backward()
            counts.append(len(calls))
        assert counts == [2, 1]

    @few
    def test_intermediates_are_the_same_under_checkpointing(self, name):
        model = make(name).eval()
        plain = model.forward_intermediates(faces(), intermediates_only=True)
        model.set_grad_checkpointing()
        for a, b in zip(model.forward_intermediates(faces(), intermediates_only=True), plain, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


class TestGraphs:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("training", [True, False])
    def test_symbolic_trace_keeps_blocks_whole_and_the_numbers(self, name, training):
        model = make(name).train(training)
        graph = torch.fx.symbolic_trace(model)
        targets = {str(node.target) for node in graph.graph.nodes if node.op == "call_module"}
        gates = {path for path, module in model.named_modules() if path.split(".")[-1] == "attn"}
        assert gates <= targets
        expected = model(faces(2))
        torch.testing.assert_close(graph(faces(2)), expected)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
    @pytest.mark.parametrize("name", GRAPHS)
    def test_torch_jit_traces_every_model(self, name):
        model = make(name).eval()
        traced = torch.jit.trace(model, faces(2))
        torch.testing.assert_close(traced(faces(3)), model(faces(3)))

    @pytest.mark.parametrize(
        "name", [pytest.param(n, marks=pytest.mark.slow) if n.startswith("resnet50") else n for n in GRAPHS]
    )
    def test_export_gives_the_same_logits_at_any_batch_size(self, name):
        assert_exported(make(name).eval(), faces)

    @pytest.mark.parametrize("attention", [name for name in ATTENTIONS if name != "cbam"])
    def test_export_of_each_block_gives_the_same_map_at_any_batch_size(self, attention):
        block = gate(attention)
        norm, act = nn.BatchNorm2d(block.channels), nn.ELU()

        class Step(nn.Module):
            """The end of a residual block, which is where models call their blocks."""

            def __init__(self):
                super().__init__()
                self.block, self.norm, self.act = block, norm, act

            def forward(self, x):
                return self.block.residual(x, x.flip(1), norm=self.norm, act=self.act)

        assert_exported(Step().eval(), lambda n: maps(n, block.channels, 6, 6))

    @every
    def test_torch_fx_traces_the_model_and_keeps_its_numbers(self, name):
        model = make(name).eval()
        _, nodes = get_graph_node_names(model)
        graph = GraphExtractNet(model, [nodes[-1]]).eval()
        torch.testing.assert_close(graph(faces(2)), model(faces(2)), rtol=1e-5, atol=2e-5)  # by PyTorch's ELU

    @few
    def test_gradients_pass_the_traced_model(self, name):
        model = make(name).train()
        nodes, _ = get_graph_node_names(model)
        graph = GraphExtractNet(model, [nodes[-1]]).train()
        graph(faces(2)).mean().backward()
        assert all(p.grad is not None for p in graph.parameters())


class TestGroups:
    @every
    @pytest.mark.parametrize("coarse", [False, True])
    def test_groups_hold_every_parameter_once_from_the_stem_to_the_classifier(self, name, coarse):
        model = make(name, device="meta")
        groups = group_parameters(model, model.group_matcher(coarse=coarse))
        names = [path for group in groups.values() for path in group]
        assert sorted(names) == sorted(path for path, _ in model.named_parameters())
        order = sorted(groups)
        assert f"{model.default_cfg['first_conv']}.weight" in groups[order[0]]
        assert f"{model.default_cfg['classifier']}.weight" in groups[order[-1]]
        assert len(order) > 3

    @every
    def test_layer_decay_gives_every_parameter_a_rate_that_grows_with_depth(self, name):
        model = make(name, device="meta")
        groups = param_groups_layer_decay(model, weight_decay=0.05, layer_decay=0.5)
        scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
        assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
        rates = {path: scale[id(p)] for path, p in model.named_parameters()}
        first, last = (
            rates[f"{model.default_cfg['first_conv']}.weight"],
            rates[f"{model.default_cfg['classifier']}.weight"],
        )
        assert first == min(rates.values()) < last == max(rates.values()) == 1.0

    @pytest.mark.parametrize("name", [n for n in NAMES if not n.endswith("_elu") and not is_vgg(n)])
    def test_a_gate_is_in_the_group_of_its_block(self, name):
        model = make(name, device="meta")
        groups = group_parameters(model, model.group_matcher(), reverse=True)
        for path, group in groups.items():
            if ".attn." in path:
                block = path.split(".attn.")[0]
                assert group == groups[f"{block}.conv1.weight"]


def test_our_package_adds_names_and_nothing_else_to_timm():
    assert fer_attention.models.timm_registry.__all__
    assert set(timm.list_models(module="timm_registry")) <= set(list_models())
