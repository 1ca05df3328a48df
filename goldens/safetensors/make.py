"""Files written by the reference safetensors library: every dtype, odd shapes, odd names, metadata or none."""

import math
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from huggingface_hub.serialization import split_state_dict_into_shards_factory  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

NAMES = {
    torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL", torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
}
FLOATS = [0.0, -0.0, 1.0, -1.5, 0.1, 3.14159265, 65504.0, 1e-3, 6e-8, 1e-40, float("inf"), -float("inf"), float("nan")]


# Bytes of tensors in their order, and the size of a shard.
SHARDS = [
    ([24, 24, 8, 24, 8, 8], 40),
    ([8, 100, 8, 100, 8, 24], 32),
    ([100, 100], 8),
    ([4, 4, 4], 12),
    ([4, 4, 4], "0.008KB"),
    ([2000, 2000, 5000, 400], "4 kb"),
]


def shards(sizes: list[int], limit: int | str) -> dict:
    state = {f"t{i}": size for i, size in enumerate(sizes)}
    split = split_state_dict_into_shards_factory(
        state, get_storage_size=lambda size: size, filename_pattern="model{suffix}.safetensors", max_shard_size=limit
    )
    return {"bytes": sizes, "limit": limit, "files": split.filename_to_tensors, "metadata": split.metadata}


def number(value):
    """JSON has no infinities, no NaN and no -0 that survives every parser, so those are strings."""
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        if value == 0 and math.copysign(1, value) < 0:
            return "-0"
    return value


def describe(tensors: dict) -> dict:
    out = {}
    for name, tensor in tensors.items():
        exact = tensor.double() if tensor.is_floating_point() else tensor
        out[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "values": [number(v) for v in exact.flatten().tolist()]}
    return out


def main() -> None:
    out = output_folder(__file__)
    generator = torch.Generator().manual_seed(3)
    dtypes = {
        "f32": torch.tensor(FLOATS),
        "f16": torch.tensor(FLOATS).half(),
        "bf16": torch.tensor(FLOATS).bfloat16(),
        "f64": torch.tensor(FLOATS, dtype=torch.float64),
        "i64": torch.tensor([0, 1, -1, 2**31 - 1, -(2**31)]),
        "i64.large": torch.tensor([2**31, 2**53, -(2**53)]),
        "i32": torch.tensor([[0, 1, -1], [2**31 - 1, -(2**31), 7]], dtype=torch.int32),
        "i16": torch.tensor([0, -32768, 32767], dtype=torch.int16),
        "i8": torch.tensor([0, -128, 127], dtype=torch.int8),
        "u8": torch.tensor([0, 1, 255], dtype=torch.uint8),
        "bool": torch.tensor([[True, False], [False, True]]),
        "f16.every-exponent": (2.0 ** torch.arange(-24, 16).double()).half(),
        "bf16.random": torch.randn(4, 5, generator=generator).bfloat16(),
    }
    shapes = {
        "scalar": torch.tensor(2.5),
        "scalar.i64": torch.tensor(42),
        "empty": torch.zeros(0),
        "empty.matrix": torch.zeros(3, 0, 2),
        "one": torch.ones(1, 1, 1, 1),
        "odd.u8": torch.arange(7, dtype=torch.uint8),
        "after.odd": torch.arange(6).view(2, 3).float(),
        "name with space": torch.tensor([1.0]),
        "caf\u00e9.\U0001f642": torch.tensor([2.0]),
        'quote"and\\slash': torch.tensor([3.0]),
    }
    files = {
        "dtypes": (dtypes, {"format": "pt"}),
        "shapes": (shapes, {"format": "pt", "note": "caf\u00e9 \"quoted\"", "empty": ""}),
        "no-metadata": ({"x": torch.arange(4).float()}, None),
        "no-tensors": ({}, {"format": "pt"}),
        "float8": ({"e4m3": torch.tensor([1.0, -2.0]).to(torch.float8_e4m3fn), "e5m2": torch.tensor([0.5]).to(torch.float8_e5m2)}, {"format": "pt"}),
    }
    expected = {}
    for name, (tensors, metadata) in files.items():
        save_file(tensors, out / f"{name}.safetensors", metadata)
        expected[name] = {"metadata": metadata, "tensors": describe(tensors)}
    write_json(out / "expected.json", expected)
    write_json(out / "shards.json", [shards(*case) for case in SHARDS])


if __name__ == "__main__":
    main()
