"""Loads a folder that this project wrote from one of the folders here, with the classes of transformers, and compares logits.

    python goldens/heads/verify_ours.py DIR KIND [--tolerance 1e-5]

DIR was written by `saveWeights` (or the `save` of a class) from the folder KIND. Exit code 1 on a difference, or when
transformers had to invent or ignore a tensor.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))
import make  # noqa: E402

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, LlamaForCausalLM  # noqa: E402


class LlamaWithValueHead(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        self.v_head = torch.nn.ModuleDict({"summary": torch.nn.Linear(config.hidden_size, 1)})
        self.post_init()

    def forward(self, input_ids, **kwargs):
        return type("Output", (), {"logits": self.v_head["summary"](self.model(input_ids, **kwargs).last_hidden_state)})


def class_of(kind: str):
    if kind in make.VALUE:
        return LlamaWithValueHead
    if kind == "qwen2-process-reward":
        return make.Qwen2ForProcessRewardModel
    return AutoModelForSequenceClassification if kind in make.SEQUENCE else AutoModelForTokenClassification


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind", choices=list(make.SEQUENCE | make.TOKEN | make.VALUE))
    parser.add_argument("--tolerance", type=float, default=1e-5)
    arguments = parser.parse_args()
    model, info = class_of(arguments.kind).from_pretrained(arguments.folder, dtype=torch.float32, output_loading_info=True)
    problems = {key: sorted(map(str, value)) for key, value in info.items() if value}
    if problems:
        print(f"transformers did not load every tensor: {problems}")
    expected = load_file(Path(__file__).resolve().parent / arguments.kind / "expected.safetensors")
    with torch.no_grad():
        logits = model.eval()(input_ids=expected["input_ids"], attention_mask=expected["attention_mask"]).logits
    if logits.dim() == 3:
        logits = logits * expected["attention_mask"][..., None]
    worst = (logits - expected["logits"]).abs().max().item()
    print(f"{arguments.kind}: {type(model).__name__}, largest difference {worst:.3e}, labels {model.config.id2label}")
    sys.exit(0 if worst <= arguments.tolerance and not problems else 1)


if __name__ == "__main__":
    main()
