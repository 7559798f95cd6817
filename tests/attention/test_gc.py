import pytest
import torch
import torchvision
from timm.layers import GlobalContext

from fer_attention.attention import AttentionGate, GCBlock, add_attention
from tests.support.equations import assert_follows
from tests.support.gates import C, distinct, gate, maps, parameter_count


def test_values_and_gradients_follow_the_equations():
    def gc(x, p):
        y = torch.empty_like(x)
        for n in range(x.shape[0]):
            vectors = x[n].flatten(1).T
            scores = torch.stack([(p["key.weight"].flatten() * vector).sum().exp() for vector in vectors])
            context = (
                sum(score * vector for score, vector in zip(scores, vectors, strict=True)) / scores.sum()
            )
            z = p["fc1.weight"] @ context + p["fc1.bias"]
            z = (z - z.mean()) / (((z - z.mean()) ** 2).mean() + 1e-5) ** 0.5
            z = (z * p["norm.weight"] + p["norm.bias"]).clamp(min=0)
            y[n] = x[n] + (p["fc2.weight"] @ z + p["fc2.bias"])[:, None, None]
        return y

    assert_follows(gc, gate("gc", dtype=torch.float64, reduction=4))


def test_it_matches_timm_with_the_same_weights():
    """The bias that timm's block has before the softmax changes nothing."""
    ours = gate("gc", 64, reduction=4)
    theirs = GlobalContext(64, rd_channels=16, fuse_add=True, fuse_scale=False)
    theirs.mlp_add.norm.eps = ours.norm.eps  # timm has 1e-6, the code of the paper 1e-5
    names = {"key": "conv_attn", "fc1": "mlp_add.fc1", "norm": "mlp_add.norm", "fc2": "mlp_add.fc2"}
    state = {
        f"{names[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in ours.state_dict().items()
    }
    state = {key: value.reshape(theirs.state_dict()[key].shape) for key, value in state.items()}
    absent = theirs.load_state_dict(state, strict=False)
    assert (absent.missing_keys, absent.unexpected_keys) == (["conv_attn.bias"], [])
    x = maps(3, 64, 6, 5, seed=5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [64, 512, 2048])
def test_it_has_the_parameters_of_the_paper(channels):
    hidden = channels // 16
    layers = 2 * channels * hidden + hidden + channels
    assert parameter_count("gc", channels) == channels + layers + 2 * hidden  # key, layers, norm


def test_it_starts_as_the_identity():
    x = maps(2, C, 5, 4)
    torch.testing.assert_close(GCBlock(C)(x), x, rtol=0, atol=0)


def test_a_trained_network_keeps_its_logits_when_it_is_added():
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=5).eval()
    x = maps(2, 3, 32, 32)
    logits = net(x)
    assert add_attention(net, "gc") == 8
    torch.testing.assert_close(net(x), logits)


def test_it_adds_one_vector_to_all_positions_and_is_not_a_gate():
    block, x = gate("gc", dtype=torch.float64), distinct(2, C, 5, 4)
    added = block(x) - x
    assert not isinstance(block, AttentionGate)
    assert block.is_attention_gate is True
    torch.testing.assert_close(added, added.mean((2, 3), keepdim=True).expand_as(added))
    assert not torch.allclose(added[0], added[1])


def test_the_context_is_a_weighted_mean_of_the_positions():
    block = gate("gc")
    vector = maps(2, C, 1, 1)
    torch.testing.assert_close(block.context(vector.expand(2, C, 5, 4)), vector.flatten(1))


def test_the_output_depends_on_narrow_maps():
    block = gate("gc", 16)  # 16 // 16 is one hidden channel, of which a layer norm would leave nothing
    first, second = (block(x) - x for x in (maps(1, 16, 4, 4, seed=s) for s in (1, 2)))
    assert not torch.allclose(first, second)
