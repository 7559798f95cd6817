"""Models out of repositories on the Hugging Face Hub, as `export.push_to_hub` makes them."""

from __future__ import annotations

from torch.types import Device

from fer_attention.models.base import FERModel
from fer_attention.models.metadata import WeightsError
from fer_attention.models.weights import load_weights
from fer_attention.optional import needs_extra

PREFIX = "hf-hub:"
WEIGHTS_FILE = "model.safetensors"


def load_from_hub(repo_id: str, *, revision: str | None = None, device: Device = None) -> FERModel:
    """The model of a repository on the Hub, in evaluation mode, with its labels and preprocessing.

    The file is fetched once and kept in huggingface_hub's cache.

    Args:
        repo_id: `user/name`, also as timm writes it: `hf-hub:user/name@revision`.
        revision: A branch, tag or commit.
        device: Where the parameters go.

    Raises:
        WeightsError: There is no such repository or no such file in it, it cannot be fetched, or it is no
            weights file of this library.
        ImportError: huggingface_hub is missing.
    """
    with needs_extra("export", "Downloads go through huggingface_hub"):
        from huggingface_hub import hf_hub_download
    name, _, at = repo_id.removeprefix(PREFIX).partition("@")
    try:
        file = hf_hub_download(name, WEIGHTS_FILE, revision=revision or at or None)
    except Exception as error:  # of the network and of the Hub, without a base class of their own
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"Cannot fetch {WEIGHTS_FILE} of {name!r} from the Hugging Face Hub: {type(error).__name__}: "
            f"{reason} Check the name (user/name), the network, and for a private one `hf auth login`."
        ) from error
    return load_weights(file, device=device)
