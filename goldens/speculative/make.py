"""Speculative decoding of transformers: n-gram candidates, the acceptance rule, and assisted greedy generation."""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaModel  # noqa: E402
from transformers.generation import utils as generation  # noqa: E402
from transformers.generation.candidate_generator import (  # noqa: E402
    AssistedCandidateGenerator,
    PromptLookupCandidateGenerator,
)

torch.set_num_threads(1)
MODELS = Path(__file__).resolve().parents[1] / "models"
NEW_TOKENS = 24


def prompt_lookup(generator: torch.Generator) -> list:
    cases = []
    for case in range(60):
        vocabulary = [2, 3, 6, 20][case % 4]
        length = 1 + case // 2
        sequence = torch.randint(vocabulary, (length,), generator=generator)
        tokens, size = [1, 3, 10][case % 3], 1 + case % 5
        lookup = PromptLookupCandidateGenerator(None, tokens, size, max_length=10_000)
        candidates = lookup.get_candidates(sequence[None])[0][0, length:]
        options = {"tokens": tokens, "maxMatchingNgramSize": size}
        cases.append({"sequence": sequence.tolist(), "options": options, "candidates": candidates.tolist()})
    return cases


def rest(generator: torch.Generator) -> list:
    """
    REST (arXiv 2311.08252) from its definition, with loops and without a suffix array: the longest ending of the text that occurs
    in the store, and the beginnings of what followed it by frequency; of equal ones the shorter, then the lower token ids.
    """
    cases = []
    for case in range(24):
        vocabulary = [2, 4, 9][case % 3]
        texts = [torch.randint(vocabulary, (1 + 3 * i,), generator=generator).tolist() for i in range(1 + case % 7)]
        text = torch.randint(vocabulary, (1 + case % 6,), generator=generator).tolist()
        tokens, depth, size = [1, 5, 64][case % 3], 1 + case % 4, 1 + case % 5
        counts = {}
        for n in range(min(size, len(text)), 0, -1):
            for each in texts:
                for start in range(len(each) - n + 1):
                    if each[start : start + n] != text[-n:]:
                        continue
                    following = each[start + n : start + n + depth]
                    for length in range(1, len(following) + 1):
                        path = tuple(following[:length])
                        counts[path] = counts.get(path, 0) + 1
            if counts:
                break
        chosen = sorted(counts, key=lambda path: (-counts[path], len(path), path))[:tokens]
        parents = [chosen.index(path[:-1]) if len(path) > 1 else -1 for path in chosen]
        options = {"tokens": tokens, "depth": depth, "maxMatchingNgramSize": size}
        cases.append({"texts": texts, "text": text, "options": options, "tokens": [path[-1] for path in chosen], "parents": parents})
    return cases


def speculative_sampling(generator: torch.Generator) -> list:
    """The numbers that transformers draws are given, and the distribution it draws the last token from is kept."""
    cases = []
    for case in range(12):
        count, vocabulary = 3, 5
        p_logits = 2 * torch.randn(1, count + 1, vocabulary, generator=generator)
        q_logits = p_logits[:, :count] + [0.3, 1.0, 3.0][case % 3] * torch.randn(1, count, vocabulary, generator=generator)
        draft = torch.stack([torch.multinomial(q.softmax(-1), 1, generator=generator)[0] for q in q_logits[0]])
        uniforms = torch.rand(count, generator=generator)
        captured = []
        torch.rand_like, real_rand_like = (lambda like: uniforms.view_as(like)), torch.rand_like
        torch.multinomial, real_multinomial = (lambda p, num_samples: captured.append(p) or p.argmax(-1, keepdim=True)), torch.multinomial
        try:
            _, matches = generation._speculative_sampling(draft[None], q_logits, count, p_logits)
        finally:
            torch.rand_like, torch.multinomial = real_rand_like, real_multinomial
        cases.append(
            {
                "target": p_logits[0].softmax(-1).double().tolist(),
                "draft": q_logits[0].softmax(-1).double().tolist(),
                "tokens": draft.tolist(),
                "uniforms": uniforms.double().tolist(),
                "matches": int(matches),
                "last": captured[0].flatten().double().tolist(),
            }
        )
    return cases


def assisted(name: str, factor: float, schedule: str, prompts: list) -> dict:
    """The draft is the target with the last block's two output projections times `factor`."""
    target = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32)
    draft = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32)
    scaled = [f"model.layers.1.{part}.weight" for part in ("self_attn.o_proj", "mlp.down_proj")]
    with torch.no_grad():
        for parameter in scaled:
            draft.get_parameter(parameter).mul_(factor)
    draft.generation_config.num_assistant_tokens_schedule = schedule
    draft.generation_config.assistant_confidence_threshold = 0.0
    rows = []
    for prompt in prompts:
        # "heuristic" would go on with the number that the prompt before ended with.
        draft.generation_config.num_assistant_tokens = 4
        rounds = []
        real = AssistedCandidateGenerator.update_candidate_strategy

        def update(self, input_ids, scores, num_matches, rounds=rounds, real=real):
            rounds.append([scores.shape[1] - 1, int(num_matches)])
            real(self, input_ids, scores, num_matches)

        AssistedCandidateGenerator.update_candidate_strategy = update
        options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}

        def run(ids, count, options=options, **others):
            mask = torch.ones_like(ids)
            return target.generate(ids, attention_mask=mask, max_new_tokens=count, **options, **others)

        plain = run(torch.tensor([prompt]), NEW_TOKENS)
        # Speculation begins behind the first token, which comes from the prompt's own pass.
        begun = plain[:, : len(prompt) + 1]
        try:
            out = run(begun, NEW_TOKENS - 1, assistant_model=draft)
        finally:
            AssistedCandidateGenerator.update_candidate_strategy = real
        assert out.tolist() == plain.tolist()
        rows.append({"prompt": prompt, "ids": out[0, len(prompt) :].tolist(), "rounds": rounds})
    return {"model": name, "scaled": scaled, "factor": factor, "schedule": schedule, "tokens": 4, "rows": rows}


def medusa(out: Path, generator: torch.Generator) -> dict:
    """
    Medusa heads (arXiv 2401.10774) as FasterDecoding/Medusa defines them, which is on no registry: written here with torch. Their
    file and config are in the reference's layout.
    """
    width, vocabulary, heads, layers, decay = 4, 7, 3, 2, 0.8
    shapes = {}
    for head in range(heads):
        for layer in range(layers):
            shapes[f"{head}.{layer}.linear.weight"] = (width, width)
            shapes[f"{head}.{layer}.linear.bias"] = (width,)
        shapes[f"{head}.{layers}.weight"] = (vocabulary, width)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    modules = torch.nn.ModuleList()
    for _ in range(heads):
        blocks = [torch.nn.ModuleDict({"linear": torch.nn.Linear(width, width)}) for _ in range(layers)]
        modules.append(torch.nn.ModuleList([*blocks, torch.nn.Linear(width, vocabulary, bias=False)]))
    modules.load_state_dict(weights)
    hidden = torch.randn(2, 9, width, generator=generator)
    labels = torch.randint(vocabulary, (2, 9), generator=generator)
    labels[0, :3] = labels[1, 7:] = -100
    logits, losses = [], []
    for k, head in enumerate(modules):
        x = hidden
        for block in list(head)[:-1]:
            x = x + torch.nn.functional.silu(block["linear"](x))
        logits.append(head[-1](x))
        # Head k says what comes k + 2 places later.
        losses.append(torch.nn.functional.cross_entropy(logits[-1][:, : -(k + 2)].reshape(-1, vocabulary), labels[:, k + 2 :].reshape(-1)))
    loss = sum(decay ** (k + 1) * each for k, each in enumerate(losses))
    loss.backward()
    folder = out / "medusa"
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "medusa_lm_head.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", {"medusa_num_heads": heads, "medusa_num_layers": layers, "base_model_name_or_path": "tiny"})
    return {
        "hidden": hidden.tolist(),
        "labels": labels.tolist(),
        "decay": decay,
        "logits": torch.stack(logits).tolist(),
        "losses": [each.item() for each in losses],
        "loss": loss.item(),
        "gradients": {name: parameter.grad.tolist() for name, parameter in modules.named_parameters()},
    }


def eagle(out: Path, generator: torch.Generator) -> dict:
    """
    The head and the loss of EAGLE (arXiv 2401.15077), which is on no registry: a decoder layer of transformers without its first
    norm, over features and embeddings, and the paper's loss written here with torch.
    """
    width, vocabulary, weight = 8, 11, 0.1
    sizes = {"hidden_size": width, "intermediate_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": vocabulary}
    config = LlamaConfig(**sizes, num_hidden_layers=1, max_position_embeddings=32, bos_token_id=None, eos_token_id=None)
    config._attn_implementation = "eager"
    model = LlamaModel(config)
    model.layers[0].input_layernorm = model.norm = torch.nn.Identity()
    fc = torch.nn.Linear(2 * width, width)
    weights = {name: torch.randn(p.shape, generator=generator) / 2 for name, p in model.named_parameters()}
    weights |= {f"fc.{name}": torch.randn(p.shape, generator=generator) / 3 for name, p in fc.named_parameters()}
    model.load_state_dict({name: x for name, x in weights.items() if not name.startswith("fc.")})
    fc.load_state_dict({name[3:]: x for name, x in weights.items() if name.startswith("fc.")})
    head = torch.randn(vocabulary, width, generator=generator)
    hidden = torch.randn(2, 6, width, generator=generator)
    tokens = torch.randint(vocabulary, (2, 6), generator=generator)
    learnt = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 0, 0, 1]], dtype=torch.float32)
    # At t: feature t, and the token behind it.
    joined = torch.cat([model.embed_tokens(tokens[:, 1:]), hidden[:, :-1]], dim=-1)
    states = model(inputs_embeds=fc(joined)).last_hidden_state
    target = hidden[:, 1:]
    regression = (torch.nn.functional.smooth_l1_loss(states, target, reduction="none").mean(-1) * learnt).sum() / learnt.sum()
    wanted = (target @ head.T).softmax(-1)
    classification = -((wanted * (states @ head.T).log_softmax(-1)).sum(-1) * learnt).sum() / learnt.sum()
    loss = regression + weight * classification
    loss.backward()
    folder = out / "eagle"
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", json.loads(config.to_json_string(use_diff=False)) | {"bias": True})
    named = [*model.named_parameters(), *((f"fc.{name}", p) for name, p in fc.named_parameters())]
    return {
        "head": head.tolist(),
        "hidden": hidden.tolist(),
        "tokens": tokens.tolist(),
        "learnt": learnt.tolist(),
        "weight": weight,
        "states": states.tolist(),
        "regression": regression.item(),
        "classification": classification.item(),
        "loss": loss.item(),
        "gradients": {name: p.grad.tolist() for name, p in named if name != "embed_tokens.weight"},
    }


def typical(generator: torch.Generator) -> list:
    """Medusa's typical acceptance (arXiv 2401.10774) of every token of some distributions, from the paper's formula in float64."""
    cases = []
    for case in range(12):
        p = ([0.3, 1.0, 3.0][case % 3] * torch.randn(6, generator=generator, dtype=torch.float64)).softmax(-1)
        epsilon, delta = [(0.09, 0.3), (0.2, 0.5), (0.05, 0.9)][case // 4]
        entropy = torch.distributions.Categorical(probs=p).entropy()
        bound = torch.minimum(torch.tensor(epsilon, dtype=torch.float64), delta * (-entropy).exp())
        cases.append({"target": p.tolist(), "epsilon": epsilon, "delta": delta, "kept": (p > bound).tolist()})
    return cases


def main() -> None:
    out = output_folder(__file__)
    generator = torch.Generator().manual_seed(53)
    runs = []
    for name in ("llama", "qwen2"):
        prompts = json.loads((MODELS / name / "expected.json").read_text())["greedy.prompts"]
        for schedule in ("constant", "heuristic"):
            runs.append(assisted(name, 0.7, schedule, prompts))
    golden = {"prompt_lookup": prompt_lookup(generator), "speculative_sampling": speculative_sampling(generator), "assisted": runs}
    golden["medusa"] = medusa(out, generator)
    golden["rest"] = rest(torch.Generator().manual_seed(59))
    golden["typical"] = typical(torch.Generator().manual_seed(67))
    golden["eagle"] = eagle(out, torch.Generator().manual_seed(61))
    write_json(out / "expected.json", golden)


if __name__ == "__main__":
    main()
