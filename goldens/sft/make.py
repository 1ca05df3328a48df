"""TRL's SFT conventions: packing, which tokens are trained, truncation, collation, and the loss over accumulated micro-batches."""

import random
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from datasets import Dataset, disable_progress_bars  # noqa: E402
from stand_in import StandIn  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from transformers.trainer_pt_utils import LabelSmoother  # noqa: E402
from trl import SFTTrainer  # noqa: E402
from trl.data_utils import pack_dataset  # noqa: E402
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling  # noqa: E402
from trl.trainer.utils import add_fused_lm_head  # noqa: E402

torch.set_num_threads(1)
disable_progress_bars()

SYSTEM = {"role": "system", "content": "Answer with a number."}
QUESTION = {"role": "user", "content": "What is 12 + 30?"}
ANSWER = {"role": "assistant", "content": "12 + 30 = 42"}
AGAIN = [{"role": "user", "content": "And 1 more?"}, {"role": "assistant", "content": "43 \U0001f642"}]


def packing_cases() -> list[dict]:
    """Example i is the ids 1000 i, 1000 i + 1 ...; what came out says which pieces of which examples share a row."""
    random_ = random.Random(5)
    inputs = [
        ([4, 1, 2, 3, 2], 4),
        ([3, 3, 3, 1, 1, 1], 4),
        ([10, 7, 9, 2, 1, 8, 3], 8),
        ([5, 0, 3, 0], 8),
        ([8, 8, 8], 8),
        ([17, 1], 8),
        ([6, 5, 5, 4, 4, 3, 3, 2, 2, 2, 1], 10),
        ([random_.randrange(1, 40) for _ in range(60)], 64),
        ([random_.randrange(0, 90) for _ in range(40)], 48),
    ]
    cases = []
    for lengths, row_length in inputs:
        rows = [[1000 * index + token for token in range(length)] for index, length in enumerate(lengths)]
        for strategy in ("bfd", "bfd_split", "wrapped"):
            packed = pack_dataset(Dataset.from_dict({"input_ids": rows}), row_length, strategy)
            case = {"strategy": strategy, "row_length": row_length, "lengths": lengths, "rows": [pieces(ids) for ids in packed["input_ids"]]}
            if strategy != "wrapped":
                case["sequence_lengths"] = list(packed["seq_lengths"])
            cases.append(case)
    return cases


def pieces(ids: list[int]) -> list[list[int]]:
    """Consecutive ids of one example as [example, start, end)."""
    found: list[list[int]] = []
    for number in ids:
        index, token = divmod(number, 1000)
        if found and found[-1][0] == index and found[-1][2] == token:
            found[-1][2] = token + 1
        else:
            found.append([index, token, token + 1])
    return found


def prepare(kind: str, rows: list[dict], template: str | None = None, **options) -> dict:
    """SFTTrainer._prepare_dataset with completion_only_loss chosen as the trainer chooses it."""
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "tokenizers" / kind)
    completion_only = options.get("completion_only_loss")
    stand_in = StandIn(
        SFTTrainer,
        _tokenizer=tokenizer,
        chat_template=template,
        completion_only_loss="prompt" in rows[0] if completion_only is None else completion_only,
    )
    arguments = SimpleNamespace(
        dataset_num_proc=None,
        dataset_text_field="text",
        assistant_only_loss=options.get("assistant_only_loss", False),
        max_length=options.get("max_length"),
        truncation_mode=options.get("truncation_mode", "keep_start"),
        shuffle_dataset=False,
    )
    case = {"tokenizer": kind, "template": template, "options": options, "rows": rows}
    try:
        prepared = stand_in._prepare_dataset(Dataset.from_list(rows), tokenizer, arguments, False, None, "train")
    except RuntimeError as error:
        return case | {"error": str(error)}
    return case | {"input_ids": list(prepared["input_ids"]), "labels": list(prepared["labels"])}


def mask_cases() -> list[dict]:
    sys.path.append(str(ROOT / "tokenizers"))
    import templates

    text = [{"text": "The robot counts apples."}, {"text": "caf\u00e9 42"}]
    prompt_text = [{"prompt": "2 + 3 =", "completion": " 5"}, {"prompt": "Say: ", "completion": "two\nlines"}, {"prompt": "don", "completion": "'t"}]
    prompt_chat = [{"prompt": [SYSTEM, QUESTION], "completion": [ANSWER]}, {"prompt": [QUESTION, ANSWER, AGAIN[0]], "completion": [AGAIN[1]]}]
    # The Llama 2 template wants every conversation to start with the user or one system message.
    messages = [{"messages": [SYSTEM, QUESTION, ANSWER]}, {"messages": [QUESTION, ANSWER, *AGAIN]}]
    own_marks = {"byte-level-bpe": templates.CHATML_GENERATION, "sentencepiece-bpe": templates.GENERATION_MARKERS, "unigram": None}
    cases = []
    for kind, template in own_marks.items():
        eos = AutoTokenizer.from_pretrained(ROOT / "tokenizers" / kind).eos_token
        cases.append(prepare(kind, text))
        cases.append(prepare(kind, [{"text": f"ends already{eos}"}]))
        cases.append(prepare(kind, prompt_text))
        cases.append(prepare(kind, prompt_text, completion_only_loss=False))
        cases.append(prepare(kind, prompt_chat))
        cases.append(prepare(kind, prompt_chat, template, assistant_only_loss=True))
        cases.append(prepare(kind, prompt_chat, template, assistant_only_loss=True, completion_only_loss=False))
        cases.append(prepare(kind, messages))
        cases.append(prepare(kind, messages, template, assistant_only_loss=True))
        for max_length in (45, 60):  # one of the rows has no trained token left at one of these
            cases.append(prepare(kind, messages, template, assistant_only_loss=True, max_length=max_length))
        cases.append(prepare(kind, prompt_chat, max_length=60))
        cases.append(prepare(kind, prompt_chat, max_length=12, truncation_mode="keep_end"))
    cases.append(prepare("byte-level-bpe", messages, assistant_only_loss=True))
    return cases


def collator_cases(rows: list[dict]) -> list[dict]:
    cases = []
    packed = [
        {"input_ids": rows[0]["input_ids"] + rows[3]["input_ids"], "labels": rows[0]["labels"] + rows[3]["labels"], "seq_lengths": [9, 3]},
        {"input_ids": rows[1]["input_ids"] + rows[2]["input_ids"], "labels": rows[1]["labels"] + rows[2]["labels"], "seq_lengths": [5, 7]},
    ]
    for name, examples, options in [
        ("padded", rows, {}),
        ("padded-to-multiple", rows, {"pad_to_multiple_of": 8}),
        ("padding-free", rows, {"padding_free": True}),
        ("packed", packed, {"padding_free": True}),
    ]:
        batch = DataCollatorForLanguageModeling(pad_token_id=0, **options)([dict(example) for example in examples])
        output = {key: value.tolist() for key, value in batch.items() if key in ("input_ids", "labels", "attention_mask", "position_ids")}
        cases.append({"name": name, "examples": examples, "options": options, "batch": output})
    return cases


def loss_rows() -> list[dict]:
    generator = torch.Generator().manual_seed(43)
    rows = []
    for length, prompt in zip([9, 5, 7, 3], [4, 0, 6, 1]):
        ids = torch.randint(4, 256, (length,), generator=generator).tolist()
        rows.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    return rows


def model_for_loss():
    model = AutoModelForCausalLM.from_pretrained(ROOT / "models/llama", dtype=torch.float32, attn_implementation="eager").train()
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    return model


def accumulate(rows: list[dict], micro: list[list[int]], loss_type: str, packed: bool = False) -> tuple[dict, dict]:
    """One optimizer step: the token count of all micro-batches first (transformers' own), then one backward per micro-batch."""
    model = model_for_loss()
    collator = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=packed)
    batches = [dict(collator([dict(rows[index]) for index in indices])) for indices in micro]
    stand_in = StandIn(
        SFTTrainer,
        model=model,
        compute_loss_func=None,
        label_smoother=None,
        model_accepts_loss_kwargs=True,
        _loss_shifts_labels=True,
        is_deepspeed_enabled=False,
        current_gradient_accumulation_steps=len(micro),
        args=SimpleNamespace(loss_type=loss_type, average_tokens_across_devices=False, max_length=None, n_gpu=1, world_size=1),
    )
    count = stand_in._get_num_items_in_batch(batches, torch.device("cpu"))
    losses = []
    for batch in batches:
        if packed:
            batch = {key: batch[key] for key in ("input_ids", "labels", "position_ids")}
        loss = stand_in.compute_loss(model, dict(batch), num_items_in_batch=count)
        loss.backward()
        losses.append(loss.item())
    facts = {"micro_batches": micro, "loss_type": loss_type, "packed": packed, "num_items_in_batch": int(count), "losses": losses, "loss": sum(losses)}
    facts["metrics_of_last"] = stand_in.metrics()
    return facts, {name: parameter.grad for name, parameter in model.named_parameters()}


def label_smoothing(rows: list[dict], epsilon: float) -> tuple[dict, dict]:
    """transformers' LabelSmoother, which its trainers use with label_smoothing_factor."""
    model = AutoModelForCausalLM.from_pretrained(ROOT / "models/llama", dtype=torch.float32, attn_implementation="eager").train()
    batch = dict(DataCollatorForLanguageModeling(pad_token_id=0)([dict(row) for row in rows]))
    labels = batch.pop("labels")
    loss = LabelSmoother(epsilon)(model(**batch), labels, shift_labels=True)
    loss.backward()
    facts = {"loss_type": "label_smoothing", "losses": [loss.item()], "loss": loss.item()}
    return facts, {name: parameter.grad for name, parameter in model.named_parameters()}


def loss_cases(rows: list[dict]) -> tuple[dict, dict]:
    whole, gradients = accumulate(rows, [[0, 1, 2, 3]], "nll")
    cases = [whole]
    for micro in ([[0, 1], [2, 3]], [[0], [1], [2], [3]], [[3, 1, 2], [0]]):
        facts, others = accumulate(rows, micro, "nll")
        cases.append(facts)
        assert all(torch.allclose(others[name], gradients[name], atol=1e-6) for name in gradients), "micro-batches must not change the gradient"
    facts, others = accumulate(rows, [[0, 1, 2, 3]], "nll", packed=True)
    cases.append(facts)
    assert all(torch.allclose(others[name], gradients[name], atol=1e-6) for name in gradients), "packing must not change the gradient"
    dft, dft_gradients = accumulate(rows, [[0, 1], [2, 3]], "dft")
    cases.append(dft)
    smoothed, smoothed_gradients = label_smoothing(rows, 0.1)
    cases.append({**whole, **smoothed})
    names = ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight", "model.norm.weight", "lm_head.weight"]
    found = {"nll": gradients, "dft": dft_gradients, "label_smoothing": smoothed_gradients}
    tensors = {kind: {f"{kind}.{name}": values[name] for name in names} for kind, values in found.items()}
    return {"base": "llama", "rows": rows, "cases": cases}, tensors


def main() -> None:
    out = output_folder(__file__)
    write_json(out / "packing.json", {"cases": packing_cases()})
    write_json(out / "masks.json", {"cases": mask_cases()})
    rows = loss_rows()
    write_json(out / "collator.json", {"cases": collator_cases(rows)})
    facts, tensors = loss_cases(rows)
    write_json(out / "loss.json", facts)
    write_tensors(out / "loss.safetensors", tensors["nll"])
    write_tensors(out / "loss-dft.safetensors", tensors["dft"])
    write_tensors(out / "loss-label_smoothing.safetensors", tensors["label_smoothing"])


if __name__ == "__main__":
    main()
