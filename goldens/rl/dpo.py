"""Preference losses: trl.DPOTrainer._compute_loss on given per-token log-probabilities of policy and reference."""

from types import SimpleNamespace

import torch
from trl import DPOTrainer
from trl.trainer.callbacks import SyncRefModelCallback
from stand_in import StandIn, fake_model, rounded

PAIRS, LENGTH, PROMPT = 5, 8, 3


def draw() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(29)
    lengths = torch.tensor([5, 3, 4, 1, 2, 4, 5, 4, 3, 2])
    position = torch.arange(LENGTH)[None]
    mask = ((position >= PROMPT) & (position < PROMPT + lengths[:, None])).long()
    shape = (2 * PAIRS, LENGTH - 1)
    ref = rounded(-torch.randn(shape, generator=generator).abs() - 0.05) * mask[:, 1:]
    logps = (ref + rounded(1.2 * torch.randn(shape, generator=generator))) * mask[:, 1:]
    return {
        "logps": logps,
        "ref_logps": ref,
        "mask": mask,
        "entropies": rounded(torch.rand(shape, generator=generator)) * mask[:, 1:],
        "log_sum_sq_probs": rounded(-torch.rand(shape, generator=generator)) * mask[:, 1:],
    }


def loss_case(inputs: dict, dtype=torch.float64, **options) -> dict:
    values = {key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs.items()}
    leaf = values["logps"].clone().requires_grad_()
    mask = values["mask"]
    shift = mask[:, 1:]
    zeros = torch.zeros_like(leaf)

    def forward(logps):
        return lambda **_: SimpleNamespace(
            log_probs=logps * shift,
            entropy=values["entropies"],
            mean_logits=zeros,
            is_top1=zeros.bool(),
            log_sum_sq_probs=values["log_sum_sq_probs"],
        )

    stand_in = StandIn(
        DPOTrainer,
        model=fake_model(),
        ref_model=forward(values["ref_logps"]),
        beta=options.get("beta", 0.1),
        label_smoothing=options.get("label_smoothing", 0.0),
        loss_types=options["loss_types"],
        loss_weights=options.get("loss_weights", [1.0] * len(options["loss_types"])),
        f_divergence_type=options.get("f_divergence_type", "reverse_kl"),
        f_alpha_divergence_coef=options.get("f_alpha_divergence_coef", 0.5),
        ld_alpha=options.get("ld_alpha"),
        use_weighting=options.get("use_weighting", False),
        precompute_ref_logps=False,
        args=SimpleNamespace(discopop_tau=0.05, gradient_checkpointing_kwargs=None),
    )
    batch = {"input_ids": torch.zeros_like(mask), "attention_mask": torch.ones_like(mask), "completion_mask": mask}
    loss = stand_in._compute_loss(forward(leaf), batch, return_outputs=False)
    loss.backward()
    gathered = stand_in.accelerator.gathered
    rewards = [tensor for tensor in gathered if tensor.shape == (PAIRS,)]
    metrics = {key: value for key, value in stand_in.metrics().items() if key.startswith(("rewards/", "logps/", "entropy"))}
    return {
        "options": options,
        "dtype": str(dtype).removeprefix("torch."),
        "loss": loss.item(),
        "gradient": leaf.grad.tolist(),
        "rewards_chosen": rewards[0].tolist(),
        "rewards_rejected": rewards[1].tolist(),
        "metrics": metrics,
    }


PLAIN = [
    "sigmoid", "hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
]  # fmt: skip
SMOOTHED = [("exo_pair", 0.001), ("exo_pair", 0.125), ("robust", 0.0), ("robust", 0.125), ("aot", 0.125), ("aot_unpaired", 0.125)]


def losses() -> dict:
    inputs = draw()
    cases = [loss_case(inputs, loss_types=[kind]) for kind in PLAIN]
    cases += [loss_case(inputs, loss_types=[kind], label_smoothing=smoothing) for kind, smoothing in SMOOTHED]
    cases += [loss_case(inputs, loss_types=[kind], beta=0.5) for kind in ("sigmoid", "hinge", "ipo", "sigmoid_norm", "discopop")]
    for divergence in ("forward_kl", "js_divergence"):
        cases += [loss_case(inputs, loss_types=[kind], f_divergence_type=divergence) for kind in ("sigmoid", "ipo")]
    for coefficient in (0.5, 1.0, 1.5):
        # TRL's clamp for this divergence has no entry for float64.
        cases.append(
            loss_case(inputs, torch.float32, loss_types=["sigmoid"], f_divergence_type="alpha_divergence", f_alpha_divergence_coef=coefficient)
        )
    cases.append(loss_case(inputs, loss_types=["sigmoid"], ld_alpha=0.25))
    cases.append(loss_case(inputs, loss_types=["sigmoid"], use_weighting=True))
    cases.append(loss_case(inputs, loss_types=["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0]))
    cases.append(loss_case(inputs, loss_types=["sigmoid", "sft"], loss_weights=[1.0, 0.5]))
    cases.append(loss_case(inputs, loss_types=["sigmoid", "ipo", "hinge"], loss_weights=[1.0, 0.25, 2.0], beta=0.5))
    return {
        "pairs": PAIRS,
        "inputs": {key: value.tolist() for key, value in inputs.items()},
        "cases": cases,
        "moving_reference": moving_reference(),
    }


def moving_reference() -> dict:
    """TR-DPO: what SyncRefModelCallback makes of a reference while the policy has other numbers after every step."""
    generator = torch.Generator().manual_seed(79)
    policies = [rounded(torch.randn(2, 3, generator=generator)) for _ in range(6)]
    cases = []
    for alpha, steps in ((0.6, 1), (0.6, 2), (1.0, 3), (0.0, 1)):
        model, reference = (torch.nn.Linear(3, 2, bias=False) for _ in range(2))
        reference.weight.data = policies[0].clone()
        callback = SyncRefModelCallback(reference, accelerator=None)
        args = SimpleNamespace(ref_model_sync_steps=steps, ref_model_mixup_alpha=alpha)
        references = []
        for step, policy in enumerate(policies[1:], start=1):
            model.weight.data = policy.clone()
            # Of `sync_target_model`, without the accelerator's state that it asks for DeepSpeed.
            callback.sync_target_model = SyncRefModelCallback._sync_target_model
            callback.on_step_end(args, SimpleNamespace(global_step=step), None, model=model)
            references.append(reference.weight.data.flatten().tolist())
        cases.append({"ref_model_mixup_alpha": alpha, "ref_model_sync_steps": steps, "references": references})
    return {"policies": [policy.flatten().tolist() for policy in policies], "cases": cases}
