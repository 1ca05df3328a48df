"""What transformers' logits processors make of given logits, one by one and chained in the order `generate` uses."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, GenerationConfig, GPT2Config, GPT2LMHeadModel  # noqa: E402

CASES = [
    {},
    {"temperature": 0.7},
    {"temperature": 2.5},
    {"top_k": 1},
    {"top_k": 4},
    {"top_k": 50},
    {"top_p": 0.5},
    {"top_p": 0.9},
    {"top_p": 0.01},
    {"min_p": 0.1},
    {"min_p": 0.6},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8},
    {"temperature": 0.8, "top_k": 6, "top_p": 0.8},
    {"temperature": 1.5, "top_p": 0.9, "min_p": 0.05},
    {"repetition_penalty": 1.2, "temperature": 0.7, "top_k": 8, "top_p": 0.95, "min_p": 0.02},
    {"typical_p": 0.2},
    {"typical_p": 0.7},
    {"typical_p": 0.95},
    {"epsilon_cutoff": 0.04},
    {"epsilon_cutoff": 0.6},
    {"eta_cutoff": 0.05},
    {"eta_cutoff": 0.3},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3},
    {"bad_words_ids": [[4], [5, 8], [2, 5, 5, 0], [7, 10], [1], [2, 5, 6]]},
    {"sequence_bias": [[[4], 1.5], [[7], -2.0], [[9], -1e9]]},
    {"min_new_tokens": 3},
    {"min_new_tokens": 4},
    {
        "sequence_bias": [[[3], 2.0], [[6], -1.0]],
        "repetition_penalty": 1.4,
        "no_repeat_ngram_size": 2,
        "bad_words_ids": [[8], [5, 2]],
        "min_new_tokens": 6,
        "temperature": 0.9,
        "top_k": 9,
        "top_p": 0.97,
        "min_p": 0.01,
        "typical_p": 0.9,
        "epsilon_cutoff": 0.02,
        "eta_cutoff": 0.05,
    },
]
PROMPT_LENGTH = 5


MODELS = Path(__file__).resolve().parents[1] / "models"


def guidance(name: str, scale: float, prompt: list, negative: list) -> dict:
    """Classifier-free guidance: greedy tokens, and the scores of each step as log-probabilities."""
    model = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32)
    result = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        negative_prompt_ids=torch.tensor([negative]),
        guidance_scale=scale,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        max_new_tokens=12,
        output_scores=True,
        return_dict_in_generate=True,
    )
    ids = result.sequences[0, len(prompt) :]
    chosen = [step[0].log_softmax(-1)[token].item() for step, token in zip(result.scores, ids)]
    return {"model": name, "scale": scale, "prompt": prompt, "negative": negative, "ids": ids.tolist(), "log_probs": chosen}


def contrasted(mature: torch.Tensor, layers: list[torch.Tensor], relative_top: float) -> tuple[list[float], torch.Tensor]:
    """DoLa (arXiv 2309.03883) of one row, which transformers 5 has not any more: how far each layer is, and the scores."""
    p = mature.softmax(-1)

    def distance(logits: torch.Tensor) -> float:
        mean = (p + logits.softmax(-1)) / 2
        return sum((mean * (mean.log() - other.log_softmax(-1))).sum().item() for other in (mature, logits))

    distances = [distance(logits) for logits in layers]
    scores = mature.log_softmax(-1) - layers[distances.index(max(distances))].log_softmax(-1)
    return distances, scores.masked_fill(p < relative_top * p.max(), float("-inf"))


def dola(name: str, layers: list[int], relative_top: float, prompt: list[int]) -> dict | None:
    """Greedy text in float64, whole passes without a cache; None where a choice is nearly tied."""
    folder = Path(__file__).resolve().parents[1] / "models" / name
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    ids, chosen, log_probs = list(prompt), [], []
    for _ in range(12):
        with torch.no_grad():
            output = model(torch.tensor([ids]), output_hidden_states=True)
            inner = [model.get_output_embeddings()(output.hidden_states[layer][0, -1]) for layer in layers]
        distances, scores = contrasted(output.logits[0, -1], inner, relative_top)
        best, second = scores.topk(2).values.tolist()
        far = sorted(distances, reverse=True)
        if best - second < 0.02 or (len(far) > 1 and far[0] < 1.01 * far[1]):
            return None
        ids.append(scores.argmax().item())
        chosen.append(layers[distances.index(far[0])])
        log_probs.append(scores.log_softmax(-1).max().item())
    new = ids[len(prompt) :]
    return {
        "model": name,
        "layers": layers,
        "relative_top": relative_top,
        "prompt": prompt,
        "ids": new,
        "chosen": chosen,
        "log_probs": log_probs,
    }


def main() -> None:
    out = output_folder(__file__)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(47)
    logits = (2 * torch.randn(3, 12, generator=generator) * 1e4).round() / 1e4
    logits[2] = torch.tensor([3.0, 3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 0.0, 0.0, -1.0, -1.0, -2.0])  # ties
    seen = torch.tensor([[5, 5, 0, 4, 7, 3, 3, 7], [2, 5, 6, 8, 2, 5, 2, 5], [9, 0, 1, 2, 9, 1, 2, 9]])
    # generate itself decides which processors to use and in which order; the model is only needed to ask it.
    model = GPT2LMHeadModel(GPT2Config(n_embd=4, n_layer=1, n_head=1, vocab_size=12, bos_token_id=0, eos_token_id=1))
    cases = []
    for options in CASES:
        config = GenerationConfig(do_sample=True, **{"eos_token_id": 1, "top_k": 0, "top_p": 1.0, "temperature": 1.0, **options})
        model._prepare_special_tokens(config)
        processors = model._get_logits_processor(config, input_ids_seq_length=PROMPT_LENGTH)
        probabilities = processors(seen, logits.clone()).softmax(-1)
        cases.append({"options": options, "probabilities": probabilities.tolist()})
    write_json(
        out / "expected.json",
        {"logits": logits.tolist(), "seen": seen.tolist(), "prompt_length": PROMPT_LENGTH, "end_token": 1, "cases": cases},
    )
    runs = [guidance("llama", 1.5, [5, 9, 31, 2], [7, 9, 1]), guidance("gpt2", 3.0, [17, 4], [4])]
    write_json(out / "guidance.json", runs)
    asked = [(name, *what) for name in ["llama", "gpt2"] for what in [([0], 0.1), ([1], 0.1), ([0, 1], 0.02)]]
    write_json(out / "dola.json", [next(filter(None, (dola(*what, [first, 9]) for first in range(3, 99)))) for what in asked])


if __name__ == "__main__":
    main()
