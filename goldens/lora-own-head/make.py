"""PEFT adapters over models whose config says tie_word_embeddings and whose folder has an output layer of its own."""

import copy
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig  # noqa: E402
from transformers.utils import logging  # noqa: E402

torch.set_num_threads(1)
logging.disable_progress_bar()
logging.set_verbosity_error()

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
TOKENS = {"vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
BASES = {
    "llama": LlamaConfig(**SIZES, **TOKENS, max_position_embeddings=64, tie_word_embeddings=True),
    # A cap that bites, so that one left out beside the adapter shows.
    "gemma2": Gemma2Config(**SIZES, **TOKENS, max_position_embeddings=64, head_dim=8, query_pre_attn_scalar=8, sliding_window=5, final_logit_softcapping=4.0, tie_word_embeddings=True),
    "gpt2": GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=64, **TOKENS, tie_word_embeddings=True),
}
HEAD = {"r": 2, "lora_alpha": 6}
CASES = {
    "llama-head": ("llama", HEAD | {"target_modules": ["q_proj", "lm_head"]}),
    "llama-head-only-dora": ("llama", HEAD | {"target_modules": ["lm_head"], "use_dora": True}),
    "llama-embedding": ("llama", HEAD | {"target_modules": ["q_proj", "embed_tokens"]}),
    "llama-saved": ("llama", HEAD | {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "gemma2-head": ("gemma2", HEAD | {"target_modules": ["v_proj", "lm_head"]}),
    "gpt2-head": ("gpt2", HEAD | {"target_modules": ["lm_head"]}),
}
def write_base(folder: Path, kind: str, generator: torch.Generator) -> None:
    model = AutoModelForCausalLM.from_config(copy.deepcopy(BASES[kind]), dtype=torch.float32)
    shift = 0 if kind.startswith("gemma") else 1
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = parameter.dim() == 1 and not name.endswith("bias")
            parameter.copy_(shift + 0.3 * noise if is_norm else 0.4 * noise)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tensors = load_file(folder / "model.safetensors")
    assert "lm_head.weight" not in tensors
    tensors["lm_head.weight"] = 0.4 * torch.randn((64, 16), generator=generator)
    write_tensors(folder / "model.safetensors", tensors)


def load(folder: Path | str):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def make(out: Path, name: str, generator: torch.Generator) -> None:
    kind, options = CASES[name]
    base = load(f"base/{kind}")
    head, embedding = base.get_output_embeddings().weight, base.get_input_embeddings().weight
    assert head is not embedding and not torch.equal(head, embedding)
    before = {key: value.clone() for key, value in base.state_dict().items()}
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for key, parameter in trained.items():
            noise = torch.randn(parameter.shape, generator=generator)
            if "lora_magnitude_vector" in key:
                parameter.mul_(1 + 0.2 * noise)
            elif "lora_" in key:
                parameter.copy_(0.2 * noise)
            else:
                parameter.add_(0.1 * noise)
    model.save_pretrained(out / name)
    (out / name / "README.md").unlink(missing_ok=True)

    ids = torch.randint(4, 64, (2, 9), generator=generator)
    output = model(input_ids=ids, labels=ids)
    output.loss.backward()
    names = {tensor.data_ptr(): key for key, tensor in get_peft_model_state_dict(model).items()}
    tensors = {"input_ids": ids, "logits": output.logits}
    tensors |= {f"gradient.{names[p.data_ptr()]}": p.grad for p in trained.values()}

    scalars = {"base": kind, "loss": output.loss.item()}
    merged = model.merge_and_unload()
    with torch.no_grad():
        assert torch.allclose(merged(ids).logits, output.logits, atol=1e-4)
    changed = {key: value for key, value in merged.state_dict().items() if not torch.equal(value, before[key])}
    tensors |= {f"merged.{key}": value for key, value in changed.items()}
    write_tensors(out / name / "expected.safetensors", tensors)
    # What transformers makes of its own save of the merged model, whose config still says that the two are one.
    with tempfile.TemporaryDirectory() as temporary:
        merged.save_pretrained(temporary)
        with torch.no_grad():
            again = (load(temporary)(ids).logits - output.logits).abs().max().item()
        assert again < 1e-4
    scalars |= {"merged_parameters": sorted(changed)}
    write_json(out / name / "expected.json", scalars)
    print(name, scalars, f"saved by transformers and loaded again: {again:.2g} off", json.dumps(sorted(names.values()))[:200])


def main() -> None:
    out = output_folder(__file__).resolve()
    generator = torch.Generator().manual_seed(7)
    for kind in BASES:
        write_base(out / "base" / kind, kind, generator)
    os.chdir(out)  # so that adapter_config.json names the base by a path inside this folder
    for name in CASES:
        make(out, name, generator)


if __name__ == "__main__":
    main()
