"""Models for the Hugging Face Hub: our weights file, timm's `config.json` and a model card.

Nothing here is pickled. timm reads such a repository too (`timm.create_model("hf-hub:user/name")` after
`import fer_attention`), where the model's name is ours and not one of timm's own.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm
from jinja2 import Environment, PackageLoader, StrictUndefined

from fer_attention.atomic import write_atomically
from fer_attention.data.seen import without_digests
from fer_attention.models import FERModel, WeightsError, load_weights, save_weights
from fer_attention.models.bundled import weights_path
from fer_attention.models.hub import WEIGHTS_FILE
from fer_attention.optional import needs_extra

CONFIG_FILE, CARD_FILE = "config.json", "README.md"
LICENCE = "apache-2.0"


def save_for_hub(
    weights: FERModel | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    reports: Sequence[Mapping[str, Any]] = (),
    licence: str = LICENCE,
) -> Path:
    """Write what a repository on the Hub holds: `model.safetensors`, `config.json` and `README.md`.

    Args:
        weights: A model with labels and preprocessing, a weights file, or the name of bundled weights.
        folder: Where to; made where it is missing.
        name: What the card calls the model; by default the spec's name.
        reports: Evaluations for the card, as `EvaluationReport.to_dict()` or `fer-attention evaluate --json`
            give them. Without any, the card says that no accuracy was measured.
        licence: Of the weights, as the Hub spells it.

    Returns:
        The folder.

    Raises:
        WeightsError: The weights cannot be used or saved.
        UnknownNameError: Neither a file nor bundled weights.
        ValueError: A report is of other labels.
    """
    if isinstance(weights, FERModel):
        source, model = None, weights
    else:
        source = weights_path(os.fspath(weights))
        model = load_weights(source)
    card = _model_card(model, name or model.spec.name, reports, licence)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / WEIGHTS_FILE
    if source is None:
        save_weights(model, file)
    elif source.resolve() != file.resolve():
        write_atomically(file, source.read_bytes())
    write_atomically(folder / CONFIG_FILE, (json.dumps(timm_config(model), indent=2) + "\n").encode())
    write_atomically(folder / CARD_FILE, card.encode())
    return folder


def push_to_hub(
    weights: FERModel | str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    message: str = "Add model",
    reports: Sequence[Mapping[str, Any]] = (),
    licence: str = LICENCE,
) -> str:
    """Upload a model to the Hub; the repository is made where it is missing, a card that is there stays.

    Args:
        weights: As in `save_for_hub`, and so are reports and licence.
        repo_id: `user/name`.
        private: Make a new repository private.
        token: Of the Hub; None takes the one of `hf auth login`.
        revision: A branch that exists; None is the main one.
        message: Of the commit.
        reports: Evaluations for the card.
        licence: Of the weights.

    Returns:
        The commit's address.

    Raises:
        WeightsError: The weights cannot be used or saved.
        ValueError: `repo_id` is none.
        ImportError: huggingface_hub is missing.
    """
    with needs_extra("export", "Uploads go through huggingface_hub"):
        from huggingface_hub import HfApi
    with tempfile.TemporaryDirectory() as temporary:
        name = repo_id.split("/")[-1]
        folder = save_for_hub(weights, temporary, name=name, reports=reports, licence=licence)
        api = HfApi(token=token, library_name="fer_attention")
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id  # with its owner
        if api.file_exists(repo_id, CARD_FILE, revision=revision):
            (folder / CARD_FILE).unlink()
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=folder, revision=revision, commit_message=message
        )
    return str(commit.commit_url)


def _model_card(model: FERModel, name: str, reports: Sequence[Mapping[str, Any]], licence: str) -> str:
    """The card's text, Markdown under the YAML that the Hub reads."""
    if model.labels is None or model.preprocessing is None:
        raise WeightsError("A card needs the model's labels and preprocessing.")
    for report in reports:
        if tuple(report["labels"]) != tuple(model.labels):
            raise ValueError(
                f"A report is of the labels {report['labels']}, the model's are {list(model.labels)}."
            )
    environment = Environment(  # noqa: S701  (Markdown)
        loader=PackageLoader("fer_attention.export"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{share * 100:.2f}"
    return environment.get_template("model_card.md.jinja").render(
        model=model,
        name=name,
        licence=licence,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        in_timm=known_to_timm(model),
        reports=reports,
        notes=dict.fromkeys(note for report in reports for note in report.get("notes", ())),
        record=model.record,
        origin=json.dumps(without_digests(model.record), indent=2, ensure_ascii=False),
    )


def timm_config(model: FERModel) -> dict[str, Any]:
    """What timm's `config.json` holds: the name, what rebuilds the structure, input and labels."""
    spec = model.spec
    parts = ("backbone", "attention", "activation", "num_classes")
    pretrained = {k: v for k, v in model.pretrained_cfg.items() if k not in ("architecture", "file")}
    return {
        "architecture": spec.name,
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "label_names": list(model.labels or ()),
        "model_args": {k: v for k, v in asdict(spec).items() if k not in parts and v is not None},
        "pretrained_cfg": pretrained,
    }


def known_to_timm(model: FERModel) -> bool:
    """Whether timm builds our model under this name; some plain names, such as `resnet50`, are its own."""
    name = model.spec.name
    return timm.is_model(name) and timm.model_entrypoint(name).__module__.startswith("fer_attention.")
