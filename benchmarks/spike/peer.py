"""The PyTorch side of the spike: reads one JSON command a line, answers one JSON line.

usage: peer.py FOLDER   (FOLDER holds spike.safetensors and spike.json, written by run.ts)
"""

import json
import resource
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, StaticCache

folder = sys.argv[1]
settings = json.load(open(f"{folder}/spike.json"))
torch.set_num_threads(settings["threads"])
shape = settings["shape"]
tensors = load_file(f"{folder}/spike.safetensors")


def config(attention):
    return LlamaConfig(
        hidden_size=shape["hidden"],
        intermediate_size=shape["intermediate"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["keyValueHeads"],
        head_dim=shape["headSize"],
        vocab_size=shape["vocabulary"],
        rms_norm_eps=shape["epsilon"],
        rope_theta=shape["ropeTheta"],
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        attn_implementation=attention,
    )


base_weights = {k: v for k, v in tensors.items() if k.startswith("model.") and "lora_" not in k}
with torch.device("meta"):
    base = LlamaForCausalLM(config("sdpa"))
missing = base.load_state_dict(base_weights, strict=False, assign=True)
assert missing.missing_keys == ["lm_head.weight"] and not missing.unexpected_keys, missing
base.tie_weights()
# The rotary table is a buffer outside the state dict.
base.model.rotary_emb = type(base.model.rotary_emb)(config("sdpa"))
targets = ["q_proj", "v_proj"] if settings["targets"] == "qv" else "all-linear"
lora = LoraConfig(r=shape["loraRank"], lora_alpha=shape["loraAlpha"], lora_dropout=0.0, target_modules=targets)
model = get_peft_model(base, lora)
adapters = {}
for name, parameter in model.named_parameters():
    if "lora_" in name:
        key = name.removeprefix("base_model.model.").replace(".default", "")
        parameter.data = tensors[key].clone()
        adapters[key] = parameter
model.train()
tokens = tensors["tokens"].long()


def train(attention):
    model.base_model.model.config._attn_implementation = attention
    for parameter in adapters.values():
        parameter.grad = None
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
    loss.backward()
    value = loss.item()
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = {"user": after.ru_utime - before.ru_utime, "system": after.ru_stime - before.ru_stime}
    return {"seconds": seconds, "loss": value, **cpu}


past = settings["past"]
caches = {}


def fresh_cache(kind, batch):
    if kind == "dynamic":
        cache = DynamicCache(config=base.config)
    else:
        cache = StaticCache(config=base.config, max_cache_len=settings["capacity"])
    for layer in range(shape["layers"]):
        key = tensors[f"past_key.{layer}"].expand(batch, -1, -1, -1).contiguous()
        value = tensors[f"past_value.{layer}"].expand(batch, -1, -1, -1).contiguous()
        if kind == "dynamic":
            cache.update(key, value, layer)
        else:
            cache.update(key, value, layer, {"cache_position": torch.arange(past)})
    return cache


@torch.no_grad()
def decode(attention, kind, batch, steps):
    base.config._attn_implementation = attention
    key = (kind, batch)
    if kind == "dynamic":
        cache = caches.setdefault(key, fresh_cache(kind, batch))
    else:
        cache = fresh_cache(kind, batch)
    step_tokens = tensors["tokens"].reshape(-1)[:batch].long().reshape(batch, 1)
    times = []
    user = []
    for _ in range(steps):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        start = time.perf_counter()
        logits = base(input_ids=step_tokens, past_key_values=cache, use_cache=True).logits
        times.append(time.perf_counter() - start)
        user.append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)
        if kind == "dynamic":
            cache.crop(-1)
        else:
            cache = fresh_cache(kind, batch)
    return {"times": times, "user": user, "logits": logits[0, -1, :16].tolist()}


def gradients(_):
    return {"gradients": {k: v.grad.double().norm().item() for k, v in adapters.items()},
            "head": {k: v.grad.reshape(-1)[:8].tolist() for k, v in adapters.items()}}


print(json.dumps({"ready": torch.__version__}), flush=True)
for line in sys.stdin:
    command = json.loads(line)
    if command["do"] == "train":
        answer = train(command["attention"])
    elif command["do"] == "gradients":
        answer = gradients(command)
    elif command["do"] == "decode":
        # The adapters are off: decoding runs the merged or plain model.
        with model.disable_adapter():
            model.eval()
            answer = decode(command["attention"], command["cache"], command["batch"], command["steps"])
            model.train()
    print(json.dumps(answer), flush=True)
