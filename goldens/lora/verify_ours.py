"""Loads an adapter folder written by this project in PEFT and compares logits.

    python goldens/lora/verify_ours.py DIR BASE EXPECTED.safetensors [--tolerance 1e-4]

BASE is the model folder the adapter is for; EXPECTED as for goldens/models/verify_ours.py. Exit code 1 on a difference, or
when the folder's tensors are not exactly those PEFT has for this configuration.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
specification = importlib.util.spec_from_file_location("verify_model", ROOT / "models" / "verify_ours.py")
verify_model = importlib.util.module_from_spec(specification)
specification.loader.exec_module(verify_model)

import torch  # noqa: E402
from peft import PeftModel, get_peft_model_state_dict  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("expected", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    base = AutoModelForCausalLM.from_pretrained(arguments.base, dtype=torch.float32, attn_implementation="eager")
    model = PeftModel.from_pretrained(base, arguments.folder)
    written = load_file(arguments.folder / "adapter_model.safetensors").keys()
    wanted = get_peft_model_state_dict(model).keys()
    if written != wanted:
        print(f"missing: {sorted(wanted - written)}\nleft over: {sorted(written - wanted)}")
    same = verify_model.compare(model, load_file(arguments.expected), arguments.tolerance)
    sys.exit(0 if same and written == wanted else 1)


if __name__ == "__main__":
    main()
