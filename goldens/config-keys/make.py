"""What altering, adding or leaving out each key of a config.json does, family by family: the reference's logits, or its refusal."""

import copy
import json
import shutil
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import (  # noqa: E402
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    CONFIG_MAPPING,
)
from transformers.utils import logging  # noqa: E402

torch.set_num_threads(1)
logging.disable_progress_bar()
logging.set_verbosity_error()

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 40}
DECODER = SIZES | {"num_key_value_heads": 1, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
WINDOW = {"sliding_window": 4}
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
GEMMA = DECODER | WINDOW | {"head_dim": 8, "query_pre_attn_scalar": 24, "final_logit_softcapping": 4.0}
EXPERTS = {"num_experts_per_tok": 2}
# Folder name: model type and the config that the rest alters.
FAMILIES = {
    "llama": ("llama", DECODER | ROPE),
    "mistral": ("mistral", DECODER | ROPE | WINDOW),
    "mixtral": ("mixtral", DECODER | ROPE | EXPERTS | {"num_local_experts": 3, "sliding_window": None, "head_dim": 8}),
    "qwen2": ("qwen2", DECODER | ROPE | WINDOW | {"use_sliding_window": True, "max_window_layers": 1, "tie_word_embeddings": True}),
    "qwen3": ("qwen3", DECODER | ROPE | {"head_dim": 8}),
    "qwen3-moe": ("qwen3_moe", DECODER | ROPE | EXPERTS | {"num_experts": 3, "moe_intermediate_size": 12, "head_dim": 8}),
    "gpt2": ("gpt2", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}),
    "gemma2": ("gemma2", GEMMA | ROPE | {"attn_logit_softcapping": 2.0}),
    "gemma3": ("gemma3_text", GEMMA | {"layer_types": ["sliding_attention", "full_attention"]}),
    "phi3": ("phi3", DECODER | ROPE),
    "olmo2": ("olmo2", DECODER | ROPE),
    "bert": ("bert", SIZES | {"max_position_embeddings": 64, "type_vocab_size": 2}),
    "llama-classifier": ("llama", DECODER | ROPE),
    "gpt2-tokens": ("gpt2", {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64, "vocab_size": 40, "pad_token_id": 0}),
    "roberta": ("roberta", SIZES | {"max_position_embeddings": 30, "type_vocab_size": 1, "pad_token_id": 13}),
    "xlm-roberta": ("xlm-roberta", SIZES | {"max_position_embeddings": 30, "type_vocab_size": 1}),
    "modernbert": ("modernbert", SIZES | {"num_hidden_layers": 2, "layer_types": ["full_attention", "sliding_attention"], "local_attention": 5, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 64}),
}
CLASSES = {
    **dict.fromkeys(["bert", "roberta", "xlm-roberta", "modernbert"], AutoModel),
    "llama-classifier": AutoModelForSequenceClassification,
    "gpt2-tokens": AutoModelForTokenClassification,
}

# Values that a key is altered to beside those that follow from its type.
VALUES = {
    "hidden_act": ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "quick_gelu", "tanh", "relu2"],
    "layer_types": [["full_attention", "sliding_attention"], ["sliding_attention"] * 2, ["full_attention"] * 2, ["full_attention"], ["chunked_attention"] * 2],
    "rope_parameters": [
        {"rope_type": "default", "rope_theta": 500.0},
        {"rope_theta": 500.0},
        {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
        {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
        {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16},
        {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16, "attention_factor": 1.5, "beta_fast": 8.0, "beta_slow": 0.5},
        {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16, "mscale": 2.0, "mscale_all_dim": 1.5, "truncate": False},
        {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
        {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.5, 2.0, 3.0], "long_factor": [1.0, 2.5, 4.0, 9.0], "original_max_position_embeddings": 32},
        {"rope_type": "proportional", "rope_theta": 10000.0, "factor": 2.0, "partial_rotary_factor": 0.5},
        {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0, "partial_rotary_factor": 0.5},
        {"full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}},
        None,
    ],
    "rope_scaling": [
        {"type": "linear", "factor": 4.0},
        {"rope_type": "dynamic", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        {"type": "linear", "factor": 4.0, "rope_theta": 100.0},
    ],
    "rope_theta": [500.0],
    "partial_rotary_factor": [0.5, 1.0],
    "original_max_position_embeddings": [16],
    "rope_local_base_freq": [100.0],
    "local_attention": [2, 8, 64],
    "norm_bias": [True],
    "sliding_window_pattern": [1, 2, 3],
    "_sliding_window_pattern": [1, 3],
    "sliding_window": [2, 4, 64, None, 0, -1],
    "use_sliding_window": [True, False],
    "max_window_layers": [0, 2],
    "attention_chunk_size": [4],
    "mlp_only_layers": [[0], [], None],
    "num_experts_per_tok": [1, 3],
    "decoder_sparse_step": [2],
    "router_jitter_noise": [0.1],
    "use_bidirectional_attention": [True, False, None],
    "tie_word_embeddings": [True, False, None],
    "per_layer_config": [{"0": {"sliding_window": 2}}, {"1": {"rms_norm_eps": 0.5}}],
    "position_embedding_type": ["relative_key", "absolute"],
    "problem_type": ["regression", "single_label_classification", "multi_label_classification"],
    "num_labels": [1, 3, 5],
    "id2label": [{"0": "a", "1": "b", "2": "c"}, {"0": "a"}],
    "pad_token_id": [3, 5, None, -1],
    "eos_token_id": [7, [2, 7], None],
    "architectures": [["OtherForCausalLM"], None],
    "dtype": ["bfloat16", "float16", "float32"],
    "torch_dtype": ["bfloat16"],
    "scale_attn_weights": [False],
    "pruned_heads": [{"0": [0]}, {}],
    "n_inner": [24, 64],
    "summary_type": ["mean"],
    "model_type": ["mamba", "gpt_neox"],
    "quantization_config": [{"quant_method": "gptq", "bits": 4}],
    "classifier_dropout": [0.5],
    "use_cache": [False],
    "is_decoder": [True, False],
    "query_pre_attn_scalar": [8],
    "qk_layernorm": [True],
    "auto_map": [{"AutoModelForCausalLM": "modeling_x.X"}],
}
VALUES["hidden_activation"] = VALUES["activation_function"] = VALUES["hidden_act"]
# Keys that some family or the code of masks and positions looks at, given to every family, with values for what has none.
EXTRA = {
    "is_causal": [False, True],
    "use_bidirectional_attention": [True, False, None],
    "layer_types": VALUES["layer_types"],
    "sliding_window": VALUES["sliding_window"],
    "use_sliding_window": [True, False],
    "max_window_layers": [0],
    "sliding_window_pattern": [1, 2, 3],
    "attention_chunk_size": [4],
    "attention_bias": [True],
    "mlp_bias": [True],
    "qkv_bias": [True],
    "rope_theta": [500.0],
    "rope_scaling": VALUES["rope_scaling"],
    "rope_parameters": VALUES["rope_parameters"],
    "partial_rotary_factor": [0.5, 1.0],
    "original_max_position_embeddings": [16],
    "rope_local_base_freq": [100.0],
    "head_dim": [16, None],
    "num_key_value_heads": [2, None],
    "final_logit_softcapping": [3.0, None],
    "attn_logit_softcapping": [3.0, None],
    "query_pre_attn_scalar": [8],
    "logit_scale": [0.5],
    "logits_scaling": [2.0],
    "embedding_multiplier": [2.0],
    "residual_multiplier": [0.5],
    "attention_multiplier": [0.5],
    "clip_qkv": [0.5],
    "use_qk_norm": [True],
    "qk_layernorm": [True],
    "tie_word_embeddings": [True, False],
    "tie_encoder_decoder": [True],
    "tie_last_hidden_states": [True],
    "add_cross_attention": [True],
    "is_decoder": [True, False],
    "is_encoder_decoder": [True],
    "chunk_size_feed_forward": [4],
    "per_layer_config": [{"0": {"sliding_window": 2}}, {"1": {"rms_norm_eps": 0.5}}, {}],
    "pruned_heads": [{"0": [0]}, {}],
    "position_embedding_type": ["relative_key", "absolute"],
    "scale_attn_weights": [False],
    "scale_attn_by_inverse_layer_idx": [True],
    "reorder_and_upcast_attn": [True],
    "n_inner": [20],
    "hidden_act": ["gelu"],
    "hidden_activation": ["gelu"],
    "activation_function": ["relu"],
    "rms_norm_eps": [0.5],
    "layer_norm_eps": [0.5],
    "layer_norm_epsilon": [0.5],
    "norm_topk_prob": [True],
    "num_experts_per_tok": [1],
    "shared_expert_intermediate_size": [8],
    "num_shared_experts": [1],
    "temperature": [0.5],
    "repetition_penalty": [2.0],
    "torch_dtype": ["bfloat16"],
    "torchscript": [True],
    "output_attentions": [True],
    "quantization_config": VALUES["quantization_config"],
    "auto_map": VALUES["auto_map"],
    "num_labels": [1, 3],
    "another_key": [1],
}
# Keys whose alteration does something only where rope_parameters do not say it already, as in files of transformers 4.
OLDER = ["rope_theta", "rope_scaling", "partial_rotary_factor", "original_max_position_embeddings", "rope_local_base_freq"]
# Sizes that the weights have to fit: of them only one more is tried, since the defaults are those of large models.
SIZED = ["hidden_size", "intermediate_size", "vocab_size", "num_hidden_layers", "moe_intermediate_size", "num_local_experts", "num_experts"]
SIZED += ["n_embd", "n_layer", "max_position_embeddings", "n_positions", "type_vocab_size"]
NOT_ALTERED = ["return_dict", "model_type", "transformers_version", "experts_implementation"]


def altered(key: str, value) -> list:
    """Other values for a key: those that are listed, else some that follow from its type."""
    if key in VALUES:
        return VALUES[key]
    if key in EXTRA:
        return EXTRA[key]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1] if key in SIZED else [value + 1, value * 2]
    if isinstance(value, float):
        return [value * 3 + 0.1]
    if isinstance(value, str):
        return ["another"]
    return [2] if value is None else []


def randomise(model, generator: torch.Generator) -> None:
    """Weights that show mistakes: norms away from 1, biases away from 0."""
    shift = 0 if model.config.model_type.startswith("gemma") else 1
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = parameter.dim() == 1 and "bias" not in name and ("norm" in name.lower() or "ln_" in name)
            parameter.copy_(shift + 0.3 * noise if is_norm else 0.5 * noise)


def result(folder: Path, auto, ids: torch.Tensor) -> dict:
    """Rounded outputs of the last position (of every token, for what gives one row), or what went wrong."""
    try:
        model, info = auto.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, ignore_mismatched_sizes=False
        )
        model.eval()
        with torch.no_grad():
            output = model(input_ids=ids)
        values = output.last_hidden_state[0, -1] if auto is AutoModel else output.logits[0, -1] if output.logits.dim() == 3 else output.logits[0]
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"}
    problems = sorted(name for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in info[kind])
    # A tied head is written once; the bert pooler is not read by what takes hidden states.
    problems = [name for name in map(str, problems) if "pooler" not in name]
    if problems:
        return {"weights": problems[0]}
    return {"logits": [float(f"{x:.6g}") for x in values.tolist()]}


def cases(config: dict) -> list[dict]:
    """Patches of the config: keys to set, and keys to drop."""
    found = []
    for key in dict.fromkeys([*config, *EXTRA]):
        if key in NOT_ALTERED:
            continue
        values = altered(key, config.get(key))
        # null is not the same as absent.
        for value in values if None in values or key not in config else [*values, None]:
            if key not in config or json.dumps(config[key]) != json.dumps(value):
                found.append({"set": {key: value}})
            if key in OLDER and "rope_parameters" in config:
                found.append({"set": {key: value}, "drop": ["rope_parameters"]})
        if key in config and key not in SIZED:
            found.append({"drop": [key]})
    return found


def family(out: Path, name: str, seed: int) -> None:
    model_type, given = FAMILIES[name]
    auto = CLASSES.get(name, AutoModelForCausalLM)
    generator = torch.Generator().manual_seed(seed)
    model = auto.from_config(CONFIG_MAPPING[model_type](**copy.deepcopy(given)), attn_implementation="eager", dtype=torch.float32)
    randomise(model, generator)
    folder = Path(tempfile.mkdtemp())
    model.save_pretrained(folder)
    shutil.rmtree(folder / "generation_config.json", ignore_errors=True)
    config = json.loads((folder / "config.json").read_text())
    config.pop("transformers_version", None)
    # Every key that the class has, even those that save_pretrained leaves out because they are the defaults.
    declared = {f.name for f in fields(type(model.config)) if not f.name.startswith("_")}
    full = json.loads(type(model.config)(**copy.deepcopy(given)).to_json_string(use_diff=False))
    for key in sorted(declared):
        if key not in config and key in full and key != "transformers_version":
            config[key] = full[key]
    ids = torch.randint(4, config["vocab_size"], (1, 12), generator=generator)
    (folder / "config.json").write_text(json.dumps(config))
    base = result(folder, auto, ids)
    assert "logits" in base, base
    same, changed, refused = [], [], []
    for patch in cases(config):
        patched = {key: value for key, value in config.items() if key not in patch.get("drop", [])} | patch.get("set", {})
        (folder / "config.json").write_text(json.dumps(patched))
        got = result(folder, auto, ids)
        if "logits" not in got:
            refused.append(patch | got)
        elif len(got["logits"]) == len(base["logits"]) and all(abs(a - b) <= 1e-6 * max(1, abs(b)) for a, b in zip(got["logits"], base["logits"])):
            same.append(patch)
        else:
            changed.append(patch | got)
    tables = {"same": same, "changed": changed, "refused": refused}
    write_json(out / f"{name}.json", {"config": config, "ids": ids[0].tolist(), **base, **tables})
    print(name, {kind: len(patches) for kind, patches in tables.items()}, *dict.fromkeys(key for patch in changed for key in [*patch.get("set", {}), *patch.get("drop", [])]))
    write_tensors(out / f"{name}.safetensors", load_file(folder / "model.safetensors"))
    shutil.rmtree(folder)


def main() -> None:
    only = [name for name in sys.argv[1:] if name in FAMILIES]
    sys.argv = [arg for arg in sys.argv if arg not in FAMILIES]
    out = output_folder(__file__)
    for i, name in enumerate(FAMILIES):
        if not only or name in only:
            family(out, name, 4000 + i)


if __name__ == "__main__":
    main()
