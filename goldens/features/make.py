"""What data is selected by and models are attacked by: LESS, BADGE, semantic entropy, LiRA, by torch from the published formulas."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402

torch.set_num_threads(1)

TEXTS = ["one and two", "a b c", "the cat sat on the mat", "9"]


def less() -> dict:
    """Cosines of normalised gradients, weighted by learning rates, averaged over a task's rows; the best task counts."""
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float32)  # noqa: E731
    rates = torch.tensor([2e-5, 1.5e-5, 4e-6], dtype=torch.float64)
    updates = draw(3, 7, 12)
    tasks = {"first": draw(3, 2, 12), "second": draw(3, 3, 12)}
    per_task = []
    for gradients in tasks.values():
        cosine = torch.nn.functional.cosine_similarity(updates.double()[:, :, None], gradients.double()[:, None], dim=-1)
        per_task.append(((rates / rates.sum())[:, None, None] * cosine).sum(0).mean(-1))
    return {
        "rates": rates.tolist(),
        "updates": updates.tolist(),
        "tasks": {name: gradients.tolist() for name, gradients in tasks.items()},
        "influence": torch.stack(per_task).max(0).values.tolist(),
    }


def badge() -> dict:
    """Of a classifier: gradients by autograd, with the predicted label and with a given one. Of vectors: centres with given uniform numbers."""
    model = AutoModelForSequenceClassification.from_pretrained(ROOT / "heads/qwen2-sequence", dtype=torch.float32).eval()
    rows = [[5, 9, 33, 12], [60, 4, 4, 17, 25, 8], [11]]
    labels = ["right", "wrong", "neutral"]
    cases = []
    for row, label in zip(rows, labels):
        gradients = {}
        for kind in ("hallucinated", "loss"):
            model.zero_grad()
            logits = model(input_ids=torch.tensor([row])).logits
            target = logits.argmax(-1) if kind == "hallucinated" else torch.tensor([model.config.label2id[label]])
            torch.nn.functional.cross_entropy(logits, target).backward()
            gradients[kind] = model.score.weight.grad.flatten().tolist()
        cases.append({"tokens": row, "label": label} | gradients)

    generator = torch.Generator().manual_seed(2)
    vectors = torch.randn(9, 4, generator=generator, dtype=torch.float64).round(decimals=4)
    uniforms = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
    chosen = [int(vectors.norm(dim=1).argmax())]
    probabilities = []
    for uniform in uniforms:
        nearest = torch.cdist(vectors, vectors[chosen]).min(1).values ** 2
        nearest[chosen] = 0
        share = nearest / nearest.sum()
        probabilities.append(share.tolist())
        chosen.append(int(torch.searchsorted(share.cumsum(0), uniform, right=True)))
    centres = {"vectors": vectors.tolist(), "uniforms": uniforms, "probabilities": probabilities, "chosen": chosen}
    return {"classifier": cases, "centres": centres}


def entailment() -> dict:
    """Tokens of pairs of texts, as transformers puts them together for tokenizers of decoders."""
    pairs = []
    for name in ("byte-level-bpe", "sentencepiece-bpe"):
        tokenizer = AutoTokenizer.from_pretrained(ROOT / "tokenizers" / name)
        for premise, hypothesis in zip(TEXTS, reversed(TEXTS)):
            ids = tokenizer(premise, hypothesis)["input_ids"]
            pairs.append({"tokenizer": name, "premise": premise, "hypothesis": hypothesis, "ids": ids})
    return {"pairs": pairs}


def semantic_entropy() -> list:
    """Entropy of clusters: log-sum-exp of log-likelihoods that are normalised over the answers, and of shares of the answers."""
    generator = torch.Generator().manual_seed(3)
    cases = []
    for clusters in ([0, 0, 1, 2, 1, 0], [0, 1, 2, 3], [0, 0, 0]):
        ids = torch.tensor(clusters)
        tokens = torch.randint(1, 9, ids.shape, generator=generator)
        log_probs = [-2 * torch.rand(int(n), generator=generator, dtype=torch.float64) for n in tokens]
        case = {"clusters": clusters, "tokens": tokens.tolist(), "log_probs": [float(x.sum()) for x in log_probs]}
        for name, of in (("normalized", torch.mean), ("summed", torch.sum)):
            logs = torch.stack([of(x) for x in log_probs]).log_softmax(0)
            of_cluster = torch.stack([logs[ids == c].logsumexp(0) for c in sorted(set(clusters))])
            case[name] = float(-(of_cluster.exp() * of_cluster).sum())
        shares = torch.bincount(ids).double() / len(clusters)
        case["discrete"] = float(torch.distributions.Categorical(probs=shares).entropy())
        cases.append(case)
    return cases


def lira() -> dict:
    """Log-likelihood ratios of normal distributions, and P(Z <= confidence) offline."""
    generator = torch.Generator().manual_seed(4)
    members = torch.stack([torch.randperm(8, generator=generator) < 4 for _ in range(5)]).T
    shadows = torch.randn(8, 5, generator=generator, dtype=torch.float64) + members.double()
    target = torch.randn(5, generator=generator, dtype=torch.float64)
    normal = torch.distributions.Normal
    result = {"members": members.tolist(), "shadows": shadows.tolist(), "target": target.tolist()}
    for variance in ("row", "global"):
        fitted = {}
        for kind, mask in (("in", members), ("out", ~members), ("all", torch.ones_like(members))):
            values = [shadows[:, row][mask[:, row]] for row in range(5)]
            spread = torch.stack([value.var(correction=0) for value in values])
            deviation = (spread if variance == "row" else spread.mean().expand(5)).sqrt()
            fitted[kind] = normal(torch.stack([value.mean() for value in values]), deviation)
        ratio = fitted["in"].log_prob(target) - fitted["out"].log_prob(target)
        result[variance] = {"online": ratio.tolist(), "offline": fitted["all"].cdf(target).tolist()}
    return result


def memorization() -> dict:
    """Influence of rows on values over models of parts of them, by masked means (arXiv 2008.03703, eq. 1)."""
    generator = torch.Generator().manual_seed(6)
    models, rows, values = 12, 5, 4
    members = torch.stack([torch.randperm(rows, generator=generator) < 3 for _ in range(models)])
    said = torch.rand(models, values, generator=generator, dtype=torch.float64)
    mask = members.double()
    influence = (mask.T @ said) / mask.sum(0)[:, None] - ((1 - mask).T @ said) / (1 - mask).sum(0)[:, None]
    return {"members": members.tolist(), "values": said.tolist(), "influence": influence.tolist()}


def difficulty() -> dict:
    """Mean losses of answers with and without their questions under a small model, and the ratios of Cherry (losses) and Superfiltering (perplexities)."""
    model = AutoModelForCausalLM.from_pretrained(ROOT / "models/llama", dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(8)
    cases = []
    for question, answer in ((5, 4), (9, 6), (3, 1), (7, 12)):
        ids = torch.randint(3, model.config.vocab_size, (question + answer,), generator=generator)
        losses = {}
        for name, start in (("given", 1 + question), ("alone", 1)):
            # The first token stands for the beginning of text.
            own = torch.cat([torch.tensor([1]), ids if name == "given" else ids[question:]])
            with torch.no_grad():
                logits = model(input_ids=own[None]).logits[0].double()
            losses[name] = torch.nn.functional.cross_entropy(logits[start - 1 : -1], own[start:]).item()
        ratio = losses["given"] / losses["alone"]
        perplexities = torch.tensor(losses["given"]).exp() / torch.tensor(losses["alone"]).exp()
        cases.append({"tokens": answer, **losses, "loss": ratio, "perplexity": perplexities.item()})
    return {"cases": cases}


def main() -> None:
    out = output_folder(__file__)
    write_json(out / "difficulty.json", difficulty())
    write_json(out / "less.json", less())
    write_json(out / "badge.json", badge())
    write_json(out / "entailment.json", entailment())
    write_json(out / "semantic-entropy.json", semantic_entropy())
    write_json(out / "lira.json", lira())
    write_json(out / "memorization.json", memorization())


if __name__ == "__main__":
    main()
