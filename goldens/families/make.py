"""Tiny random folders of the families over one decoder: logits, gradients, greedy text and a LoRA of transformers and PEFT, and what each key does."""

import copy
import importlib.util
import json
import shutil
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_tensors  # noqa: E402

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from peft.utils import constants  # noqa: E402
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, GenerationConfig  # noqa: E402
from transformers.core_model_loading import revert_weight_conversion  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers.integrations.mxfp4 import convert_moe_packed_tensors  # noqa: E402
from transformers.utils import logging  # noqa: E402


def script(subject: str):
    """Another subject's make.py as a module."""
    spec = importlib.util.spec_from_file_location(subject.replace("-", "_"), ROOT / subject / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


keys = script("config-keys")
torch.set_num_threads(1)
logging.disable_progress_bar()
logging.set_verbosity_error()
IGNORE = -100
NEW_TOKENS = 12
SMALLEST_GAP = 0.01
# Logits of altered configs are kept of the first tokens of the vocabulary.
FIRST = 12

TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 64} | TOKENS
DECODER = SIZES | {"intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64}
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
PARTIAL = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}
HYBRID = {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}
MLA = {"q_lora_rank": 12, "kv_lora_rank": 10, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 8, "num_key_value_heads": 2}
YARN = {"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.7, "original_max_position_embeddings": 16}}
# Folder name: model type, and the config.
FAMILIES = {
    "smollm3": ("smollm3", DECODER | ROPE | {"no_rope_layers": [1, 0], "use_sliding_window": True, "sliding_window": 5, "attention_bias": True, "mlp_bias": True}),
    "gemma": ("gemma", DECODER | ROPE | {"head_dim": 16}),
    "granite": ("granite", DECODER | ROPE | {"embedding_multiplier": 3.0, "residual_multiplier": 0.6, "attention_multiplier": 0.2, "logits_scaling": 1.5, "attention_bias": True}),
    "glm": ("glm", DECODER | PARTIAL | {"head_dim": 16}),
    "glm4": ("glm4", DECODER | PARTIAL | {"head_dim": 16}),
    "olmo": ("olmo", DECODER | ROPE | {"clip_qkv": 0.8}),
    "olmo3": ("olmo3", DECODER | HYBRID | {"rope_parameters": {"full_attention": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}}),
    "cohere": ("cohere", DECODER | ROPE | {"use_qk_norm": True, "logit_scale": 0.7}),
    "cohere2": ("cohere2", DECODER | ROPE | HYBRID | {"logit_scale": 0.7}),
    "stablelm": ("stablelm", DECODER | PARTIAL | {"use_qkv_bias": True}),
    "starcoder2": ("starcoder2", DECODER | ROPE | {"sliding_window": 5}),
    "ministral": ("ministral", DECODER | ROPE | HYBRID | {"head_dim": 8}),
    "ministral3": ("ministral3", DECODER | {"head_dim": 16, "rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "original_max_position_embeddings": 8, "beta_fast": 8.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.4}}),
    "exaone4": ("exaone4", DECODER | ROPE | HYBRID | {"sliding_window_pattern": 2}),
    "internlm3": ("internlm3", DECODER | ROPE | {"head_dim": 8, "attention_bias": True, "mlp_bias": True}),
    "phi": ("phi", DECODER | PARTIAL | {"qk_layernorm": True}),
    "gpt-neox": ("gpt_neox", SIZES | {"intermediate_size": 24, "num_attention_heads": 2, "max_position_embeddings": 64} | PARTIAL),
    "falcon": ("falcon", SIZES | {"num_attention_heads": 2, "max_position_embeddings": 64, "ffn_hidden_size": 24} | ROPE),
    "falcon-new": ("falcon", SIZES | {"num_attention_heads": 4, "num_kv_heads": 2, "max_position_embeddings": 64, "ffn_hidden_size": 24, "new_decoder_architecture": True, "bias": True} | ROPE),
    "opt": ("opt", SIZES | {"ffn_dim": 24, "num_attention_heads": 2, "max_position_embeddings": 64, "word_embed_proj_dim": 16, "dropout": 0.0}),
    "bloom": ("bloom", {"hidden_size": 16, "n_layer": 2, "n_head": 2, "vocab_size": 64} | TOKENS),
    "qwen2-moe": ("qwen2_moe", DECODER | ROPE | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "shared_expert_intermediate_size": 20, "mlp_only_layers": [1], "use_sliding_window": True, "sliding_window": 5}),
    "olmoe": ("olmoe", DECODER | ROPE | {"intermediate_size": 12, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True, "clip_qkv": 1.2}),
    "granite-moe": ("granitemoe", DECODER | ROPE | {"intermediate_size": 12, "num_local_experts": 4, "embedding_multiplier": 3.0, "residual_multiplier": 0.6, "attention_multiplier": 0.2, "logits_scaling": 1.5}),
    "phimoe": ("phimoe", DECODER | ROPE | {"intermediate_size": 12, "num_local_experts": 4, "router_jitter_noise": 0.3, "lm_head_bias": True, "attention_bias": True}),
    "gpt-oss": ("gpt_oss", DECODER | {"intermediate_size": 12, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8, "sliding_window": 5, "swiglu_limit": 0.9, "rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 8.0, "beta_slow": 1.0, "truncate": False, "original_max_position_embeddings": 16}}),
    "deepseek-v2": ("deepseek_v2", DECODER | MLA | YARN | {"intermediate_size": 20, "moe_intermediate_size": 12, "n_routed_experts": 4, "n_shared_experts": 2, "num_experts_per_tok": 2, "first_k_dense_replace": 1, "topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1, "routed_scaling_factor": 1.7}),
    "deepseek-v2-lite": ("deepseek_v2", DECODER | MLA | ROPE | {"q_lora_rank": None, "v_head_dim": 12, "num_hidden_layers": 1, "intermediate_size": 20, "moe_intermediate_size": 12, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2}),
    "deepseek-v3": ("deepseek_v3", DECODER | MLA | YARN | {"intermediate_size": 20, "moe_intermediate_size": 12, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 3, "first_k_dense_replace": 1, "n_group": 4, "topk_group": 2, "attention_bias": True}),
    "minicpm3": ("minicpm3", DECODER | MLA | ROPE | {"scale_emb": 3, "dim_model_base": 12, "tie_word_embeddings": False}),
    "lfm2": ("lfm2", DECODER | ROPE | {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3, "conv_bias": True, "block_multiple_of": 8, "tie_word_embeddings": False}),
}
# Families whose names are behind the others in a list of their own: seeds go by the order.
LINEAR = {"layer_types": ["linear_attention", "full_attention"], "head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 6, "linear_value_head_dim": 5, "linear_conv_kernel_dim": 3}
LATER = {
    "mamba2": ("mamba2", SIZES | {"num_heads": 4, "head_dim": 8, "n_groups": 2, "state_size": 6, "chunk_size": 4, "time_step_limit": [0.0, 3.0], "use_conv_bias": True}),
    "falcon-h1": ("falcon_h1", DECODER | ROPE | {"mamba_d_ssm": 24, "mamba_n_heads": 4, "mamba_n_groups": 2, "mamba_d_state": 6, "mamba_chunk_size": 4, "mamba_rms_norm": True, "time_step_limit": [0.0, 3.0], "projectors_bias": True, "attention_bias": True, "mlp_bias": True, "lm_head_multiplier": 0.7, "embedding_multiplier": 1.4, "mlp_multipliers": [0.8, 1.3], "key_multiplier": 0.6, "attention_out_multiplier": 0.9, "attention_in_multiplier": 1.2, "ssm_multipliers": [0.9, 1.1, 0.8, 1.2, 0.7], "ssm_in_multiplier": 1.3, "ssm_out_multiplier": 0.7}),
    "falcon-h1-gated": ("falcon_h1", DECODER | ROPE | {"num_hidden_layers": 1, "mamba_d_ssm": None, "mamba_n_heads": 2, "mamba_d_state": 5, "mamba_chunk_size": 8, "time_step_limit": [0.0, 3.0]}),
    "qwen3-next": ("qwen3_next", DECODER | PARTIAL | LINEAR | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "shared_expert_intermediate_size": 20, "mlp_only_layers": [1]}),
    "qwen3-5": ("qwen3_5_text", DECODER | PARTIAL | LINEAR | {"num_hidden_layers": 3, "layer_types": ["linear_attention", "full_attention", "linear_attention"], "attention_bias": True}),
    "qwen3-5-moe": ("qwen3_5_moe_text", DECODER | PARTIAL | LINEAR | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "shared_expert_intermediate_size": 20}),
}
FAMILIES |= LATER
# What a LoRA targets where PEFT has no default and "all-linear" would enter a router or experts, which are no linear layers, or a layer
# that it refuses (a Mamba's out_proj, whose weight a kernel takes as it is).
TARGETS = {"mamba2": ["in_proj"], "qwen3_next": ["q_proj", "v_proj", "in_proj_qkvz", "in_proj_ba", "out_proj"], "qwen3_5_moe_text": ["q_proj", "v_proj", "in_proj_qkv", "in_proj_z", "out_proj"], "falcon_h1": ["q_proj", "k_proj", "v_proj", "o_proj", "in_proj", "gate_proj", "up_proj", "down_proj"], "phimoe": ["q_proj", "v_proj"], "olmoe": ["q_proj", "k_proj", "v_proj", "o_proj"]} | dict.fromkeys(["deepseek_v2", "deepseek_v3"], ["q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"])
keys.SIZED += ["q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "n_routed_experts", "n_shared_experts"]
keys.SIZED += ["linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim", "linear_conv_kernel_dim", "shared_expert_intermediate_size"]
keys.SIZED += ["num_heads", "head_dim", "n_groups", "state_size", "conv_kernel", "expand", "mamba_d_ssm", "mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv", "mamba_expand"]
keys.SIZED += ["ffn_dim", "ffn_hidden_size", "n_head", "num_kv_heads", "word_embed_proj_dim"]
keys.VALUES |= {
    "no_rope_layers": [[0, 1], [1, 1], [0, 0], None],
    "logit_scale": [0.5, 2.0],
    "clip_qkv": [0.3, None],
    "rotary_pct": [1.0],
    "rotary_emb_base": [500.0],
    "num_ln_in_parallel_attn": [1, 2],
    "sliding_window_pattern": [1, 2, "LG", None],
    "_sliding_window_pattern": [1],
    "topk_method": ["greedy", "noaux_tc"],
    "n_group": [1, 2, 4],
    "topk_group": [1, 2],
    "block_multiple_of": [4, 16],
    "conv_L_cache": [2],
    "conv_bias": [False],
    "first_k_dense_replace": [0, 2],
    "time_step_limit": [[0.2, 0.6], [0.0, {"__float__": "Infinity"}], None],
    "conv_kernel": [3],
    "full_attention_interval": [1, 2],
    "ssm_multipliers": [[1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 2.0], None],
    "mlp_multipliers": [[1.0, 2.0], [1.0], None],
    # Only what can change what is computed: others are tried with the families of config-keys.
    "sliding_window": [2, None],
}


def randomise(model, generator: torch.Generator) -> None:
    """Weights that show mistakes: norms away from 1, biases away from 0, activations of order 1."""
    shift = 0.0 if model.config.model_type == "gemma" else 1.0
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = name.endswith("weight") and ("norm" in name or ".ln_" in name)
            is_table = "embed" in name or "lm_head" in name
            parameter.copy_(shift + 0.3 * noise if is_norm else 0.2 * noise if parameter.dim() == 1 else (0.5 if is_table else 0.3) * noise)


def load(folder: Path):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def log_probs(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    return logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]


def marks(gradient: torch.Tensor) -> list[float]:
    """Norm, and product with cos(i): two numbers that few wrong gradients have."""
    flat = gradient.flatten().double()
    return [flat.norm().item(), (flat * torch.arange(flat.numel()).double().cos()).sum().item()]


def stored_gradients(model) -> dict:
    """Gradients by the names that files have for their parameters, with those of each expert apart."""
    in_memory = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    found = {}
    for key, gradient in revert_weight_conversion(model, in_memory).items():
        place, _, last = key.rpartition(".block_sparse_moe.")
        if last == "input_linear.weight":
            for i, (gate, up) in enumerate(zip(*gradient.chunk(2, dim=1))):
                found |= {f"{place}.block_sparse_moe.experts.{i}.gate_proj.weight": gate, f"{place}.block_sparse_moe.experts.{i}.up_proj.weight": up}
        elif last == "output_linear.weight":
            found |= {f"{place}.block_sparse_moe.experts.{i}.down_proj.weight": one for i, one in enumerate(gradient)}
        elif ".experts.gate_up_proj" in key:
            place, last = key.split("gate_up_proj")
            for i, one in enumerate(gradient):
                kind = "bias" if last else "weight"
                found |= {f"{place}{i}.gate_proj.{kind}": one[..., ::2].T, f"{place}{i}.up_proj.{kind}": one[..., 1::2].T}
        elif ".experts.down_proj" in key:
            place, last = key.split("down_proj")
            found |= {f"{place}{i}.down_proj.{'bias' if last else 'weight'}": one.T for i, one in enumerate(gradient)}
        else:
            found[key] = gradient
    return {key: marks(gradient) for key, gradient in found.items()}


def greedy(model, prompts: list[list[int]]) -> tuple[list[list[int]], float]:
    """Continuations with a cache in a batch padded on the left, and the smallest gap between the best two logits met on the way."""
    rows, gap = [], float("inf")
    for prompt in prompts:
        ids = list(prompt)
        for _ in range(NEW_TOKENS):
            best = model(torch.tensor([ids])).logits[0, -1].topk(2)
            gap = min(gap, (best.values[0] - best.values[1]).item())
            ids.append(best.indices[0].item())
        rows.append(ids[len(prompt) :])
    length = max(map(len, prompts))
    batch = torch.tensor([[0] * (length - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    config = GenerationConfig(do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=None, pad_token_id=0)
    model.generation_config.eos_token_id = None
    generated = model.generate(batch, attention_mask=mask, generation_config=config)[:, length:].tolist()
    assert gap < SMALLEST_GAP or generated == rows, "generate with a cache and a padded batch must agree with plain forward passes"
    return rows, gap


def lora(folder: Path, ids: torch.Tensor, model_type: str, generator: torch.Generator) -> tuple[dict, dict]:
    """A LoRA of PEFT's default targets (all linear layers where it has none): its weights, the loss and its gradients."""
    model = load(folder)
    targets = constants.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(model_type, TARGETS.get(model_type))
    model = get_peft_model(model, LoraConfig(r=2, lora_alpha=3, target_modules=targets or "all-linear"))
    tensors = {}
    own = {name: p for name, p in model.named_parameters() if "lora_" in name}
    with torch.no_grad():
        for p in own.values():
            p.copy_(0.3 * torch.randn(p.shape, generator=generator))
    output = model(input_ids=ids, labels=ids)
    output.loss.backward()
    gradients = {}
    for name, p in own.items():
        short = name.removeprefix("base_model.model.").replace(".default.weight", "")
        tensors[f"lora.{short}"] = p
        gradients[short] = marks(p.grad)
    return tensors, {"targets": targets, "scale": 1.5, "loss": output.loss.item(), "gradients": gradients}


def key_table(folder: Path, seed: int) -> dict:
    """What altering, adding or leaving out each key of config.json does."""
    work = Path(tempfile.mkdtemp())
    shutil.copy(folder / "model.safetensors", work)
    config = json.loads((folder / "config.json").read_text())
    model = load(folder)
    declared = {f.name for f in fields(type(model.config)) if not f.name.startswith("_")}
    full = json.loads(model.config.to_json_string(use_diff=False))
    config |= {key: full[key] for key in sorted(declared) if key not in config and key in full}
    for key in ["transformers_version", "dtype"]:
        config.pop(key, None)
    ids = torch.randint(4, 64, (1, 12), generator=torch.Generator().manual_seed(seed))
    (work / "config.json").write_text(json.dumps(config))
    base = keys.result(work, AutoModelForCausalLM, ids)
    assert "logits" in base, base
    same, changed, refused = [], [], []
    for patch in keys.cases(config):
        patched = {key: value for key, value in config.items() if key not in patch.get("drop", [])} | patch.get("set", {})
        (work / "config.json").write_text(json.dumps(patched))
        got = keys.result(work, AutoModelForCausalLM, ids)
        if "logits" not in got:
            refused.append(patch)
        elif all(abs(a - b) <= 1e-6 * max(1, abs(b)) for a, b in zip(got["logits"], base["logits"])):
            same.append(patch)
        else:
            changed.append(patch | {"logits": got["logits"][:FIRST]})
    shutil.rmtree(work)
    return {"config": config, "ids": ids[0].tolist(), "logits": base["logits"][:FIRST], "same": same, "changed": changed, "refused": refused}


def write_lines(path: Path, value: dict) -> None:
    """JSON with a line for each entry of its lists."""
    def text(item) -> str:
        if isinstance(item, list) and item and isinstance(item[0], dict):
            return "[\n" + ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in item) + "\n]"
        return json.dumps(item, separators=(",", ":"))

    path.write_text("{\n" + ",\n".join(f"{json.dumps(key)}: {text(item)}" for key, item in value.items()) + "\n}\n", encoding="ascii")


def family(folder: Path, name: str, seed: int) -> None:
    model_type, given = FAMILIES[name]
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type](**copy.deepcopy(given)), attn_implementation="eager", dtype=torch.float32)
    randomise(model, generator)
    shutil.rmtree(folder, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    model = load(folder)

    ids = torch.randint(4, 64, (2, 10), generator=generator)
    output = model(input_ids=ids, labels=ids)
    output.loss.backward()
    gradients = stored_gradients(model)
    tensors = {"input_ids": ids.int(), "logits": output.logits}
    scalars = {"loss": output.loss.item(), "gradients": gradients}
    model.zero_grad()
    with torch.no_grad():
        lengths = [12, 7, 3]
        mask = torch.tensor([[0] * (12 - n) + [1] * n for n in lengths])
        padded = torch.randint(4, 64, (3, 12), generator=generator).masked_fill(mask == 0, 0)
        positions = {} if model_type == "bloom" else {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
        found = log_probs(model(input_ids=padded, attention_mask=mask, **positions).logits, padded)
        if given.get("conv_bias"):
            # A bias makes transformers' convolutions read padding: rows are scored alone.
            found = torch.zeros_like(found)
            for i, n in enumerate(lengths):
                found[i, 12 - n :] = log_probs(model(input_ids=padded[i : i + 1, 12 - n :]).logits, padded[i : i + 1, 12 - n :])[0]
        scalars["rows"] = [padded[i, 12 - n :].tolist() for i, n in enumerate(lengths)]
        scalars["log_probs"] = [found[i, 12 - n :].tolist() for i, n in enumerate(lengths)]
        gap = 0.0
        while gap < SMALLEST_GAP:
            prompts = [torch.randint(4, 64, (n,), generator=generator).tolist() for n in (4, 7)]
            rows, gap = greedy(model, prompts)
    scalars |= {"prompts": prompts, "greedy": rows}
    more, scalars["lora"] = lora(folder, ids, model_type, generator)
    write_tensors(folder / "expected.safetensors", tensors | more)
    write_lines(folder / "expected.json", scalars)
    table = key_table(folder, seed)
    write_lines(folder / "keys.json", table)
    print(name, f"loss {scalars['loss']:.3f} gap {gap:.3f}", {kind: len(table[kind]) for kind in ("same", "changed", "refused")}, *dict.fromkeys(key for patch in table["changed"] for key in [*patch.get("set", {}), *patch.get("drop", [])]), flush=True)


def mxfp4(folder: Path) -> None:
    """A gpt-oss whose experts are in MXFP4, and the logits of the model that transformers makes of it."""
    generator = torch.Generator().manual_seed(77)
    given = DECODER | {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 8, "sliding_window": 5}
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING["gpt_oss"](**given), attn_implementation="eager", dtype=torch.float32)
    randomise(model, generator)
    model.to(torch.bfloat16)
    tensors = {key: p.detach().clone() for key, p in model.state_dict().items()}
    for part in ["gate_up_proj", "down_proj"]:
        key = f"model.layers.0.mlp.experts.{part}"
        experts, inputs, out = tensors.pop(key).shape
        blocks = torch.randint(0, 256, (experts, out, inputs // 32, 16), generator=generator).to(torch.uint8)
        scales = torch.randint(123, 127, (experts, out, inputs // 32), generator=generator).to(torch.uint8)
        tensors |= {f"{key}_blocks": blocks, f"{key}_scales": scales}
        model.state_dict()[key].copy_(convert_moe_packed_tensors(blocks, scales))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    config = json.loads(model.config.to_json_string()) | {"quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    ids = torch.randint(4, 64, (2, 10), generator=generator)
    with tempfile.TemporaryDirectory() as work:
        model.save_pretrained(work)
        write_tensors(folder / "expected.safetensors", {"input_ids": ids.int(), "logits": load(Path(work))(ids).logits})


# By the `peft_type` of the methods here.
METHODS = ["LORA", "ADALORA", "VBLORA", "VERA", "SHIRA", "FOURIERFT", "C3A", "WAVEFT", "HRA", "OFT", "BOFT", "LOHA", "LOKR", "MISS", "ROAD", "RANDLORA", "IA3", "LNTUNING", "OSF"]


def default_targets() -> dict:
    """PEFT's default targets: by method, those of each family that it has some for."""
    types = dict.fromkeys(model_type for model_type, _ in FAMILIES.values())
    tables = {method: getattr(constants, f"TRANSFORMERS_MODELS_TO_{method}_TARGET_MODULES_MAPPING") for method in METHODS}
    return {method: {name: list(table[name]) for name in types if name in table} for method, table in tables.items()}


def main() -> None:
    only = [name for name in sys.argv[1:] if name in FAMILIES]
    sys.argv = [arg for arg in sys.argv if arg not in FAMILIES]
    out = output_folder(__file__)
    write_lines(out / "targets.json", default_targets())
    if not only or "gpt-oss" in only:
        mxfp4(out / "gpt-oss-mxfp4")
    for i, name in enumerate(FAMILIES):
        if not only or name in only:
            family(out / name, name, 5000 + i)


if __name__ == "__main__":
    main()
