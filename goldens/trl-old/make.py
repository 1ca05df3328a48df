"""Losses and gradients of TRL's trainers that newer TRL has not: BCOTrainer by get_batch_loss_metrics, step after step; XPOTrainer and
NashMDTrainer by _compute_losses and _log_statistics."""

import collections
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from trl.experimental.bco.bco_trainer import BCOTrainer, RunningMoments  # noqa: E402
from trl.experimental.nash_md.nash_md_trainer import NashMDTrainer  # noqa: E402
from trl.experimental.xpo.xpo_trainer import XPOTrainer  # noqa: E402
from stand_in import StandIn, fake_model, rounded  # noqa: E402

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

ROWS, LENGTH, PROMPT = 10, 8, 3
LENGTHS = [5, 3, 4, 1, 2, 4, 5, 4, 3, 2]
DESIRABLE = [1, 0, 1, 1, 0, 0, 1, 0, 1, 1]


def draw(seed: int, steps: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    position = torch.arange(LENGTH)[None]
    mask = ((position >= PROMPT) & (position < PROMPT + torch.tensor(LENGTHS)[:, None])).long()
    shift = mask[:, 1:]
    shape = (steps, ROWS, LENGTH - 1)
    ref = rounded(-torch.randn(shape, generator=generator).abs() - 0.05) * shift
    logps = (ref + rounded(1.2 * torch.randn(shape, generator=generator))) * shift
    return {"logps": logps, "ref_logps": ref, "mask": mask}


def underlying() -> dict:
    """Embeddings of prompts, of which the desirable ones are drawn elsewhere, and the weights that `_get_udm_weight` gives undesirable rows."""
    generator = torch.Generator().manual_seed(43)
    embeddings = rounded(torch.randn((24, 4), generator=generator))
    label = torch.rand(24, generator=generator) < torch.sigmoid(2 * embeddings[:, 0] - embeddings[:, 1] + 0.5)
    # As in BCOTrainer's __init__.
    clf = LogisticRegression(class_weight="balanced").fit(embeddings.float().numpy(), label.double().numpy())
    ratios = {}
    for bounds in ((0.5, 10.0), (0.01, 100.0)):
        trainer = StandIn(BCOTrainer, args=SimpleNamespace(min_density_ratio=bounds[0], max_density_ratio=bounds[1]))
        trainer.clf = clf
        trainer.embedding_tokenizer = SimpleNamespace(pad_token_id=0)
        ratios[f"{bounds[0]} {bounds[1]}"] = trainer._get_udm_weight(embeddings[~label]).tolist()
    return {"embeddings": embeddings.tolist(), "label": label.int().tolist(), "density_ratio": ratios}


def bco_steps(inputs: dict, beta: float, density_ratio: torch.Tensor | None = None) -> dict:
    """The first rows of a step are the desirable ones, as `forward` gives them; the shift δ is that of all steps so far."""
    desirable = torch.tensor(DESIRABLE).bool()
    trainer = StandIn(BCOTrainer, beta=beta, match_underlying_distribution=density_ratio is not None)
    trainer.accelerator.use_distributed = False
    trainer.running = RunningMoments(trainer.accelerator)
    trainer._get_prompt_embeddings = lambda batch: (None, density_ratio)
    trainer._get_udm_weight = lambda ratios: ratios
    steps = []
    for own, ref in zip(inputs["logps"], inputs["ref_logps"]):
        leaf = own.clone().requires_grad_()
        sums = {"own": (leaf * inputs["mask"][:, 1:]).sum(1), "ref": ref.sum(1)}
        trainer.forward = lambda model, batch: (sums[model][desirable], sums[model][~desirable], torch.zeros(1), torch.zeros(1))
        trainer.model, trainer.ref_model = "own", "ref"
        loss, metrics = trainer.get_batch_loss_metrics("own", {})
        loss.backward()
        means = {f"{name}/{side}": metrics[f"{name}/{side}_sum"] / metrics[f"count/{side}"] for name in ("rewards", "logps") for side in ("chosen", "rejected")}
        steps.append({"loss": loss.item(), "gradient": leaf.grad.tolist(), "metrics": means | {"delta": metrics["delta"]}})
    of = {} if density_ratio is None else {"density_ratio": density_ratio.tolist()}
    return {"options": {"beta": beta}, **of, "steps": steps}


def bco() -> dict:
    inputs = draw(31, steps=3)
    values = {key: value.tolist() for key, value in inputs.items()}
    weighted = bco_steps(inputs, 0.7, torch.tensor([0.5, 2.25, 1.0, 4.0]))
    cases = [bco_steps(inputs, beta) for beta in (0.1, 0.7)]
    return {"inputs": values | {"label": DESIRABLE}, "cases": [*cases, weighted], "underlying": underlying()}


def tokenizer() -> SimpleNamespace:
    return SimpleNamespace(eos_token_id=2)


def data_of(mask: torch.Tensor) -> dict:
    return {"input_ids": torch.zeros(mask.shape[0], LENGTH).long()}


def xpo_case(inputs: dict, loss_type: str, beta: float, alpha: float) -> dict:
    """Rows 0 to 4 are the policy's completions, 5 to 9 the reference's for the same prompts."""
    pairs = ROWS // 2
    leaf = inputs["logps"][0].clone().requires_grad_()
    ref = inputs["ref_logps"][0]
    scores = inputs["scores"]
    trainer = StandIn(XPOTrainer, _beta=beta, _alpha=alpha, beta=beta, alpha=alpha, args=SimpleNamespace(loss_type=loss_type))
    trainer.stats = collections.defaultdict(list)
    trainer.processing_class = tokenizer()
    trained = leaf * inputs["mask"][:, 1:]
    own = (trained[:pairs], trained[pairs:], ref[pairs:], ref[:pairs])
    chosen = scores[:pairs] >= scores[pairs:]
    loss, dpo, xpo = trainer._compute_losses(*own, chosen)
    loss.backward()
    detached = [value.detach() for value in own]
    data = data_of(inputs["mask"][:pairs])
    trainer._log_statistics(data, data, *detached, chosen, dpo.detach(), xpo.detach(), PROMPT, scores[:pairs], scores[pairs:])
    kept = ("loss/dpo", "loss/xpo", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies")
    return {
        "options": {"loss_type": loss_type, "beta": beta, "alpha": alpha},
        "loss": loss.item(),
        "gradient": leaf.grad.tolist(),
        "metrics": {name: trainer.stats[name][-1] for name in kept},
    }


def nash_case(inputs: dict, beta: float) -> dict:
    leaf = inputs["logps"][0].clone().requires_grad_()
    ref = inputs["ref_logps"][0]
    trainer = StandIn(NashMDTrainer, _beta=beta, beta=beta, mixture_coef=0.5)
    trainer.stats = collections.defaultdict(list)
    trainer.processing_class = tokenizer()
    probability = inputs["probability"]
    loss, score, kl = trainer._compute_losses(leaf * inputs["mask"][:, 1:], ref, probability)
    loss.backward()
    data = data_of(inputs["mask"])
    zeros = torch.zeros(ROWS)
    trainer._log_statistics(data, data, leaf.detach(), ref, probability, score.detach(), kl, PROMPT, zeros, zeros)
    kept = ("loss/score", "loss/kl", "rewards/probabilities")
    return {
        "options": {"beta": beta},
        "loss": loss.item(),
        "gradient": leaf.grad.tolist(),
        "metrics": {name: trainer.stats[name][-1] for name in kept},
    }


def online() -> dict:
    inputs = draw(37)
    generator = torch.Generator().manual_seed(41)
    inputs["scores"] = rounded(torch.rand(ROWS, generator=generator))
    inputs["probability"] = rounded(torch.rand(ROWS, generator=generator))
    values = {key: (value[0] if value.dim() == 3 else value).tolist() for key, value in inputs.items()}
    xpo = [xpo_case(inputs, *case) for case in (("sigmoid", 0.1, 1e-5), ("sigmoid", 0.5, 0.2), ("ipo", 0.5, 0.2))]
    return {"inputs": values, "xpo": xpo, "nash_md": [nash_case(inputs, beta) for beta in (0.1, 0.6)]}


def main() -> None:
    out = output_folder(__file__)
    write_json(out / "bco.json", bco())
    write_json(out / "online.json", online())


if __name__ == "__main__":
    main()
