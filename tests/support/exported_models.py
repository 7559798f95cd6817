"""Small models in which every part affects the logits, and a detector with fixed results."""

import numpy as np
import torch
from torch import nn

from fer_attention import build_model, create_attention
from fer_attention.attention import AttentionBlock, attention_options

FAMILIES = {"vgg11": {}, "resnet18": {"stem": "half"}, "resnetv2_18": {"stem": "half"}}


def lively_model(backbone="vgg11", *, attention="none", seed=0, options=None, mixed=(), **structure):
    """Build a narrow model with random norms and gates and logits of about one.

    `mixed` gives the blocks of a residual network a gate each, instead of `attention`.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        own = {"reduction": 4} if "reduction" in attention_options(attention) else {}
        structure = {"width": 0.125, "activation": "elu", **FAMILIES.get(backbone, {}), **structure}
        own |= options or {}
        model = build_model(backbone, attention=attention, attention_options=own, **structure).eval()
        blocks = [module for module in model.modules() if hasattr(module, "attn") and module is not model]
        for block, kind in zip(blocks, mixed, strict=False):
            known = attention_options(kind)
            own = {"reduction": 4, **(options or {})}
            own = {name: value for name, value in own.items() if name in known}
            block.attn = create_attention(kind, block.attn.channels, **own).eval()
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                nn.init.uniform_(module.running_mean, -0.2, 0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
            if isinstance(module, AttentionBlock):
                for parameter in module.parameters():
                    nn.init.normal_(parameter, std=0.5)
        with torch.no_grad():
            features = model.forward_head(model.forward_features(noise(model, 8)), pre_logits=True)
            nn.init.normal_(model.get_classifier().weight, std=float(1 / features.norm(dim=1).mean()))
    return model


def noise(model, count):
    """Return standardised noise, float32 (N, C, H, W)."""
    return model.preprocessing.normalize(torch.from_numpy(noise_crops(model, count)))


def noise_crops(model, count, seed=1):
    """Return noise, uint8 (N, C, H, W)."""
    return np.random.default_rng(seed).integers(0, 256, (count, *model.spec.input_size), dtype=np.uint8)


def torch_logits(model, crops):
    """Compute the logits of uint8 crops in torch."""
    with torch.inference_mode():
        return model(model.preprocessing.normalize(torch.from_numpy(crops))).numpy()


class FixedDetector:
    """Detector that returns the given faces for every photo."""

    name = "fixed"

    def __init__(self, faces):
        self.faces = faces

    def detect(self, images):
        return [list(self.faces) for _ in images]
