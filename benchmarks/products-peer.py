"""PyTorch's side of products.ts: products-peer.py THREADS float32|bfloat16 CASES."""

import json
import platform
import resource
import sys
import time

import torch

threads, dtype, cases = int(sys.argv[1]), getattr(torch, sys.argv[2]), json.loads(sys.argv[3])
torch.set_num_threads(threads)
operands = {}


def wave(rows, columns, seed):
    x = torch.sin(0.7 * torch.arange(rows * columns, dtype=torch.float64) + seed)
    return x.reshape(rows, columns).to(torch.float32).to(dtype)


versions = {"python": platform.python_version(), "torch": torch.__version__}
print(json.dumps({"versions": versions, "startBytes": 0}), flush=True)
for line in sys.stdin:
    index = json.loads(line)["case"]
    case = cases[index]
    m, n, k = case["m"], case["n"], case["k"]
    if index not in operands:
        operands = {
            index: (
                wave(k, m, 1).T if case["transA"] else wave(m, k, 1),
                wave(n, k, 2).T if case["transB"] else wave(k, n, 2),
            )
        }
    a, b = operands[index]
    processor, start = time.process_time(), time.perf_counter()
    with torch.inference_mode():
        for _ in range(case["calls"]):
            result = a @ b
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    flat = result.reshape(-1)
    numbers = [flat[i * len(flat) // 32 + i % 7].item() for i in range(32)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer = {"seconds": seconds, "processorSeconds": processor, "numbers": numbers, "peakBytes": peak}
    print(json.dumps(answer), flush=True)
