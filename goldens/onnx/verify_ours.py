"""Checks ONNX files written by this project, with the onnx package, and runs them in ONNX Runtime.

    python goldens/onnx/verify_ours.py FOLDER [--tolerance 3e-6] [--contrib]

Beside every MODEL.onnx is MODEL.safetensors with `input.NAME` and `output.NAME`. The checker must accept the model, strict
shape inference must find the shapes that it states, and the outputs must be equal (float16: to 2e-3). With --contrib the
models may have operators of ONNX Runtime, which the checker is not asked about. Exit code 1 otherwise.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file


def shape_of(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def problems_of(path: Path, tolerance: float, contrib: bool) -> list[str]:
    problems = []
    if not contrib:
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path)
        stated = {output.name: shape_of(output) for output in model.graph.output}
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        for output in inferred.graph.output:
            if shape_of(output) != stated[output.name]:
                problems.append(f"{output.name} is stated as {stated[output.name]}, inferred as {shape_of(output)}")
        operators = {node.domain for node in model.graph.node}
        if operators - {""}:
            problems.append(f"operators of {operators}")
    values = load_file(path.with_suffix(".safetensors"))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {value.name: values[f"input.{value.name}"] for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    for name, got in zip(names, session.run(names, feeds), strict=True):
        wanted = values[f"output.{name}"]
        if got.dtype != wanted.dtype or got.shape != wanted.shape:
            problems.append(f"{name} is {got.dtype}{got.shape}, not {wanted.dtype}{wanted.shape}")
            continue
        allowed = {np.float32: tolerance, np.float16: 2e-3}.get(got.dtype.type, 0)
        same = np.isclose(got.astype(float), wanted.astype(float), atol=allowed, rtol=allowed, equal_nan=True)
        if not same.all():
            problems.append(f"{name}: {got[~same].ravel()[:3]}, not {wanted[~same].ravel()[:3]}")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tolerance", type=float, default=3e-6)
    parser.add_argument("--contrib", action="store_true")
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.glob("*.onnx"))
    failed = False
    for path in paths:
        problems = problems_of(path, arguments.tolerance, arguments.contrib)
        failed = failed or bool(problems)
        print(f"{path.name}: {'; '.join(problems[:8]) or 'as expected'}")
    print(f"{len(paths)} models")
    sys.exit(1 if failed or not paths else 0)


if __name__ == "__main__":
    main()
