"""Rules of updates: SAM, ASAM and Sophia-H by pytorch-optimizer, GEM with quadprog, and the importances of SI by torch."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json  # noqa: E402

import numpy as np  # noqa: E402
import quadprog  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from pytorch_optimizer import SAM, SophiaH  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

torch.set_num_threads(1)
LENGTHS = [9, 6, 7]
SHOWN = "model.norm.weight"


def load():
    folder = ROOT / "models/llama"
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()


def sequences() -> list[list[int]]:
    generator = torch.Generator().manual_seed(23)
    return [torch.randint(4, 256, (length,), generator=generator).tolist() for length in LENGTHS]


def logits(model, rows: list[list[int]]) -> torch.Tensor:
    return torch.cat([model(torch.tensor([row])).logits[0, :-1] for row in rows])


def nll(model, rows: list[list[int]]) -> torch.Tensor:
    return F.cross_entropy(logits(model, rows), torch.tensor([token for row in rows for token in row[1:]]))


def sharpness(rows: list[list[int]]) -> list[dict]:
    cases = []
    for rho, adaptive in ((0.05, False), (0.5, True)):
        model = load()
        named = dict(model.named_parameters())
        optimizer = SAM(model.parameters(), torch.optim.SGD, lr=1.0, rho=rho, adaptive=adaptive)
        losses = []

        def closure():
            optimizer.zero_grad()
            loss = nll(model, rows)
            loss.backward()
            losses.append(loss.item())
            return loss

        before = {name: p.detach().clone() for name, p in named.items()}
        closure()
        optimizer.step(closure)
        step = {name: before[name] - p.detach() for name, p in named.items()}
        norm = torch.sqrt(sum(x.square().sum() for x in step.values())).item()
        cases.append({"rho": rho, "adaptive": adaptive, "losses": losses, "norm": norm, "step": step[SHOWN].tolist()})
    return cases


def episodic(rows: list[list[int]]) -> list[dict]:
    """The gradient of the first row, projected by those of the others; the second's loss has the other sign."""
    model = load()

    def gradient(row, sign):
        model.zero_grad()
        (sign * nll(model, [row])).backward()
        return np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])

    g, memories = gradient(rows[0], 1.0), np.stack([gradient(rows[1], -1.0), gradient(rows[2], 1.0)])
    cases, names = [], [name for name, _ in model.named_parameters()]
    sizes = [p.numel() for p in model.parameters()]
    start = sum(sizes[: names.index(SHOWN)])
    for strength, eps in ((0.0, 1e-3), (0.5, 1e-3)):
        p = memories @ memories.T + eps * np.eye(2)
        v = quadprog.solve_qp(p, -memories @ g, np.eye(2), np.full(2, strength))[0]
        x = memories.T @ v + g
        cases.append(
            {
                **{"memory_strength": strength, "eps": eps, "norm": float(np.linalg.norm(x))},
                **{"products": (memories @ g).tolist(), "step": x[start : start + sizes[names.index(SHOWN)]].tolist()},
            }
        )
    return cases


def path_integral(rows: list[list[int]]) -> dict:
    """Synaptic intelligence (arXiv 1703.04200, eq. 3 to 5) over three steps of SGD: Ω of what is trained."""
    model, rate, steps, xi = load(), 0.05, 3, 0.1
    parameter = dict(model.named_parameters())[SHOWN]
    start, path = parameter.detach().clone(), torch.zeros_like(parameter)
    for _ in range(steps):
        model.zero_grad()
        nll(model, rows).backward()
        before = parameter.detach().clone()
        with torch.no_grad():
            for p in model.parameters():
                p -= rate * p.grad
        path -= parameter.grad * (parameter.detach() - before)
    importance = path / ((parameter.detach() - start).square() + xi)
    return {"learning_rate": rate, "steps": steps, "xi": xi, "path": path.tolist(), "importance": importance.tolist()}


def second_order() -> dict:
    """
    Six steps of SophiaH with gradients and estimates that are given; some estimates are negative. Its `p` is the paper's γ where
    rate, decay and ε are those of the paper times 1/γ, γ and 1/γ: η clip(m / max(γ h, ε), 1) = η/γ clip(m / max(h, ε/γ), γ).
    """
    generator = torch.Generator().manual_seed(29)
    steps, shapes = 6, {"matrix": (3, 4), "vector": (5,)}
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    start = {name: draw(*shape) for name, shape in shapes.items()}
    gradients = [{name: draw(*shape) * 0.2 for name, shape in shapes.items()} for _ in range(steps)]
    estimates = [{name: draw(*shape) + 1.0 for name, shape in shapes.items()} for _ in range(steps // 2)]
    options = {"beta1": 0.9, "beta2": 0.8, "gamma": 0.4, "epsilon": 1e-6, "weightDecay": 0.1, "updatePeriod": 2}
    rate, gamma = 0.05, options["gamma"]
    parameters = {name: torch.nn.Parameter(x.clone()) for name, x in start.items()}
    optimizer = SophiaH(
        list(parameters.values()),
        lr=rate / gamma,
        betas=(options["beta1"], options["beta2"]),
        weight_decay=options["weightDecay"] * gamma,
        p=gamma,
        eps=options["epsilon"] / gamma,
        update_period=1000,
        foreach=False,
    )
    ends = []
    for step in range(steps):
        for name, p in parameters.items():
            p.grad = gradients[step][name].clone()
        given = [x.clone() for x in estimates[step // 2].values()] if step % options["updatePeriod"] == 0 else None
        optimizer.step(hessian=given)
        ends.append({name: p.detach().flatten().tolist() for name, p in parameters.items()})
    numbers = lambda named: {name: x.flatten().tolist() for name, x in named.items()}  # noqa: E731
    return {
        **{"options": options, "rate": rate, "shapes": {name: list(shape) for name, shape in shapes.items()}},
        **{"start": numbers(start), "gradients": [numbers(g) for g in gradients]},
        **{"estimates": [numbers(h) for h in estimates], "parameters": ends},
    }


def main() -> None:
    rows = sequences()
    facts = {"sam": sharpness(rows), "gem": episodic(rows), "si": path_integral(rows), "sophia": second_order()}
    write_json(output_folder(__file__) / "update-rules.json", {"sequences": rows, "shown": SHOWN, **facts})


main()
