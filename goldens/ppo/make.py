"""One batch of TRL's PPOTrainer, whole: rewards with KL, advantages, returns, losses and gradients of several epochs, on two models
of two layers. `train()` itself runs; only what it samples is given."""

import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json, write_tensors  # noqa: E402

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification  # noqa: E402
from transformers.utils import logging  # noqa: E402
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer  # noqa: E402

torch.set_num_threads(1)
logging.disable_progress_bar()

PAD, EOS, VOCAB = 0, 7, 48
CONTEXT, LENGTH = 4, 6
PROMPTS = [4, 4, 3, 4, 2, 4, 4, 3]
# With the end token, where there is one: LENGTH without one is a response that was cut off.
RESPONSES = [6, 3, 5, 1, 6, 4, 2, 6]
CUT_OFF = [0, 4, 7]
EPOCHS, RATE = 3, 0.1

CASES = {
    "plain": {"kl_coef": 0.05, "gamma": 1.0, "lam": 0.95, "kl_estimator": "k1", "vf_coef": 0.1, "cliprange_value": 0.2},
    "whitened": {
        **{"kl_coef": 0.2, "gamma": 0.97, "lam": 0.8, "kl_estimator": "k3", "vf_coef": 0.5, "cliprange_value": 0.05},
        **{"whiten_rewards": True, "missing_eos_penalty": 1.0, "cliprange": 0.1, "temperature": 0.6},
    },
}


def model_of(kind, seed: int, **more):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        initializer_range=0.3,
        bos_token_id=None,
        pad_token_id=PAD,
        eos_token_id=EOS,
        attn_implementation="eager",
        **more,
    )
    return kind(config)


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    queries = torch.randint(8, VOCAB, (8, CONTEXT), generator=generator)
    responses = torch.randint(8, VOCAB, (8, LENGTH), generator=generator)
    for i in range(8):
        queries[i, : CONTEXT - PROMPTS[i]] = PAD
        responses[i, RESPONSES[i] :] = PAD
        if i not in CUT_OFF:
            responses[i, RESPONSES[i] - 1] = EOS
    return queries, responses


def frame_of_train():
    frame = sys._getframe(1)
    while frame.f_code.co_name != "train":
        frame = frame.f_back
    return frame.f_locals


def run(options: dict) -> tuple[dict, dict]:
    # Of the order in an epoch.
    np.random.seed(0)
    queries, responses = samples()
    policy, reference = model_of(LlamaForCausalLM, 1), model_of(LlamaForCausalLM, 1)
    # The policy has moved away from the reference.
    with torch.no_grad():
        torch.manual_seed(5)
        for p in reference.parameters():
            p.add_(0.05 * torch.randn_like(p))
    value, reward = (model_of(LlamaForSequenceClassification, seed, num_labels=1) for seed in (2, 3))
    seen, epochs, gradients = {}, [], {}

    class Sgd(torch.optim.SGD):
        def step(self, closure=None):
            found = frame_of_train()
            for name in ("rewards", "advantages", "returns", "values", "logprobs", "ref_logprobs", "scores"):
                seen[name] = found[name].clone()
            losses = ("loss", "pg_loss", "vf_loss", "vf_clipfrac")
            epochs.append({name: found[name].item() for name in losses})
            for name, p in found["model"].named_parameters():
                gradients[f"gradient.{name}"] = p.grad.clone()
            return super().step(closure)

    def sampled(model, queries_given, batch_size, pad_token_id, config):
        # Rows of a data set come shuffled.
        places = [next(i for i in range(8) if torch.equal(queries[i], q)) for q in queries_given]
        seen["places"] = torch.tensor(places)
        both = torch.cat([queries_given, responses[places]], 1)
        logits = ppo_trainer.forward(model, both, pad_token_id).logits[:, CONTEXT - 1 : -1]
        return both, logits / config.temperature

    def rewarded(model, *arguments):
        result = own_get_reward(model, *arguments)
        if model is reward:
            seen["raw_scores"] = result[1].clone()
        return result

    own_get_reward, ppo_trainer.get_reward = ppo_trainer.get_reward, rewarded
    ppo_trainer.batch_generation = sampled
    with tempfile.TemporaryDirectory() as folder:
        arguments = PPOConfig(
            output_dir=folder,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=1,
            local_rollout_forward_batch_size=8,
            num_mini_batches=1,
            num_ppo_epochs=EPOCHS,
            total_episodes=8,
            response_length=LENGTH,
            stop_token_id=EOS,
            num_sample_generations=0,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            **{"temperature": 1.0, **options},
        )
        wrapped = {"params": [*policy.parameters(), *value.parameters()]}
        optimizer = Sgd([wrapped], lr=RATE)
        dataset = Dataset.from_dict({"input_ids": queries.tolist()})
        trainer = PPOTrainer(
            args=arguments,
            processing_class=SimpleNamespace(pad_token_id=PAD, eos_token_id=EOS),
            model=policy,
            ref_model=reference,
            reward_model=reward,
            value_model=value,
            train_dataset=dataset,
            eval_dataset=dataset,
            data_collator=lambda rows: {"input_ids": torch.tensor([row["input_ids"] for row in rows])},
            optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)),
        )
        trainer.train()
    ppo_trainer.get_reward = own_get_reward
    order = seen.pop("places").argsort()
    numbers = {name: tensor[order].tolist() for name, tensor in seen.items()}
    used = {"cliprange": 0.2, "temperature": 1.0, "whiten_rewards": False, "missing_eos_penalty": None, **options}
    return {"options": used, **numbers, "epochs": epochs}, gradients


def main() -> None:
    out = output_folder(__file__)
    queries, responses = samples()
    cases = {}
    for name, options in CASES.items():
        cases[name], gradients = run(options)
        for part in ("policy", "value_model"):
            own = {key.replace(f"{part}.", ""): g for key, g in gradients.items() if key.startswith(f"gradient.{part}.")}
            write_tensors(out / f"{name}-{part.split('_')[0]}-gradients.safetensors", own)
    write_json(
        out / "expected.json",
        {
            "prompts": [[x for x in row if x != PAD] for row in queries.tolist()],
            "responses": [[x for x in row if x != PAD] for row in responses.tolist()],
            "rate": RATE,
            "cases": cases,
        },
    )
    model_of(LlamaForCausalLM, 1).save_pretrained(out / "policy")
    model_of(LlamaForSequenceClassification, 2, num_labels=1).save_pretrained(out / "value")


if __name__ == "__main__":
    main()
