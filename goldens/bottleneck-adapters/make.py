"""Bottleneck adapters of adapter-hub's `adapters` over the tiny model folders, in this project's own files: logits, loss, gradients."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import adapters  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

torch.set_num_threads(1)

# name: (base folder, configuration of the library, options of this project). Of a Llama the logits of `adapters` 1.2.0 are others as soon as it
# has been prepared (`init`), without any adapter, so that there is nothing to compare with.
HOULSBY = {"parts": ["attention", "mlp"], "placement": "sequential", "non_linearity": "silu", "scaling": 1}
PFEIFFER = {"parts": ["mlp"], "placement": "stream", "non_linearity": "relu", "scaling": 1}
PARALLEL = {"parts": ["mlp"], "placement": "parallel", "non_linearity": "relu", "scaling": 4}
CASES = {
    "double-seq-bn-gpt2": ("gpt2", adapters.DoubleSeqBnConfig, HOULSBY),
    "seq-bn-gpt2": ("gpt2", adapters.SeqBnConfig, PFEIFFER),
    "par-bn-gpt2": ("gpt2", adapters.ParBnConfig, PARALLEL),
}
SIZE = 4


def place_of(name: str) -> str:
    """Where this project has a parameter of the library's: layers.0.mlp.adapter_down.weight."""
    numbers = [part for part in name.split(".") if part.isdigit()]
    part = "attention" if "attention_adapters" in name else "mlp"
    layer = "adapter_down" if "adapter_down" in name else "adapter_up"
    return f"layers.{numbers[0]}.{part}.{layer}.{name.rpartition('.')[2]}"


def make(name: str, folder: Path, seed: int) -> None:
    base, kind, options = CASES[name]
    model = AutoModelForCausalLM.from_pretrained(f"models/{base}", torch_dtype=torch.float32, attn_implementation="eager")
    inputs = load_file(f"models/{base}/expected.safetensors")
    ids, labels = (inputs[f"batch.{key}"] for key in ("input_ids", "labels"))
    adapters.init(model.eval())
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, inputs["batch.logits"], atol=1e-4), "the base is the base"
    model.add_adapter("own", config=kind(reduction_factor=model.config.hidden_size / SIZE))
    model.train_adapter("own")
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    trained = {place_of(key): p for key, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == sum(p.requires_grad for p in model.parameters()), "every parameter has a place of its own"
    with torch.no_grad():
        for parameter in trained.values():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    logits = model(ids).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    loss.backward()
    assert (logits - inputs["batch.logits"]).abs().max() > 0.01, "the adapter changes the model"
    write_tensors(folder / "adapter_model.safetensors", {f"base_model.model.{key}": p for key, p in trained.items()})
    facts = {"auto_mapping": None, "base_model_name_or_path": f"models/{base}", "inference_mode": True, "revision": None}
    method = {"peft_type": "HOULSBY", "peft_version": "0.21.2", "task_type": "CAUSAL_LM"}
    write_json(folder / "adapter_config.json", facts | {"bottleneck_size": SIZE, "modules_to_save": None} | options | method)
    expected = {"logits": logits} | {f"gradient.base_model.model.{key}": p.grad for key, p in trained.items()}
    write_tensors(folder / "expected.safetensors", expected)
    write_json(folder / "expected.json", {"base": base, "loss": loss.item()})
    print(f"{name}: loss {loss.item():.4f}, {sorted(trained)[:2]}")


def main() -> None:
    out = output_folder(__file__)
    os.chdir(ROOT)
    for seed, name in enumerate(CASES):
        make(name, out.resolve() / name, 5100 + seed)


if __name__ == "__main__":
    main()
