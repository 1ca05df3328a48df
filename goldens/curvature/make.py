"""Jacobian-, Hessian- and Fisher-vector products of a small network, and natural gradients, from torch.func in float64."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch.func import functional_call, grad, jacrev, jvp, vjp  # noqa: E402,F401

torch.set_num_threads(1)
ROWS, INPUTS, HIDDEN, CLASSES = 7, 3, 4, 5
DAMPING = 0.05


def main() -> None:
    out = output_folder(__file__)
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, generator=generator).double()

    x, targets = normal(ROWS, INPUTS), torch.randint(0, CLASSES, (ROWS,), generator=generator)
    parameters = {"up": normal(INPUTS, HIDDEN), "scale": 1 + 0.2 * normal(HIDDEN), "down": normal(HIDDEN, CLASSES)}
    vector = {name: normal(*p.shape) for name, p in parameters.items()}

    def logits(p):
        # RMSNorm, an activation and a product: what models are made of.
        hidden = F.silu(x @ p["up"])
        return F.rms_norm(hidden, (HIDDEN,), p["scale"], eps=1e-5) @ p["down"]

    def loss(p):
        return F.cross_entropy(logits(p), targets)

    output, tangent = jvp(logits, (parameters,), (vector,))
    _, hessian = jvp(grad(loss), (parameters,), (vector,))
    gradient = grad(loss)(parameters)

    # The Fisher information as a matrix: the expectation over every class of the outer product of the score.
    names = list(parameters)
    flat = lambda tree: torch.cat([tree[name].reshape(-1) for name in names])  # noqa: E731
    jacobian = jacrev(lambda p: F.log_softmax(logits(p), -1))(parameters)
    scores = torch.cat([jacobian[name].reshape(ROWS, CLASSES, -1) for name in names], -1)
    fisher = torch.einsum("rc,rci,rcj->ij", output.softmax(-1), scores, scores) / ROWS
    seen = scores[torch.arange(ROWS), targets]
    empirical = seen.T @ seen / ROWS
    solution = torch.linalg.solve(fisher + DAMPING * torch.eye(len(fisher)).double(), flat(gradient))

    def tree(prefix, values):
        result, at = {}, 0
        for name in names:
            size = parameters[name].numel()
            result[f"{prefix}.{name}"] = values[at : at + size].reshape(parameters[name].shape)
            at += size
        return result

    tensors = {"x": x, "targets": targets.int(), "output": output, "tangent": tangent}
    for prefix, values in {"parameters": parameters, "vector": vector, "gradient": gradient, "hessian_vector": hessian}.items():
        tensors |= {f"{prefix}.{name}": value for name, value in values.items()}
    tensors |= tree("fisher_vector", fisher @ flat(vector)) | tree("empirical_fisher_vector", empirical @ flat(vector))
    tensors |= tree("natural_gradient", solution)
    write_tensors(out / "curvature.safetensors", {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
    write_json(out / "curvature.json", {"damping": DAMPING, "epsilon": 1e-5})


main()
