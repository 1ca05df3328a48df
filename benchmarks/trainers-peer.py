"""The peer of trainers.ts: TRL's SFTTrainer, DPOTrainer, RewardTrainer and GKDTrainer on the same folders and rows.

usage: trainers-peer.py SETTINGS.json THREADS
(started by trainers.ts; one JSON command a line in, one JSON answer a line out)

Each command is a whole run of a trainer, of which the steps after the warm-up are timed, from the end of one to the end of the
next. Options are the trainers' own, but for those that make both sides do the same: float32, AdamW (fused, as it comes) without
decay, a constant rate, no gradient checkpointing, dropout off, and for DPO the reference computed before the first step.
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


def arguments(config, **more):
    return config(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=len(settings["rows"]),
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
    from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
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
    args = arguments(GKDConfig, lmbda=0.0, beta=0.5)
    return GKDTrainer(model=causal(settings["model"]), teacher_model=causal(settings["teacher"]), args=args, **shared)


class Times(TrainerCallback):
    def __init__(self, trainer):
        self.ends, self.losses = [], []
        self.spent = {"forwardBackward": 0.0, "optimizer": 0.0, "data": 0.0}
        self.wrap(trainer, "training_step", "forwardBackward")
        self.wrap(trainer, "get_batch_samples", "data")

    @property
    def is_timed(self):
        return len(self.ends) >= settings["warmup"]

    def wrap(self, trainer, name, share):
        inner = getattr(trainer, name)

        def timed(*args, **kwargs):
            start = time.perf_counter()
            result = inner(*args, **kwargs)
            self.after = time.perf_counter()
            if self.is_timed:
                self.spent[share] += self.after - start
            if share == "forwardBackward":
                self.losses.append(result.item())
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
        "numbers": times.losses,
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
