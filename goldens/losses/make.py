"""Losses that read more of a pass than log-probabilities: TRL's RewardTrainer (its loss, rows and steps) and GKDTrainer.generalized_jsd_loss."""

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402
from trl import RewardConfig, RewardTrainer  # noqa: E402
from trl.experimental.gkd import GKDTrainer  # noqa: E402
from stand_in import StandIn, fake_model  # noqa: E402
import distill  # noqa: E402
import fudge  # noqa: E402
import minimum_risk  # noqa: E402
import offline  # noqa: E402

torch.set_num_threads(1)

LENGTHS = [5, 9, 7, 4, 6, 3]
MARGINS = [0.5, -0.25, 0.0]


def sequences(vocabulary: int, seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, vocabulary, (length,), generator=generator).tolist() for length in LENGTHS]


def padded(rows: list[list[int]], fill: int = 0) -> torch.Tensor:
    return torch.tensor([row + [fill] * (max(map(len, rows)) - len(row)) for row in rows])


def reward() -> dict:
    rows = sequences(64, 41)
    # TRL has all chosen first, then all rejected; rows alternate here.
    ids = padded(rows[0::2] + rows[1::2])
    cases = []
    for margin, center in ((None, None), (MARGINS, None), (MARGINS, 0.05)):
        model = AutoModelForSequenceClassification.from_pretrained(ROOT / "heads/llama-reward", dtype=torch.float32).train()
        trainer = StandIn(RewardTrainer, model=fake_model(), args=SimpleNamespace(center_rewards_coefficient=center))
        inputs = {"input_ids": ids, "attention_mask": (ids != 0).long()}
        if margin is not None:
            inputs["margin"] = torch.tensor(margin)
        loss = trainer.compute_loss(model, inputs)
        loss.backward()
        named = dict(model.named_parameters())
        cases.append(
            {
                "margin": margin,
                "center_rewards_coefficient": center,
                "loss": loss.item(),
                "score": named["score.weight"].grad[0].tolist(),
                "norm": named["model.norm.weight"].grad.tolist(),
                "metrics": {name: value for name, value in trainer.metrics().items() if name != "num_tokens"},
            }
        )
    return {"sequences": rows, "cases": cases, "outcome": outcome(rows), "tokens": reward_tokens(), "steps": reward_steps(rows)}


def outcome(rows: list[list[int]]) -> dict:
    """transformers' loss of a classifier with one label that is 0 or 1."""
    labels = [1.0, 0.0, 0.0, 1.0, 0.25, 1.0]
    model = AutoModelForSequenceClassification.from_pretrained(ROOT / "heads/llama-reward", dtype=torch.float32).train()
    model.config.problem_type = "multi_label_classification"
    ids = padded(rows)
    output = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=torch.tensor(labels).unsqueeze(1))
    output.loss.backward()
    named = dict(model.named_parameters())
    gradients = {"score": named["score.weight"].grad[0].tolist(), "norm": named["model.norm.weight"].grad.tolist()}
    return {"labels": labels, "loss": output.loss.item(), "logits": output.logits.flatten().tolist(), **gradients}


PAIRS = {
    "texts": [
        {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
        {"prompt": "1 + 1 =", "chosen": " 2", "rejected": " 3 or so"},
    ],
    "texts without a prompt": [{"chosen": "The sky is blue.", "rejected": "The sky is green."}],
    "messages": [
        {
            "prompt": [{"role": "user", "content": "What colour is the sky?"}],
            "chosen": [{"role": "assistant", "content": "Blue."}],
            "rejected": [{"role": "assistant", "content": "Green."}],
        }
    ],
    "messages without a prompt": [
        {
            "chosen": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}],
            "rejected": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Go away."}],
        }
    ],
}


def reward_tokens() -> list[dict]:
    """What RewardTrainer makes of rows."""
    args = SimpleNamespace(dataset_num_proc=None, max_length=1024)
    found = []
    for name in ("byte-level-bpe", "sentencepiece-bpe"):
        tokenizer = AutoTokenizer.from_pretrained(ROOT / "tokenizers" / name)
        for kind, rows in PAIRS.items():
            prepared = StandIn(RewardTrainer)._prepare_dataset(Dataset.from_list(rows), tokenizer, args, "train")
            tokens = [[row["chosen_ids"], row["rejected_ids"]] for row in prepared]
            found.append({"tokenizer": name, "kind": kind, "rows": rows, "tokens": tokens})
    return found


def reward_steps(rows: list[list[int]]) -> dict:
    """RewardTrainer itself, three steps of AdamW over all pairs."""
    model = AutoModelForSequenceClassification.from_pretrained(ROOT / "heads/llama-reward", dtype=torch.float32)
    pairs = [{"chosen_ids": a, "rejected_ids": b, "margin": m} for a, b, m in zip(rows[0::2], rows[1::2], MARGINS)]
    with tempfile.TemporaryDirectory() as folder:
        args = RewardConfig(
            output_dir=folder,
            max_steps=3,
            per_device_train_batch_size=3,
            learning_rate=0.01,
            center_rewards_coefficient=0.05,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(ROOT / "tokenizers/byte-level-bpe")
        # As in the file of the model.
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
        trainer = RewardTrainer(model, args, train_dataset=Dataset.from_list(pairs), processing_class=tokenizer)
        trainer.train()
    log = [{name: float(x) for name, x in entry.items()} for entry in trainer.state.log_history if "loss" in entry]
    named = dict(trainer.model.named_parameters())
    return {
        "center_rewards_coefficient": 0.05,
        "learning_rate": 0.01,
        "margin": MARGINS,
        "log": log,
        "score": named["score.weight"][0].tolist(),
        "norm": named["model.norm.weight"].tolist(),
    }


def gkd() -> dict:
    rows = sequences(256, 43)[:3]
    ids = padded(rows)
    labels = padded(rows, -100)[:, 1:].clone()
    labels[:, :2] = -100
    cases = []
    for beta, temperature in ((0.0, 1.0), (1.0, 1.0), (0.5, 1.0), (0.25, 1.5)):
        student = AutoModelForCausalLM.from_pretrained(ROOT / "models/llama", dtype=torch.float32)
        teacher = AutoModelForCausalLM.from_pretrained(ROOT / "models/mistral", dtype=torch.float32)
        with torch.no_grad():
            taught = teacher(ids).logits[:, :-1]
        loss = GKDTrainer.generalized_jsd_loss(student(ids).logits[:, :-1], taught, labels=labels, beta=beta, temperature=temperature)
        loss.backward()
        named = dict(student.named_parameters())
        cases.append(
            {
                "beta": beta,
                "temperature": temperature,
                "loss": loss.item(),
                "norm": named["model.norm.weight"].grad.tolist(),
                "lm_head": named["lm_head.weight"].grad.sum(1).tolist(),
            }
        )
    return {"sequences": rows, "untrained": 2, "cases": cases}


def distillation() -> dict:
    rows = sequences(256, 43)[:3]
    ids = padded(rows)
    labels = padded(rows, -100)[:, 1:].clone()
    labels[:, :2] = -100
    facts = {"sequences": rows, "untrained": 2}
    facts |= {"soft_and_hard": distill.soft_and_hard(ids, labels), "top_k": distill.top_k(ids, labels)}
    return {**facts, "step_by_step": distill.step_by_step(ids, labels)}


def main() -> None:
    out = output_folder(__file__)
    write_json(out / "reward.json", reward())
    write_json(out / "gkd.json", gkd())
    write_json(out / "distill.json", distillation())
    rows = sequences(256, 47)[:3]
    write_json(out / "oreo.json", {"sequences": rows, **offline.oreo(rows, 2)})
    candidates = sequences(256, 47)
    write_json(out / "minimum-risk.json", {"sequences": candidates, **minimum_risk.minimum_risk(candidates, 1)})
    write_json(out / "ilql.json", {"sequences": rows, **offline.ilql(rows)})
    write_json(out / "cql.json", {"sequences": rows, **offline.cql(rows)})
    write_json(out / "q-values.json", {"sequences": rows, **offline.q_values(rows)})
    write_json(out / "fudge.json", fudge.fudge(rows))


if __name__ == "__main__":
    main()
