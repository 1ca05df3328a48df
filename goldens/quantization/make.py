"""Goldens of quantised weights: bitsandbytes (NF4, FP4, LLM.int8()) and ONNX Runtime (MatMulNBits)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import golden  # noqa: E402

OUT = golden.output_folder(__file__)

import bitsandbytes.functional as bnb  # noqa: E402
import torch  # noqa: E402
from bitsandbytes.backends.default import ops as default_ops  # noqa: E402

torch.set_num_threads(1)


def matrix(rows: int, columns: int, seed: int) -> torch.Tensor:
    """Normal numbers with a few large ones, a row of zeros and one of equal magnitudes."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator) * 0.05
    weight[torch.rand(rows, columns, generator=generator) > 0.995] *= 20
    weight[rows // 2] = 0
    weight[rows // 3] = weight[rows // 3].sign() * 0.125
    return weight


def dequantized(codes: torch.Tensor, state) -> torch.Tensor:
    """bitsandbytes' own definition. Its native CPU kernel takes other scales where a row is not whole blocks."""
    absmax = state.absmax
    if state.nested:
        absmax = bnb.dequantize_blockwise(absmax, state.state2) + state.offset
    define = default_ops._dequantize_4bit_compute.__wrapped__
    return define(codes.reshape(-1), absmax, state.code, state.blocksize, state.shape, torch.float32)


def four_bit() -> None:
    tensors, cases = {}, []
    # The second has 540 blocks, so three blocks of scales; the last element of the others is without a block or a partner.
    sizes = [(24, 96, 64), (24, 720, 32), (7, 13, 64), (6, 512, 256), (3, 3, 64)]
    for rows, columns, block in sizes:
        for levels in ("nf4", "fp4"):
            for nested in (False, True):
                name = f"{levels}-{rows}x{columns}-{block}{'-nested' if nested else ''}"
                weight = matrix(rows, columns, rows * columns)
                codes, state = bnb.quantize_4bit(weight, blocksize=block, quant_type=levels, compress_statistics=nested)
                tensors[f"weight.{rows}x{columns}"] = weight
                tensors[f"{name}.weight"] = codes
                for key, value in state.as_dict(packed=True).items():
                    tensors[f"{name}.weight.{key}"] = value
                tensors[f"{name}.dequantized"] = dequantized(codes, state)
                cases.append(
                    {
                        "name": name,
                        "weight": f"weight.{rows}x{columns}",
                        "levels": levels,
                        "block_size": block,
                        "double_quantization": nested,
                    }
                )
    golden.write_tensors(OUT / "four-bit.safetensors", tensors)
    golden.write_json(OUT / "four-bit.json", {"cases": cases})


four_bit()
