"""Self-distillation by TRL's SDFT: divergences of a student and a teacher that reads another prompt, with the clipped weight of its
importance sampling, in float64. The student is models/llama, the teacher models/mistral."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM
from trl.experimental.sdft.loss_utils import (
    add_tail_bucket,
    apply_importance_sampling_clipping,
    compute_divergence,
    compute_full_logit_self_distillation_loss,
    compute_sampled_token_self_distillation_loss,
)
from trl.trainer.utils import selective_log_softmax

ROOT = Path(__file__).resolve().parents[1]


def teacher_top_k(student, teacher, k: int, alpha: float) -> torch.Tensor:
    """TRL's formula over the teacher's tokens instead of the student's."""
    taught, ids = torch.log_softmax(teacher, -1).topk(k)
    own = torch.log_softmax(student, -1).gather(-1, ids)
    return compute_divergence(add_tail_bucket(own), add_tail_bucket(taught), alpha)


def cases() -> dict:
    generator = torch.Generator().manual_seed(61)
    draw = lambda *shape: torch.randint(4, 256, shape, generator=generator)  # noqa: E731
    prompts, privileged, lengths = draw(3, 3), draw(3, 5), [4, 2, 6]
    completions = [draw(n) for n in lengths]
    shifts = [(torch.randn(n, generator=generator)).round(decimals=4).double() for n in lengths]
    teacher = AutoModelForCausalLM.from_pretrained(ROOT / "models/mistral", dtype=torch.float64)
    found = []
    old: list = []
    for mode, k, alpha, skip in (("full", 256, 0.5, 0), ("full", 256, 0.0, 1), ("top_k", 20, 1.0, 0), ("sampled_token", 0, 1.0, 0)):
        student = AutoModelForCausalLM.from_pretrained(ROOT / "models/llama", dtype=torch.float64)
        total, old = 0.0, []
        for i, completion in enumerate(completions):
            own = student(torch.cat([prompts[i], completion])[None]).logits[0, len(prompts[i]) - 1 : -1]
            with torch.no_grad():
                taught = teacher(torch.cat([privileged[i], completion])[None]).logits[0, len(privileged[i]) - 1 : -1]
            logps = selective_log_softmax(own[None], completion[None])[0]
            old.append((logps.detach() + shifts[i]).tolist())
            if mode == "sampled_token":
                loss = compute_sampled_token_self_distillation_loss(own[None], taught[None], completion[None], distillation_alpha=1.0)[0]
            else:
                full = mode == "full"
                loss = (
                    compute_full_logit_self_distillation_loss(own, taught, distillation_alpha=alpha)
                    if full
                    else teacher_top_k(own, taught, k, alpha)
                )
                loss = apply_importance_sampling_clipping(loss, logps, logps.detach() + shifts[i], 2.0)
            total = total + loss[skip:].mean() / len(completions)
        total.backward()
        norm = dict(student.named_parameters())["model.norm.weight"].grad
        found.append({"mode": mode, "k": k, "alpha": alpha, "skip": skip, "loss": total.item(), "norm": norm.tolist()})
    ids = {"prompts": prompts.tolist(), "privileged": privileged.tolist(), "completions": [c.tolist() for c in completions]}
    return {**ids, "old_logps": old, "cases": found}
