"""Export trained models: ONNX, torch.export, AOTInductor, the Hugging Face Hub.

An exported graph takes crops as uint8 pixels and returns logits: scaling and standardisation are inside, so
that no caller can get them wrong. Each file is verified against the PyTorch model before it is written.
"""

from fer_attention.export.graph import Export, ExportError
from fer_attention.export.hub import push_to_hub, save_for_hub
from fer_attention.export.onnx_file import export_onnx
from fer_attention.export.program import export_compiled, export_program
from fer_attention.export.quantize import Quantization, quantize_onnx

__all__ = [
    "Export",
    "ExportError",
    "Quantization",
    "export_compiled",
    "export_onnx",
    "export_program",
    "push_to_hub",
    "quantize_onnx",
    "save_for_hub",
]
