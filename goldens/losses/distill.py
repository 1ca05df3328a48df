"""Distillation in float64: Hinton's loss by torch's kl_div and cross_entropy, and TRL's divergences over a teacher's k most likely
tokens and one bucket for the others (experimental.server_distillation)."""

from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM
from trl.experimental.server_distillation.server_distillation_trainer import _add_tail_bucket, _jsd_divergence

ROOT = Path(__file__).resolve().parents[1]


def models() -> tuple:
    load = AutoModelForCausalLM.from_pretrained
    return load(ROOT / "models/llama", dtype=torch.float64), load(ROOT / "models/mistral", dtype=torch.float64)


def gradients(student, loss) -> dict:
    loss.backward()
    named = dict(student.named_parameters())
    return {"loss": loss.item(), "norm": named["model.norm.weight"].grad.tolist(), "lm_head": named["lm_head.weight"].grad.sum(1).tolist()}


def soft_and_hard(ids, labels) -> list[dict]:
    cases = []
    kept = labels != -100
    for alpha, temperature in ((1.0, 2.0), (0.5, 2.0), (0.9, 4.0), (0.0, 3.0)):
        student, teacher = models()
        with torch.no_grad():
            taught = teacher(ids).logits[:, :-1][kept]
        own = student(ids).logits[:, :-1][kept]
        soft = F.kl_div(F.log_softmax(own / temperature, -1), F.softmax(taught / temperature, -1), reduction="batchmean")
        hard = F.cross_entropy(own, labels[kept])
        loss = alpha * temperature**2 * soft + (1 - alpha) * hard
        metrics = {"kd_loss": (temperature**2 * soft).item(), "nll_loss": hard.item()}
        cases.append({"alpha": alpha, "temperature": temperature, **metrics, **gradients(student, loss)})
    return cases


def top_k(ids, labels) -> list[dict]:
    cases = []
    kept = labels != -100
    for k, beta in ((1, 0.0), (1, 1.0), (8, 0.0), (8, 0.5), (8, 1.0), (64, 0.25)):
        student, teacher = models()
        with torch.no_grad():
            taught, tokens = F.log_softmax(teacher(ids).logits[:, :-1][kept], -1).topk(k)
        own = F.log_softmax(student(ids).logits[:, :-1][kept], -1).gather(-1, tokens)
        mask = torch.ones_like(taught, dtype=torch.bool)
        (own, support), (taught, _) = _add_tail_bucket(own, mask), _add_tail_bucket(taught, mask)
        loss = _jsd_divergence(own, taught, beta, support).sum(-1).mean()
        cases.append({"k": k, "beta": beta, **gradients(student, loss)})
    return cases


def step_by_step(ids, labels) -> list[dict]:
    """The first sequence is a label, the others are rationales: two cross-entropies, each a mean over its own tokens."""
    cases = []
    for weight in (1.0, 0.25):
        student, _ = models()
        logits = student(ids).logits[:, :-1]
        of = lambda rows: F.cross_entropy(logits[rows].flatten(0, 1), labels[rows].flatten(), ignore_index=-100)  # noqa: E731
        label, rationale = of(slice(0, 1)), of(slice(1, None))
        facts = {"weight": weight, "label_loss": label.item(), "rationale_loss": rationale.item()}
        cases.append({**facts, **gradients(student, label + weight * rationale)})
    return cases
