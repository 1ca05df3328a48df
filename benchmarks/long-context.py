"""Peak memory of long contexts: `long-context.py FOLDER WHAT LENGTH` prints MiB and seconds as JSON. WHAT: score, generate."""

import json
import re
import sys
import time
from pathlib import Path

import torch
from transformers import LlamaForCausalLM


def peak() -> float:
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


folder, what, length = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(1)
model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
tokens = torch.tensor([[(7 * i + i // 13) % (model.config.vocab_size - 2) for i in range(length)]])
with torch.inference_mode():
    model(tokens[:, :16])
    before, began = peak(), time.process_time()
    if what == "score":
        # As an application would that wants one number per token: all logits, and the log-probabilities of the tokens.
        logits = model(tokens).logits[0, :-1]
        logits.gather(1, tokens[0, 1:, None]).squeeze(1) - logits.logsumexp(1)
    else:
        mask = torch.ones_like(tokens)
        model.generate(tokens, attention_mask=mask, max_new_tokens=8, min_new_tokens=8, do_sample=False, pad_token_id=0)
print(json.dumps({"before": before, "peak": peak(), "seconds": time.process_time() - began}))
