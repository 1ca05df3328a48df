"""LoRA that starts from what rows say of a model (EVA, CorDA, LoRA-GA), and from orthogonal factors: as PEFT makes and saves it."""

import tempfile
from pathlib import Path

import torch
from golden import write_json, write_tensors
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, initialize_lora_eva_weights
from peft.tuners.lora.config import CordaConfig, EvaConfig, LoraGAConfig
from peft.tuners.lora.corda import preprocess_corda
from peft.tuners.lora.loraga import preprocess_loraga
from safetensors.torch import load_file



def exact(matrix, q=6, niter=2, M=None):
    """
    In the place of PEFT's decomposition at random: torch's exact one. Singular vectors have two signs; here, as EVA has it, the largest
    entry on the right is positive.
    """
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    largest = v.gather(1, v.abs().argmax(1, keepdim=True))
    signs = torch.sign(largest)
    return (u * signs.T)[:, :q], values[:q], (v * signs).T[:, :q]


torch.svd_lowrank = exact

CORDA = {"init_lora_weights": "corda", "r": 4, "lora_alpha": 6}
GRADIENT = {"init_lora_weights": "lora_ga", "r": 4, "lora_alpha": 6}

# name: (base folder, options)
STARTS = {
    "orthogonal-llama": ("llama", {"init_lora_weights": "orthogonal", "r": 4}),
    "orthogonal-gpt2": ("gpt2", {"init_lora_weights": "orthogonal", "r": 2, "fan_in_fan_out": True}),
    "eva-llama": (
        "llama",
        {"init_lora_weights": "eva", "r": 2, "eva_config": {}, "target_modules": ["q_proj", "k_proj", "down_proj"]},
    ),
    "eva-gpt2": (
        "gpt2",
        {"init_lora_weights": "eva", "r": 3, "eva_config": {"rho": 1.5, "whiten": True}, "fan_in_fan_out": True},
    ),
    "eva-dropping-llama": (
        "llama",
        {"init_lora_weights": "eva", "r": 1, "eva_config": {"rho": 4}, "target_modules": ["q_proj", "v_proj", "up_proj"]},
    ),
    "corda-llama": ("llama", CORDA | {"corda_config": {}, "target_modules": ["q_proj", "down_proj"]}),
    "corda-kpm-gpt2": ("gpt2", CORDA | {"corda_config": {"corda_method": "kpm"}, "target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "lora-ga-llama": ("llama", GRADIENT | {"lora_ga_config": {}, "target_modules": ["q_proj", "down_proj"]}),
    "lora-ga-weight-llama": (
        "llama",
        GRADIENT | {"use_rslora": True, "lora_ga_config": {"direction": "A2rBr", "scale": "weight_svd"}},
    ),
    "lora-ga-gpt2": (
        "gpt2",
        GRADIENT | {"lora_ga_config": {"direction": "ArBr", "scale": "gd_scale"}, "fan_in_fan_out": True},
    ),
    "lora-ga-stable-gpt2": ("gpt2", GRADIENT | {"lora_ga_config": {"direction": "A2rBr"}, "fan_in_fan_out": True}),
}

PARTS = {"eva_config": EvaConfig, "corda_config": CordaConfig, "lora_ga_config": LoraGAConfig}


def adapted(model, options: dict, ids: torch.Tensor):
    """The adapter as PEFT starts it; what an adapter needs of the rows it has seen before."""
    parts = {key: PARTS[key](**value) if key in PARTS else value for key, value in options.items()}
    config = LoraConfig(task_type="CAUSAL_LM", **parts)
    rows = [row.unsqueeze(0) for row in ids]
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # PEFT takes the gradients of LoRA-GA in training.

    def train_step() -> None:
        for row in rows:
            model(row, labels=row).loss.backward()

    if config.init_lora_weights == "corda":
        preprocess_corda(model, config, run_model=lambda: [model(row) for row in rows])
    if config.init_lora_weights == "lora_ga":
        preprocess_loraga(model, config, train_step)
    start = get_peft_model(model, config).eval()
    if config.init_lora_weights == "eva":
        initialize_lora_eva_weights(start, [{"input_ids": row} for row in rows], show_progress_bar=False)
    return start


def make_start(name: str, folder: Path, seed: int, load_base, randomise) -> None:
    base, options = STARTS[name]
    inputs = load_file(f"models/{base}/expected.safetensors")
    ids, labels = (inputs[f"batch.{key}"] for key in ("input_ids", "labels"))
    labels[:, 0] = -100
    torch.manual_seed(seed)
    plain = load_base(base)(ids).logits
    model = adapted(load_base(base), options, ids)
    tensors = {f"initial.{key}": value.clone() for key, value in get_peft_model_state_dict(model).items()}
    tensors["initial.logits"] = model(ids).logits
    assert torch.allclose(plain, tensors["initial.logits"], atol=1e-5), "the start is the base"
    facts = {"base": base, "start": options, "rows": ids.tolist()}
    own = model.peft_config["default"]
    facts["ranks"] = {"rank_pattern": own.rank_pattern, "alpha_pattern": own.alpha_pattern}
    facts["targets"] = sorted(own.target_modules)
    is_converted = own.init_lora_weights in ("corda", "lora_ga")
    with tempfile.TemporaryDirectory() as temporary:
        first = str(Path(temporary) / "first")
        if is_converted:
            own.init_lora_weights = True
            model.save_pretrained(first)
            own.init_lora_weights = options["init_lora_weights"]
        randomise(model, torch.Generator().manual_seed(seed))
        further = {"path_initial_model_for_weight_conversion": first} if is_converted else {}
        started = {key: value.detach().clone() for key, value in get_peft_model_state_dict(model).items()}
        output = model(ids, labels=labels)
        output.loss.backward()
        model.save_pretrained(folder, **further)
    (folder / "README.md").unlink(missing_ok=True)
    if is_converted:
        names = {parameter.data_ptr(): key for key, parameter in get_peft_model_state_dict(model).items()}
        tensors |= {f"started.parameter.{key}": value for key, value in started.items()}
        for parameter in model.parameters():
            if parameter.requires_grad:
                tensors[f"started.gradient.{names[parameter.data_ptr()]}"] = parameter.grad
    again = PeftModel.from_pretrained(load_base(base), folder, is_trainable=True).eval()
    loaded = again(ids, labels=labels)
    assert torch.allclose(loaded.logits, output.logits, atol=1e-4), "the saved adapter is the adapter"
    loaded.loss.backward()
    names = {parameter.data_ptr(): key for key, parameter in get_peft_model_state_dict(again).items()}
    for parameter in again.parameters():
        if parameter.requires_grad:
            tensors[f"gradient.{names[parameter.data_ptr()]}"] = parameter.grad
    tensors["logits"] = loaded.logits
    merged = dict(again.merge_and_unload().named_parameters())
    before = dict(load_base(base).named_parameters())
    changed = [key for key, value in merged.items() if not torch.equal(value, before[key])]
    tensors |= {f"merged.{key}": merged[key] for key in changed[:2]}
    write_tensors(folder / "expected.safetensors", tensors)
    write_json(folder / "expected.json", facts | {"loss": loaded.loss.item(), "merged_parameters": changed})
    print(f"{name}: loss {loaded.loss.item():.4f}, {facts['ranks']}")
