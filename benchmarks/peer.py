"""The peer: PyTorch, transformers and PEFT doing what own.ts does, on the same files.

usage: peer.py SETTINGS.json THREADS eager|compiled
(started by run.ts; one JSON command a line in, one JSON answer a line out)

Each library is used the way it is fastest by its ordinary options: sdpa attention, the fused AdamW that the Hugging Face
trainer takes by default, a dynamic cache. "compiled" puts the model through torch.compile as it comes.
"""

import json
import platform
import resource
import sys
import time

import torch

settings = json.load(open(sys.argv[1]))
torch.set_num_threads(int(sys.argv[2]))
compiled = sys.argv[3] == "compiled"
versions = {"python": platform.python_version(), "torch": torch.__version__}


def load_model():
    import transformers

    versions["transformers"] = transformers.__version__
    return transformers.AutoModelForCausalLM.from_pretrained(
        settings["model"], dtype=torch.float32, attn_implementation="sdpa"
    )


def read_matrix(name):
    from safetensors import safe_open

    with safe_open(settings["file"], "pt") as file:
        return file.get_tensor(name)


def sample(result):
    flat = result.reshape(-1)
    return [flat[i * len(flat) // 32 + i].item() for i in range(32)]


def matmul(case):
    a, b = (read_matrix(f"{name}{case['size']}") for name in "ab")

    def run():
        with torch.inference_mode():
            for _ in range(case["calls"]):
                result = a @ b
        return lambda: sample(result)

    return run


def head_loss(case):
    hidden, head = read_matrix("hidden"), read_matrix("head")
    hidden.requires_grad_()
    head.requires_grad_(case["trainsHead"])
    targets = torch.tensor(case["targets"])

    def run():
        hidden.grad = head.grad = None
        loss = torch.nn.functional.cross_entropy(hidden @ head.T, targets, reduction="sum")
        loss.backward()
        return lambda: [loss.item(), *sample(hidden.grad)]

    return run


def sft_step(case, base):
    import peft

    versions["peft"] = peft.__version__
    model = peft.PeftModel.from_pretrained(base, settings["adapter"], is_trainable=True)
    assert model.peft_config["default"].r == case["rank"]
    return training_steps(case, model, clips=True)


def full_step(case, model):
    return training_steps(case, model, clips=True)


def whole_step(case, model):
    return training_steps(case, model, clips=False)


def training_steps(case, model, clips):
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=case["learningRate"], weight_decay=0.0, fused=True)
    tokens = torch.tensor(case["rows"])
    forward = torch.compile(model) if compiled else model

    def run():
        losses = []
        for _ in range(case["calls"]):
            loss = forward(input_ids=tokens, labels=tokens, use_cache=False).loss
            loss.backward()
            if clips:
                torch.nn.utils.clip_grad_norm_(trained, 1.0).item()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        return lambda: losses

    return run


def generation(case, model):
    model.eval()
    first = torch.tensor(case["prompts"])
    mask = torch.ones_like(first)
    calls = 0

    def run():
        nonlocal calls
        prompts = (first + calls) % case["vocabulary"]
        calls += 1
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


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


if settings["task"] in ("matmul", "head"):
    make = {"matmul": matmul, "head": head_loss}[settings["task"]]
    cases = [make(case) for case in settings["cases"]]
else:
    model = load_model()
    make = {"sft": sft_step, "full": full_step, "overhead": whole_step, "generate": generation}[settings["task"]]
    cases = [make(case, model) for case in settings["cases"]]

print(json.dumps({"versions": versions, "startBytes": resident_bytes()}), flush=True)
for line in sys.stdin:
    run = cases[json.loads(line)["case"]]
    processor = time.process_time()
    start = time.perf_counter()
    try:
        numbers = run()
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        continue
    seconds = time.perf_counter() - start
    processor = time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer = {"seconds": seconds, "processorSeconds": processor, "numbers": numbers(), "peakBytes": peak}
    print(json.dumps(answer), flush=True)
