"""GRPO-family losses: trl.GRPOTrainer._compute_loss on given log-probabilities; group advantages: its scoring method."""

from types import SimpleNamespace

import torch
from trl import GRPOTrainer
from stand_in import StandIn, fake_model, finite, rounded

MAX_COMPLETION_LENGTH = 8


def draw() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(17)

    def normal(scale, *shape):
        return scale * torch.randn(*(shape or (6, 5)), generator=generator)

    old = rounded(-normal(1.0).abs() - 0.05)
    mask = (torch.arange(5)[None] < torch.tensor([5, 3, 4, 1, 5, 2])[:, None]).long()
    mask[0, 2] = 0  # a token of the environment in the middle of a completion
    # Whole completions drift too, so that sequence-level ratios meet every clip.
    drift = torch.tensor([0.3, 0.7, -0.35, 0.0, 0.3, 0.2])[:, None]
    return {
        "logps": rounded(old + normal(0.3) + drift),
        "old_logps": old,
        "ref_logps": rounded(old + normal(0.3)),
        "advantages": torch.tensor([1.25, -0.75, -0.5, 0.0, 0.875, -0.875]),
        "mask": mask,
        "entropies": rounded(normal(1.0).abs()),
        "sampling_ratio": rounded(torch.exp(normal(0.3))),
        "sampling_logps": rounded(old + normal(0.25)),
    }


def loss_case(inputs: dict, name: str, rows: slice | None = None, **options) -> dict:
    """One call of _compute_loss; the model is replaced by its per-token log-probabilities and entropies."""
    rows = rows or slice(None)
    values = {key: value[rows] for key, value in inputs.items()}
    logps = values["logps"].clone().requires_grad_()
    entropies = values["entropies"].clone().requires_grad_()
    epsilon = options.get("epsilon", 0.2)
    stand_in = StandIn(
        GRPOTrainer,
        model=fake_model(),
        loss_type=options["loss_type"],
        importance_sampling_level=options.get("importance_sampling_level", "token"),
        beta=options.get("beta", 0.0),
        epsilon_low=epsilon,
        epsilon_high=options.get("epsilon_high", epsilon),
        max_completion_length=MAX_COMPLETION_LENGTH,
        top_entropy_quantile=options.get("top_entropy_quantile", 1.0),
        off_policy_mask_threshold=options.get("off_policy_mask_threshold"),
        use_vllm="sampling_ratio" in options,
        vllm_importance_sampling_correction=True,
        current_gradient_accumulation_steps=options.get("gradient_accumulation_steps", 1),
        entropy_coef=options.get("entropy_coef", 0.0),
        _entropy_bonus_enabled="entropy_coef" in options,
        use_adaptive_entropy=False,
        args=SimpleNamespace(
            delta=options.get("delta"),
            use_bias_correction_kl=options.get("use_bias_correction_kl", False),
            steps_per_generation=options.get("steps_per_generation", 1),
            sapo_temperature_pos=1.0,
            sapo_temperature_neg=1.05,
            vespo_k_pos=2.0,
            vespo_lambda_pos=3.0,
            vespo_k_neg=3.0,
            vespo_lambda_neg=2.0,
            report_to=[],
        ),
    )
    stand_in._get_per_token_logps_and_entropies = lambda *_, **__: (logps, entropies, None)
    count = values["mask"].size(0)
    batch = {
        "prompt_ids": torch.zeros(count, 2, dtype=torch.long),
        "prompt_mask": torch.ones(count, 2, dtype=torch.long),
        "completion_ids": torch.zeros_like(values["mask"]),
        "completion_mask": values["mask"],
        "advantages": values["advantages"],
        "ref_per_token_logps": values["ref_logps"],
        "num_items_in_batch": inputs["mask"].sum(),
    }
    if not options.get("on_policy"):
        batch["old_per_token_logps"] = values["old_logps"]
    if "sampling_ratio" in options:
        batch["importance_sampling_ratio"] = values["sampling_ratio"]
    if "off_policy_mask_threshold" in options:
        batch["sampling_per_token_logps"] = values["sampling_logps"]
    loss = stand_in._compute_loss(None, batch)
    loss.backward()
    case = {"name": name, "options": options}
    if rows != slice(None):
        case["rows"] = [rows.start, rows.stop]
    case |= {"loss": loss.item(), "gradient": logps.grad.tolist(), "metrics": stand_in.metrics()}
    if "entropy_coef" in options:
        case["entropies_gradient"] = entropies.grad.tolist()
    return case


LOSS_TYPES = ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"]
MODIFIERS = {
    "beta": {"beta": 0.1},
    "beta-bias-corrected": {"beta": 0.1, "use_bias_correction_kl": True},
    "clip-higher": {"epsilon_high": 0.28},
    "two-sided": {"delta": 1.3},
    "everything": {"beta": 0.05, "epsilon": 0.15, "epsilon_high": 0.3, "delta": 1.4},
    "on-policy": {"on_policy": True},
    "on-policy-beta": {"on_policy": True, "beta": 0.1},
    "top-entropy": {"top_entropy_quantile": 0.4},
    "entropy-bonus": {"entropy_coef": 0.01},
    "off-policy-mask": {"off_policy_mask_threshold": 0.05},
    "sampler-correction": {"sampling_ratio": True, "beta": 0.1},
}


def losses() -> dict:
    inputs = draw()
    cases = []
    for loss_type in LOSS_TYPES:
        # CISPO's epsilon_high is an absolute upper bound of the ratio.
        own = {"epsilon_high": 1.25} if loss_type == "cispo" else {}
        for level in ("token", "sequence"):
            cases.append(loss_case(inputs, f"{loss_type}-{level}", loss_type=loss_type, importance_sampling_level=level, **own))
    for loss_type in ("grpo", "dapo"):
        for level in ("token", "sequence"):
            for name, options in MODIFIERS.items():
                cases.append(loss_case(inputs, f"{loss_type}-{level}-{name}", loss_type=loss_type, importance_sampling_level=level, **options))
    for loss_type in ("bnpo", "dr_grpo", "cispo", "sapo"):
        own = {"epsilon_high": 1.25} if loss_type == "cispo" else {}
        cases.append(loss_case(inputs, f"{loss_type}-token-beta", loss_type=loss_type, beta=0.1, **own))
    for loss_type in LOSS_TYPES[:4]:
        for rows in (slice(0, 3), slice(3, 6)):
            cases.append(
                loss_case(inputs, f"{loss_type}-micro-{rows.start}", rows, loss_type=loss_type, gradient_accumulation_steps=2, steps_per_generation=2)
            )
    empty = {**inputs, "mask": inputs["mask"] * (torch.arange(6) != 1).long()[:, None]}
    empty_cases = [loss_case(empty, f"{kind}-empty-completion", loss_type=kind, beta=0.1) for kind in LOSS_TYPES[:4]]
    return {
        "max_completion_length": MAX_COMPLETION_LENGTH,
        "inputs": {key: value.tolist() for key, value in inputs.items()},
        "cases": cases,
        "empty_mask": empty["mask"].tolist(),
        "empty_cases": empty_cases,
    }


# Rewards [prompts * generations] per reward function; None is "not scorable". Exact in float32.
REWARDS = {
    "plain": ([[1.0, 0.0, 0.5, 0.25, 0.0, 1.0, 1.0, 0.0]], [1.0]),
    "zero-variance": ([[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]], [1.0]),
    "one-flat-group": ([[1.0, 1.0, 1.0, 1.0, 0.0, 0.5, 1.0, 0.0]], [1.0]),
    "tiny-variance": ([[1.0, 1.0, 1.0, 1.0009765625, 0.0, 0.5, 1.0, 0.0]], [1.0]),
    "some-unscorable": ([[1.0, None, 0.5, 0.25, 0.0, 1.0, None, None]], [1.0]),
    "one-scorable-in-group": ([[1.0, None, None, None, 0.0, 1.0, 0.5, 0.0]], [1.0]),
    "none-scorable-in-group": ([[None, None, None, None, 0.0, 1.0, 0.5, 0.0]], [1.0]),
    "two-functions": ([[1.0, 0.0, 0.5, 0.25, 0.0, 1.0, 1.0, 0.0], [0.5, 0.5, -1.0, 2.0, 0.25, 0.0, 0.0, 4.0]], [1.0, 0.5]),
    "two-functions-unscorable": ([[1.0, None, None, 0.25, 0.0, None, 1.0, 0.0], [0.5, 0.5, None, 2.0, None, None, 0.0, 4.0]], [1.0, 0.5]),
}
GENERATIONS = 4


def scoring_stand_in(trainer, rewards, weights, **attributes) -> StandIn:
    """`self` for _generate_and_score_completions: fixed completions, and reward functions that return what they are told."""
    count = len(rewards[0])
    functions = [lambda values=values, **_: values for values in rewards]
    lengths = [1 + index % 3 for index in range(count)]
    ids = [list(range(3, 3 + length)) for length in lengths]
    stand_in = StandIn(
        trainer,
        model=fake_model(),
        ref_model=fake_model(),
        args=SimpleNamespace(
            per_device_train_batch_size=count, gradient_checkpointing_kwargs=None, steps_per_generation=1, gradient_accumulation_steps=1, report_to=[]
        ),
        state=SimpleNamespace(global_step=0),
        num_generations=GENERATIONS,
        num_iterations=1,
        pad_to_multiple_of=None,
        mask_truncated_completions=False,
        _tokenizer=SimpleNamespace(pad_token_id=0),
        environment_factories=None,
        environments=None,
        tools=None,
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        multi_objective_aggregation="sum_then_normalize",
        reward_funcs=functions,
        reward_processing_classes=[None] * len(functions),
        reward_func_names=[f"reward_{index}" for index in range(len(functions))],
        reward_weights=torch.tensor(weights),
        log_multimodal=False,
        _logs={"prompt": [], "completion": [], "rewards": {f"reward_{i}": [] for i in range(len(functions))}, "advantages": [], "extra": {}},
        _pending_extra_logs={},
        _pending_metrics={},
        **attributes,
    )
    texts = ["text"] * count
    generated = ([[1, 2]] * count, ids, texts) if trainer.__name__ == "RLOOTrainer" else ([[1, 2]] * count, ids, None, texts, None, {}, None, None)
    stand_in._generate = lambda prompts: generated
    stand_in.prompts = [{"prompt": "question"} for _ in range(count)]
    return stand_in


def advantages() -> dict:
    cases = []
    for name, (rewards, weights) in REWARDS.items():
        for scale in ("group", "batch", "none"):
            stand_in = scoring_stand_in(GRPOTrainer, rewards, weights, scale_rewards=scale, beta=0.0)
            output = stand_in._generate_and_score_completions(stand_in.prompts)
            cases.append(case_of(name, rewards, weights, {"scale_rewards": scale}, output, stand_in))
        if len(rewards) > 1:
            stand_in = scoring_stand_in(GRPOTrainer, rewards, weights, scale_rewards="group", beta=0.0)
            stand_in.multi_objective_aggregation = "normalize_then_sum"
            output = stand_in._generate_and_score_completions(stand_in.prompts)
            cases.append(case_of(name, rewards, weights, {"multi_objective_aggregation": "normalize_then_sum"}, output, stand_in))
    return {"generations": GENERATIONS, "cases": cases}


def case_of(name, rewards, weights, options, output, stand_in) -> dict:
    return {
        "name": name,
        "rewards": rewards,
        "reward_weights": weights,
        "options": options,
        "advantages": finite(output["advantages"].tolist()),
        "metrics": stand_in.metrics(),
    }
