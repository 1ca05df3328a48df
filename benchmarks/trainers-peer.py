"""The peer of trainers.ts: TRL's SFTTrainer, DPOTrainer, RewardTrainer, GKDTrainer and GRPOTrainer on the same folders and rows.

usage: trainers-peer.py SETTINGS.json THREADS
(started by trainers.ts; one JSON command a line in, one JSON answer a line out)

Each command is a whole run of a trainer, of which the steps after the warm-up are timed, from the end of one to the end of the
next. Options are the trainers' own, but for those that make both sides do the same: float32, AdamW (fused, as it comes) without
decay, a constant rate, no gradient checkpointing, dropout off, for DPO the reference computed before the first step, and for GRPO
the loss of the paper.
"""

import json
import platform
import resource
import sys
import tempfile
import time

import torch

settings = json.load(open(sys.argv[1]))
torch.set_num_threads(int(sys.argv[2]))

import transformers  # noqa: E402
import trl  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback  # noqa: E402

transformers.logging.set_verbosity_error()
versions = {
    "python": platform.python_version(),
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "trl": trl.__version__,
}


def causal(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")


def arguments(config, batch_size=len(settings["rows"]), **more):
    return config(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=batch_size,
        max_steps=settings["steps"],
        learning_rate=settings["learningRate"],
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        gradient_checkpointing=False,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        dataloader_pin_memory=False,
        **more,
    )


def trainer_of():
    from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    method = settings["method"]
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    shared = {"train_dataset": Dataset.from_list(settings["rows"]), "processing_class": tokenizer}
    if method == "sft":
        return SFTTrainer(model=causal(settings["model"]), args=arguments(SFTConfig), **shared)
    if method == "dpo":
        args = arguments(DPOConfig, precompute_ref_log_probs=True)
        return DPOTrainer(model=causal(settings["model"]), args=args, **shared)
    if method == "reward":
        model = AutoModelForSequenceClassification.from_pretrained(settings["reward"], num_labels=1, dtype=torch.float32)
        return RewardTrainer(model=model, args=arguments(RewardConfig), **shared)
    if method == "grpo":
        args = arguments(
            GRPOConfig,
            batch_size=len(settings["rows"]) * settings["completions"],
            num_generations=settings["completions"],
            max_completion_length=settings["tokens"],
            beta=0.04,
            loss_type="grpo",
            model_init_kwargs={"dtype": "float32", "attn_implementation": "sdpa"},
        )
        return GRPOTrainer(model=settings["model"], args=args, reward_funcs=even, **shared)
    args = arguments(GKDConfig, lmbda=0.0, beta=0.5)
    return GKDTrainer(model=causal(settings["model"]), teacher_model=causal(settings["teacher"]), args=args, **shared)


def even(completion_ids, **kwargs):
    """The share of even tokens."""
    return [sum(1 for i in ids if i % 2 == 0) / len(ids) for ids in completion_ids]


class Times(TrainerCallback):
    def __init__(self, trainer):
        self.ends, self.numbers = [], []
        self.inner = 0.0
        self.spent = {"forwardBackward": 0.0, "optimizer": 0.0, "data": 0.0}
        if settings["method"] == "grpo":
            self.spent = {"rollout": 0.0, "reward": 0.0, "reference": 0.0, **self.spent}
            self.wrap(trainer, "_generate", "rollout")
            self.wrap(trainer, "_calculate_rewards", "reward")
            self.wrap(trainer, "_get_per_token_logps_and_entropies", "reference")
        self.wrap(trainer, "training_step", "forwardBackward")
        self.wrap(trainer, "get_batch_samples", "data")

    @property
    def is_timed(self):
        return len(self.ends) >= settings["warmup"]

    def wrap(self, trainer, name, share):
        inner = getattr(trainer, name)

        def timed(*args, **kwargs):
            # With gradients, log-probabilities are those of the policy: a part of its forward pass.
            if share == "reference" and torch.is_grad_enabled():
                return inner(*args, **kwargs)
            start = time.perf_counter()
            result = inner(*args, **kwargs)
            self.after = time.perf_counter()
            took = self.after - start
            if share == "forwardBackward":
                # What GRPO does inside of it has shares of its own.
                took, self.inner = took - self.inner, 0.0
                if settings["method"] != "grpo":
                    self.numbers.append(result.item())
            elif share != "data":
                self.inner += took
            if share == "rollout":
                self.numbers.append(sum(len(ids) for ids in result[1]))
            if self.is_timed:
                self.spent[share] += took
            return result

        setattr(trainer, name, timed)

    def on_optimizer_step(self, args, state, control, **kwargs):
        # What there is between the gradients and here: clipping, and the step.
        if self.is_timed:
            self.spent["optimizer"] += time.perf_counter() - self.after

    def on_step_end(self, args, state, control, **kwargs):
        self.ends.append((time.perf_counter(), time.process_time()))


def measure():
    # Its own output would stand between the answers.
    own, sys.stdout = sys.stdout, sys.stderr
    try:
        trainer = trainer_of()
        times = Times(trainer)
        trainer.add_callback(times)
        trainer.train()
    finally:
        sys.stdout = own
    first, last = times.ends[settings["warmup"] - 1], times.ends[-1]
    seconds = last[0] - first[0]
    shares = {**times.spent, "other": seconds - sum(times.spent.values())}
    return {
        "seconds": seconds,
        "processorSeconds": last[1] - first[1],
        "numbers": times.numbers,
        "shares": {name: value / seconds for name, value in shares.items()},
        "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


print(json.dumps({"versions": versions, "startBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)
for line in sys.stdin:
    try:
        print(json.dumps(measure()), flush=True)
    except Exception as error:
        import traceback

        traceback.print_exc()
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
