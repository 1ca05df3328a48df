"""What the teacher of TRL's SDPOTrainer is shown, by its own builder, and its loss of completions of which only some are taught."""

from pathlib import Path
from types import SimpleNamespace

import torch
from transformers import AutoModelForCausalLM
from trl.experimental.sdpo.sdpo_config import SDPOConfig
from trl.experimental.sdpo.sdpo_trainer import DistillationLogits, SDPOTrainer, SuccessfulRolloutTeacherContextBuilder

from stand_in import StandIn

ROOT = Path(__file__).resolve().parents[1]
TEXTS = ["4", "<think>two and two</think>five", "<think>x</think> four", "", "12", "13"]
REWARDS = [1.0, 0.0, 1.0, 0.0, 0.25, 0.5]
FEEDBACK = ["fine", "five is too many", None, "  ", None, "not even"]
PROMPTS = {
    "text": ["2+2="] * 3 + ["6+6="] * 3,
    "chat": [[{"role": "system", "content": "add"}, {"role": "user", "content": q}] for q in ["2+2="] * 3 + ["6+6="] * 3],
}


def shown(kind: str, **options) -> dict:
    config = SDPOConfig.__dataclass_fields__
    args = SimpleNamespace(**{name: field.default for name, field in config.items() if "template" in name})
    defaults = {
        **{"success_reward_threshold": 1.0, "dont_reprompt_on_self_success": True, "use_successful_as_teacher": True},
        **{"include_environment_feedback": False, "environment_feedback_only_without_solution": False},
        **{"remove_thinking_from_demonstration": False, "max_reprompt_len": 10240},
    }
    for name, value in {**defaults, **options}.items():
        setattr(args, name, value)
    seen: list = []
    trainer = StandIn(
        SDPOTrainer,
        args=args,
        model=SimpleNamespace(training=True),
        num_generations=3,
        _tokenizer=SimpleNamespace(pad_token_id=0),
        processing_class=SimpleNamespace(decode=lambda ids, skip_special_tokens: TEXTS[int(ids[0]) - 1]),
        _tokenize_prompts_untruncated=lambda prompts: (seen.extend(prompts), [[1]] * len(prompts))[1],
    )
    ids = torch.arange(1, 7).unsqueeze(1)
    output = {"completion_ids": ids, "completion_mask": torch.ones_like(ids)}
    built = SuccessfulRolloutTeacherContextBuilder(trainer).build(output, PROMPTS[kind], torch.tensor(REWARDS), list(FEEDBACK))
    taught = built["self_distillation_mask"].tolist()
    return {"kind": kind, "options": options, "shown": [text if is_taught else None for text, is_taught in zip(seen, taught)]}


def loss() -> dict:
    """`sampled_token` of three completions, the second of which is not taught, with the weights of importance sampling."""
    generator = torch.Generator().manual_seed(67)
    draw = lambda *shape: torch.randint(4, 256, shape, generator=generator)  # noqa: E731
    prompts, privileged, lengths = draw(3, 3), draw(3, 5), [4, 2, 6]
    completions = [draw(n) for n in lengths]
    student = AutoModelForCausalLM.from_pretrained(ROOT / "models/llama", dtype=torch.float64)
    teacher = AutoModelForCausalLM.from_pretrained(ROOT / "models/mistral", dtype=torch.float64)
    longest, vocabulary = max(lengths), student.config.vocab_size
    ids, mask = torch.zeros(3, longest, dtype=torch.long), torch.zeros(3, longest)
    own, taught = [], []
    for i, completion in enumerate(completions):
        ids[i, : len(completion)], mask[i, : len(completion)] = completion, 1
        pad = (0, 0, 0, longest - len(completion))
        logits = student(torch.cat([prompts[i], completion])[None]).logits[0, len(prompts[i]) - 1 : -1]
        own.append(torch.nn.functional.pad(logits, pad))
        with torch.no_grad():
            logits = teacher(torch.cat([privileged[i], completion])[None]).logits[0, len(privileged[i]) - 1 : -1]
        taught.append(torch.nn.functional.pad(logits, pad))
    student_logits, teacher_logits = torch.stack(own), torch.stack(taught)
    assert student_logits.shape == (3, longest, vocabulary)
    loss_mask = mask * torch.tensor([1.0, 0.0, 1.0])[:, None]
    logps = torch.log_softmax(student_logits, -1).gather(-1, ids[..., None]).squeeze(-1).detach()
    stand_in = StandIn(
        SDPOTrainer,
        args=SimpleNamespace(distillation_mode="sampled_token", distillation_alpha=1.0, distillation_is_clip=2.0, distillation_topk=None),
        _log_self_distillation_metric=lambda mode, value: None,
    )
    total = stand_in._compute_self_distillation_loss(
        SimpleNamespace(training=True),
        {"old_per_token_logps": logps},
        DistillationLogits(ids, mask, loss_mask, student_logits, teacher_logits),
    )
    total.backward()
    norm = dict(student.named_parameters())["model.norm.weight"].grad
    sequences = {"prompts": prompts.tolist(), "privileged": privileged.tolist(), "completions": [c.tolist() for c in completions]}
    return {**sequences, "loss": total.item(), "norm": norm.tolist()}


def cases() -> dict:
    every = {"include_environment_feedback": True}
    return {
        **{"texts": TEXTS, "rewards": REWARDS, "feedback": FEEDBACK, "loss": loss()},
        "cases": [
            shown("text"),
            shown("chat"),
            shown("text", **every),
            shown("text", **every, environment_feedback_only_without_solution=True),
            shown("text", **every, use_successful_as_teacher=False),
            shown("text", dont_reprompt_on_self_success=False, success_reward_threshold=0.5),
            shown("text", remove_thinking_from_demonstration=True, dont_reprompt_on_self_success=False),
        ],
    }
