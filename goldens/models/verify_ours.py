"""Loads a model folder written by this project in transformers and compares logits.

    python goldens/models/verify_ours.py DIR EXPECTED.safetensors [--tolerance 1e-4]

EXPECTED holds `input_ids` [B,T] (int32 or int64), `logits` [B,T,V] (float32), and optionally `attention_mask` and
`position_ids` [B,T]. Positions whose attention mask is 0 are not compared. Exit code 1 on a difference, or when
transformers had to invent or ignore a tensor.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
import golden  # noqa: E402, F401  (sets the environment before torch is imported)

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402


def compare(model, expected: dict[str, torch.Tensor], tolerance: float) -> bool:
    inputs = {name: expected[name].long() for name in ("input_ids", "attention_mask", "position_ids") if name in expected}
    with torch.no_grad():
        # Adapters may put virtual tokens in front.
        logits = model.eval()(**inputs).logits[:, -expected["input_ids"].shape[1] :]
    error = (logits - expected["logits"]).abs().amax(-1)
    if "attention_mask" in inputs:
        error = error * inputs["attention_mask"]
    worst = error.max().item()
    print(f"largest absolute logit difference {worst:.3e} (tolerance {tolerance:.0e}, logits up to {logits.abs().max().item():.2f})")
    return worst <= tolerance


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("expected", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    model, info = AutoModelForCausalLM.from_pretrained(
        arguments.folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    problems = {key: sorted(map(str, value)) for key, value in info.items() if value}
    if problems:
        print(f"transformers did not load every tensor: {problems}")
    same = compare(model, load_file(arguments.expected), arguments.tolerance)
    sys.exit(0 if same and not problems else 1)


if __name__ == "__main__":
    main()
