"""Trained models in formats that other programs run: ONNX, torch.export, AOTInductor, the Hugging Face Hub.

What is exported takes crops as uint8 pixels and gives logits: scaling and standardisation are part of the
graph, so that no other program can get them wrong. A file is compared with the model that it was made from,
on noise and on real faces, before it gets its name.
"""

from fer_attention.export.check import ExportError
from fer_attention.export.graph import Export
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
