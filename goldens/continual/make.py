"""Continual learning: importances, penalties and losses of the papers, in float64 with torch's autograd."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

torch.set_num_threads(1)
LENGTHS = [7, 4, 5]
SHOWN = "model.norm.weight"


def load():
    folder = ROOT / "models/llama"
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()


def sequences() -> list[list[int]]:
    generator = torch.Generator().manual_seed(31)
    return [torch.randint(4, 256, (length,), generator=generator).tolist() for length in LENGTHS]


def logits(model, row: list[int]) -> torch.Tensor:
    return model(torch.tensor([row])).logits[0, :-1]


def importances(rows: list[list[int]]) -> dict:
    """
    Of one parameter: the Fisher diagonal by enumeration of every label of every prediction, that of the labels of the rows, and MAS.
    All are means over rows of something of one row.
    """
    model = load()
    parameter = dict(model.named_parameters())[SHOWN]
    exact, empirical, aware = (torch.zeros_like(parameter) for _ in range(3))
    for row in rows:
        def of(weight):
            return torch.func.functional_call(model, {SHOWN: weight}, (torch.tensor([row]),)).logits[0, :-1]

        with torch.no_grad():
            p = logits(model, row).softmax(-1)
        jacobian = torch.autograd.functional.jacobian(of, parameter.detach())
        scores = jacobian - (p[:, :, None] * jacobian).sum(1, keepdim=True)
        exact += (p[:, :, None] * scores.square()).sum((0, 1))
        nll = F.cross_entropy(logits(model, row), torch.tensor(row[1:]), reduction="sum")
        empirical += torch.autograd.grad(nll, parameter)[0].square()
        aware += torch.autograd.grad(logits(model, row).square().sum(), parameter)[0].abs()
    return {
        name: (x.detach() / len(rows)).tolist() for name, x in (("fisher", exact), ("empirical", empirical), ("mas", aware))
    }


def penalties() -> dict:
    """EWC, online EWC after two tasks, and L2-SP with a parameter that has no anchor: value and gradient."""
    generator = torch.Generator().manual_seed(37)
    shapes = {"matrix": (3, 4), "vector": (5,), "head": (2, 3)}
    draw = lambda: {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}  # noqa: E731
    parameters, anchors, first, second = draw(), draw(), draw(), draw()
    first, second = ({name: x.square() for name, x in named.items()} for named in (first, second))
    lam, gamma, alpha, beta = 3.0, 0.9, 0.7, 0.02
    leaf = {name: x.clone().requires_grad_() for name, x in parameters.items()}

    def described(value: torch.Tensor) -> dict:
        gradients = torch.autograd.grad(value, list(leaf.values()))
        return {"value": value.item(), "gradient": {n: g.flatten().tolist() for n, g in zip(leaf, gradients)}}

    def quadratic(importance: dict) -> torch.Tensor:
        return lam / 2 * sum((importance[n] * (leaf[n] - anchors[n]).square()).sum() for n in leaf)

    online = {name: gamma * first[name] + second[name] for name in first}
    anchored = [name for name in leaf if name != "head"]
    toward = alpha / 2 * sum((leaf[n] - anchors[n]).square().sum() for n in anchored)
    numbers = lambda named: {name: x.flatten().tolist() for name, x in named.items()}  # noqa: E731
    return {
        **{"shapes": {n: list(s) for n, s in shapes.items()}, "lambda": lam, "gamma": gamma, "alpha": alpha, "beta": beta},
        **{"parameters": numbers(parameters), "anchors": numbers(anchors), "first": numbers(first), "second": numbers(second)},
        **{"ewc": described(quadratic(first)), "online": described(quadratic(online)), "online_fisher": numbers(online)},
        "l2_sp": described(toward + beta / 2 * leaf["head"].square().sum()),
    }


def forgetting(rows: list[list[int]]) -> dict:
    """LwF over the rows, every predicted token weighing the same; the teacher is the model with another final norm."""
    teacher, student, lam, temperature = load(), load(), 0.8, 2.0
    generator = torch.Generator().manual_seed(41)
    with torch.no_grad():
        norm = 1 + 0.5 * torch.randn(32, generator=generator, dtype=torch.float64)
        dict(teacher.named_parameters())[SHOWN].copy_(norm)
    z = torch.cat([logits(student, row) for row in rows])
    with torch.no_grad():
        old = torch.cat([logits(teacher, row) for row in rows])
    nll = F.cross_entropy(z, torch.tensor([token for row in rows for token in row[1:]]))
    divergence = F.kl_div(
        (z / temperature).log_softmax(-1), (old / temperature).log_softmax(-1), reduction="batchmean", log_target=True
    )
    loss = nll + lam * divergence
    gradient = torch.autograd.grad(loss, dict(student.named_parameters())[SHOWN])[0]
    return {
        **{"lambda": lam, "temperature": temperature, "teacher": norm.tolist(), "loss": loss.item()},
        **{"nll": nll.item(), "distillation": divergence.item(), "gradient": gradient.tolist()},
    }


def projection() -> list[dict]:
    """A-GEM, eq. 11, of a gradient that interferes and of one that does not."""
    generator = torch.Generator().manual_seed(43)
    cases = []
    for sign in (-1.0, 1.0):
        reference = torch.randn(6, generator=generator, dtype=torch.float64)
        g = torch.randn(6, generator=generator, dtype=torch.float64) + sign * reference
        product = g @ reference
        step = g - product / (reference @ reference) * reference if product < 0 else g
        cases.append(
            {"g": g.tolist(), "reference": reference.tolist(), "interference": product.item(), "step": step.tolist()}
        )
    return cases


def rehearsal() -> dict:
    """
    What SSR selects of planted clusters that k-means cannot mistake, as the authors' script does: vectors of length 1, of each cluster its rounded share,
    the nearest to its centre.
    """
    generator = torch.Generator().manual_seed(47)
    sizes, count = [20, 12, 8], 10
    labels = torch.cat([torch.full((size,), c) for c, size in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    vectors = 4 * torch.eye(5, dtype=torch.float64)[labels]
    vectors = vectors + 0.6 * torch.randn(vectors.shape, generator=generator, dtype=torch.float64)
    vectors = (vectors * (1 + labels[:, None])).round(decimals=4)
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    selected = []
    for cluster, size in enumerate(sizes):
        members = torch.nonzero(labels == cluster)[:, 0]
        distances = (unit[members] - unit[members].mean(0)).norm(dim=1)
        selected += members[distances.argsort()[: round(count * size / len(labels))]].tolist()
    return {"vectors": vectors.tolist(), "count": count, "clusters": len(sizes), "selected": sorted(selected)}


def main() -> None:
    rows = sequences()
    facts = {"importances": importances(rows), "penalties": penalties(), "lwf": forgetting(rows), "a_gem": projection()}
    facts["ssr"] = rehearsal()
    write_json(output_folder(__file__) / "continual.json", {"sequences": rows, "shown": SHOWN, **facts})


if __name__ == "__main__":
    main()
