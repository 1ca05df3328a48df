"""Beam search of transformers; diverse beam search, contrastive search and contrastive decoding by their papers.

transformers 5 has no diverse beam search (`num_beam_groups`) and no contrastive search any more, and never had contrastive
decoding. These three are written here from the papers, without a cache and without batches.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, GenerationConfig  # noqa: E402
from transformers.utils import logging  # noqa: E402

torch.set_num_threads(1)
logging.disable_progress_bar()
logging.set_verbosity_error()
MODELS = Path(__file__).resolve().parents[1] / "models"
NEW_TOKENS = 10
# End tokens that this model is likely to choose, so that hypotheses end early.
ENDS = {"llama": [[44], [133, 231]], "gpt2": [[196], [184, 93]]}
# Words that are in the best hypotheses otherwise: of one, two and three tokens.
BAD_WORDS = {"llama": [[207], [231, 183], [144, 44, 93]], "gpt2": [[182], [196, 196], [218, 178, 178]]}
MINUS_INFINITY = float("-inf")


def load(kind: str, dtype: torch.dtype):
    model = AutoModelForCausalLM.from_pretrained(MODELS / kind, dtype=dtype, attn_implementation="eager").eval()
    model.generation_config.eos_token_id = None
    return model


def beam_options(ends: list[list[int]], bad: list[list[int]]) -> list[dict]:
    one, two = ends
    return [
        {"num_beams": 1, "eos_token_id": one},
        {"num_beams": 4, "num_return_sequences": 4},
        {"num_beams": 4, "num_return_sequences": 2, "eos_token_id": one},
        {"num_beams": 3, "num_return_sequences": 3, "eos_token_id": one, "early_stopping": True},
        {"num_beams": 3, "num_return_sequences": 3, "eos_token_id": one, "early_stopping": "never"},
        {"num_beams": 3, "num_return_sequences": 3, "eos_token_id": one, "length_penalty": 0.0},
        {"num_beams": 3, "num_return_sequences": 3, "eos_token_id": one, "length_penalty": 0.0, "early_stopping": "never"},
        {"num_beams": 3, "num_return_sequences": 3, "eos_token_id": one, "length_penalty": 2.0},
        {"num_beams": 3, "num_return_sequences": 3, "eos_token_id": one, "length_penalty": 2.0, "early_stopping": "never"},
        {"num_beams": 3, "num_return_sequences": 3, "eos_token_id": one, "length_penalty": -1.0},
        {"num_beams": 4, "num_return_sequences": 4, "eos_token_id": two, "early_stopping": True},
        {"num_beams": 4, "num_return_sequences": 4, "eos_token_id": two},
        {"num_beams": 4, "num_return_sequences": 2, "eos_token_id": two, "repetition_penalty": 1.3},
        {"num_beams": 3, "num_return_sequences": 3, "eos_token_id": one, "min_new_tokens": 6, "no_repeat_ngram_size": 2},
        {"num_beams": 3, "num_return_sequences": 3, "eos_token_id": two, "bad_words_ids": bad},
    ]


LOOK_BACK = {"repetition_penalty", "no_repeat_ngram_size", "bad_words_ids"}


def log_softmax_after(model, ids: list[int]) -> torch.Tensor:
    return model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)


def token_log_probs(model, prompt: list[int], tokens: list[int]) -> list[float]:
    ids = torch.tensor([prompt + tokens])
    rows = model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return rows.gather(-1, torch.tensor(tokens)[:, None])[:, 0].tolist()


def beam_search(model, prompts: list[list[int]], options: dict) -> list[list[dict]]:
    """What `generate` returns for a left-padded batch, by prompt."""
    length = max(map(len, prompts))
    ids = torch.tensor([[0] * (length - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    config = GenerationConfig(
        do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=0, return_dict_in_generate=True, output_scores=True, **options
    )
    alone = options["num_beams"] == 1 or LOOK_BACK & options.keys() or model.dtype == torch.float64
    if alone:
        # Processors see the padding, and it gives NaN in float64; one beam is greedy search, without scores.
        parts = [model.generate(torch.tensor([prompt]), generation_config=config) for prompt in prompts]
    else:
        parts = [model.generate(ids, attention_mask=mask, generation_config=config)]
    results = []
    returned = options.get("num_return_sequences", 1)
    for part in parts:
        scores = part.get("sequences_scores")
        for i, sequence in enumerate(part.sequences.tolist()):
            start = length if not alone else len(prompts[len(results) // returned])
            tokens = sequence[start:]
            if scores is not None:
                tokens = tokens[: int((part.beam_indices[i] >= 0).sum())]
            prompt = prompts[len(results) // returned]
            score = None if scores is None else scores[i].item()
            results.append({"tokens": tokens, "score": score, "log_probs": token_log_probs(model, prompt, tokens)})
    return [results[i : i + returned] for i in range(0, len(results), returned)]


def diverse_beam_search(model, prompt: list[int], options: dict) -> list[dict]:
    """arXiv 1610.02424 with the Hamming penalty, in the reading of fairseq and transformers 4.

    The penalty is part of a hypothesis' score. A group is a beam search by itself: only the best `size` of its candidates may
    finish; it stops when `size` are finished and the best that goes on is no better than the worst of these.
    """
    size = options["num_beams"] // options["num_beam_groups"]
    ends, penalty = options.get("eos_token_id", []), options["diversity_penalty"]
    length_penalty = options.get("length_penalty", 1.0)
    groups = [{"running": [([], 0.0)], "finished": [], "open": True} for _ in range(options["num_beam_groups"])]
    for step in range(1, NEW_TOKENS + 1):
        counts = torch.zeros(model.config.vocab_size)
        for group in groups:
            if not group["open"]:
                continue
            candidates = []
            for tokens, score in group["running"]:
                values = log_softmax_after(model, prompt + tokens) - penalty * counts + score
                candidates += [(value, tokens + [token]) for token, value in enumerate(values.tolist())]
            candidates.sort(key=lambda candidate: -candidate[0])
            running = []
            for rank, (score, tokens) in enumerate(candidates[: (1 + len(ends)) * size]):
                if tokens[-1] in ends or step == NEW_TOKENS:
                    if rank < size:
                        group["finished"].append((score / step**length_penalty, tokens))
                elif len(running) < size:
                    running.append((tokens, score))
            group["finished"] = sorted(group["finished"], key=lambda finished: -finished[0])[:size]
            group["running"] = running
            for tokens, _ in running:
                counts[tokens[-1]] += 1
            if not running or len(group["finished"]) == size and running[0][1] / step**length_penalty <= group["finished"][-1][0]:
                group["open"] = False
    every = sorted((finished for group in groups for finished in group["finished"]), key=lambda finished: -finished[0])
    best = every[: options["num_beams"]]
    return [{"tokens": t, "score": s, "log_probs": token_log_probs(model, prompt, t)} for s, t in best]


def contrastive_search(model, prompt: list[int], options: dict) -> list[dict]:
    """arXiv 2202.06417, equation 5: argmax over the k likeliest v of (1 - α) p(v | x) - α max_j cos(h_v, h_j)."""
    k, alpha = options["top_k"], options["penalty_alpha"]
    tokens = []
    for _ in range(NEW_TOKENS):
        probabilities = log_softmax_after(model, prompt + tokens).exp().topk(k)
        values = []
        for probability, token in zip(probabilities.values, probabilities.indices.tolist()):
            ids = torch.tensor([prompt + tokens + [token]])
            hidden = model(ids, output_hidden_states=True).hidden_states[-1][0]
            cosines = torch.nn.functional.cosine_similarity(hidden[-1:], hidden[:-1], dim=-1)
            values.append(((1 - alpha) * probability - alpha * cosines.max()).item())
        tokens.append(probabilities.indices[max(range(k), key=values.__getitem__)].item())
    return [{"tokens": tokens, "log_probs": token_log_probs(model, prompt, tokens)}]


def contrastive_decoding(expert, amateur, prompt: list[int], options: dict) -> list[dict]:
    """arXiv 2210.15097: beams by Σ log p_expert - log p_amateur(temperature τ) over tokens with p_expert ≥ α max p_expert."""
    beams = [([], 0.0)]
    for _ in range(NEW_TOKENS):
        candidates = []
        for tokens, score in beams:
            wanted = log_softmax_after(expert, prompt + tokens)
            unwanted = (amateur(torch.tensor([prompt + tokens])).logits[0, -1] / options["amateur_temperature"]).log_softmax(-1)
            plausible = wanted.exp() >= options["alpha"] * wanted.exp().max()
            values = (wanted - unwanted).masked_fill(~plausible, MINUS_INFINITY) + score
            candidates += [(value, tokens + [token]) for token, value in enumerate(values.tolist()) if value > MINUS_INFINITY]
        candidates.sort(key=lambda candidate: -candidate[0])
        beams = [(tokens, score) for score, tokens in candidates[: options["num_beams"]]]
    return [{"tokens": t, "score": s / NEW_TOKENS, "log_probs": token_log_probs(expert, prompt, t)} for t, s in beams]


DIVERSE = [
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7},
    {"num_beams": 4, "num_beam_groups": 4, "diversity_penalty": 1.5},
    {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 0.4, "length_penalty": 0.5},
]
CONTRASTIVE = [{"top_k": 4, "penalty_alpha": 0.6}, {"top_k": 6, "penalty_alpha": 0.1}, {"top_k": 3, "penalty_alpha": 0.0}]
DECODING = [
    {"num_beams": 1, "alpha": 0.1, "amateur_temperature": 1.0},
    {"num_beams": 4, "alpha": 0.1, "amateur_temperature": 0.5},
    {"num_beams": 3, "alpha": 0.6, "amateur_temperature": 1.0},
]


def cases(dtype: torch.dtype, kind: str, prompts: list[list[int]]) -> dict:
    model, amateur = load(kind, dtype), load("qwen2", dtype)
    diverse = DIVERSE + [DIVERSE[0] | {"eos_token_id": ends} for ends in ENDS[kind]]
    return {
        "beam": [{"options": o, "results": beam_search(model, prompts, o)} for o in beam_options(ENDS[kind], BAD_WORDS[kind])],
        "diverse": [{"options": o, "results": [diverse_beam_search(model, p, o) for p in prompts]} for o in diverse],
        "contrastive_search": [{"options": o, "results": [contrastive_search(model, p, o) for p in prompts]} for o in CONTRASTIVE],
        "contrastive_decoding": [
            {"options": o, "results": [contrastive_decoding(model, amateur, p, o) for p in prompts]} for o in DECODING
        ],
    }


def chosen(made: dict) -> list:
    """All that rounding must not change."""
    return [[[r["tokens"] for r in results] for results in case["results"]] for method in made.values() for case in method]


@torch.no_grad()
def main() -> None:
    out = output_folder(__file__)
    for kind in ENDS:
        generator = torch.Generator().manual_seed(5)
        prompts = [torch.randint(4, 256, (n,), generator=generator).tolist() for n in (4, 7, 5)]
        made = cases(torch.float32, kind, prompts)
        exact = cases(torch.float64, kind, prompts)
        assert chosen(made) == chosen(exact), "no choice may be so close that float32 and float64 differ"
        one, two = ENDS[kind]
        beams = [case["results"] for case in made["beam"]]
        ended = {len(r["tokens"]) for results in beams for group in results for r in group}
        assert min(ended) < NEW_TOKENS, "some hypothesis ends early"
        print(kind, sorted(ended), len({str(b) for b in beams[3:10]}), "different of 7")
        write_json(out / f"{kind}.json", {"prompts": prompts, "amateur": "qwen2", "max_new_tokens": NEW_TOKENS, **made})


if __name__ == "__main__":
    main()
