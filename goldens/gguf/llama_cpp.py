"""Q4_K blocks that llama.cpp's own quantiser writes; the gguf package has none.

LIBGGML names libggml-base.so of a release of llama.cpp (made with that of @node-llama-cpp/linux-x64 3.22.1; LD_LIBRARY_PATH has its
folder). Without it the committed file stays.
"""

import ctypes
import os
import shutil
from pathlib import Path

import torch
from golden import write_tensors

ROWS, COLUMNS, BYTES = 12, 512, 144
NAME = "q4-k-of-llama-cpp.safetensors"


def q4_k(out: Path) -> None:
    path = os.environ.get("LIBGGML")
    if path is None:
        committed = Path(__file__).resolve().parent / NAME
        if out.resolve() != committed.parent:
            shutil.copy(committed, out / NAME)
        return
    library = ctypes.CDLL(path)
    generator = torch.Generator().manual_seed(4)
    values = torch.randn((ROWS, COLUMNS), generator=generator)
    values[2] *= 0.02
    values[3] = values[3].abs()
    values[4] = 0.75
    values[5] = 0
    # Some numbers far from the others, as weights have.
    values[6:8] = torch.where(torch.rand((2, COLUMNS), generator=generator) < 0.02, 8 * values[6:8], values[6:8])
    values[8:] = values[8:] ** 3
    array = values.contiguous().numpy()
    stored = torch.zeros((ROWS, COLUMNS // 256 * BYTES), dtype=torch.uint8)
    library.quantize_row_q4_K_ref.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    library.quantize_row_q4_K_ref(array.ctypes.data, stored.data_ptr(), ROWS * COLUMNS)
    write_tensors(out / NAME, {"values": values, "bytes": stored})
