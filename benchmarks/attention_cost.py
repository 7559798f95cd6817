"""Measure the cost of attention: blocks alone, blocks in networks, whole models, photos end to end.

    python benchmarks/attention_cost.py blocks   --record FILE   # each block alone, on ResNet-50's maps
    python benchmarks/attention_cost.py networks --record FILE   # ResNet-50, ResNetV2-50 and VGG-16
    python benchmarks/attention_cost.py grid     --record FILE   # the paper's 32 models: size, MACs, speed
    python benchmarks/attention_cost.py photo    --record FILE   # photo to expression; ONNX Runtime
    python benchmarks/attention_cost.py profile  --record FILE   # time per operator
    python benchmarks/attention_cost.py networks --device cuda --dtype bfloat16 --sizes 224 --compile

All variants of a case run in interleaved rounds (`timing.py`). `candidates.py` lists the
variants, `cost_record.py` defines the record, `render_benchmarks.py` writes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from candidates import PAPER, VARIANTS
from cost_photo import BATCHES, photo
from cost_record import Record, as_text, write_record
from cost_sections import GRID, STAGES, blocks, grid, networks
from cost_setup import DTYPES, STEPS, Setup, environment_of, log, machine
from machine_load import add_option, check_before, refuse_if_busy, watched_load
from operator_profile import profiles
from timing import Effort

from fer_attention.attention import ATTENTIONS

SECTIONS = ("blocks", "networks", "grid", "photo", "profile")
EFFORT = {
    "blocks": (20, 8.0),
    "networks": (12, 30.0),
    "grid": (12, 10.0),
    "photo": (30, 20.0),
    "profile": (1, 0.0),
}
"""Maximum number of rounds, and seconds after which a case starts no new round."""

SIZES = {"blocks": (48, 80, 224), "networks": (48, 80, 224), "grid": (48,), "photo": (48,), "profile": (80,)}
NETWORKS = {"networks": ("resnet50", "resnetv2_50", "vgg16"), "grid": GRID, "profile": ("resnet50",)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a section and print or write its record."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(arguments)
    section = options.section
    rounds, seconds = EFFORT[section]
    effort = Effort(
        rounds=options.rounds or rounds,
        seconds=seconds if options.seconds is None else options.seconds,
        warmup=options.warmup or (5 if options.device == "cuda" else 1),
        least_ms=options.least_ms,
    )
    setup = Setup(
        device=options.device,
        dtype=options.dtype,
        activation=options.activation,
        channels_last=not options.contiguous,
        effort=effort,
        seed=options.seed,
    )
    if options.record:
        options.record.parent.mkdir(parents=True, exist_ok=True)  # fail now, not after minutes of work
    check_before(allow=options.allow_busy, record=options.record)
    began = time.perf_counter()
    with machine(options.threads, options.device, compiling=options.compile):
        with watched_load() as load:
            found = tuple(measure(section, options, setup))
        content = {"profiles" if section == "profile" else "cases": found}
        record = Record(
            section=section,
            command=shlex.join(["python", "benchmarks/attention_cost.py", *_without_record(arguments)]),
            minutes=round((time.perf_counter() - began) / 60, 2),
            environment=environment_of(setup.device, load),
            settings=setup.settings(),
            **content,
        )
    log(f"{record.minutes} minutes")
    if not options.record:
        print(as_text(record))
    refuse_if_busy(load, allow=options.allow_busy, record=options.record)
    if options.record:
        write_record(options.record, record)


def measure(section: str, options: argparse.Namespace, setup: Setup) -> Any:
    """Measure the cases, or profiles, of a section."""
    sizes = options.sizes or SIZES[section]
    variants = [*options.variants, *["compiled"] * options.compile]
    names = options.networks or NETWORKS.get(section, ())
    batch = options.batch_size
    if section == "blocks":
        attentions = options.attentions or tuple(ATTENTIONS)
        return blocks(
            setup,
            attentions=attentions,
            variants=variants,
            sizes=sizes,
            stages=options.stages,
            batch_size=batch,
        )
    if section == "networks":
        return networks(
            setup,
            names=names,
            attentions=options.attentions or PAPER,
            variants=variants,
            sizes=sizes,
            modes=options.modes,
            batch_size=batch,
            resident=options.resident,
        )
    if section == "grid":
        return grid(setup, names=names, sizes=sizes, batch_size=batch)
    if section == "photo":
        return photo(setup, photos=options.photos, detector=options.detector, batches=options.batches)
    return profiles(setup, names=names, sizes=sizes, modes=options.modes, batch_size=batch)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = made.add_argument
    add("section", choices=SECTIONS)
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--dtype", choices=tuple(DTYPES), default="float32", help="autocast: float32 under bfloat16 autocast")
    add("--activation", choices=("elu", "relu"), default="elu", help="activation of the backbone")
    add("--sizes", nargs="+", type=int, help="height and width of the images")
    add("--batch-size", type=int, help="default: GPU 256; CPU 32, at 224 pixels 4, VGG 8 and 2")
    add("--networks", nargs="+", help="backbones, for networks, grid and profile")
    add("--attentions", nargs="+", help="default: every block alone; se, eca and cbam in networks")
    variants = [variant for variant in VARIANTS if variant not in ("auto", "compiled")]
    add(
        "--variants", nargs="+", choices=VARIANTS, default=variants, help="default: all but auto and compiled"
    )
    add("--compile", action="store_true", help="also time torch.compile, which needs a compiler and minutes")
    add("--modes", nargs="+", choices=tuple(STEPS), default=list(STEPS))
    add(
        "--stages",
        nargs="+",
        type=int,
        choices=tuple(STAGES),
        default=list(STAGES),
        help="ResNet-50 stages, for blocks",
    )
    add(
        "--resident",
        action="store_true",
        help="also measure each network's resident set in a fresh process (Linux)",
    )
    add("--photos", nargs="+", type=Path, default=[], help="for photo; default: scikit-image's astronaut")
    add("--detector", default="mtcnn", help="face detector, for photo")
    add("--batches", nargs="+", type=int, default=list(BATCHES), help="faces per batch, for photo")
    add("--rounds", type=int, help="maximum number of rounds")
    add("--seconds", type=float, help="start no new round after this time, once there are three")
    add("--warmup", type=int, help="calls before the rounds; default: CPU 1, GPU 5")
    add("--least-ms", type=float, default=10, help="minimum duration of a sample")
    add("--threads", type=int, default=2, help="CPU threads")
    add("--contiguous", action="store_true", help="use contiguous tensors instead of channels-last")
    add("--seed", type=int, default=0)
    add("--record", type=Path, help="a JSON file to write")
    add_option(made)
    return made


def _without_record(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without the record's path, which differs between machines."""
    before = ["", *arguments[:-1]]
    return [
        one
        for last, one in zip(before, arguments, strict=True)
        if last != "--record" and one.partition("=")[0] != "--record"
    ]


if __name__ == "__main__":
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's log lines
    main()
