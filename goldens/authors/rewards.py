"""Rewards of steps by implicit PRM and the loss that they come of, of lengths by L1, of the format by open-r1; FUDGE's next tokens; propensities of ULTRA."""

import ast
import copy
import random
import re
import types

import torch
from golden import pick
from stand_in import rounded

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


def cross_entropy(root):
    """PRIME's loss of the reward model, and its gradient by the log-ratios of tokens."""
    scope = pick(root / "training/verl/trainer/ppo/core_algos.py", ["compute_ce_dpo_loss_rm"], {"torch": torch})
    torch.manual_seed(14)
    cases = []
    for beta in (0.05, 0.5):
        ratios = rounded(3 * torch.randn(5, 4).double()).requires_grad_()
        lengths = [4, 1, 3, 2, 4]
        mask = torch.tensor([[float(i < n) for i in range(4)] for n in lengths]).double()
        right = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0]).double()
        loss = scope["compute_ce_dpo_loss_rm"](ratios, right, mask, beta)
        (gradient,) = torch.autograd.grad(loss, ratios)
        cut = lambda rows, lengths=lengths: [row[:n] for row, n in zip(rows.tolist(), lengths, strict=True)]  # noqa: E731
        cases.append({"beta": beta, "logRatios": cut(ratios.detach()), "right": right.tolist(), "loss": loss.item(), "gradient": cut(gradient)})
    return {"cases": cases}


def fudge(root):
    """Greedy continuations by FUDGE's loop over tables: the policy's of two tokens, the classifier's of three."""
    torch.manual_seed(15)
    size, length, cases = 5, 6, []
    function = pick(root / "predict_formality.py", ["_generate_no_beam_search"], {"torch": torch})["_generate_no_beam_search"]
    for weight in (0.0, 1.0, 4.0):
        policy, classifier = rounded(torch.randn(size, size, size)), rounded(2 * torch.randn(size, size, size))

        class Model:
            config = types.SimpleNamespace(is_encoder_decoder=True)

            def prepare_inputs_for_generation(self, ids, **_):
                return {"input_ids": ids}

            def __call__(self, input_ids, return_dict):
                logits = policy[input_ids[:, -2], input_ids[:, -1]][:, None]  # noqa: B023
                made = type("Outputs", (dict,), {"logits": logits})
                return made()

            def postprocess_next_token_scores(self, scores, **_):
                return scores

        # Theirs has a padding token in front, which the classifier is not shown.
        condition = lambda ids, *_: classifier[ids[:, -3], ids[:, -2], ids[:, -1]][:, None]  # noqa: B023, E731
        given = {"do_sample": False, "temperature": 1, "top_k": 0, "top_p": 1, "repetition_penalty": 1, "no_repeat_ngram_size": 0, "bad_words_ids": None}
        more = {"pad_token_id": 0, "eos_token_id": None, "batch_size": 1, "attention_mask": None, "use_cache": False, "model_kwargs": {}}
        found = function(Model(), condition, weight, size, input_ids=torch.tensor([[0, 1, 2]]), cur_len=3, max_length=3 + length, min_length=0, **given, **more)
        cases.append({"lambda": weight, "policy": policy.tolist(), "classifier": classifier.tolist(), "begun": [1, 2], "tokens": found[0, 3:].tolist()})
    return {"cases": cases}


def propensities(root):
    """Clicks of sessions whose lists are shuffled, and ULTRA's inverse propensities of them; with 400 sessions in the place of ten million."""
    source = (root / "ultra/utils/propensity_estimator.py").read_text().replace("10e6", "400")
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    clicks: list[list[int]] = []
    draw = random.Random(16)
    shuffles = types.SimpleNamespace(randint=draw.randint, shuffle=draw.shuffle)
    scope = {"copy": copy, "random": shuffles, "json": None, "CM": None}
    exec(compile(tree, "propensity_estimator", "exec"), scope)
    looks = [1.0, 0.6, 0.3, 0.1]

    def sample(labels):
        clicks.append([int(draw.random() < look * (0.8 if label else 0.2)) for look, label in zip(looks, labels, strict=True)])
        return clicks[-1], None, None

    estimator = scope["RandomizedPropensityEstimator"]()
    data = types.SimpleNamespace(rank_list_size=4, labels=[[1, 0, 0, 1], [0, 0, 1, 0]])
    estimator.estimateParametersFromModel(types.SimpleNamespace(sampleClicksForOneList=sample), data)
    counts = [sum(session[k] for session in clicks) for k in range(4)]
    return {"sessions": len(clicks), "clicks": counts, "inverse": estimator.IPW_list}
