"""Methods that PEFT does not have, LoRA-XS and MoLE: torch's own modules beside a model's, in this project's own files."""

from pathlib import Path

import torch
from golden import write_json, write_tensors
from peft import PeftModel
from safetensors.torch import load_file


def batch(base: str):
    inputs = load_file(f"models/{base}/expected.safetensors")
    return inputs["batch.input_ids"], inputs["batch.labels"]


def config_file(folder: Path, base: str, kind: str, options: dict) -> None:
    facts = {"auto_mapping": None, "base_model_name_or_path": f"models/{base}", "inference_mode": True, "revision": None}
    method = {"peft_type": kind, "peft_version": "0.21.2", "task_type": "CAUSAL_LM"}
    write_json(folder / "adapter_config.json", facts | options | method)


def lora_xs(folder: Path, base: str, names: list[str], seed: int, load_base) -> None:
    """y = W x + alpha / r B R A x with A = S V^T and B = U of the weight's r largest singular values."""
    rank, alpha = 3, 4.5
    model = load_base(base)
    model.requires_grad_(False)
    ids, labels = batch(base)
    generator = torch.Generator().manual_seed(seed)
    tensors, trained, merged = {}, {}, {}

    def beside(a, b, r):
        return lambda _module, args, output: output + alpha / rank * (args[0] @ (b @ r @ a).T)

    for name, module in model.named_modules():
        if not name.endswith(tuple(names)):
            continue
        is_linear = isinstance(module, torch.nn.Linear)
        weight = module.weight if is_linear else module.weight.T
        u, s, v = torch.linalg.svd(weight, full_matrices=False)
        a, b = s[:rank, None] * v[:rank], u[:, :rank]
        r = (0.3 * torch.randn(rank, rank, generator=generator)).requires_grad_()
        key = f"base_model.model.{name}"
        tensors |= {f"{key}.lora_xs_A": a, f"{key}.lora_xs_B": b, f"{key}.lora_xs_R": r}
        trained[f"{key}.lora_xs_R"] = r
        with torch.no_grad():
            changed = weight + alpha / rank * (b @ r @ a)
        merged[f"{name}.weight"] = changed if is_linear else changed.T
        module.register_forward_hook(beside(a, b, r))
    output = model(ids, labels=labels)
    output.loss.backward()
    write_tensors(folder / "adapter_model.safetensors", tensors)
    options = {"exclude_modules": None, "layers_pattern": None, "layers_to_transform": None, "modules_to_save": None}
    own = {"r": rank, "lora_alpha": alpha, "lora_dropout": 0, "deviation": 1e-5, "fan_in_fan_out": base == "gpt2"}
    config_file(folder, base, "LORA_XS", options | own | {"target_modules": names})
    expected = {"logits": output.logits} | {f"gradient.{key}": r.grad for key, r in trained.items()}
    expected |= {f"merged.{key}": merged[key] for key in list(merged)[:2]}
    write_tensors(folder / "expected.safetensors", expected)
    write_json(folder / "expected.json", {"base": base, "loss": output.loss.item(), "merged_parameters": list(merged)})


BALANCE = 0.3


def mole(folder: Path, name: str, base: str, temperature: float, seed: int, load_base, experts) -> None:
    """LoRA adapters of PEFT, each in a model of its own, mixed by a gate of what all of them would add."""
    adapters = experts(name, base, folder)["adapters"]
    ids, labels = batch(base)
    updates = []
    for index in adapters:
        model = PeftModel.from_pretrained(load_base(base), folder / f"expert{index}").eval()
        modules = {key: module for key, module in model.base_model.model.named_modules() if hasattr(module, "lora_A")}
        updates.append(
            {
                key: (module.lora_A["default"], module.lora_B["default"], module.scaling["default"])
                for key, module in modules.items()
            }
        )
    model = load_base(base)
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    gates, given = {}, []

    def mixed(key: str, gate):
        def hook(_module, args, output):
            x = args[0]
            zero = torch.zeros_like(output)
            changes = [own[key][2] * own[key][1](own[key][0](x)) if key in own else zero for own in updates]
            together = torch.cat(changes, dim=-1)
            norm = together / (together.square().mean(-1, keepdim=True) + 1e-6).sqrt()
            shares = torch.softmax(norm @ gate.T / temperature, dim=-1)
            given.append(shares)
            return output + sum(shares[..., i, None] * change for i, change in enumerate(changes))

        return hook

    for key, module in model.named_modules():
        if not any(key in own for own in updates):
            continue
        width = module.weight.shape[0] if isinstance(module, torch.nn.Linear) else module.weight.shape[1]
        count = len(updates)
        gate = (0.5 * torch.randn(count, count * width, generator=generator)).requires_grad_()
        gates[f"base_model.model.{key}.mole_gate"] = gate
        module.register_forward_hook(mixed(key, gate))
    output = model(ids, labels=labels)
    output.loss.backward(retain_graph=True)
    write_tensors(folder / "adapter_model.safetensors", gates)
    config_file(folder, base, "MOLE", {"adapters": adapters, "balance": 0, "temperature": temperature})
    expected = {"logits": output.logits} | {f"gradient.{key}": gate.grad.clone() for key, gate in gates.items()}
    # With the loss that balances experts: of each row, weighed by its share of the trained tokens.
    model.zero_grad()
    for gate in gates.values():
        gate.grad = None
    trained = (labels[:, 1:] != -100).sum(1)
    means = torch.stack(given).mean((0, 2))
    balanced = output.loss + BALANCE * (-torch.log(means).sum(-1) * trained / trained.sum()).sum()
    balanced.backward()
    expected |= {f"balanced.{key}": gate.grad for key, gate in gates.items()}
    write_tensors(folder / "expected.safetensors", expected)
    write_json(folder / "expected.json", {"base": base, "loss": output.loss.item(), "balanced_loss": balanced.item()})
