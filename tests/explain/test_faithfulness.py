"""Faithfulness: curves against a loop, and maps that are known to be good or bad."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from fer_attention.explain import faithfulness, perturbation_curves


class Corner(nn.Module):
    """Predicts class 1 if the upper left quarter is bright."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))

    def forward(self, x):
        half = x.shape[-1] // 2
        bright = x[:, 0, :half, :half].mean((1, 2))
        return torch.stack([-self.scale * bright, self.scale * bright], 1)


def corner_images(count=12, size=16):
    noise = torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0)) * 0.2 - 0.8
    noise[:, :, : size // 2, : size // 2] += 1.5
    return noise


def corner_maps(count=12, size=16):
    maps = torch.zeros(count, size, size)
    maps[:, : size // 2, : size // 2] = 1
    return maps


def test_curves_agree_with_a_loop_over_positions():
    model, images = Corner(), corner_images(2, 8)
    maps = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([1, 0])
    deletion, insertion = perturbation_curves(model, images, maps, classes, steps=4)
    for n in range(2):
        order = sorted(range(64), key=lambda position: -float(maps[n].flatten()[position]))
        original = images[n, 0].double().numpy()
        blurred = gaussian_filter(original, 0.8, mode="mirror", radius=2)
        for step in range(5):
            gone, given = original.copy(), blurred.copy()
            for position in order[: round(step / 4 * 64)]:
                gone[position // 8, position % 8] = original.mean()
                given[position // 8, position % 8] = original[position // 8, position % 8]
            for curve, picture in ((deletion, gone), (insertion, given)):
                bright = 8 * picture[:4, :4].mean()
                expected = 1 / (1 + np.exp(-2 * bright if classes[n] else 2 * bright))
                assert curve[n, step] == pytest.approx(expected, abs=2e-4)


def test_curves_start_and_end_at_the_original_probability():
    model, images = Corner(), corner_images()
    classes = torch.ones(12, dtype=torch.long)
    deletion, insertion = perturbation_curves(model, images, corner_maps(), classes, steps=6)
    whole = model(images).softmax(1)[:, 1].detach().numpy()
    np.testing.assert_allclose(deletion[:, 0], whole, rtol=1e-5)
    np.testing.assert_allclose(insertion[:, -1], whole, rtol=1e-5)
    assert (np.diff(deletion[:, :3]) < 0).all()


def test_an_informed_map_beats_the_controls():
    found = faithfulness(Corner(), corner_images(), corner_maps(), steps=8, repeats=2)
    assert found.count == 12
    assert 0 < found.deletion < found.insertion < 1
    by_name = {advantage.control: advantage for advantage in found.advantages}
    for control in ("random", "centre"):
        advantage = by_name[control]
        assert advantage.deletion_interval[0] > 0
        assert advantage.insertion_interval[0] > 0
        assert advantage.deletion_interval[0] <= advantage.deletion <= advantage.deletion_interval[1]
    other = by_name["other image's"]  # all maps are equal, so others are as good, without spread
    assert other.deletion == other.insertion == 0
    assert other.deletion_interval == (0, 0)


def test_an_inverted_map_is_worse():
    good, bad = (
        faithfulness(Corner(), corner_images(), maps, steps=8, repeats=1)
        for maps in (corner_maps(), 1 - corner_maps())
    )
    assert bad.deletion > good.deletion
    assert bad.insertion < good.insertion
    assert bad.advantages[0].deletion_interval[1] < 0


def test_random_maps_have_no_advantage_over_random_maps():
    maps = torch.rand(60, 16, 16, generator=torch.Generator().manual_seed(3))
    found = faithfulness(Corner(), corner_images(60), maps, steps=4, repeats=1, grid=16, seed=5)
    low, high = found.advantages[0].deletion_interval
    assert low < 0 < high


def test_other_images_never_include_the_image_itself():
    from fer_attention.explain.faithfulness import _control

    maps = torch.arange(7.0)[:, None, None].expand(7, 2, 2)
    for seed in range(20):
        others = _control("other image's", maps, 4, torch.Generator().manual_seed(seed))
        assert sorted(others[:, 0, 0].tolist()) == list(range(7))
        assert (others != maps).all()


def test_results_are_determined_by_the_seed():
    one, other = (
        faithfulness(Corner(), corner_images(), corner_maps(), steps=4, repeats=1, seed=9) for _ in range(2)
    )
    assert one == other


@pytest.mark.parametrize(
    ("count", "maps", "options", "message"),
    [
        (1, corner_maps(1), {}, "at least two"),
        (12, corner_maps(11), {}, "one map for each"),
        (12, torch.full((12, 16, 16), torch.nan), {}, "not finite"),
        (12, corner_maps(), {"steps": 0}, "steps must be at least 1"),
        (12, corner_maps(), {"grid": 0}, "grid must be at least 1"),
    ],
)
def test_invalid_arguments_are_rejected(count, maps, options, message):
    with pytest.raises(ValueError, match=message):
        faithfulness(Corner(), corner_images(count), maps, **options)
