"""ONNX models of trained networks, for onnxruntime and every other runtime of the format.

    fastbp.onnx.export(net, "net.onnx")

    fastbp.onnx.register_skl2onnx()     # then skl2onnx converts pipelines with these estimators

docs/models.md says what goes in and comes out.
"""

try:
    from fastbp.onnx._models import export, to_onnx
    from fastbp.onnx._skl2onnx import register_skl2onnx
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "onnx":  # the library, not this package
        raise
    raise ImportError("fastbp.onnx needs onnx: pip install 'fastbp[onnx]'") from error

__all__ = ["export", "register_skl2onnx", "to_onnx"]
