"""Writes the safetensors goldens with the reference implementation. Run: python make.py (torch, safetensors)."""
import json, pathlib
import torch
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
generator = torch.Generator().manual_seed(0)
# Every float16 pattern class (subnormal, infinity, NaN, rounding ties) and its bfloat16 twin.
values = torch.cat([
    torch.randn(200, generator=generator) * torch.logspace(-9, 6, 200),
    torch.tensor([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 65504.0, 65519.9, 65520.0, 1e-8, 6e-8,
                  1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 3.4e38, 2.0**-24, 2.0**-25, 1.5 * 2.0**-25]),
])
engine = {
    "float32": values,
    "float16": values.half(),
    "bfloat16": values.bfloat16(),
    "int32": torch.tensor([[-2147483648, 2147483647, 0]], dtype=torch.int32),
    "int8": torch.tensor([-128, 127, 5], dtype=torch.int8),
    "uint8": torch.tensor([0, 255], dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "empty": torch.zeros(0, 3),
    "scalar": torch.tensor(2.5),
    "ünïcode \"name\"": torch.ones(2),
    "7": torch.ones(1),
}
save_file(engine, here / "engine-dtypes.safetensors", metadata={"format": "pt"})
save_file({
    "float64": values.double() / 3,
    "int64": torch.tensor([-2147483648, 2147483647, 0, -1]),
    "int64-large": torch.tensor([1, 2147483648]),
    "int64-small": torch.tensor([-2147483649]),
    "int16": torch.tensor([1], dtype=torch.int16),
    "float8": torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn),
}, here / "other-dtypes.safetensors")
bits = lambda t: [int(x) & 0xFFFFFFFF for x in t.view(torch.int32)]
(here / "expected.json").write_text(json.dumps({
    "float32_bits": bits(values),
    "float16_widened_bits": bits(values.half().float()),
    "bfloat16_widened_bits": bits(values.bfloat16().float()),
    "float64_rounded_bits": bits((values.double() / 3).float()),
}))
