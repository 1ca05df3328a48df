"""LoReFT of pyreft (pyvene's interventions) over the tiny model folders, in this project's own files: logits, loss, gradients."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from pyreft import LoreftIntervention, ReftConfig, get_intervention_locations, get_reft_model  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

torch.set_num_threads(1)

# name: (base folder, positions, layers, one change for both ends)
CASES = {
    "pyreft-ends-llama": ("llama", "f2+l3", [0, 1], False),
    "pyreft-shared-llama": ("llama", "f1+l2", [1], True),
    "pyreft-first-gpt2": ("gpt2", "f2", [0], False),
    "pyreft-ends-gpt2": ("gpt2", "f1+l2", [0, 1], False),
}
# Lengths of the prompts of the two rows: of the second a half is less than 3.
PROMPTS = [7, 4]
RANK = 3


def drawn(width: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """An intervention in this project's file: Householder vectors below the diagonal, and W and b."""
    return {
        "rotate_layer": torch.randn(width, RANK, generator=generator).tril(-1),
        "learned_source.weight": 0.5 * torch.randn(RANK, width, generator=generator),
        "learned_source.bias": 0.5 * torch.randn(RANK, generator=generator),
    }


def rotation_of(below: torch.Tensor) -> torch.Tensor:
    """The orthonormal columns that such vectors stand for, by LAPACK's product."""
    vectors = below.tril(-1) + torch.eye(*below.shape)
    return torch.linalg.householder_product(vectors, 2 / vectors.square().sum(0))


def make(name: str, folder: Path, seed: int) -> None:
    base, positions, layers, share = CASES[name]
    model = AutoModelForCausalLM.from_pretrained(f"models/{base}", torch_dtype=torch.float32, attn_implementation="eager").eval()
    width, inputs = model.config.hidden_size, load_file(f"models/{base}/expected.safetensors")
    ids, labels = (inputs[f"batch.{key}"] for key in ("input_ids", "labels"))
    own = model(ids).logits
    assert torch.allclose(own, inputs["batch.logits"], atol=1e-5), "the base is the same in this transformers"

    both = "+" in positions and not share
    places = [f"layers.{layer}{end}" for end in ((".first", ".last") if both else ("",)) for layer in layers]
    config = [
        {
            "layer": layer,
            "component": "block_output",
            "low_rank_dimension": RANK,
            "intervention": LoreftIntervention(embed_dim=width, low_rank_dimension=RANK, dropout=0.0, dtype=torch.float32),
        }
        for layer in layers * (2 if both else 1)
    ]
    reft = get_reft_model(model, ReftConfig(representations=config))
    reft.eval()
    generator = torch.Generator().manual_seed(seed)
    tensors, interventions = {}, dict(zip(places, reft.interventions.values(), strict=True))
    for place, intervention in interventions.items():
        start = drawn(width, generator)
        tensors |= {f"{place}.{key}": value for key, value in start.items()}
        intervention.load_state_dict({
            "weight": start["learned_source.weight"],
            "bias": start["learned_source.bias"],
            "rotate_layer": rotation_of(start["rotate_layer"]),
        })

    # pyreft's data sets put a token in front, which no row sees, for positions that a short prompt does not have.
    padded = torch.cat([torch.zeros(2, 1, dtype=ids.dtype), ids], 1)
    mask = torch.ones_like(padded)
    mask[:, 0] = 0
    steps = torch.arange(padded.shape[1]).sub(1).clamp(min=0).expand_as(padded)
    given = {"last_position": None, "positions": positions, "num_interventions": len(places), "share_weights": share}
    located = [get_intervention_locations(**given | {"last_position": length}) for length in PROMPTS]
    locations = (torch.tensor(located) + 1).permute(1, 0, 2).tolist()
    # Inside, R is one tensor wherever it is asked for, so that its gradient can be read.
    with torch.nn.utils.parametrize.cached():
        rotations = {place: one.rotate_layer.weight for place, one in interventions.items()}
        for rotation in rotations.values():
            rotation.retain_grad()
        batch = {"input_ids": padded, "attention_mask": mask, "position_ids": steps}
        _, output = reft(batch, unit_locations={"sources->base": (None, locations)})
        logits = output.logits[:, 1:]
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        loss.backward()
    gradients = {}
    for place, one in interventions.items():
        gradients[f"{place}.learned_source.weight"] = one.learned_source.weight.grad
        gradients[f"{place}.learned_source.bias"] = one.learned_source.bias.grad
        # pyreft's own parameter is another one of the same R: its gradient goes on to the vectors here.
        below = tensors[f"{place}.rotate_layer"].clone().requires_grad_()
        rotation = rotation_of(below)
        assert torch.allclose(rotation, rotations[place], atol=1e-5), "pyreft has the same rotation"
        gradients[f"{place}.rotate_layer"] = torch.autograd.grad(rotation, below, rotations[place].grad)[0]

    write_tensors(folder / "adapter_model.safetensors", {f"base_model.model.{key}": value for key, value in tensors.items()})
    facts = {"auto_mapping": None, "base_model_name_or_path": f"models/{base}", "inference_mode": True, "revision": None}
    options = {"dropout": 0, "layers": layers, "low_rank_dimension": RANK, "modules_to_save": None}
    kind = {"peft_type": "LOREFT", "peft_version": "0.21.2", "task_type": "CAUSAL_LM"}
    write_json(folder / "adapter_config.json", facts | options | kind | {"positions": positions, "share_weights": share})
    expected = {f"gradient.base_model.model.{key}": value for key, value in gradients.items()}
    write_tensors(folder / "expected.safetensors", {"logits": logits} | expected)
    write_json(
        folder / "expected.json",
        {"base": base, "loss": loss.item(), "inputs": [{"promptTokens": length} for length in PROMPTS]},
    )
    print(f"{name}: loss {loss.detach():.4f} (base {(own - logits).detach().abs().max():.2f} away), {located}")


def main() -> None:
    out = output_folder(__file__).resolve()
    os.chdir(ROOT)  # so that adapter_config.json names the base by a path inside this folder
    for seed, name in enumerate(CASES):
        make(name, out / name, 3700 + seed)


if __name__ == "__main__":
    main()
