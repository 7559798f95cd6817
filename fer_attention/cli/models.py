"""`fer-attention models`."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Annotated

import typer
from rich.table import Column, Table

from fer_attention.cli.common import examples, out, progress, say
from fer_attention.registry import unknown_name

EXAMPLES = examples(
    "fer-attention models '*_cbam_elu'",
    "fer-attention models resnet50_se_gelu --img-size 80",
    "fer-attention models --pretrained",
)


def models(
    pattern: Annotated[str, typer.Argument(help="Shell wildcard, such as '*_cbam_elu', or a name.")] = "*",
    img_size: Annotated[int, typer.Option(help="Height and width of the input, pixels.")] = 48,
    in_chans: Annotated[int, typer.Option(help="Input channels.")] = 1,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Only models that come with weights, with their accuracies.")
    ] = False,
) -> None:
    """List model names with their parameters and multiply-accumulates."""
    from fer_attention.evaluation import complexity  # here, so that the help needs no torch
    from fer_attention.models import ModelSpec, list_models
    from fer_attention.models.factory import from_spec

    if pretrained:
        _print_pretrained(pattern)
        return
    names = list_models(pattern) or [pattern]  # names with other activations are not listed, but parse
    numbers = [Column(name, justify="right") for name in ("parameters, M", "MACs, M", "activations, M")]
    caption = (
        f"one {in_chans}×{img_size}×{img_size} input, 7 classes; {len(names)} model{'s' * (len(names) != 1)}"
    )
    table = Table("model", *numbers, caption=caption)
    for name in progress(names, "counting"):
        spec = ModelSpec.parse(name, img_size=img_size, in_chans=in_chans)
        costs = complexity(from_spec(spec, device="meta"))
        counts = (costs.parameters, costs.macs, costs.activations)
        table.add_row(name, *(f"{count / 1e6:.2f}" for count in counts))
    out.print(table)


def _print_pretrained(pattern: str) -> None:
    from fer_attention.models import list_pretrained
    from fer_attention.models.bundled import DEFAULT

    found = [model for model in list_pretrained() if fnmatch(model.name, pattern)]
    if not found:
        raise unknown_name("pretrained model", pattern, [model.name for model in list_pretrained()])
    for model in found:
        default = ", the default of predict, video, explain and demo" if model.name == DEFAULT else ""
        columns = Column(no_wrap=True), Column(overflow="fold")
        table = Table(*columns, title=f"{model.name}{default}", title_justify="left", show_header=False)
        times = ", ".join(f"{way} {value:g} ms" for way, value in model.milliseconds.items())
        for heading, text in (
            ("", model.summary),
            ("emotions", ", ".join(model.labels)),
            ("agreement with people", f"{model.crowd_accuracy}, n = {model.crowd_accuracy.n:,}"),
            ("… without copies", f"{model.crowd_accuracy_without_copies}"),
            ("FER2013's label", f"{model.label_accuracy}, n = {model.label_accuracy.n:,}"),
            ("file", f"{model.size / 1e6:.2f} MB"),
            ("cost", f"{model.parameters:,} parameters, {model.macs / 1e6:.1f} M MACs a face"),
            ("one face", f"{times}, on one CPU thread"),
            ("data", model.data),
            ("licence", model.licence),
            ("sha256", model.sha256),
        ):
            table.add_row(heading, text)
        out.print(table)
    say(
        "Accuracies are on FER2013's PrivateTest in seven emotions, one plain pass, with 95 % intervals. "
        "Agreement with people is measured where six or more of ten voters agree, with and without copies of "
        "training images."
    )
