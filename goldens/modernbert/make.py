"""A tiny ModernBERT: hidden states of a padded batch, a LoRA's gradients and classifiers' logits of transformers and PEFT."""

import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoModel, ModernBertConfig, ModernBertForSequenceClassification  # noqa: E402
from transformers.utils import logging  # noqa: E402

torch.set_num_threads(1)
logging.disable_progress_bar()
logging.set_verbosity_error()
WIDTH = 16
LENGTHS = [14, 6, 1]
CONFIG = {
    "vocab_size": 48, "hidden_size": WIDTH, "intermediate_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "max_position_embeddings": 32,
    "local_attention": 6, "norm_bias": True, "mlp_bias": True, "attention_bias": True, "classifier_bias": True, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "cls_token_id": 1, "sep_token_id": 2,
}


def randomise(model, seed: int):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * noise if name.endswith("norm.weight") else 0.3 * noise)
    return model.eval()


def main() -> None:
    out = output_folder(__file__)
    generator = torch.Generator().manual_seed(3200)
    ids = torch.randint(3, 48, (len(LENGTHS), max(LENGTHS)), generator=generator)
    mask = torch.tensor([[1] * n + [0] * (max(LENGTHS) - n) for n in LENGTHS])
    ids = ids.masked_fill(mask == 0, 0)
    batch = {"input_ids": ids, "attention_mask": mask}
    tensors = {"ids": ids, "mask": mask}
    for name, pooling in [("cls", "cls"), ("mean", "mean")]:
        config = ModernBertConfig(**CONFIG, classifier_pooling=pooling, id2label={0: "no", 1: "yes", 2: "both"})
        model = randomise(ModernBertForSequenceClassification._from_config(config, dtype=torch.float32, attn_implementation="eager"), 3201)
        model.save_pretrained(out / f"sequence-{name}")
        tensors[f"logits.{name}"] = model(**batch).logits
    # The trunk and its weights are those of the classifier above.
    encoder = AutoModel.from_pretrained(out / "sequence-cls", dtype=torch.float32, attn_implementation="eager").eval()
    hidden = encoder(**batch).last_hidden_state
    tensors["hidden"] = hidden.masked_fill(mask[..., None] == 0, 0.0)
    signs = torch.arange(WIDTH).remainder(2).mul(2).sub(1)
    lora = get_peft_model(encoder, LoraConfig(r=2, lora_alpha=4, target_modules=["Wqkv", "Wo", "Wi"]))
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
                parameter.requires_grad_()
    adapted = lora(**batch).last_hidden_state.masked_fill(mask[..., None] == 0, 0.0)
    (adapted * signs).square().sum().backward()
    tensors["adapted"] = adapted
    lora.save_pretrained(out / "lora")
    adapter = json.loads((out / "lora" / "adapter_config.json").read_text())
    write_json(out / "lora" / "adapter_config.json", adapter | {"base_model_name_or_path": None})
    (out / "lora" / "README.md").unlink(missing_ok=True)
    tensors |= {f"gradient.{name.replace('.default', '')}": p.grad for name, p in lora.named_parameters() if p.grad is not None}
    write_tensors(out / "expected.safetensors", tensors)
    write_json(out / "expected.json", {"lengths": LENGTHS})
    # Both classifiers have the same weights.
    shutil.copy(out / "sequence-mean" / "config.json", out / "sequence-cls" / "config-mean.json")
    shutil.rmtree(out / "sequence-mean")
    print({key: value.shape for key, value in tensors.items() if "gradient" not in key})


if __name__ == "__main__":
    main()
