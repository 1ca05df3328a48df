"""The peer: PyTorch, transformers and PEFT doing what own.ts does, on the same files.

usage: peer.py SETTINGS.json THREADS   (started by run.ts; one JSON command a line in, one JSON answer a line out)

Each library is used the way it is fastest by its ordinary options: sdpa attention, the fused AdamW that the Hugging Face
trainer takes by default, a dynamic cache.
"""

import json
import platform
import resource
import sys
import time

import torch

settings = json.load(open(sys.argv[1]))
torch.set_num_threads(int(sys.argv[2]))
versions = {"python": platform.python_version(), "torch": torch.__version__}


def load_model():
    import transformers

    versions["transformers"] = transformers.__version__
    return transformers.AutoModelForCausalLM.from_pretrained(
        settings["model"], dtype=torch.float32, attn_implementation="sdpa"
    )


def matmul(case):
    from safetensors import safe_open

    with safe_open(settings["file"], "pt") as file:
        a, b = (file.get_tensor(f"{name}{case['size']}") for name in "ab")

    def run():
        with torch.inference_mode():
            for _ in range(case["calls"]):
                result = a @ b
        flat = result.reshape(-1)
        return lambda: [flat[i * len(flat) // 32 + i].item() for i in range(32)]

    return run


def sft_step(case, base):
    import peft

    versions["peft"] = peft.__version__
    model = peft.PeftModel.from_pretrained(base, settings["adapter"], is_trainable=True)
    assert model.peft_config["default"].r == case["rank"]
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=case["learningRate"], weight_decay=0.0, fused=True)
    tokens = torch.tensor(case["rows"])

    def run():
        loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0).item()
        optimizer.step()
        optimizer.zero_grad()
        value = loss.item()
        return lambda: [value]

    return run


def generation(case, model):
    model.eval()
    prompts = torch.tensor(case["prompts"])
    mask = torch.ones_like(prompts)

    def run():
        with torch.inference_mode():
            out = model.generate(
                input_ids=prompts,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=case["newTokens"],
                eos_token_id=None,
                pad_token_id=0,
                use_cache=True,
            )
        return lambda: out[:, prompts.shape[1] :].reshape(-1).tolist()

    return run


if settings["task"] == "matmul":
    cases = [matmul(case) for case in settings["cases"]]
else:
    model = load_model()
    make = {"sft": sft_step, "generate": generation}[settings["task"]]
    cases = [make(case, model) for case in settings["cases"]]

print(json.dumps({"versions": versions}), flush=True)
for line in sys.stdin:
    run = cases[json.loads(line)["case"]]
    processor = time.process_time()
    start = time.perf_counter()
    numbers = run()
    seconds = time.perf_counter() - start
    processor = time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer = {"seconds": seconds, "processorSeconds": processor, "numbers": numbers(), "peakBytes": peak}
    print(json.dumps(answer), flush=True)
