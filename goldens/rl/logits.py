"""Selected log-probabilities and entropy: the two functions of trl.trainer.utils."""

import torch
from trl.trainer.utils import entropy_from_logits, selective_log_softmax
from stand_in import rounded


def cases() -> dict:
    generator = torch.Generator().manual_seed(31)
    logits = rounded(3 * torch.randn(2, 3, 7, generator=generator))
    index = torch.randint(7, (2, 3), generator=generator)
    weights = rounded(torch.randn(2, 3, generator=generator))
    out = []
    for temperature in (1.0, 0.7, 2.0):
        leaf = logits.clone().requires_grad_()
        logps = selective_log_softmax(leaf, index, temperature=temperature)
        (logps * weights).sum().backward()
        entropy_leaf = logits.clone().requires_grad_()
        entropy = entropy_from_logits(entropy_leaf / temperature)
        (entropy * weights).sum().backward()
        out.append(
            {
                "temperature": temperature,
                "logps": logps.tolist(),
                "logps_gradient": leaf.grad.tolist(),
                "entropy": entropy.tolist(),
                "entropy_gradient": entropy_leaf.grad.tolist(),
            }
        )
    return {"logits": logits.tolist(), "index": index.tolist(), "weights": weights.tolist(), "cases": out}
