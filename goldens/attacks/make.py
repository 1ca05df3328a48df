"""GCG (arXiv 2307.15043) by nanoGCG 0.3.0 on the tiny Llama of goldens/models: gradient, candidates of given draws, losses and the tokens that are kept, step by step."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from nanogcg.gcg import GCG, GCGConfig, sample_ids_from_grad  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

here = Path(__file__).resolve().parent
out = output_folder(__file__)
torch.set_num_threads(1)

WIDTH, TOP_K = 12, 8
model = AutoModelForCausalLM.from_pretrained(here.parent / "models/llama", dtype=torch.float32)
before, suffix, after, target = [1, 17, 90, 33], [120, 121, 122, 123, 124], [40, 41], [200, 201, 202]
forbidden = list(range(0, 256, 5))


def run(replace):
    torch.manual_seed(replace)
    embed = model.get_input_embeddings()
    attack = GCG.__new__(GCG)
    attack.model, attack.embedding_layer, attack.prefix_cache, attack.config = model, embed, None, GCGConfig()
    one = lambda ids: torch.tensor([ids])  # noqa: E731
    attack.target_ids = one(target)
    attack.before_embeds, attack.after_embeds, attack.target_embeds = (embed(one(ids)) for ids in (before, after, target))
    ids = one(suffix)
    steps = []
    for _ in range(3):
        gradient = attack.compute_token_gradient(ids)
        kept = gradient[0].clone()
        # What it draws, in its order, so that another may be given the same.
        draws = torch.get_rng_state()
        positions = torch.argsort(torch.rand((WIDTH, len(suffix))))[..., :replace]
        ranks = torch.randint(0, TOP_K, (WIDTH, replace, 1))[..., 0]
        torch.set_rng_state(draws)
        candidates = sample_ids_from_grad(ids[0], gradient[0], WIDTH, TOP_K, replace, torch.tensor(forbidden))
        parts = [attack.before_embeds, None, attack.after_embeds, attack.target_embeds]
        inputs = torch.cat([embed(candidates) if x is None else x.repeat(WIDTH, 1, 1) for x in parts], dim=1)
        losses = attack._compute_candidates_loss_original(WIDTH, inputs)
        ids = candidates[losses.argmin()].unsqueeze(0)
        steps.append(
            {
                # All of it of the first step, of the others every 16th token's: it would be large.
                "gradient": [[round(x, 7) for x in row] for row in kept[:, :: 16 if steps else 1].tolist()],
                "choices": [[list(pair) for pair in zip(p, r)] for p, r in zip(positions.tolist(), ranks.tolist())],
                "candidates": candidates.tolist(),
                "losses": [round(x, 7) for x in losses.tolist()],
                "kept": ids[0].tolist(),
            }
        )
    return {"replacements": replace, "steps": steps}


write_json(
    out / "gcg.json",
    {"before": before, "suffix": suffix, "after": after, "target": target, "forbidden": forbidden, "topK": TOP_K, "runs": [run(1), run(2)]},
)
