import pytest
import torch
from timm.layers.coord_attn import CoordAttn

from tests.support.equations import assert_follows, batch_norm, sigmoid
from tests.support.gates import gate, maps, parameter_count

either_mode = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


@either_mode
@pytest.mark.parametrize("options", [{}, {"reduction": 2}], ids=str)
def test_values_and_gradients_follow_the_equations(options, training):
    def coord(x, p):
        rows, columns = (torch.einsum(f"nchw->nc{kept}", x) for kept in "hw")
        joint = torch.cat([rows / x.shape[3], columns / x.shape[2]], 2)
        hidden = torch.einsum("oc,nci->noi", p["conv1.weight"][:, :, 0, 0], joint)
        hidden = batch_norm(hidden, p, "bn1", training)
        hidden = hidden * ((hidden + 3).clamp(0, 6) / 6)
        of_rows, of_columns = (
            sigmoid(
                torch.einsum("co,noi->nci", p[f"conv_{side}.weight"][:, :, 0, 0], part)
                + p[f"conv_{side}.bias"][:, None]
            )
            for side, part in (("h", hidden[:, :, : x.shape[2]]), ("w", hidden[:, :, x.shape[2] :]))
        )
        return torch.einsum("nchw,nch,ncw->nchw", x, of_rows, of_columns)

    assert_follows(coord, gate("coord", dtype=torch.float64, **options).train(training))


@either_mode
def test_it_matches_timm_with_the_same_weights(training):
    ours = gate("coord", 64, reduction=4).train(training)
    theirs = CoordAttn(64, rd_channels=16, bias=True).train(training)
    absent = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert (absent.missing_keys, absent.unexpected_keys) == (["conv1.bias"], [])
    if not training:  # running statistics do not cancel the bias
        torch.nn.init.zeros_(theirs.conv1.bias)
    x = maps(3, 64, 6, 5, seed=5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [64, 512, 2048])
def test_it_has_the_parameters_of_the_paper(channels):
    hidden = max(8, channels // 32)
    assert parameter_count("coord", channels) == 3 * channels * hidden + 2 * hidden + 2 * channels
