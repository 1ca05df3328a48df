"""
bitsandbytes' block-wise 8-bit code and its 8-bit Adam and Lion, on its CPU path.

Its fast CPU quantiser (0.50.2) looks codes up in a uniform table, so small numbers do not get their nearest code (of the
unsigned code, everything below 2e-5 becomes code 7). Its GPU kernels and its own generic CPU path, which it takes for
dtypes other than the 16- and 32-bit floats, do: that path is used here, by handing it float64.
"""

import warnings
from pathlib import Path

import torch
from golden import write_tensors

warnings.filterwarnings("ignore")
import bitsandbytes  # noqa: E402
from bitsandbytes import functional as F  # noqa: E402
from bitsandbytes.backends.cpu import ops  # noqa: E402

STEPS = 5
# 4100 elements are 16 blocks of 256 and a rest of 4; the vector is too small for 8 bits.
SHAPES = {"matrix": (41, 100), "vector": (40,)}


def quantize(x: torch.Tensor, code: torch.Tensor, blocksize: int) -> tuple:
    return torch.ops.bitsandbytes.quantize_blockwise(x.double(), code, blocksize)


def quantize_into(x, code, absmax, codes, blocksize) -> None:
    new_codes, new_absmax = quantize(x, code, blocksize)
    codes.copy_(new_codes)
    absmax.copy_(new_absmax)


ops._quant_blockwise_fp32_direct = quantize_into


def code_cases(out: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    signed, unsigned = F.create_dynamic_map(signed=True), F.create_dynamic_map(signed=False)
    size = 256 * 3 + 100
    # Sizes over nine decades, a block of zeros, and both sides of the middles between neighbouring codes.
    values = torch.randn(size, generator=generator) * 10 ** torch.empty(size).uniform_(-8, 1, generator=generator)
    values[256:512] = 0
    edges = [torch.cat([(code[:-1] + code[1:]) / 2 * (1 + side), torch.ones(1)]) for code in (signed, unsigned) for side in (1e-4, -1e-4)]
    values = torch.cat([values[: 256 * 3], *edges, values[256 * 3 :]])
    positive = values.abs()
    tensors = {"signed.code": signed, "unsigned.code": unsigned, "values": values}
    for name, x, code in (("signed", values, signed), ("unsigned", positive, unsigned)):
        codes, absmax = quantize(x, code, 256)
        back = torch.ops.bitsandbytes.dequantize_blockwise(codes, absmax, code, 256, torch.float32)
        tensors |= {f"{name}.codes": codes, f"{name}.absmax": absmax, f"{name}.back": back}
    write_tensors(out / "eight-bit-code.safetensors", tensors)


def optimizer_cases(out: Path) -> None:
    generator = torch.Generator().manual_seed(4)
    initial = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    gradients = {name: torch.randn((STEPS, *shape), generator=generator) * 0.1 for name, shape in SHAPES.items()}
    inputs = {f"initial.{name}": value for name, value in initial.items()}
    inputs |= {f"gradient.{name}": value for name, value in gradients.items()}
    write_tensors(out / "eight-bit-inputs.safetensors", inputs)
    tensors = {}
    for kind, build in {"adamw": bitsandbytes.optim.AdamW8bit, "lion": bitsandbytes.optim.Lion8bit}.items():
        parameters = {name: torch.nn.Parameter(value.clone()) for name, value in initial.items()}
        optimizer = build(list(parameters.values()), lr=1e-2, weight_decay=0.1)
        for step in range(STEPS):
            for name, parameter in parameters.items():
                parameter.grad = gradients[name][step].clone()
            optimizer.step()
            if step in (0, STEPS - 1):
                for name, parameter in parameters.items():
                    state = {key: value for key, value in optimizer.state[parameter].items() if key in ("state1", "state2", "absmax1", "absmax2")}
                    tensors |= {f"{kind}.{step}.{key}.{name}": value for key, value in state.items()}
                    tensors[f"{kind}.{step}.after.{name}"] = parameter.detach().clone()
    write_tensors(out / "eight-bit.safetensors", tensors)


def eight_bit_cases(out: Path) -> None:
    code_cases(out)
    optimizer_cases(out)
