"""Adapters of PEFT's methods beside LoRA over the tiny model folders: files, logits, gradients, merged weights."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from peft import (  # noqa: E402
    AdaLoraConfig,
    BOFTConfig,
    C3AConfig,
    CPTConfig,
    FourierFTConfig,
    HRAConfig,
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    MissConfig,
    MultitaskPromptTuningConfig,
    OFTConfig,
    OSFConfig,
    PeftModel,
    PolyConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    RandLoraConfig,
    RoadConfig,
    ShiraConfig,
    TinyLoraConfig,
    VBLoRAConfig,
    VeraConfig,
    WaveFTConfig,
    XLoraConfig,
    get_peft_model,
    get_peft_model_state_dict,
)
from peft.tuners.boft import layer as boft_layer  # noqa: E402
from peft.tuners.c3a import layer as c3a_layer  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from starts import STARTS, make_start  # noqa: E402
from without_peft import lora_xs, mole  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402
from transformers.utils import logging  # noqa: E402

# The gradient of PEFT 0.21.2's own operation is wrong for the input of a C3A layer (torch.autograd.gradcheck refuses it), and so for
# every kernel below another one. The same product with its matrix has torch's gradient.
c3a_layer.BlockCircularConvolution.apply = lambda x, kernel: x @ c3a_layer.get_circulant_fast(kernel).T

# BOFT has more than one butterfly factor only where its CUDA extension compiles. All that does is to put blocks on a diagonal.
boft_layer.get_fbd_cuda = lambda: True
boft_layer.FastBlockDiag.apply = lambda factors: torch.stack([torch.block_diag(*blocks) for blocks in factors])

torch.set_num_threads(1)
logging.disable_progress_bar()

ADALORA = {"init_r": 4, "target_r": 2, "tinit": 1, "tfinal": 1, "total_step": 5, "target_modules": ["q_proj", "v_proj"]}

# Tokens that one of the two rows has, and the task of each row.
INVOCATION = {"llama": [236, 84], "gpt2": [11, 200]}
TASKS = [2, 0]

XLORA_DEEP = {"xlora_depth": 3, "xlora_size": 6}
# What X-LoRA and MoLE mix: LoRA adapters that differ in their modules and ranks.
EXPERTS = {
    "llama": [
        {"target_modules": ["q_proj", "down_proj"]},
        {"target_modules": ["q_proj", "v_proj"], "r": 3, "lora_alpha": 5},
        {"target_modules": ["k_proj", "q_proj"], "use_rslora": True},
    ],
    "qwen2": [{"target_modules": ["k_proj"], "r": 2}, {"target_modules": ["k_proj", "v_proj"], "r": 2}],
    "gpt2": [
        {"target_modules": ["c_attn"], "fan_in_fan_out": True},
        {"target_modules": ["c_attn", "mlp.c_proj"], "r": 3, "lora_alpha": 5, "fan_in_fan_out": True},
    ],
}

# What each token of a context is: templates, an input, and one that is not trained.
CONTEXT = {"cpt_token_ids": [9, 4, 31, 17, 2], "cpt_tokens_type_mask": [1, 2, 2, 3, 0]}

# Two examples with their labels, one of them of two tokens, and the weights of labels.
EXAMPLES = {
    "cpt_token_ids": [9, 4, 31, 17, 2, 8, 40, 3, 21, 5],
    "cpt_tokens_type_mask": [1, 2, 2, 3, 4, 4, 5, 6, 7, 8],
    "opt_projection_epsilon": 2.0,
    "opt_weighted_loss_type": "decay",
    "opt_loss_decay_factor": 0.7,
}

# name: (base folder, class of the configuration, options beside task_type)
CASES = {
    "vera-llama": ("llama", VeraConfig, {"r": 4, "target_modules": ["q_proj", "k_proj", "down_proj"]}),
    "vera-gpt2": ("gpt2", VeraConfig, {"r": 3, "fan_in_fan_out": True}),
    "ia3-llama": ("llama", IA3Config, {}),
    "ia3-gpt2": ("gpt2", IA3Config, {"fan_in_fan_out": True}),
    "ln-tuning-llama": ("llama", LNTuningConfig, {}),
    "ln-tuning-gpt2": ("gpt2", LNTuningConfig, {}),
    "ln-tuning-gemma2": ("gemma2", LNTuningConfig, {}),
    "prompt-tuning-llama": ("llama", PromptTuningConfig, {"num_virtual_tokens": 5}),
    "prompt-tuning-gpt2": ("gpt2", PromptTuningConfig, {"num_virtual_tokens": 3}),
    "prompt-tuning-gemma2": ("gemma2", PromptTuningConfig, {"num_virtual_tokens": 4}),
    "prompt-tuning-gemma3": ("gemma3-text", PromptTuningConfig, {"num_virtual_tokens": 4}),
    "prefix-tuning-llama": ("llama", PrefixTuningConfig, {"num_virtual_tokens": 4}),
    "prefix-tuning-gpt2": ("gpt2", PrefixTuningConfig, {"num_virtual_tokens": 3}),
    "pissa-llama": ("llama", LoraConfig, {"r": 4, "lora_alpha": 6, "init_lora_weights": "pissa"}),
    "pissa-gpt2": ("gpt2", LoraConfig, {"r": 3, "init_lora_weights": "pissa", "fan_in_fan_out": True}),
    "adalora-llama": ("llama", AdaLoraConfig, ADALORA | {"lora_alpha": 16}),
    "poly-llama": ("llama", PolyConfig, {"r": 2, "n_tasks": 3, "n_skills": 2, "n_splits": 2}),
    "alora-llama": ("llama", LoraConfig, {"r": 4, "alora_invocation_tokens": INVOCATION["llama"]}),
    "alora-gpt2": ("gpt2", LoraConfig, {"r": 3, "alora_invocation_tokens": INVOCATION["gpt2"], "fan_in_fan_out": True}),
    "xlora-llama": ("llama", XLoraConfig, {"layerwise_scalings": True, "softmax_temperature": 0.5}),
    "xlora-topk-llama": (
        "llama",
        XLoraConfig,
        XLORA_DEEP | {"enable_softmax": False, "enable_softmax_topk": True, "top_k_lora": 2},
    ),
    "xlora-scaled-llama": ("llama", XLoraConfig, {"global_scaling_weight": 1.5, "scaling_pass_value": 0.25}),
    "hra-llama": ("llama", HRAConfig, {"r": 4}),
    "hra-gs-llama": ("llama", HRAConfig, {"r": 3, "apply_GS": True, "target_modules": ["down_proj"]}),
    "loha-llama": ("llama", LoHaConfig, {"r": 3, "alpha": 5, "target_modules": ["q_proj", "down_proj"]}),
    "lokr-llama": ("llama", LoKrConfig, {"r": 2, "alpha": 3, "target_modules": ["q_proj", "down_proj"]}),
    "lokr-both-llama": (
        "llama",
        LoKrConfig,
        {"r": 1, "decompose_both": True, "decompose_factor": 4, "target_modules": ["k_proj", "up_proj"]},
    ),
    "miss-llama": ("llama", MissConfig, {"r": 12, "target_modules": ["q_proj", "down_proj"]}),
    "miss-mini-llama": ("llama", MissConfig, {"r": 8, "mini_r": 4, "init_weights": "mini"}),
    "road1-llama": ("llama", RoadConfig, {"group_size": 8}),
    "road2-llama": ("llama", RoadConfig, {"group_size": 4, "variant": "road_2"}),
    "road4-qwen2": ("qwen2", RoadConfig, {"group_size": 8, "variant": "road_4"}),
    "c3a-llama": ("llama", C3AConfig, {"block_size": 8}),
    "oft-llama": ("llama", OFTConfig, {"oft_block_size": 8}),
    "oft-shared-llama": (
        "llama",
        OFTConfig,
        {"r": 4, "oft_block_size": 0, "block_share": True, "num_cayley_neumann_terms": 3},
    ),
    "vb-lora-llama": ("llama", VBLoRAConfig, {"r": 2, "num_vectors": 6, "vector_length": 8}),
    "vb-lora-gpt2": (
        "gpt2",
        VBLoRAConfig,
        {"r": 2, "num_vectors": 5, "vector_length": 16, "topk": 3, "fan_in_fan_out": True},
    ),
    "boft-llama": ("llama", BOFTConfig, {"target_modules": ["q_proj", "down_proj"]}),
    "boft-butterfly-llama": ("llama", BOFTConfig, {"boft_n_butterfly_factor": 3, "target_modules": ["q_proj", "up_proj"]}),
    "boft-qwen2": ("qwen2", BOFTConfig, {"boft_block_size": 0, "boft_block_num": 4, "boft_n_butterfly_factor": 2}),
    "fourierft-llama": (
        "llama",
        FourierFTConfig,
        {"n_frequency": 40, "n_frequency_pattern": {"down_proj": 7}, "target_modules": ["q_proj", "down_proj"]},
    ),
    "fourierft-gpt2": ("gpt2", FourierFTConfig, {"n_frequency": 60, "random_loc_seed": 3, "fan_in_fan_out": True}),
    "randlora-llama": ("llama", RandLoraConfig, {"r": 6, "randlora_alpha": 12, "target_modules": ["k_proj", "up_proj"]}),
    "randlora-sparse-gpt2": (
        "gpt2",
        RandLoraConfig,
        {"r": 8, "randlora_alpha": 8, "very_sparse": True, "fan_in_fan_out": True},
    ),
    "olora-llama": (
        "llama",
        LoraConfig,
        {"r": 4, "lora_alpha": 6, "init_lora_weights": "olora", "target_modules": ["k_proj", "up_proj"]},
    ),
    "olora-qwen2": ("qwen2", LoraConfig, {"r": 3, "init_lora_weights": "olora", "use_rslora": True}),
    "p-tuning-llama": ("llama", PromptEncoderConfig, {"num_virtual_tokens": 4, "encoder_hidden_size": 6}),
    "p-tuning-lstm-gpt2": (
        "gpt2",
        PromptEncoderConfig,
        {"num_virtual_tokens": 3, "encoder_hidden_size": 5, "encoder_reparameterization_type": "LSTM"},
    ),
    "prefix-projection-llama": (
        "llama",
        PrefixTuningConfig,
        {"num_virtual_tokens": 3, "encoder_hidden_size": 5, "prefix_projection": True},
    ),
    "prefix-projection-gpt2": ("gpt2", PrefixTuningConfig, {"num_virtual_tokens": 2, "prefix_projection": True}),
    "cpt-llama": ("llama", CPTConfig, CONTEXT | {"opt_projection_epsilon": 2.0, "opt_projection_format_epsilon": 9.0}),
    "cpt-gpt2": ("gpt2", CPTConfig, CONTEXT),
    "multitask-prompt-tuning-llama": (
        "llama",
        MultitaskPromptTuningConfig,
        {"num_virtual_tokens": 4, "num_tasks": 3, "num_ranks": 2},
    ),
    "multitask-prompt-tuning-gpt2": ("gpt2", MultitaskPromptTuningConfig, {"num_virtual_tokens": 2, "num_tasks": 3}),
    "shira-llama": ("llama", ShiraConfig, {"r": 2, "random_seed": 7, "target_modules": ["q_proj", "down_proj"]}),
    "shira-qwen2": ("qwen2", ShiraConfig, {"r": 1}),
    "tinylora-llama": (
        "llama",
        TinyLoraConfig,
        {"u": 5, "weight_tying": 0.4, "target_modules": ["q_proj", "v_proj", "down_proj"]},
    ),
    "tinylora-gpt2": ("gpt2", TinyLoraConfig, {"r": 3, "u": 4, "fan_in_fan_out": True}),
    "waveft-llama": (
        "llama",
        WaveFTConfig,
        {"n_frequency": 40, "n_frequency_pattern": {"down_proj": 7}, "target_modules": ["q_proj", "down_proj"]},
    ),
    "waveft-db4-gpt2": (
        "gpt2",
        WaveFTConfig,
        {"n_frequency": 60, "wavelet_family": "db4", "random_loc_seed": 3, "scaling": 4.0, "fan_in_fan_out": True},
    ),
    "waveft-sparse-qwen2": ("qwen2", WaveFTConfig, {"n_frequency": 30, "use_idwt": False, "scaling": 2.0}),
    "osf-llama": ("llama", OSFConfig, {"effective_rank": 10, "target_modules": ["k_proj", "down_proj"]}),
    "osf-half-qwen2": ("qwen2", OSFConfig, {"target_modules": ["v_proj", "up_proj"]}),
    "cpt-labels-llama": ("llama", CPTConfig, EXAMPLES),
    "cpt-labels-gpt2": ("gpt2", CPTConfig, EXAMPLES | {"opt_weighted_loss_type": "none"}),
    "adalora-gpt2": ("gpt2", AdaLoraConfig, ADALORA | {"target_modules": ["c_attn"], "fan_in_fan_out": True}),
    # Of another architecture where PEFT refuses the Conv1D of GPT-2.
    "hra-qwen2": ("qwen2", HRAConfig, {"r": 2, "target_modules": ["v_proj", "up_proj"]}),
    "loha-qwen2": ("qwen2", LoHaConfig, {"r": 2, "target_modules": ["k_proj"]}),
    "lokr-qwen2": ("qwen2", LoKrConfig, {"r": 2, "target_modules": ["v_proj", "down_proj"]}),
    "miss-qwen2": ("qwen2", MissConfig, {"r": 4, "target_modules": ["v_proj", "up_proj"]}),
    "c3a-qwen2": ("qwen2", C3AConfig, {"block_size": 8, "target_modules": ["q_proj", "k_proj"]}),
    "oft-qwen2": ("qwen2", OFTConfig, {"oft_block_size": 4, "target_modules": ["k_proj", "o_proj"]}),
    "poly-qwen2": ("qwen2", PolyConfig, {"r": 2, "n_tasks": 3, "n_skills": 2, "n_splits": 1, "target_modules": ["k_proj"]}),
    # X-LoRA loads no experts of GPT-2.
    "xlora-qwen2": ("qwen2", XLoraConfig, {"layerwise_scalings": True}),
}


def load_base(name: str):
    model = AutoModelForCausalLM.from_pretrained(f"models/{name}", dtype=torch.float32, attn_implementation="eager")
    model.config.use_cache = False  # X-LoRA asks for it.
    return model.eval()


def randomise(model, generator: torch.Generator) -> None:
    """Every trainable tensor away from its initial value."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def saved_tensors(model) -> dict[str, torch.Tensor]:
    """
    What PEFT saves, by its keys. Of X-LoRA all of the classifier: PEFT 0.21.2 leaves its first layer out, `layers.0`, taking
    it for the mixed adapter that it calls "0" itself.
    """
    if model.active_peft_config.peft_type == "XLORA":
        return {key: value for key, value in model.state_dict().items() if "internal_xlora_classifier" in key}
    return get_peft_model_state_dict(model)


def saved_names(model) -> dict[int, str]:
    """Where a tensor lives -> the key PEFT saves it under."""
    return {tensor.data_ptr(): key for key, tensor in saved_tensors(model).items()}


def encoder(model) -> dict[str, torch.Tensor]:
    """What is trained in the place of what is saved, by the names of this project; nothing for most methods."""
    if model.active_peft_config.peft_type not in ("P_TUNING", "PREFIX_TUNING", "CPT"):
        return {}
    named = {name: p for name, p in model.prompt_encoder["default"].named_parameters() if p.requires_grad}
    if model.active_peft_config.peft_type == "CPT":
        return named
    network = {f"prompt_encoder.{name}": value for name, value in named.items()}
    return network if len(network) > 1 else {}


def gradients(model) -> dict[str, torch.Tensor]:
    if encoder(model):
        return {f"gradient.{name}": value.grad for name, value in encoder(model).items() if value.grad is not None}
    names = saved_names(model)
    only = [key for key in names.values() if key == "prompt_embeddings" and len(names) == 1]
    named = {}
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.grad is not None:
            named[f"gradient.{only[0] if only else names[parameter.data_ptr()]}"] = parameter.grad
    return named


def budget(base: str, folder: Path, ids, labels) -> None:
    """AdaLoRA's schedule: what a few steps of AdamW and of the rank allocator leave of the parameters."""
    model = PeftModel.from_pretrained(load_base(base), folder, is_trainable=True).eval()
    model.base_model.peft_config["default"].inference_mode = False
    tensors = {}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05, weight_decay=0.0)
    for step in range(ADALORA["total_step"]):
        loss = model(ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        model.base_model.update_and_allocate(step)
        optimizer.zero_grad()
        for name, parameter in model.named_parameters():
            if "lora_E" in name:
                tensors[f"step{step}.{name.replace('.default', '')}"] = parameter.clone()
        tensors[f"step{step}.loss"] = loss
    pattern = model.base_model.peft_config["default"].rank_pattern
    write_tensors(folder / "schedule.safetensors", tensors)
    write_json(folder / "schedule.json", {"rank_pattern": pattern})


def experts(name: str, base: str, folder: Path) -> dict:
    """LoRA adapters to mix, written into the folder; the option that names them, by paths in this repository."""
    paths = {}
    for index, options in enumerate(EXPERTS[base]):
        model = get_peft_model(load_base(base), LoraConfig(task_type="CAUSAL_LM", **{"r": 2} | options))
        randomise(model, torch.Generator().manual_seed(100 + index))
        model.save_pretrained(folder / f"expert{index}")
        (folder / f"expert{index}" / "README.md").unlink(missing_ok=True)
        paths[str(index)] = f"peft-methods/{name}/expert{index}"
    return {"adapters": paths, "hidden_size": load_base(base).config.hidden_size}


def row_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def make(name: str, folder: Path, seed: int) -> None:
    base, config, options = CASES[name]
    inputs = load_file(f"models/{base}/expected.safetensors")
    ids, labels = (inputs[f"batch.{key}"] for key in ("input_ids", "labels"))
    labels[:, 0] = -100  # PEFT predicts the first token from the last virtual one; nobody else does.
    torch.manual_seed(seed)
    given = {"task_ids": torch.tensor(TASKS)} if name.startswith(("poly", "multitask")) else {}
    if name.startswith("xlora"):
        options = options | experts(name, base, folder)
    model = get_peft_model(load_base(base), config(task_type="CAUSAL_LM", **options)).eval()
    initial = {}
    if name.startswith(("pissa", "olora")):
        initial = {f"initial.{key}": value.clone() for key, value in get_peft_model_state_dict(model).items()}
        initial["initial.logits"] = model(ids).logits
    if name.startswith("tinylora"):
        initial = {
            f"initial.{key}": value.clone()
            for key, value in get_peft_model_state_dict(model).items()
            if key.endswith(("tinylora_A", "tinylora_B"))
        }
    if name.startswith("shira"):
        initial = {
            f"initial.{key}": value for key, value in get_peft_model_state_dict(model).items() if "indices" in key
        }
    randomise(model, torch.Generator().manual_seed(seed))
    initial |= {f"parameter.{key}": value.detach().clone() for key, value in encoder(model).items()}
    model.save_pretrained(folder, selected_adapters=["default"])
    (folder / "README.md").unlink(missing_ok=True)
    if name.startswith("xlora"):
        write_tensors(folder / "adapter_model.safetensors", saved_tensors(model))

    count = ids.shape[1]
    output = model(ids, **({} if name.startswith("cpt") else {"labels": labels}), **given)
    # PEFT puts the loss of the labels inside the context beside that of the rows; this is that of the rows.
    loss = row_loss(output.logits[:, -count:], labels) if name.startswith("cpt") else output.loss
    loss.backward()
    tensors = initial | {"logits": output.logits[:, -count:]} | gradients(model)
    facts = {"base": base, "loss": loss.item()}
    again = PeftModel.from_pretrained(load_base(base), folder).eval()
    assert torch.allclose(again(ids, **given).logits, output.logits, atol=1e-5), "the saved adapter is the adapter"
    if name.startswith("cpt-labels"):
        # PEFT's own loss, of the labels in the context and of the rows.
        model.zero_grad()
        whole = model(ids, labels=labels).loss
        whole.backward()
        facts["whole_loss"] = whole.item()
        tensors |= {f"whole.{key}": value.clone() for key, value in gradients(model).items()}
    if given:
        facts["inputs"] = [{"taskIds": task} for task in TASKS]
    if not name.startswith(("prompt", "prefix", "p-tuning", "cpt", "multitask", "xlora", "poly", "alora")):
        merged = dict(again.merge_and_unload().named_parameters())
        before = dict(load_base(base).named_parameters())
        changed = [key for key, value in merged.items() if key in before and not torch.equal(value, before[key])]
        tensors |= {f"merged.{key}": merged[key] for key in changed[:2]}
        facts["merged_parameters"] = changed
    write_tensors(folder / "expected.safetensors", tensors)
    write_json(folder / "expected.json", facts)
    if name.startswith("adalora"):
        budget(base, folder, ids, labels)
    print(f"{name}: loss {loss.item():.4f}, {[key for key in tensors if 'gradient' in key][:2]}")


ACTIVATIONS = {"gelu": torch.nn.functional.gelu, "relu": torch.nn.functional.relu}


def houlsby(folder: Path, base: str, seed: int, parts=("attention", "mlp"), placement="sequential", name="gelu") -> None:
    """Bottleneck adapters, which PEFT does not have: torch modules behind the sublayers, in this project's own files."""
    size = 4
    model = load_base(base)
    inputs = load_file(f"models/{base}/expected.safetensors")
    ids, labels = (inputs[f"batch.{key}"] for key in ("input_ids", "labels"))
    generator = torch.Generator().manual_seed(seed)
    tensors = {}

    def linear(name: str, rows: int, columns: int) -> torch.nn.Linear:
        layer = torch.nn.Linear(columns, rows)
        with torch.no_grad():
            for kind, parameter in layer.named_parameters():
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
                tensors[f"base_model.model.{name}.{kind}"] = parameter
        return layer

    read = {}

    def behind(place: str, down: torch.nn.Linear, up: torch.nn.Linear):
        def hook(_module, _inputs, output):
            is_tuple = isinstance(output, tuple)
            hidden = output[0] if is_tuple else output
            changed = hidden + up(ACTIVATIONS[name](down(read[place] if placement == "parallel" else hidden)))
            return (changed, *output[1:]) if is_tuple else changed

        return hook

    model.requires_grad_(False)
    def reads(place: str):
        def hook(_module, args, kwargs):
            read[place] = args[0] if args else kwargs["input"]

        return hook

    for index, block in enumerate(model.model.layers if base == "llama" else model.transformer.h):
        for part, module in (("attention", block.self_attn if base == "llama" else block.attn), ("mlp", block.mlp)):
            if part not in parts:
                continue
            width, place = model.config.hidden_size, f"layers.{index}.{part}"
            # The stream before its norm, as adapter-hub's parallel adapters read it.
            norms = ("input_layernorm", "post_attention_layernorm") if base == "llama" else ("ln_1", "ln_2")
            norm = getattr(block, norms[part == "mlp"])
            norm.register_forward_pre_hook(reads(place), with_kwargs=True)
            down = linear(f"{place}.adapter_down", size, width)
            up = linear(f"{place}.adapter_up", width, size)
            module.register_forward_hook(behind(place, down, up))
    output = model(ids, labels=labels)
    output.loss.backward()
    write_tensors(folder / "adapter_model.safetensors", tensors)
    facts = {"auto_mapping": None, "base_model_name_or_path": f"models/{base}", "inference_mode": True, "revision": None}
    options = {"bottleneck_size": size, "modules_to_save": None, "non_linearity": name, "placement": placement, "scaling": 1}
    kind = {"peft_type": "HOULSBY", "peft_version": "0.21.2", "task_type": "CAUSAL_LM", "parts": list(parts)}
    write_json(folder / "adapter_config.json", facts | options | kind)
    expected = {"logits": output.logits} | {f"gradient.{key}": value.grad for key, value in tensors.items()}
    write_tensors(folder / "expected.safetensors", expected)
    write_json(folder / "expected.json", {"base": base, "loss": output.loss.item()})


def bitfit(folder: Path, base: str, seed: int) -> None:
    """BitFit in this project's own files: torch's gradients of the biases of a model, which are those of PEFT's `bias="all"`."""
    model = load_base(base)
    inputs = load_file(f"models/{base}/expected.safetensors")
    ids, labels = (inputs[f"batch.{key}"] for key in ("input_ids", "labels"))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith(".bias"))
    randomise(model, torch.Generator().manual_seed(seed))
    biases = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    output = model(ids, labels=labels)
    output.loss.backward()
    # PEFT has it as `bias="all"` of a LoRA, whose B is zero at the start.
    peft = get_peft_model(load_base(base), LoraConfig(task_type="CAUSAL_LM", bias="all", fan_in_fan_out=base == "gpt2")).eval()
    same = {name.replace("base_model.model.", "").replace(".base_layer", ""): p for name, p in peft.named_parameters() if p.requires_grad}
    same = {name: parameter for name, parameter in same.items() if "lora_" not in name}
    assert same.keys() == biases.keys(), "PEFT trains the same biases"
    with torch.no_grad():
        for name, parameter in same.items():
            parameter.copy_(biases[name])
    peft(ids, labels=labels).loss.backward()
    assert all(torch.allclose(p.grad, biases[name].grad, atol=1e-7) for name, p in same.items()), "by the same gradients"
    write_tensors(folder / "adapter_model.safetensors", {f"base_model.model.{key}": value for key, value in biases.items()})
    facts = {"auto_mapping": None, "base_model_name_or_path": f"models/{base}", "inference_mode": True, "revision": None}
    options = {"exclude_modules": None, "modules_to_save": None, "target_modules": ".*"}
    kind = {"peft_type": "BITFIT", "peft_version": "0.21.2", "task_type": "CAUSAL_LM"}
    write_json(folder / "adapter_config.json", facts | options | kind)
    expected = {"logits": output.logits} | {f"gradient.base_model.model.{key}": value.grad for key, value in biases.items()}
    expected |= {f"merged.{key}": biases[key] for key in list(biases)[:2]}
    write_tensors(folder / "expected.safetensors", expected)
    write_json(folder / "expected.json", {"base": base, "loss": output.loss.item(), "merged_parameters": list(biases)})


def curlora(folder: Path, base: str, names: list[str], seed: int) -> None:
    """CURLoRA, which PEFT does not have: torch's own products of columns and rows of the weights, in this project's own files."""
    rank, alpha = 3, 1.5
    model = load_base(base)
    model.requires_grad_(False)
    inputs = load_file(f"models/{base}/expected.safetensors")
    ids, labels = (inputs[f"batch.{key}"] for key in ("input_ids", "labels"))
    generator = torch.Generator().manual_seed(seed)
    tensors, mixers, merged = {}, {}, {}

    def beside(c, u, r):
        return lambda _module, args, output: output + alpha * (args[0] @ (c @ u @ r).T)

    for name, module in model.named_modules():
        if not name.endswith(tuple(names)):
            continue
        weight = module.weight if isinstance(module, torch.nn.Linear) else module.weight.T
        columns, rows = (torch.randint(0, size, (rank,), generator=generator) for size in reversed(weight.shape))
        c, r = weight[:, columns].clone(), weight[rows].clone()
        u = (0.3 * torch.randn(rank, rank, generator=generator)).requires_grad_()
        key = f"base_model.model.{name}"
        tensors |= {f"{key}.curlora_C": c, f"{key}.curlora_R": r, f"{key}.curlora_U": u}
        mixers[f"{key}.curlora_U"] = u
        with torch.no_grad():
            changed = weight + alpha * (c @ u @ r)
        merged[f"{name}.weight"] = changed if isinstance(module, torch.nn.Linear) else changed.T
        module.register_forward_hook(beside(c, u, r))
    output = model(ids, labels=labels)
    output.loss.backward()
    write_tensors(folder / "adapter_model.safetensors", tensors)
    facts = {"auto_mapping": None, "base_model_name_or_path": f"models/{base}", "inference_mode": True, "revision": None}
    options = {"alpha": alpha, "exclude_modules": None, "layers_pattern": None, "layers_to_transform": None, "r": rank}
    kind = {"fan_in_fan_out": base == "gpt2", "peft_type": "CURLORA", "peft_version": "0.21.2", "task_type": "CAUSAL_LM"}
    write_json(folder / "adapter_config.json", facts | options | kind | {"modules_to_save": None, "target_modules": names})
    expected = {f"gradient.{key}": u.grad for key, u in mixers.items()}
    expected |= {f"merged.{key}": merged[key] for key in list(merged)[:2]}
    write_tensors(folder / "expected.safetensors", {"logits": output.logits} | expected)
    write_json(folder / "expected.json", {"base": base, "loss": output.loss.item(), "merged_parameters": list(merged)})


# Lengths of the prompts of the two rows.
PROMPTS = [7, 4]


def loreft(folder: Path, base: str, positions: str, seed: int) -> None:
    """LoReFT, which PEFT does not have: hooks of torch behind the blocks with torch's own orthogonal layers, in this project's files."""
    rank = 3
    model = load_base(base)
    inputs = load_file(f"models/{base}/expected.safetensors")
    ids, labels = (inputs[f"batch.{key}"] for key in ("input_ids", "labels"))
    generator = torch.Generator().manual_seed(seed)
    width = model.config.hidden_size
    counts = {part[0]: int(part[1:]) for part in positions.split("+")}
    parts = {"f": "first", "l": "last"} if len(counts) == 2 else {next(iter(counts)): ""}
    trained = {}

    def intervention(place: str):
        rotate = torch.nn.Linear(rank, width, bias=False)
        torch.nn.utils.parametrizations.orthogonal(rotate, "weight", "householder", use_trivialization=False)
        below = torch.randn(width, rank, generator=generator).tril(-1)
        original = rotate.parametrizations.weight.original
        with torch.no_grad():
            original.copy_(below + torch.eye(width, rank))
        source = torch.nn.Linear(width, rank)
        with torch.no_grad():
            for parameter in source.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
        trained[f"{place}.rotate_layer"] = (original, below)
        trained[f"{place}.learned_source.weight"] = (source.weight, source.weight)
        trained[f"{place}.learned_source.bias"] = (source.bias, source.bias)
        return rotate, source

    def places(kind: str, length: int) -> list[int]:
        count = min(length // 2, counts[kind])
        return list(range(count)) if kind == "f" else list(range(length - count, length))

    def behind(interventions):
        def hook(_module, _inputs, output):
            hidden = output[0] if isinstance(output, tuple) else output
            changed = hidden
            for kind, (rotate, source) in interventions.items():
                put = hidden + (source(hidden) - hidden @ rotate.weight) @ rotate.weight.T
                mask = torch.zeros(hidden.shape[:2], dtype=torch.bool)
                for row, length in enumerate(PROMPTS):
                    mask[row, places(kind, length)] = True
                changed = torch.where(mask.unsqueeze(-1), put, changed)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return hook

    model.requires_grad_(False)
    blocks = model.model.layers if base == "llama" else model.transformer.h
    for index, block in enumerate(blocks):
        ends = {kind: f"layers.{index}" + (f".{name}" if name else "") for kind, name in parts.items()}
        block.register_forward_hook(behind({kind: intervention(place) for kind, place in ends.items()}))
    output = model(ids, labels=labels)
    output.loss.backward()
    tensors = {f"base_model.model.{key}": stored for key, (_, stored) in trained.items()}
    write_tensors(folder / "adapter_model.safetensors", tensors)
    facts = {"auto_mapping": None, "base_model_name_or_path": f"models/{base}", "inference_mode": True, "revision": None}
    options = {"dropout": 0, "layers": list(range(len(blocks))), "low_rank_dimension": rank, "modules_to_save": None}
    kind = {"peft_type": "LOREFT", "peft_version": "0.21.2", "task_type": "CAUSAL_LM"}
    write_json(folder / "adapter_config.json", facts | options | kind | {"positions": positions, "share_weights": False})
    expected = {f"gradient.base_model.model.{key}": parameter.grad for key, (parameter, _) in trained.items()}
    write_tensors(folder / "expected.safetensors", {"logits": output.logits} | expected)
    inputs = [{"promptTokens": length} for length in PROMPTS]
    write_json(folder / "expected.json", {"base": base, "loss": output.loss.item(), "inputs": inputs})


def main() -> None:
    out = output_folder(__file__)
    os.chdir(ROOT)  # so that adapter_config.json names the base by a path inside this folder
    for seed, name in enumerate(CASES):
        make(name, out.resolve() / name, 3000 + seed)
    for seed, name in enumerate(STARTS):
        make_start(name, out.resolve() / name, 3200 + seed, load_base, randomise)
    houlsby(out.resolve() / "houlsby-llama", "llama", 3100)
    houlsby(out.resolve() / "houlsby-pfeiffer-gpt2", "gpt2", 3105, parts=["mlp"], name="relu")
    houlsby(out.resolve() / "houlsby-parallel-llama", "llama", 3106, placement="parallel")
    houlsby(out.resolve() / "houlsby-parallel-gpt2", "gpt2", 3107, parts=["mlp"], placement="parallel", name="relu")
    for seed, base in enumerate(["gpt2", "qwen2"]):
        bitfit(out.resolve() / f"bitfit-{base}", base, 3101 + seed)
    loreft(out.resolve() / "loreft-llama", "llama", "f2+l3", 3110)
    loreft(out.resolve() / "loreft-gpt2", "gpt2", "l1", 3111)
    curlora(out.resolve() / "curlora-llama", "llama", ["q_proj", "down_proj"], 3112)
    curlora(out.resolve() / "curlora-gpt2", "gpt2", ["c_attn"], 3113)
    lora_xs(out.resolve() / "lora-xs-llama", "llama", ["k_proj", "down_proj"], 3120, load_base)
    lora_xs(out.resolve() / "lora-xs-gpt2", "gpt2", ["c_attn"], 3121, load_base)
    mole(out.resolve() / "mole-llama", "mole-llama", "llama", 1.5, 3122, load_base, experts)
    mole(out.resolve() / "mole-gpt2", "mole-gpt2", "gpt2", 1.0, 3123, load_base, experts)


if __name__ == "__main__":
    main()
