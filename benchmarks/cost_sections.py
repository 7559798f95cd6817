"""Sections of the benchmark: blocks alone, blocks in networks, and the paper's grid of models."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import torch
from candidates import PAPER, PRODUCT, Candidate, build_block, build_network, candidates_for
from cost_record import Case, Measured, Memory
from cost_setup import STEPS, Setup, batch_for, block_training, inference, measured_case, pairs_of
from timing import held_mib, resident_peak_mib
from torch import nn

from fer_attention import ModelSpec
from fer_attention.attention import attention_options
from fer_attention.evaluation import complexity
from fer_attention.models.factory import from_spec

STAGES = {1: (256, 4), 2: (512, 8), 3: (1024, 16), 4: (2048, 32)}
"""Channels and stride of ResNet-50's stages."""

GRID = (
    "vgg16",
    "vgg19",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnetv2_50",
    "resnetv2_101",
    "resnetv2_152",
)
"""The paper's backbones."""

NO_TIMM = "timm has no attention in this network"


def blocks(
    setup: Setup,
    *,
    attentions: Sequence[str],
    variants: Sequence[str],
    sizes: Sequence[int],
    stages: Sequence[int] = tuple(STAGES),
    batch_size: int | None = None,
) -> Iterator[Case]:
    """Time each block alone, on maps of the shapes of ResNet-50's stages for images of each size."""
    for size in sizes:
        for stage in stages:
            channels, reduction = STAGES[stage]
            batch = batch_size or batch_for(size, setup.device)
            shape = (batch, channels, -(-size // reduction), -(-size // reduction))
            yield from _blocks_on(shape, size, setup, attentions=attentions, variants=variants)


def _blocks_on(
    shape: tuple[int, int, int, int],
    size: int,
    setup: Setup,
    *,
    attentions: Sequence[str],
    variants: Sequence[str],
) -> Iterator[Case]:
    _forget_compiled(variants)
    candidates = [Candidate(PRODUCT, "plain"), *candidates_for(attentions, variants)]
    modules = {c.name: setup.placed(build_seeded(setup, build_block, c, shape[1])) for c in candidates}
    x = setup.maps(*shape)
    held = {name: held_mib(module, x) for name, module in modules.items()}
    for mode, step in (("inference", inference), ("training", block_training)):
        yield measured_case(
            {"subject": "block", "mode": mode, "size": size, "shape": shape},
            {name: step(module, x, setup) for name, module in modules.items()},
            setup,
            held=held,
            base=candidates[0].name,
            pairs=pairs_of(modules),
        )


def networks(
    setup: Setup,
    *,
    names: Sequence[str],
    attentions: Sequence[str],
    variants: Sequence[str],
    sizes: Sequence[int],
    modes: Sequence[str] = tuple(STEPS),
    batch_size: int | None = None,
    resident: bool = False,
) -> Iterator[Case]:
    """Time networks with attention against the same network without it."""
    for network in names:
        for size in sizes:
            batch = batch_size or batch_for(size, setup.device, network)
            _forget_compiled(variants)
            candidates = candidates_for(attentions, variants, network)
            models = build_networks(candidates, network, size, setup)
            x = setup.images(batch, 1, size, size)
            held = {name: held_mib(model, x) for name, model in models.items()}
            absent = (
                {} if "timm" not in variants else {f"{a} timm": NO_TIMM for a in attentions if a in PAPER}
            )
            for mode in modes:
                case = measured_case(
                    {"subject": network, "mode": mode, "size": size, "shape": tuple(x.shape)},
                    {name: STEPS[mode](model, x, setup) for name, model in models.items()},
                    setup,
                    held=held,
                    base="none plain",
                    pairs=[*pairs_of(models), *_compiled_pairs(models)],
                )
                absent = {name: why for name, why in absent.items() if name not in models}
                case = case.model_copy(update={"left_out": {**absent, **case.left_out}})
                yield with_resident(case, setup) if resident and mode == "training" else case
            del models, x
            gc.collect()


def _forget_compiled(variants: Sequence[str]) -> None:
    """Drop the compiled functions of earlier cases, whose number is limited."""
    if "compiled" in variants:
        torch.compiler.reset()


def build_networks(
    candidates: Sequence[Candidate], network: str, size: int, setup: Setup
) -> dict[str, nn.Module]:
    """Build the networks of the candidates, which share the weights of the first."""
    models: dict[str, nn.Module] = {}
    for candidate in candidates:
        first = next(iter(models.values()), None)
        model = build_seeded(
            setup, build_network, candidate, network, size=size, activation=setup.activation, like=first
        )
        models[candidate.name] = setup.placed(model)
    return models


def _compiled_pairs(names: Sequence[str] | dict[str, nn.Module]) -> list[tuple[str, str]]:
    return [(name, "none compiled") for name in names if name.endswith(" compiled") and name[:5] != "none "]


def build_seeded(setup: Setup, build: object, *arguments: object, **options: object) -> nn.Module:
    """Build a module with the setup's seed and restore the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setup.seed)
        return build(*arguments, **options)  # type: ignore[operator, no-any-return]


def with_resident(case: Case, setup: Setup) -> Case:
    """Add each candidate's resident set, measured in a fresh process, to a case."""
    measured: list[Measured] = []
    for one in case.candidates:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            threads = torch.get_num_threads()
            grown = process.submit(_resident, one.name, case.subject, case.shape, setup, threads).result()
        memory = one.memory or Memory(held_mib=0, added_mib=0)
        measured.append(
            one.model_copy(update={"memory": memory.model_copy(update={"resident_added_mib": grown})})
        )
    return case.model_copy(update={"candidates": tuple(measured)})


def _resident(name: str, network: str, shape: tuple[int, ...], setup: Setup, threads: int) -> float:
    torch.set_num_threads(threads)
    candidate = Candidate(*name.split())
    [model] = build_networks([candidate], network, shape[-1], setup).values()
    x = setup.images(*shape)
    STEPS["training"](model, x[:2, :, :32, :32] if network.startswith("resnet") else x[:2], setup)()
    return max(resident_peak_mib(STEPS["training"](model, x, setup)), 0.0)


def grid(
    setup: Setup, *, names: Sequence[str] = GRID, sizes: Sequence[int] = (48,), batch_size: int | None = None
) -> Iterator[Case]:
    """Measure the paper's models: parameters, MACs, latency at batch 1 and throughput."""
    for network in names:
        for size in sizes:
            candidates = [Candidate("none", "plain"), *(Candidate(a, default_variant(a)) for a in PAPER)]
            models = build_networks(candidates, network, size, setup)
            counts = {c.name: complexity(_on_meta(c, network, size, setup)) for c in candidates}
            for batch in sorted({1, batch_size or batch_for(size, setup.device)}):
                x = setup.images(batch, 1, size, size)
                case = measured_case(
                    {"subject": network, "mode": "inference", "size": size, "shape": tuple(x.shape)},
                    {name: inference(model, x, setup) for name, model in models.items()},
                    setup,
                    base="none plain",
                )
                counted = [
                    one.model_copy(
                        update={"parameters": counts[one.name].parameters, "macs": counts[one.name].macs}
                    )
                    for one in case.candidates
                ]
                yield case.model_copy(update={"candidates": tuple(counted)})
            del models
            gc.collect()


def default_variant(attention: str) -> str:
    """Return the variant that a model uses by default."""
    return "auto" if "implementation" in attention_options(attention) else "plain"


def _on_meta(candidate: Candidate, network: str, size: int, setup: Setup) -> nn.Module:
    options = replace(candidate, variant="plain").options if candidate.attention != "none" else {}
    spec = ModelSpec(
        network,
        attention=candidate.attention,
        activation=setup.activation,
        img_size=size,
        attention_options=options,
    )
    return from_spec(spec, device="meta")
