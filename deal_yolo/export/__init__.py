"""Exact export to ONNX and TensorRT."""
