"""Load models from the Hugging Face Hub, as `export.push_to_hub` uploads them."""

from __future__ import annotations

from torch.types import Device

from fer_attention.models.base import FERModel
from fer_attention.models.metadata import WeightsError
from fer_attention.models.weights import load_weights
from fer_attention.optional import needs_extra

PREFIX = "hf-hub:"
WEIGHTS_FILE = "model.safetensors"


def load_from_hub(repo_id: str, *, revision: str | None = None, device: Device = None) -> FERModel:
    """Download a model from the Hub (once; then cached) and load it in evaluation mode.

    >>> load_from_hub("user/name").labels  # doctest: +SKIP

    Args:
        repo_id: `user/name`, or in timm's form `hf-hub:user/name@revision`.
        revision: A branch, tag or commit.
        device: Device of the parameters.

    Raises:
        WeightsError: The repository or the file in it does not exist or cannot be fetched, or it is not a
            weights file of this library.
        ImportError: huggingface_hub is missing.
    """
    with needs_extra("export", "Downloads go through huggingface_hub"):
        from huggingface_hub import hf_hub_download
    name, _, at = repo_id.removeprefix(PREFIX).partition("@")
    try:
        file = hf_hub_download(name, WEIGHTS_FILE, revision=revision or at or None)
    except Exception as error:  # errors of the network and the Hub have no common base class
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"Cannot fetch {WEIGHTS_FILE} of {name!r} from the Hugging Face Hub: {type(error).__name__}: "
            f"{reason} Check the name (user/name), the network, and for a private one `hf auth login`."
        ) from error
    return load_weights(file, device=device)
