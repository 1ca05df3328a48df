"""Peak memory of loading a folder in float32 and of a pass: `load-memory.py FOLDER` prints MiB as JSON."""

import json
import re
import sys
from pathlib import Path

import torch
from transformers import LlamaForCausalLM


def peak() -> float:
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


before = peak()
model = LlamaForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
loaded = peak()
with torch.no_grad():
    model(torch.arange(5, 69)[None])
print(json.dumps({"before": before, "loaded": loaded, "pass": peak()}))
