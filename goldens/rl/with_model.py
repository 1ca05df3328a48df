"""GRPO and DPO through a real model: models/llama with the adapter lora/llama-default, the reference being the adapter off."""

from pathlib import Path
from types import SimpleNamespace

import torch
from peft import PeftModel, get_peft_model_state_dict
from transformers import AutoModelForCausalLM
from trl import DPOTrainer, GRPOTrainer
from trl.trainer.utils import add_fused_lm_head
from stand_in import StandIn

ROOT = Path(__file__).resolve().parents[1]
PAD = 0
FIELDS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


def load(temperature: float):
    base = AutoModelForCausalLM.from_pretrained(ROOT / "models/llama", dtype=torch.float32, attn_implementation="eager")
    add_fused_lm_head(base, temperature=temperature, outputs=FIELDS)
    return PeftModel.from_pretrained(base, ROOT / "lora/llama-default", is_trainable=True).train()


def gradients(model) -> dict[str, torch.Tensor]:
    names = {tensor.data_ptr(): key for key, tensor in get_peft_model_state_dict(model).items()}
    return {f"gradient.{names[p.data_ptr()]}": p.grad for p in model.parameters() if p.requires_grad}


def grpo() -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(37)
    temperature, prompt_lengths, lengths = 0.7, [4, 4, 2, 2], [6, 3, 1, 5]
    prompt_mask = torch.tensor([[0] * (4 - n) + [1] * n for n in prompt_lengths])
    mask = torch.tensor([[1] * n + [0] * (6 - n) for n in lengths])
    prompt_ids = torch.randint(4, 256, (4, 4), generator=generator).masked_fill(prompt_mask == 0, PAD)
    completion_ids = torch.randint(4, 256, (4, 6), generator=generator).masked_fill(mask == 0, PAD)
    model = load(temperature)
    options = {"loss_type": "grpo", "beta": 0.05, "epsilon": 0.2, "temperature": temperature}
    stand_in = StandIn(
        GRPOTrainer,
        model=model,
        loss_type="grpo",
        importance_sampling_level="token",
        beta=0.05,
        epsilon_low=0.2,
        epsilon_high=0.2,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False),
    )
    ids, attention = torch.cat([prompt_ids, completion_ids], 1), torch.cat([prompt_mask, mask], 1)
    with torch.no_grad():
        logps, entropies, _ = stand_in._get_per_token_logps_and_entropies(model, ids, attention, 6, compute_entropy=True)
        with model.disable_adapter():
            ref, _, _ = stand_in._get_per_token_logps_and_entropies(model, ids, attention, 6)
    old = (logps + 0.3 * torch.randn(logps.shape, generator=generator)) * mask
    batch = {
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": completion_ids,
        "completion_mask": mask,
        "advantages": torch.tensor([0.75, -0.75, 1.0, -1.0]),
        "old_per_token_logps": old,
        "ref_per_token_logps": ref,
    }
    loss = stand_in._compute_loss(model, batch)
    loss.backward()
    tensors = {f"grpo.{name}": value for name, value in batch.items()}
    tensors |= {"grpo.logps": logps, "grpo.entropies": entropies}
    tensors |= {f"grpo.{name}": value for name, value in gradients(model).items()}
    return tensors, {"options": options, "loss": loss.item(), "metrics": stand_in.metrics()}


def dpo() -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(41)
    prompts, lengths, length = [3, 2, 3, 2], [5, 4, 7, 3], 10  # [chosen 0, chosen 1, rejected 0, rejected 1]
    ids = torch.randint(4, 256, (4, length), generator=generator)
    for pair in (0, 1):
        ids[pair + 2, : prompts[pair]] = ids[pair, : prompts[pair]]
    position = torch.arange(length)[None]
    start = torch.tensor(prompts)[:, None]
    end = start + torch.tensor(lengths)[:, None]
    attention = (position < end).long()
    mask = ((position >= start) & (position < end)).long()
    ids = ids.masked_fill(attention == 0, PAD)
    model = load(1.0)
    stand_in = StandIn(
        DPOTrainer,
        model=model,
        ref_model=None,
        beta=0.1,
        label_smoothing=0.0,
        loss_types=["sigmoid"],
        loss_weights=[1.0],
        f_divergence_type="reverse_kl",
        ld_alpha=None,
        use_weighting=False,
        precompute_ref_logps=False,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
    )
    batch = {"input_ids": ids, "attention_mask": attention, "completion_mask": mask}
    loss = stand_in._compute_loss(model, batch, return_outputs=False)
    loss.backward()
    tensors = {f"dpo.{name}": value for name, value in batch.items()}
    tensors |= {f"dpo.{name}": value for name, value in gradients(model).items()}
    return tensors, {"options": {"loss_types": ["sigmoid"], "beta": 0.1}, "loss": loss.item(), "metrics": stand_in.metrics()}


def cases() -> tuple[dict, dict]:
    grpo_tensors, grpo_facts = grpo()
    dpo_tensors, dpo_facts = dpo()
    return grpo_tensors | dpo_tensors, {"base": "llama", "adapter": "llama-default", "grpo": grpo_facts, "dpo": dpo_facts}
