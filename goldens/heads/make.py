"""Tiny folders of classifiers, reward, process reward and value models, with logits and gradients of transformers."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    Qwen2Model,
    Qwen2PreTrainedModel,
    Qwen3Config,
)
from transformers.utils import logging  # noqa: E402

torch.set_num_threads(1)
logging.disable_progress_bar()

COMMON = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
COMMON |= {"num_key_value_heads": 1, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
REWARD = {"num_labels": 1}
NAMED = {"id2label": {0: "wrong", 1: "neutral", 2: "right"}, "label2id": {"wrong": 0, "neutral": 1, "right": 2}}


class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):
    """The head of Qwen2.5-Math-PRM (its code is remote): Linear, ReLU, Linear."""

    def __init__(self, config):
        super().__init__(config)
        self.model = Qwen2Model(config)
        width = config.hidden_size
        self.score = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, config.num_labels))
        self.post_init()

    def forward(self, input_ids, **kwargs):
        kwargs.pop("labels", None)
        return type("Output", (), {"logits": self.score(self.model(input_ids, **kwargs).last_hidden_state)})


SEQUENCE = {
    "llama-reward": LlamaConfig(**COMMON, **REWARD, tie_word_embeddings=False),
    "qwen2-sequence": Qwen2Config(**COMMON, **NAMED, tie_word_embeddings=True),
    "gemma2-sequence": Gemma2Config(**COMMON | {"head_dim": 8}, **REWARD, sliding_window=5, query_pre_attn_scalar=8),
    "gemma3-sequence": Gemma3TextConfig(**COMMON | {"head_dim": 8}, **NAMED, sliding_window=5, query_pre_attn_scalar=8),
    "olmo2-sequence": Olmo2Config(**COMMON, **REWARD),
    "gpt2-sequence": GPT2Config(**GPT2, num_labels=2, problem_type="multi_label_classification"),
}
TOKEN = {
    "mistral-token": MistralConfig(**COMMON, num_labels=2, sliding_window=5),
    "qwen3-token": Qwen3Config(**COMMON | {"head_dim": 8}, **NAMED, token_classification_bias=False),
    "phi3-token": Phi3Config(**COMMON, num_labels=2),
    "gpt2-token": GPT2Config(**GPT2, num_labels=2),
    "qwen2-process-reward": Qwen2Config(**COMMON, num_labels=2),
}
VALUE = {"llama-v-head": LlamaConfig(**COMMON, tie_word_embeddings=False)}


def randomise(model, generator: torch.Generator) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            norm = "norm" in name or ".ln_" in name
            scale = 1.0 if "embed" in name or "wte" in name else 0.3
            parameter.copy_(1 + 0.3 * noise if norm and name.endswith("weight") else scale * noise)


def batch(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Three rows of 9, 5 and 2 tokens, padded on the right; the first ends with the end token."""
    lengths, width = [9, 5, 2], 9
    ids = torch.randint(4, 64, (3, width), generator=generator)
    ids[0, -1] = 2
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in lengths])
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


def gradients(model, output: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Of Σ output · cotangent, for every parameter of the head and two of the trunk."""
    cotangent = torch.randn(output.shape, generator=generator)
    (output * cotangent).sum().backward()
    wanted = ("score", "classifier", "v_head", "embed_tokens", "wte", "layers.0.self_attn.q_proj.weight", "h.0.attn.c_attn.weight")
    named = {name: p.grad for name, p in model.named_parameters() if any(part in name for part in wanted)}
    return {"cotangent": cotangent} | {f"gradient.{name}": value for name, value in named.items()}


def write(folder: Path, model, logits_of, generator: torch.Generator) -> None:
    model.eval()
    inputs = batch(generator)
    logits = logits_of(inputs)
    if logits.dim() == 3:
        logits = logits * inputs["attention_mask"][..., None]
    tensors = inputs | {"logits": logits} | gradients(model, logits, generator)
    write_tensors(folder / "expected.safetensors", tensors)
    print(folder.name, sum(p.numel() for p in model.parameters()), logits.flatten()[:4].tolist())


def make_value_head(folder: Path, config, generator: torch.Generator) -> None:
    """As TRL's AutoModelForCausalLMWithValueHead saved it: the causal model's tensors and `v_head.summary` in one file."""
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    model.v_head = torch.nn.ModuleDict({"summary": torch.nn.Linear(config.hidden_size, 1)})
    randomise(model, generator)
    model.save_pretrained(folder, state_dict=model.state_dict())
    write(folder, model, lambda inputs: model.v_head["summary"](model.model(**inputs).last_hidden_state), generator)


def main() -> None:
    out = output_folder(__file__)
    for seed, (kind, config) in enumerate((SEQUENCE | TOKEN | VALUE).items()):
        folder = out / kind
        generator = torch.Generator().manual_seed(2000 + seed)
        if kind in VALUE:
            make_value_head(folder, config, generator)
        else:
            if kind == "qwen2-process-reward":
                config._attn_implementation = "eager"
                model = Qwen2ForProcessRewardModel(config)
            else:
                auto = AutoModelForSequenceClassification if kind in SEQUENCE else AutoModelForTokenClassification
                model = auto.from_config(config, attn_implementation="eager", dtype=torch.float32)
            randomise(model, generator)
            model.save_pretrained(folder)
            write(folder, model, lambda inputs, model=model: model(**inputs).logits, generator)
        (folder / "generation_config.json").unlink(missing_ok=True)
    write_json(out / "kinds.json", {"sequence": list(SEQUENCE), "token": list(TOKEN), "value": list(VALUE)})


if __name__ == "__main__":
    main()
