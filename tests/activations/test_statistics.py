import copy

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fer_attention.activations import activation_statistics, swap_activation
from fer_attention.registry import UnknownNameError


def small_net(*, norm=True, act=nn.ReLU, depth=3, dtype=torch.float64):
    torch.manual_seed(0)
    layers = []
    for channels_in in (1, *[8] * (depth - 1)):
        conv = nn.Conv2d(channels_in, 8, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight)  # the default lets the signal fade, so that ELU is near linear
        nn.init.zeros_(conv.bias)
        layers += [conv, *([nn.BatchNorm2d(8)] if norm else []), act()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7)).to(dtype)


def images(count=6, channels=1, size=8, dtype=torch.float64):
    return torch.randn(count, channels, size, size, dtype=dtype, generator=torch.Generator().manual_seed(1))


TARGETS = torch.tensor([0, 1, 2, 3, 4, 5])


def outputs_of(model, names, batches):
    """Return the concatenated outputs of layers as NumPy arrays."""
    kept = {name: [] for name in names}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: kept[name].append(
                output.detach().double().numpy().copy()
            )
        )
        for name in names
    ]
    for batch in batches:
        model(batch)
    for hook in hooks:
        hook.remove()
    return {name: np.concatenate(arrays) for name, arrays in kept.items()}


def state_of(model):
    """Return all state that a caller could notice."""
    return (
        [module.training for module in model.modules()],
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        [len(module._forward_hooks) for module in model.modules()],
        torch.get_rng_state(),
    )


def test_mean_variance_and_sign_match_numpy_over_all_batches():
    model = small_net(act=nn.ELU).eval()
    batches = list(images().split([3, 1, 2]))
    measured = activation_statistics(model, batches)
    expected = outputs_of(model, ["2", "5", "8"], batches)
    assert [(s.layer, s.kind) for s in measured] == [("2", "ELU"), ("5", "ELU"), ("8", "ELU")]
    for s in measured:
        values = expected[s.layer]
        np.testing.assert_allclose((s.mean, s.variance), (values.mean(), values.var()), rtol=1e-10)
        assert s.fraction_negative == pytest.approx((values < 0).mean(), abs=1e-12)
        assert s.count == values.size
        assert s.gradient_norm is None


@settings(max_examples=20)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6), offset=st.sampled_from([0.0, 1e4]))
def test_the_statistics_do_not_depend_on_the_batches(sizes, offset):
    model = nn.Sequential(nn.Identity(), nn.LeakyReLU())
    x = images(sum(sizes)) + offset
    [whole] = activation_statistics(model, [x])
    [split] = activation_statistics(model, x.split(sizes))
    assert split.mean == pytest.approx(whole.mean, rel=1e-9)
    assert split.variance == pytest.approx(whole.variance, rel=1e-7)
    assert (split.count, split.fraction_negative) == (whole.count, whole.fraction_negative)


def test_the_gradient_norm_is_the_root_mean_square_over_batches():
    model = small_net().eval()
    batches = list(zip(images().split([4, 2]), TARGETS.split([4, 2]), strict=True))
    measured = activation_statistics(model, batches, loss=F.cross_entropy)
    norms = []
    for x, target in batches:
        middle = model[:6](x).detach().requires_grad_()
        F.cross_entropy(model[6:](middle), target).backward()
        norms.append(middle.grad.norm().item())
    assert measured[1].gradient_norm == pytest.approx(np.sqrt(np.mean(np.square(norms))))


@pytest.mark.parametrize("norm", [False, True])
def test_elu_has_means_nearer_zero_than_relu_with_the_same_weights(norm):
    relu = small_net(norm=norm, depth=6)
    elu = copy.deepcopy(relu)
    swap_activation(elu, "elu")
    x = images(16)
    means = []
    for model in (relu, elu):
        for module in model:
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0  # the running statistics become this batch's
        model.train()(x)
        means.append([abs(s.mean) for s in activation_statistics(model, [x])])
    assert len(means[0]) == len(means[1]) == 6
    assert np.mean(means[1]) < 0.75 * np.mean(means[0])
    assert sum(e < r for r, e in zip(*means, strict=True)) >= 5


def test_elu_has_means_nearer_zero_in_a_residual_net():
    torch.manual_seed(0)
    relu = timm.create_model("resnet18", in_chans=1, num_classes=7)
    elu = copy.deepcopy(relu)
    swap_activation(elu, "elu")
    x = images(4, size=64, dtype=torch.float32)
    bias = [np.mean([abs(s.mean) for s in activation_statistics(model, [x])]) for model in (relu, elu)]
    assert bias[1] < bias[0]


def test_calls_of_a_shared_module_are_reported_separately():
    model = torchvision.models.resnet18(num_classes=7)
    x = images(2, channels=3, size=32, dtype=torch.float32)
    measured = activation_statistics(model, [(x, TARGETS[:2])] * 2, loss=F.cross_entropy)
    names = [s.layer for s in measured]
    assert names[:4] == ["relu", "layer1.0.relu#1", "layer1.0.relu#2", "layer1.1.relu#1"]
    assert len(names) == 17
    assert measured[1].count == 2 * 2 * 64 * 8 * 8
    assert all(s.gradient_norm > 0 for s in measured)


def test_gates_are_skipped_and_layers_come_in_execution_order():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.ELU(), nn.ReLU()
            self.gate = timm.layers.SEModule(8)
            self.drop = nn.Identity()

        def forward(self, x):
            return self.last(self.gate(self.first(self.drop(x))))

    measured = activation_statistics(Net(), [images(2, channels=8, dtype=torch.float32)])
    assert [s.layer for s in measured] == ["first", "last"]


def test_layers_can_be_named():
    model = small_net()
    [conv, head] = activation_statistics(model, [images()], layers=("9", "0"))
    assert [(s.layer, s.kind, s.count) for s in (conv, head)] == [
        ("0", "Conv2d", 6 * 8 * 64),
        ("9", "AdaptiveAvgPool2d", 6 * 8),
    ]


def test_later_inplace_layers_do_not_change_a_record():
    class Net(nn.Module):
        def __init__(self, inplace):
            super().__init__()
            self.conv, self.act = nn.Conv2d(1, 7, 3, dtype=torch.float64), nn.ReLU(inplace)
            self.leaky = nn.LeakyReLU()
            self.inplace = inplace

        def forward(self, x):
            x = self.conv(x)
            if self.inplace:
                x += 0.1
                return self.leaky(self.act(x)).add_(3).mul_(2).mean((2, 3))
            return (2 * (self.leaky(self.act(x + 0.1)) + 3)).mean((2, 3))

    out_of_place, inplace = Net(inplace=False), Net(inplace=True)
    inplace.load_state_dict(out_of_place.state_dict())
    batches = [(images(), TARGETS)]
    expected, measured = (
        activation_statistics(model, batches, loss=F.cross_entropy, layers=["conv", "act", "leaky"])
        for model in (out_of_place, inplace)
    )
    for e, m in zip(expected, measured, strict=True):
        np.testing.assert_allclose(
            (m.mean, m.variance, m.gradient_norm), (e.mean, e.variance, e.gradient_norm), rtol=1e-12
        )


def test_an_inplace_first_layer_does_not_change_the_images():
    x = images()
    before = x.clone()
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 7, dtype=torch.float64))
    activation_statistics(model, [x])
    activation_statistics(model, [(x, TARGETS)], loss=F.cross_entropy)
    assert torch.equal(x, before)
    assert not x.requires_grad


@pytest.mark.parametrize("loss", [None, F.cross_entropy])
@pytest.mark.parametrize("fails", [False, True])
def test_the_state_of_the_caller_is_restored_also_after_an_error(loss, fails):
    model = small_net().train()
    model.insert(3, nn.Dropout())
    model[1].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before = state_of(model)
    batches = [images(), images(channels=2)] if fails else [images()]
    if loss is not None:
        batches = [(x, TARGETS) for x in batches]
    if fails:
        with pytest.raises(RuntimeError, match="channels"):
            activation_statistics(model, batches, loss=loss)
    else:
        activation_statistics(model, batches, loss=loss)
    after = state_of(model)
    assert after[0] == before[0]
    assert after[3] == before[3]
    torch.testing.assert_close(after[1:3], before[1:3], rtol=0, atol=0)
    assert torch.equal(after[4], before[4])


def test_gradients_are_measured_without_grad_mode_and_if_frozen():
    model = small_net().requires_grad_(False)
    batches = [(images(), TARGETS)]
    expected = activation_statistics(model, batches, loss=F.cross_entropy)
    with torch.no_grad():
        assert activation_statistics(model, batches, loss=F.cross_entropy) == expected
    with torch.inference_mode():
        assert activation_statistics(model, [(images(), TARGETS)], loss=F.cross_entropy) == expected
        assert torch.is_inference_mode_enabled()
    assert all(s.gradient_norm > 0 for s in expected)


def test_gradient_checkpointing_counts_each_layer_once():
    model = timm.create_model("resnet18", in_chans=1, num_classes=7)
    batches = [(images(2, size=32, dtype=torch.float32), TARGETS[:2])]
    plain = activation_statistics(model, batches, loss=F.cross_entropy)
    model.set_grad_checkpointing()
    checkpointed = activation_statistics(model, batches, loss=F.cross_entropy)
    assert [s.layer for s in checkpointed] == [s.layer for s in plain]
    assert [s.count for s in checkpointed] == [s.count for s in plain]
    assert [s.gradient_norm for s in checkpointed] == pytest.approx(
        [s.gradient_norm for s in plain], rel=1e-4
    )


def test_half_precision_is_accumulated_in_double_precision():
    model = nn.Sequential(nn.Identity(), nn.ELU())
    x = images(64, size=32).bfloat16() + 100
    [measured] = activation_statistics(model, [x])
    assert measured.mean == pytest.approx(x.double().mean().item(), rel=1e-12)
    assert measured.variance == pytest.approx(x.double().var(correction=0).item(), rel=1e-9)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_statistics_and_keeps_its_random_state():
    model, batches = small_net(), [(images(), TARGETS)]
    expected = activation_statistics(model, batches, loss=F.cross_entropy)
    state = torch.cuda.get_rng_state()
    on_gpu = [(x.cuda(), y.cuda()) for x, y in batches]
    measured = activation_statistics(model.cuda(), on_gpu, loss=F.cross_entropy)
    for e, m in zip(expected, measured, strict=True):
        np.testing.assert_allclose((m.mean, m.gradient_norm), (e.mean, e.gradient_norm), rtol=1e-6)
    assert torch.equal(torch.cuda.get_rng_state(), state)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.idle, self.pair = nn.ReLU(), nn.ReLU(), nn.GRU(8, 8, dtype=torch.float64)

    def forward(self, x):
        return self.used(self.pair(x.flatten(1, 2))[0])


@pytest.mark.parametrize(
    ("batches", "arguments", "error", "message"),
    [
        ([], {}, ValueError, "batches is empty"),
        ([images(0)], {}, ValueError, r"no images: its shape is \(0, 1, 8, 8\)"),
        ([(images(), TARGETS)], {}, TypeError, "image tensors, since there is no loss; got tuple"),
        ([images()], {"loss": F.cross_entropy}, TypeError, "pairs .* got Tensor"),
        ([images()], {"layers": ["usd"]}, UnknownNameError, "Unknown layer 'usd'. Did you mean 'used'"),
        ([images()], {"layers": []}, ValueError, "names no layer"),
        ([images()], {"layers": ["used", "idle"]}, ValueError, "does not call idle"),
        ([images()], {"layers": ["pair"]}, TypeError, "pair returns a tuple"),
    ],
)
def test_input_that_cannot_be_measured_is_refused(batches, arguments, error, message):
    with pytest.raises(error, match=message):
        activation_statistics(Branching(), batches, **arguments)


def test_a_model_without_activations_is_refused_with_a_remedy():
    with pytest.raises(ValueError, match="no activation modules outside attention gates. Name those"):
        activation_statistics(nn.Sequential(nn.Flatten()), [images()])
