"""transformers' DecisionTransformerModel: actions and gradients of the mean squared error over two pieces of trajectories."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from transformers import DecisionTransformerConfig, DecisionTransformerModel  # noqa: E402

torch.set_num_threads(1)
STATE, ACTION = 3, 2
NAMES = (
    "encoder.h.0.attn.c_attn.bias",
    "encoder.h.1.mlp.c_proj.bias",
    "encoder.ln_f.weight",
    "embed_return.weight",
    "embed_state.bias",
    "embed_action.weight",
    "embed_timestep.weight",
    "embed_ln.weight",
    "predict_action.0.weight",
)


def main() -> None:
    out = output_folder(__file__)
    torch.manual_seed(29)
    config = DecisionTransformerConfig(
        **dict(state_dim=STATE, act_dim=ACTION, hidden_size=16, max_ep_len=12, n_positions=24, n_layer=2, n_head=2, n_inner=24),
        **dict(initializer_range=0.3, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None),
    )
    model = DecisionTransformerModel(config).eval()
    with torch.no_grad():
        # torch starts these with zeros and ones, of which a mistake would not be seen.
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(out)
    pieces, total, count = [], torch.zeros(()), 0
    for start, steps in ((0, 4), (5, 3)):
        states, actions = torch.randn(1, steps, STATE), torch.rand(1, steps, ACTION) * 2 - 1
        returns = torch.randn(1, steps, 1)
        predicted = model(
            states=states, actions=actions, returns_to_go=returns, timesteps=torch.arange(start, start + steps).unsqueeze(0)
        ).action_preds
        total = total + (predicted - actions).square().mean(-1).sum()
        count += steps
        pieces.append(
            {
                "from": start,
                "observations": states[0].tolist(),
                "actions": actions[0].tolist(),
                "returns": returns[0, :, 0].tolist(),
                "predicted": predicted[0].tolist(),
            }
        )
    loss = total / count
    loss.backward()
    named = dict(model.named_parameters())
    write_json(
        out / "expected.json",
        {
            "loss": loss.item(),
            "pieces": pieces,
            "gradients": {name: named[name].grad.flatten().tolist() for name in NAMES},
        },
    )


if __name__ == "__main__":
    main()
