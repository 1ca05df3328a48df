"""MiniLLM by TRL 1.9, the last one with MiniLLMTrainer: its advantage, and its whole loss of a student beside a teacher, in float64."""

import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402
from trl.experimental.minillm import MiniLLMTrainer  # noqa: E402
from stand_in import StandIn  # noqa: E402

torch.set_num_threads(1)

PROMPT, LENGTH = 3, 5


def advantages() -> list[dict]:
    generator = torch.Generator().manual_seed(53)
    student = -3 * torch.rand(1, 6, generator=generator, dtype=torch.float64)
    teacher = -3 * torch.rand(1, 6, generator=generator, dtype=torch.float64)
    cases = []
    for gamma, normalized in ((0.0, True), (1.0, True), (1.0, False), (0.8, True), (0.8, False)):
        stand_in = StandIn(MiniLLMTrainer, gamma=gamma, length_normalization=normalized)
        found = stand_in._compute_advantage(student, teacher)
        cases.append({"gamma": gamma, "length_normalization": normalized, "advantages": found[0].tolist()})
    return [{"student": student[0].tolist(), "teacher": teacher[0].tolist(), "cases": cases}]


def losses() -> dict:
    generator = torch.Generator().manual_seed(59)
    # No padding: MiniLLMTrainer counts it among the tokens.
    prompts = torch.randint(4, 256, (3, PROMPT), generator=generator)
    completions = torch.randint(4, 256, (3, LENGTH), generator=generator)
    outcome = torch.tensor([0.5, -1.0, 0.25], dtype=torch.float64)
    cases = []
    for gamma, single, normalized in ((0.0, True, True), (0.0, False, True), (0.9, True, True), (1.0, False, False)):
        load = AutoModelForCausalLM.from_pretrained
        student = load(ROOT / "models/llama", dtype=torch.float64).train()
        teacher = load(ROOT / "models/mistral", dtype=torch.float64)
        stand_in = StandIn(
            MiniLLMTrainer,
            model=student,
            teacher_model=teacher,
            loss_type="dapo",
            importance_sampling_level="token",
            beta=0.0,
            epsilon_low=0.2,
            epsilon_high=0.2,
            temperature=1.0,
            kd_temperature=1.0,
            top_entropy_quantile=1.0,
            off_policy_mask_threshold=None,
            use_vllm=False,
            _entropy_bonus_enabled=False,
            model_kwarg_keys=(),
            current_gradient_accumulation_steps=1,
            rkl_advantage=True,
            single_step_decomposition=single,
            gamma=gamma,
            length_normalization=normalized,
            args=SimpleNamespace(delta=None, use_bias_correction_kl=False),
        )
        # TRL lets the gradient flow through the advantage too: noise whose expectation is 0. It is stopped here, as in the paper.
        stand_in._compute_advantage = lambda method=stand_in._compute_advantage, **given: method(**given).detach()
        ids = torch.cat([prompts, completions], 1)
        with torch.no_grad():
            own = torch.log_softmax(student(ids).logits[:, PROMPT - 1 : -1], -1).gather(-1, completions[..., None])[..., 0]
            taught = torch.log_softmax(teacher(ids).logits[:, PROMPT - 1 : -1], -1).gather(-1, completions[..., None])[..., 0]
        # The advantage has the student's present log-probabilities and the ratio those of the sampler.
        batch = {
            "prompt_ids": prompts,
            "prompt_mask": torch.ones_like(prompts),
            "completion_ids": completions,
            "completion_mask": torch.ones_like(completions),
            "advantages": outcome.clone(),
            "old_per_token_logps": own,
            "num_items_in_batch": torch.tensor(3 * LENGTH),
        }
        loss = stand_in.compute_loss(student, batch)
        loss.backward()
        norm = dict(student.named_parameters())["model.norm.weight"].grad
        options = {"gamma": gamma, "single_step_decomposition": single, "length_normalization": normalized}
        cases.append({**options, "loss": loss.item(), "norm": norm.tolist()})
    numbers = {"old_logps": own.tolist(), "teacher_logps": taught.tolist(), "outcome": outcome.tolist()}
    return {"prompts": prompts.tolist(), "completions": completions.tolist(), **numbers, "cases": cases}


def main() -> None:
    out = output_folder(__file__)
    write_json(out / "expected.json", {"advantages": advantages(), "losses": losses()})


if __name__ == "__main__":
    main()
