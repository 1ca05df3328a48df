"""Preference losses of TRL's other trainers: CPOTrainer (CPO, SimPO, AlphaPO) and ORPOTrainer by get_batch_loss_metrics, KTOTrainer by
_compute_loss, OnlineDPOTrainer by training_step."""

import collections
from types import SimpleNamespace

import torch
from trl import KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.online_dpo import OnlineDPOTrainer
from trl.experimental.orpo import ORPOTrainer
from dpo import LENGTH, PAIRS, PROMPT, draw
from stand_in import StandIn, fake_model, rounded

KEPT = ("rewards/", "logps/", "nll_loss", "log_odds", "kl", "entropy")


def kept(metrics: dict) -> dict:
    return {key: value for key, value in metrics.items() if key.startswith(KEPT)}


def batch_of(mask: torch.Tensor, attention: torch.Tensor) -> dict:
    labels = torch.where(mask == 1, 0, -100)
    ids = torch.zeros_like(mask)
    parts = {"input_ids": ids, "attention_mask": attention, "labels": labels}
    chosen = {f"chosen_{key}": value[:PAIRS] for key, value in parts.items()}
    return chosen | {f"rejected_{key}": value[PAIRS:] for key, value in parts.items()}


def pairs_case(trainer, inputs: dict, **options) -> dict:
    leaf = inputs["logps"].clone().requires_grad_()
    # Two tokens, of which the first is always the target, with these log-probabilities.
    logits = torch.stack([leaf, torch.log1p(-leaf.exp())], dim=-1)
    logits = torch.cat([logits, torch.zeros(2 * PAIRS, 1, 2)], dim=1)

    class Model(torch.nn.Module):
        def forward(self, *_, **__):
            return SimpleNamespace(logits=logits)

    attributes = {"label_smoothing": 0.0, "alpha": 0.0, "cpo_alpha": 0.0, "simpo_gamma": 0.5} | options
    stand_in = StandIn(
        trainer, model=fake_model(), is_encoder_decoder=False, pad_token_id=0, padding_value=0, args=SimpleNamespace(), **attributes
    )
    loss, metrics = stand_in.get_batch_loss_metrics(Model(), batch_of(inputs["mask"], inputs["attention"]))
    loss.backward()
    return {"options": options, "loss": loss.item(), "gradient": leaf.grad.tolist(), "metrics": kept(metrics)}


def pairs() -> dict:
    drawn = draw()
    generator = torch.Generator().manual_seed(47)
    mask = drawn["mask"]
    prompt = rounded(-torch.rand((2 * PAIRS, LENGTH - 1), generator=generator) - 0.05)
    own = torch.where(mask[:, 1:] == 1, rounded(-drawn["logps"].abs() - 0.05), prompt)
    position = torch.arange(LENGTH)[None]
    attention = ((mask == 1) | (position < PROMPT)).long()
    inputs = {"logps": own, "mask": mask, "attention": attention}
    cases = [
        {"name": "simpo", **pairs_case(CPOTrainer, inputs, loss_type="simpo", beta=beta, simpo_gamma=gamma)}
        for beta, gamma in ((2.0, 0.5), (0.5, 1.25))
    ]
    cases += [
        {"name": "cpo", **pairs_case(CPOTrainer, inputs, loss_type="sigmoid", beta=beta, cpo_alpha=alpha)}
        for beta, alpha in ((0.1, 1.0), (0.5, 0.25), (0.1, 0.0))
    ]
    cases += [
        {"name": "alphapo", **pairs_case(CPOTrainer, inputs, loss_type="simpo", beta=beta, simpo_gamma=gamma, alpha=alpha)}
        for beta, gamma, alpha in ((2.0, 0.5, 0.25), (2.5, 0.1, -0.5))
    ]
    cases += [{"name": "orpo", **pairs_case(ORPOTrainer, inputs, beta=beta)} for beta in (0.1, 0.5)]
    # Conservative DPO where the reference says nothing: CPO without its likelihood.
    cases += [
        {"name": "cdpo", **pairs_case(CPOTrainer, inputs, loss_type="sigmoid", beta=beta, label_smoothing=share)}
        for beta, share in ((0.1, 0.1), (0.5, 0.25))
    ]
    return {"pairs": PAIRS, "prompt": PROMPT, "inputs": {key: value.tolist() for key, value in inputs.items()}, "cases": cases}


def online_case(inputs: dict, **options) -> dict:
    """OnlineDPOTrainer.training_step on completions that are given, in TRL's order: all first ones, then all second ones."""
    leaf = inputs["logps"].clone().requires_grad_()
    mask = inputs["mask"][:, 1:]
    forwards = iter((leaf, inputs["ref_logps"]))
    zeros = torch.zeros_like(mask)
    step = StandIn(
        OnlineDPOTrainer,
        _generate=lambda *_: (zeros, zeros, mask, mask, None),
        # The policy's comes first.
        _forward=lambda *_: next(forwards),
        _calculate_rewards_from_functions=lambda **_: inputs["scores"].clone(),
        stats=collections.defaultdict(list),
        ref_model=fake_model(),
        _beta=options["beta"],
        eos_token_ids=[2],
        reward_funcs=[None],
        state=SimpleNamespace(global_step=1),
        processing_class=SimpleNamespace(batch_decode=lambda ids, **_: ["y"] * len(ids)),
        args=SimpleNamespace(
            use_vllm=False,
            missing_eos_penalty=None,
            loss_type=options["loss_type"],
            torch_empty_cache_steps=None,
            optim="adamw_torch",
            n_gpu=1,
            gradient_accumulation_steps=1,
        ),
    )
    step.accelerator.backward = lambda loss: loss.backward()
    loss = step.training_step(fake_model(), {"prompt": PAIRS * ["x"]})
    stats = {key: value[-1] for key, value in step.stats.items() if key.startswith(("rewards/", "logps/", "objective/scores"))}
    return {"options": options, "loss": loss.item(), "gradient": leaf.grad.tolist(), "metrics": stats}


def online() -> dict:
    drawn = draw()
    inputs = {key: drawn[key] for key in ("logps", "ref_logps", "mask")}
    generator = torch.Generator().manual_seed(61)
    inputs["scores"] = rounded(torch.rand(2 * PAIRS, generator=generator))
    cases = [online_case(inputs, loss_type="sigmoid", beta=0.1), online_case(inputs, loss_type="ipo", beta=0.5)]
    return {"pairs": PAIRS, "inputs": {key: value.tolist() for key, value in inputs.items()}, "cases": cases}


def kto_case(inputs: dict, **options) -> dict:
    leaf = inputs["logps"].clone().requires_grad_()
    shift = inputs["mask"][:, 1:]

    def forward(own, mismatched):
        def call(*, input_ids, **_):
            log_probs = mismatched if input_ids[0, 0] == 1 else own * shift
            return SimpleNamespace(log_probs=log_probs, entropy=inputs["entropies"], mean_logits=torch.zeros_like(own))

        return call

    ids = torch.zeros_like(inputs["mask"])
    ones = torch.ones_like(ids)
    stand_in = StandIn(
        KTOTrainer,
        model=fake_model(),
        ref_model=forward(inputs["ref_logps"], inputs["ref_kl_logps"]),
        beta=options.get("beta", 0.1),
        loss_type="kto",
        desirable_weight=options.get("desirable_weight", 1.0),
        undesirable_weight=options.get("undesirable_weight", 1.0),
        calculate_KL=True,
        precompute_ref_logps=False,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
    )
    batch = {"input_ids": ids, "attention_mask": ones, "completion_mask": inputs["mask"], "label": inputs["label"]}
    batch |= {"KL_input_ids": ones, "KL_attention_mask": ones, "KL_completion_mask": inputs["mask"]}
    result = stand_in._compute_loss(forward(leaf, inputs["kl_logps"]), batch, return_outputs=False)
    loss = result[0] if isinstance(result, tuple) else result
    loss.backward()
    return {"options": options, "loss": loss.item(), "gradient": leaf.grad.tolist(), "metrics": kept(stand_in.metrics())}


def kto() -> dict:
    drawn = draw()
    generator = torch.Generator().manual_seed(53)
    shape = drawn["logps"].shape
    mask = drawn["mask"][:, 1:]
    # The completion of a row that belongs to another prompt.
    ref_kl = rounded(-torch.rand(shape, generator=generator) - 0.05) * mask
    kl = (ref_kl + rounded(0.3 * torch.randn(shape, generator=generator) + 0.1)) * mask
    inputs = {key: drawn[key] for key in ("logps", "ref_logps", "mask", "entropies")}
    inputs |= {"label": torch.tensor([1, 0, 1, 1, 0, 0, 1, 0, 1, 1]).bool(), "kl_logps": kl, "ref_kl_logps": ref_kl}
    cases = [kto_case(inputs), kto_case(inputs, beta=0.5, desirable_weight=1.5, undesirable_weight=0.75)]
    # Where the mean is negative, z is 0.
    flipped = inputs | {"kl_logps": ref_kl - 0.2 * mask}
    return {"inputs": {key: value.tolist() for key, value in inputs.items()}, "cases": cases, "clamped": kto_case(flipped, beta=0.5)}
