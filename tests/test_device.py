"""Devices by name."""

import pytest
import torch

from fer_attention import device


@pytest.mark.parametrize("name", ["mps", "xpu", "cuda:77", "meta", "xla"])
def test_a_device_that_is_not_there_is_named_with_the_remedy(name):
    if name == getattr(torch.accelerator.current_accelerator(), "type", None):
        pytest.skip("this machine has one")
    with pytest.raises(ValueError, match=rf"device '{name}' is not available: .*'cpu' or 'auto'"):
        device.resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", None])
def test_a_device_that_does_not_exist_names_the_choices(name):
    with pytest.raises(ValueError, match=f"device is auto, cpu, cuda or cuda:N; got {name!r}"):
        device.resolve_device(name)
