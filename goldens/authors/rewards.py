"""Rewards of steps by implicit PRM, of lengths by L1, of the format by open-r1."""

import re
import types

import torch
from golden import pick

LETTERS = ";abcx"


def implicit_prm(root):
    path = root / "eval/prm_eval_utils.py"
    given = {"torch": torch, "gather_object": lambda values: values}
    scope = pick(path, ["get_logps", "compute_beta", "get_reward"], given)
    accelerator = types.SimpleNamespace(gather=lambda values: values)
    torch.manual_seed(13)
    cases = []
    for completion in ("aab;c;ab", "x", "a;b;c;a;b;c", "cc;aaxb"):
        text = "ab" + completion
        ids = torch.tensor([[LETTERS.index(letter) for letter in text]])
        tables = [torch.randn(len(LETTERS), len(LETTERS)).double() for _ in range(2)]
        # A model of bigrams.
        policy, reference = (lambda input_ids, table=table, **_: types.SimpleNamespace(logits=table[input_ids]) for table in tables)
        # The last token before the completion, then that of each step: as in their collator, what separates two steps is the end of the first.
        ends = [1, *(i + 2 for i, letter in enumerate(completion) if i + 1 == len(completion) or letter == ";")]
        inputs = {
            **{"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()},
            "label_mask": torch.tensor([[0, 0] + [1] * len(completion)]),
            # Their places are those of predictions, one before the token.
            "special_tokens": torch.tensor([[end - 1 for end in ends]]),
            "reward_idx": torch.tensor([0]),
        }
        reference_log_probs = scope["get_logps"](reference, inputs, "implicit_prm")
        rewards, _ = scope["get_reward"](policy, inputs, "implicit_prm", accelerator, ref_per_token_logps=reference_log_probs)
        ours = rewards["w/ ref"]["constant+coef-0.001"]
        log_probs = [scope["get_logps"](model, inputs, "implicit_prm")[0, 1:].tolist() for model in (policy, reference)]
        cases.append({"completion": completion, "policy": log_probs[0], "reference": log_probs[1], "steps": ours["single"][0].tolist(), "values": ours["accumulative"][0].tolist()})
    return {"beta": 0.001, "cases": cases}


def lcpo(root):
    (path,) = root.rglob("math_reward.py")
    scope = pick(path, ["math_reward_fn", "get_delta_score_linear", "get_delta_score_linear_both"], {
        **{"Union": type("Union", (), {"__class_getitem__": lambda *_: object}), "List": list, "RewardConfig": types.SimpleNamespace},
        **{"RewardInput": types.SimpleNamespace, "RewardType": types.SimpleNamespace(MATH=0), "print": lambda *_: None},
        "RewardMathFn": lambda _: lambda given, **__: types.SimpleNamespace(is_correct=given.model_response == "right"),
    })
    cases = []
    for mode, sign in (("exact", 1), ("max", -1)):
        for alpha in (0.0003, 0.001, 0.02):
            config = types.SimpleNamespace(linear_reward=True, multiplier_reward=mode == "max", sigmoid_reward=False, alpha=alpha)
            for said in ("right", "wrong"):
                for tokens in (1, 900, 1000, 1100, 4000):
                    reward = scope["math_reward_fn"](said, "", num_tokens=sign * 1000, valid_response_length=tokens, reward_config=config)
                    cases.append({"mode": mode, "alpha": alpha, "right": said == "right", "tokens": tokens, "reward": float(reward)})
    return {"target": 1000, "cases": cases}


FORMATS = [
    "<think>\na\n</think>\n<answer>\nb\n</answer>",
    "<think>\na\nand b\n\n</think>\n<answer>\n4\n2\n</answer>",
    "<think>\na\n</think>\n<answer>\nb\n</answer>\n",
    "<think>\na\n</think>\n<answer>\nb\n</answer>\nmore",
    "<think>\na\n</think>\n<answer>\nb\n</answer> more",
    "sure: <think>\na\n</think>\n<answer>\nb\n</answer>",
    "<answer>\nb\n</answer>\n<think>\na\n</think>",
    "<think>\na\n</think>\n<answer>\nb",
    "<think>\na\n<answer>\nb\n</answer>",
    "<think>\na\n<think>\nb\n</think>\n</think>\n<answer>\nc\n</answer>",
    "<think>\na\n</think>\n<think>\nb\n</think>\n<answer>\nc\n</answer>",
    "<think>a</think><answer>b</answer>",
    "<think>\n\n</think>\n<answer>\nb\n</answer>",
    "<Think>\na\n</Think>\n<answer>\nb\n</answer>",
    "no tags",
    "",
]


def format_tags(root):
    scope = pick(root / "src/open_r1/rewards.py", ["format_reward"], {"re": re})
    found = scope["format_reward"]([[{"content": text}] for text in FORMATS])
    return {"cases": [[text, reward] for text, reward in zip(FORMATS, found, strict=True)]}
