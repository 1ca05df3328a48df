"""Tiny decoders with mixtures of experts: what goldens/models has for every family, and the router's side of it."""

import importlib.util
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, GenerationConfig, MixtralConfig, Qwen3MoeConfig  # noqa: E402
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func  # noqa: E402

spec = importlib.util.spec_from_file_location("models", Path(__file__).resolve().parents[1] / "models" / "make.py")
models = importlib.util.module_from_spec(spec)
spec.loader.exec_module(models)

# No choice of experts may hang on rounding.
SMALLEST_ROUTING_GAP = 1e-4

CONFIGS = {
    "mixtral": MixtralConfig(**models.SMALL | {"intermediate_size": 24}, num_local_experts=4, num_experts_per_tok=2, rope_parameters=models.ROPE, rms_norm_eps=1e-5),
    "qwen3-moe": Qwen3MoeConfig(
        **models.SMALL | {"num_hidden_layers": 3},
        head_dim=8,
        moe_intermediate_size=12,
        num_experts=6,
        num_experts_per_tok=3,
        norm_topk_prob=True,
        mlp_only_layers=[1],
        rope_parameters=models.ROPE,
    ),
    "qwen3-moe-sparse-step": Qwen3MoeConfig(
        **models.SMALL,
        head_dim=8,
        moe_intermediate_size=16,
        num_experts=5,
        num_experts_per_tok=2,
        norm_topk_prob=False,
        decoder_sparse_step=2,
        attention_bias=True,
        use_sliding_window=True,
        sliding_window=5,
        tie_word_embeddings=True,
        rope_parameters=models.ROPE,
    ),
}


def load(folder: Path):
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    ).eval()


def expert_gradients(model, prefix: str, names: tuple[str, str, str]) -> dict[str, torch.Tensor]:
    """Of the last layer's router and experts 0 and 1, by the names of a checkpoint."""
    layer = len(model.model.layers) - 1
    block = model.model.layers[layer].mlp
    gate, up = block.experts.gate_up_proj.grad.chunk(2, dim=1)
    parts = dict(zip(names, (gate, up, block.experts.down_proj.grad)))
    module = f"routed_gradient.model.layers.{layer}.{prefix}"
    tensors = {f"{module}.experts.{e}.{name}.weight": part[e] for e in (0, 1) for name, part in parts.items()}
    return tensors | {f"{module}.gate.weight": block.gate.weight.grad}


def routing_gap(router_logits, top_k: int) -> float:
    probabilities = torch.cat([logits.softmax(-1) for logits in router_logits]).sort(-1, descending=True).values
    return (probabilities[:, top_k - 1] - probabilities[:, top_k]).min().item()


def routing(model, kind: str, tensors: dict) -> tuple[dict, dict]:
    ids, labels = tensors["batch.input_ids"], tensors["batch.labels"]
    output = model(ids, labels=labels, output_router_logits=True)
    experts, top_k = model.config.num_experts, model.config.num_experts_per_tok
    gap = routing_gap(output.router_logits, top_k)
    assert gap > SMALLEST_ROUTING_GAP, f"{kind}: experts are chosen by a gap of {gap}"
    # The gradients of the whole loss, which has aux_loss in it.
    output.loss.backward()
    names = ("w1", "w3", "w2") if kind == "mixtral" else ("gate_proj", "up_proj", "down_proj")
    found = expert_gradients(model, "block_sparse_moe" if kind == "mixtral" else "mlp", names)
    model.zero_grad()
    router_logits = torch.stack([logits.detach() for logits in output.router_logits]).requires_grad_()
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    masked = load_balancing_loss_func(tuple(router_logits), experts, top_k, mask)
    masked.backward()
    found |= {"router.logits": router_logits, "router.mask": mask, "router.masked_gradient": router_logits.grad}
    scalars = {
        "router.loss": output.loss.item(),
        "router.aux_loss": output.aux_loss.item(),
        "router.masked_aux_loss": masked.item(),
        "router.smallest_gap": gap,
    }
    return found, scalars


def main() -> None:
    out = output_folder(__file__)
    for seed, (kind, config) in enumerate(CONFIGS.items()):
        folder = out / kind
        generator = torch.Generator().manual_seed(2010 + seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
        models.randomise(model, generator)
        model.generation_config = GenerationConfig.from_model_config(config)
        model.save_pretrained(folder)
        model = load(folder)
        tensors, scalars = models.expected(model, kind, generator)
        more_tensors, more_scalars = routing(model, kind, tensors)
        write_tensors(folder / "expected.safetensors", tensors | more_tensors)
        write_json(folder / "expected.json", scalars | more_scalars)
        print(kind, scalars["parameters"], f"loss {scalars['batch.loss']:.3f} gap {scalars['greedy.smallest_gap']:.4f}", more_scalars)


if __name__ == "__main__":
    main()
