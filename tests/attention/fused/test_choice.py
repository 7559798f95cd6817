"""Conditions for the fused step, and equal side effects of both implementations."""

import copy

import pytest
import torch
from torch import nn
from torch.func import jvp, vmap
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.flop_counter import FlopCounterMode

from fer_attention.activations import swap_activation
from fer_attention.attention import ATTENTIONS, CBAM, SEBlock, attention_options, create_attention
from fer_attention.evaluation import complexity
from fer_attention.models import build_model
from tests.support.gates import C, distinct, gate, maps

FUSIBLE = [name for name in ATTENTIONS if "implementation" in attention_options(name)]
STAGES = [
    name if name in FUSIBLE else pytest.param(name, marks=pytest.mark.slow)
    for name in ATTENTIONS
    if name != "cbam"  # compiled in whole models
]
MOMENTA = (0.1, 0.5, None)
TRAINED = [
    (name, backbone, MOMENTA[(i + k) % 3])
    for i, name in enumerate(FUSIBLE)
    for k, backbone in enumerate(("resnet18", "resnet50", "resnetv2_18"))
]
"""Every pair of a block, a backbone and a momentum."""

every = pytest.mark.parametrize("name", FUSIBLE)


def hooked(block, part):
    """Return the reason while one of the block's modules has a hook."""
    x = maps(64, C, 16, 16)
    handle = part.register_forward_hook(lambda *_: None)
    reason = block.why_plain(x)
    handle.remove()
    assert block.why_plain(x) is None
    return reason


class TestChoice:
    @every
    def test_the_repr_shows_the_implementation(self, name):
        for implementation in ("auto", "plain", "fused"):
            assert f"implementation={implementation!r}" in repr(
                create_attention(name, C, implementation=implementation)
            )
        assert "implementation='auto'" in repr(create_attention(name, C))

    @every
    @pytest.mark.parametrize("implementation", ["compiled", "", None, True])
    def test_an_unknown_implementation_is_refused(self, name, implementation):
        with pytest.raises(ValueError, match=f"implementation {implementation!r}. Known: auto, fused, plain"):
            create_attention(name, C, implementation=implementation)

    @every
    def test_plain_and_fused_run_as_requested(self, name):
        x = maps(2, C, 4, 4)
        assert "requested" in gate(name, implementation="plain").why_plain(x)
        assert gate(name, implementation="fused").why_plain(x) is None
        y = gate(name, implementation="fused")(x.requires_grad_())
        assert "Residual" in type(y.grad_fn).__name__
        assert "Residual" not in type(gate(name, implementation="plain")(x).grad_fn).__name__

    @every
    def test_auto_runs_the_plain_modules_on_small_maps(self, name):
        block = gate(name)
        assert "small" in block.why_plain(maps(2, C, 4, 4))
        assert block.why_plain(maps(64, C, 16, 16)) is None

    @every
    def test_models_pass_the_option_to_every_block(self, name):
        model = build_model(
            "resnet18", attention=name, width=0.25, attention_options={"implementation": "plain"}
        )
        assert model.spec.attention_options == {"implementation": "plain"}
        blocks = [m for m in model.modules() if type(m) is ATTENTIONS[name]]
        assert len(blocks) == 8
        assert {block.implementation for block in blocks} == {"plain"}

    @every
    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            ("empty", lambda block: block.why_plain(maps(0, C, 4, 4))),
            ("float16 on cpu", lambda block: block.why_plain(maps(64, C, 16, 16).half())),
            ("on meta", lambda block: block.why_plain(torch.empty(2, C, 4, 4, device="meta"))),
            ("hooks", lambda block: hooked(block, block)),
            ("hooks", lambda block: hooked(block, list(block.modules())[-1])),
        ],
        ids=["empty", "half", "meta", "hook", "hook inside"],
    )
    def test_why_plain_returns_the_reason(self, name, words, reason):
        assert words in reason(gate(name))

    @every
    def test_without_a_fused_step_only_auto_falls_back(self, name):
        x = maps(2, C, 4, 4).half()
        with pytest.raises(RuntimeError, match=r"'fused', but .*float16 on cpu.*'auto'"):
            gate(name, implementation="fused", dtype=torch.float16)(x)
        assert gate(name, dtype=torch.float16)(x).dtype is torch.float16
        assert gate(name, implementation="fused", device="meta", dtype=x.dtype)(x.to("meta")).shape == x.shape

    def test_replaced_layers_and_subclasses_run_their_own_modules(self):
        x = distinct(2, C, 4, 4)
        block = gate("cbam", reduction=2, implementation="fused", dtype=torch.float64)
        before = block(x)
        assert swap_activation(block, "elu", scope="all") == 1
        assert "replaced" in block.why_plain(x)
        assert not torch.allclose(block(x), before)

        class Doubled(SEBlock):
            def scale(self, x):
                return 2 * super().scale(x)

        torch.manual_seed(0)
        double = Doubled(C, implementation="fused")
        torch.manual_seed(0)
        torch.testing.assert_close(double(x.float()), 2 * SEBlock(C)(x.float()))

    def test_a_parametrized_weight_is_computed_by_its_module(self):
        block, x = gate("se", implementation="fused"), maps(2, C, 4, 4)
        weight_norm(block.fc1)
        assert "replaced" in block.why_plain(x)
        block(x).sum().backward()
        assert block.fc1.parametrizations.weight.original0.grad is not None


class TestTools:
    """Tools that work on single operators or modules get those of the plain block."""

    @every
    def test_hooks_on_inner_layers_fire(self, name):
        block, seen = gate(name, implementation="fused"), []
        inner = [module for module in block.modules() if not list(module.children())]
        for module in inner:
            module.register_forward_hook(lambda module, *_: seen.append(module))
        norm, act = nn.BatchNorm2d(C), nn.ReLU()
        for module in (norm, act):
            module.register_forward_hook(lambda module, *_: seen.append(module))
        block.residual(maps(2, C, 4, 4), maps(2, C, 4, 4), norm=norm, act=act)
        assert set(seen) == {*inner, norm, act}

    @every
    def test_operation_counters_count_the_same(self, name):
        def counted(implementation):
            options = {"implementation": implementation}
            return build_model("resnet18", attention=name, width=0.25, attention_options=options).eval()

        assert complexity(counted("fused")) == complexity(counted("plain"))
        flops = []
        for implementation in ("fused", "plain"):
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                counted(implementation)(maps(1, 1, 48, 48))
            flops.append(counter.get_total_flops())
        assert flops[0] == flops[1]

    @every
    def test_function_transforms_and_forward_mode_derivatives_work(self, name):
        block, x = gate(name, implementation="fused", dtype=torch.float64), distinct(2, C, 4, 4)
        plain = gate(name, implementation="plain", dtype=torch.float64)
        torch.testing.assert_close(vmap(block)(x[None]), plain(x)[None])
        torch.testing.assert_close(jvp(block, (x,), (x,)), jvp(plain, (x,), (x,)))
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
            assert torch.autograd.forward_ad.unpack_dual(block(dual)).tangent is not None

    @pytest.mark.parametrize(
        ("backbone", "training"),
        [pytest.param("resnet18", True, marks=pytest.mark.slow), ("resnetv2_18", False), ("vgg11", False)],
    )
    def test_models_compile_without_graph_breaks(self, backbone, training):
        torch._dynamo.reset()
        model = build_model(backbone, attention="cbam", activation="elu", width=0.25).train(training)
        x = maps(2, 1, 48, 48)
        expected = copy.deepcopy(model)(x)
        actual = torch.compile(model, fullgraph=True, backend="aot_eager")(x)
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("name", STAGES)
    def test_stages_of_every_block_compile_without_graph_breaks(self, name):
        torch._dynamo.reset()
        model = build_model("resnet18", attention=name, activation="elu", width=0.25).train()
        stage, x = model.layer2, maps(2, 16, 12, 12)
        expected = copy.deepcopy(stage)(x)
        actual = torch.compile(stage, fullgraph=True, backend="aot_eager")(x)
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)

    @every
    def test_blocks_can_be_compiled_alone(self, name):
        torch._dynamo.reset()
        block, x = gate(name, implementation="fused"), maps(2, C, 4, 4)
        expected = block.residual(x, x, norm=nn.BatchNorm2d(C), act=nn.ELU())
        graphs = []
        block.compile(backend=lambda graph, _: graphs.append(graph) or graph.forward)
        assert "compiled" in block.why_plain(x)
        torch.testing.assert_close(block.residual(x, x, norm=nn.BatchNorm2d(C), act=nn.ELU()), expected)
        assert len(graphs) == 1

    @every
    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
    def test_export_and_tracing_record_plain_operators(self, name):
        model = build_model("resnet18", attention=name, width=0.25).eval()
        x = maps(2, 1, 48, 48)
        expected = model(x)
        torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), expected)
        traced = torch.jit.trace(model, (x,))
        torch.testing.assert_close(traced(x), expected)
        assert "PythonOp" not in str(traced.inlined_graph)


class TestTraining:
    """Training has the same result with either implementation."""

    @pytest.mark.parametrize(("name", "backbone", "momentum"), TRAINED)
    def test_both_implementations_train_the_same_model(self, name, backbone, momentum):
        models = []
        for implementation in ("fused", "plain"):
            torch.manual_seed(0)
            options = {"attention_options": {"implementation": implementation}, "drop_path_rate": 0.5}
            model = build_model(backbone, attention=name, width=0.25, **options)
            for norm in model.modules():
                if isinstance(norm, nn.BatchNorm2d):
                    norm.momentum = momentum
            models.append(model.double().train())
        for model in models:
            torch.manual_seed(1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for step in range(2):
                optimizer.zero_grad()
                x = maps(4, 1, 48, 48, seed=step, dtype=torch.float64)
                nn.functional.cross_entropy(model(x), torch.arange(4)).backward()
                optimizer.step()
        fused, plain = (model.state_dict() for model in models)
        for key, value in plain.items():
            torch.testing.assert_close(fused[key], value, rtol=1e-6, atol=1e-8, msg=key)

    @every
    def test_half_precision_and_checkpointing_are_as_precise_as_the_modules(self, name):
        grads = []
        for implementation, dtype in (
            ("plain", torch.float32),
            ("plain", torch.bfloat16),
            ("fused", torch.bfloat16),
        ):
            torch.manual_seed(0)
            options = {"implementation": implementation}
            model = build_model("resnet18", attention=name, width=0.25, attention_options=options).train()
            model.set_grad_checkpointing(dtype is torch.bfloat16)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
                loss = nn.functional.cross_entropy(model(maps(16, 1, 48, 48)), torch.arange(16) % 7)
            loss.backward()
            assert all(p.grad.dtype is p.dtype for p in model.parameters())
            grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
        truth, plain, fused = grads
        assert (fused - truth).norm() < 1.1 * (plain - truth).norm()

    def test_any_other_norm_before_the_block_is_called_as_a_module(self):
        x, shortcut = distinct(2, C, 4, 4), distinct(2, C, 4, 4, seed=1)
        fused, plain = (
            gate("cbam", implementation=implementation, dtype=torch.float64)
            for implementation in ("fused", "plain")
        )
        for norm in (
            nn.GroupNorm(4, C, dtype=torch.float64),
            nn.BatchNorm2d(C, affine=False, dtype=torch.float64),
            nn.BatchNorm2d(C, momentum=None, dtype=torch.float64),
            nn.Identity(),
        ):
            results = [
                block.residual(x, shortcut, norm=copy.deepcopy(norm), act=nn.ReLU())
                for block in (fused, plain)
            ]
            torch.testing.assert_close(*results)

    def test_a_batch_norm_refuses_a_single_value_per_channel(self):
        block = CBAM(C, implementation="fused")
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            block.residual(maps(1, C, 1, 1), maps(1, C, 1, 1), norm=nn.BatchNorm2d(C))

    @every
    def test_maps_with_another_channel_count_are_refused(self, name):
        with pytest.raises(ValueError, match=rf"{C}, H, W\); got \(2, 5, 4, 4\)"):
            gate(name, implementation="fused").residual(maps(2, 5, 4, 4), maps(2, 5, 4, 4))
