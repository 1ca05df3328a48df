"""The peer of peft-methods.ts: PEFT trains the adapter of a folder, on the same rows, and says what an update takes.

usage: peft-methods.py MODEL ADAPTER STEPS ROWS LENGTH VOCABULARY (prints one JSON line)
"""

import json
import resource
import statistics
import sys
import time

import peft
import torch
import transformers

model_folder, adapter_folder = sys.argv[1:3]
steps, rows, length, vocabulary = map(int, sys.argv[3:7])
torch.set_num_threads(1)
base = transformers.AutoModelForCausalLM.from_pretrained(
    model_folder, dtype=torch.float32, attn_implementation="sdpa"
)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
config = peft.PeftConfig.from_pretrained(adapter_folder)
if config.is_prompt_learning:
    # PEFT refuses to train one that is loaded.
    config.inference_mode = False
    model = peft.get_peft_model(base, config)
    peft.set_peft_model_state_dict(model, peft.load_peft_weights(adapter_folder))
else:
    model = peft.PeftModel.from_pretrained(base, adapter_folder, is_trainable=True)
model.train()
kind = model.peft_config["default"].peft_type.value
tokens = torch.tensor([[(31 * t + 7 * row) % vocabulary for t in range(length)] for row in range(rows)])
more = {"task_ids": torch.zeros(rows, dtype=torch.long)} if kind in ("POLY", "MULTITASK_PROMPT_TUNING") else {}
if kind == "CPT":
    more["input_type_mask"] = torch.ones_like(tokens)
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=True)
seconds, losses = [], []
for step in range(steps):
    start = time.process_time()
    loss = model(input_ids=tokens, labels=tokens, **more).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    if kind == "ADALORA":
        model.base_model.update_and_allocate(step)
    optimizer.zero_grad()
    losses.append(loss.item())
    seconds.append(time.process_time() - start)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
print(json.dumps({"seconds": statistics.median(seconds[2:]), "loss": losses[0], "bytes": grown}))
