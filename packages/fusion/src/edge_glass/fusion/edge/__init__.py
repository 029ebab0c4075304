"""Runs exported models with numpy, Pillow, tokenizers and onnxruntime: no torch is imported."""
