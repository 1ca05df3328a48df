"""What the golden scripts share: one thread, fixed seeds, small readable files."""

import argparse
import ast
import json
import os
import sys
from pathlib import Path

# PEFT writes sets into its JSON: their order is the same every time only with fixed string hashes.
if Path(sys.argv[0]).name == "make.py" and os.environ.get("PYTHONHASHSEED") != "0":
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


def output_folder(script: str) -> Path:
    """The folder to write to: beside the script, or the one given by --out (used by the check)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path(script).resolve().parent)
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pick(path: Path, names: list[str], given: dict) -> dict:
    """Functions and classes of a file by name, run with what they are given; the file's imports are not."""
    tree = ast.parse(path.read_text())
    tree.body = [
        node
        for node in tree.body
        if getattr(node, "name", None) in names
        or (isinstance(node, ast.Assign) and any(getattr(target, "id", None) in names for target in node.targets))
    ]
    scope = dict(given)
    exec(compile(tree, str(path), "exec"), scope)
    return scope


def _is_scalar(value) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _format(value, indent: int) -> str:
    pad, inner = " " * indent, " " * (indent + 1)
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(str(key))}: {_format(item, indent + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{pad}}}"
    if isinstance(value, (list, tuple)) and value and not all(_is_scalar(item) for item in value):
        if all(isinstance(item, (list, tuple)) and all(_is_scalar(x) for x in item) for item in value):
            lines = [inner + json.dumps(item, allow_nan=False) for item in value]
        else:
            lines = [inner + _format(item, indent + 1) for item in value]
        return "[\n" + ",\n".join(lines) + f"\n{pad}]"
    return json.dumps(value, allow_nan=False)


def write_json(path: Path, value) -> None:
    """ASCII JSON with arrays of scalars on one line; NaN and infinity are refused, as JSON has neither."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_format(value, 0) + "\n", encoding="ascii")


def write_tensors(path: Path, tensors: dict, metadata: dict | None = None) -> None:
    """A safetensors file of detached contiguous copies."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: t.detach().clone().contiguous() for name, t in tensors.items()}, path, metadata or {"format": "pt"})
