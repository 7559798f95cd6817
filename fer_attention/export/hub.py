"""Upload models to the Hugging Face Hub: the weights file, timm's `config.json` and a model card.

Nothing is pickled. timm can load such a repository too (`timm.create_model("hf-hub:user/name")` after
`import fer_attention`), unless the model's name is one of timm's own.
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
from jinja2 import PackageLoader

from fer_attention.atomic import write_atomically
from fer_attention.data.seen import without_digests
from fer_attention.models import FERModel, ModelMetadata, load_weights, save_weights
from fer_attention.models.bundled import weights_path
from fer_attention.models.hub import WEIGHTS_FILE
from fer_attention.optional import needs_extra
from fer_attention.rendering.page import markdown_templates

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
    """Write the files of a Hub repository: `model.safetensors`, `config.json` and `README.md`.

    >>> save_for_hub("resnetv2_18_eca_elu.fer2013", "repository")  # doctest: +SKIP

    Args:
        weights: A model with labels and preprocessing, a weights file, or the name of bundled weights.
        folder: The folder; created if it is missing.
        name: Name of the model in the card; by default the spec's name.
        reports: Evaluations for the card, from `EvaluationReport.to_dict()` or `fer-attention evaluate
            --json`. Without any, the card states that no accuracy was measured.
        licence: Licence of the weights, as the Hub spells it.

    Returns:
        The folder.

    Raises:
        WeightsError: The weights cannot be used or saved.
        UnknownNameError: `weights` is neither a file nor the name of bundled weights.
        ValueError: A report has other labels than the model.
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
    """Upload a model to the Hub; create the repository if it is missing, and keep an existing card.

    >>> push_to_hub("mine.safetensors", "user/name", private=True)  # doctest: +SKIP

    Args:
        weights: As in `save_for_hub`.
        repo_id: `user/name`.
        private: Make a new repository private.
        token: Access token of the Hub; None takes that of `hf auth login`.
        revision: An existing branch; None takes the main one.
        message: Commit message.
        reports: As in `save_for_hub`.
        licence: As in `save_for_hub`.

    Returns:
        The URL of the commit.

    Raises:
        WeightsError: The weights cannot be used or saved.
        ValueError: `repo_id` is not a valid name.
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
    """Render the card: YAML for the Hub, then Markdown."""
    labels = list(ModelMetadata.of(model).labels)
    for report in reports:
        if list(report["labels"]) != labels:
            raise ValueError(f"A report has the labels {report['labels']}, the model has {labels}.")
    environment = markdown_templates(PackageLoader("fer_attention.export"), digits=2)
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
    """Return timm's `config.json`: name, structure, input and labels."""
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
    """Check that timm builds our model under this name; `resnet50` and others are timm's own."""
    name = model.spec.name
    return timm.is_model(name) and timm.model_entrypoint(name).__module__.startswith("fer_attention.")
