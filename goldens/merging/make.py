"""Merged tensors of every merge method: the formulas of the papers in float64 with NumPy.

Each method is written a second time here, over whole arrays, with sorts where the library selects by counts, and with an
iteration on the sphere where the library works with inner products.
"""

import itertools
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import numpy as np  # noqa: E402

rng = np.random.default_rng(7)
SHAPE = (6, 8)


def drawn(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32).astype(np.float64)


def numbers(x):
    return [float(v) for v in np.asarray(x).ravel()]


base = drawn(*SHAPE)
models = [(base + drawn(*SHAPE, scale=0.3)).astype(np.float32).astype(np.float64) for _ in range(3)]
deltas = [(m - base).astype(np.float32).astype(np.float64) for m in models]
uniforms = rng.random((3, *SHAPE)).round(4)
fishers = [np.abs(drawn(*SHAPE)) for _ in models]
inputs = [drawn(20, SHAPE[1]) for _ in models]
grams = [(x.T @ x).astype(np.float32).astype(np.float64) for x in inputs]


def combined(vectors, weights, *, normalize, lam=1.0, elect=False):
    weighted = np.stack([w * v for w, v in zip(weights, vectors)])
    w = np.asarray(weights).reshape(-1, 1, 1) * np.ones_like(weighted)
    if elect:
        sign = np.where(weighted.sum(0) >= 0, 1, -1)
        agree = np.sign(weighted) == sign
        weighted, w = weighted * agree, w * agree
    total = weighted.sum(0)
    if normalize:
        divisor = w.sum(0)
        total = total / np.where(np.abs(divisor) < 1e-8, 1, divisor)
    return base + lam * total


def trimmed(x, density):
    order = np.argsort(-np.abs(x).ravel(), kind="stable")
    kept = np.zeros(x.size, bool)
    kept[order[: int(density * x.size)]] = True
    return x * kept.reshape(x.shape)


def crumbs(x, density, gamma):
    order = np.argsort(-np.abs(x).ravel(), kind="stable")
    keep = int(density * x.size)
    top = min(int(gamma * x.size), x.size - keep)
    kept = np.zeros(x.size, bool)
    kept[order[top : top + keep]] = True
    return x * kept.reshape(x.shape)


def dropped(x, u, density):
    return x * (u < density) / density


def della(x, u, density, epsilon):
    rank = np.argsort(np.argsort(np.abs(x), axis=1, kind="stable"), axis=1)
    p = density - epsilon + 2 * epsilon * rank / (x.shape[1] - 1)
    return x * (u < p) / p


def slerp(a, b, t):
    a1, b1 = a.ravel(), b.ravel()
    omega = np.arccos(a1 @ b1 / np.linalg.norm(a1) / np.linalg.norm(b1))
    return (np.sin((1 - t) * omega) * a + np.sin(t * omega) * b) / np.sin(omega)


def karcher(vectors, weights, steps):
    w = np.asarray(weights) / np.sum(weights)
    norms = [np.linalg.norm(v) for v in vectors]
    units = [v.ravel() / n for v, n in zip(vectors, norms)]
    u = sum(wi * ui for wi, ui in zip(w, units))
    u = u / np.linalg.norm(u)
    for _ in range(steps):
        tangent = np.zeros_like(u)
        for wi, ui in zip(w, units):
            angle = np.arccos(np.clip(u @ ui, -1, 1))
            if angle > 1e-9:
                tangent += wi * angle / np.sin(angle) * (ui - np.cos(angle) * u)
        size = np.linalg.norm(tangent)
        if size < 1e-15:
            break
        u = np.cos(size) * u + np.sin(size) * tangent / size
    return (u * (w @ np.array(norms))).reshape(SHAPE)


def stock(rows):
    result = np.zeros(SHAPE)
    groups = [slice(i, i + 1) for i in range(SHAPE[0])] if rows else [slice(0, SHAPE[0])]
    for group in groups:
        ds = [d[group].ravel() for d in deltas]
        cos = np.mean(
            [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.combinations(ds, 2)]
        )
        k = len(ds)
        t = k * cos / (1 + (k - 1) * cos)
        result[group] = t * np.mean([m[group] for m in models], axis=0) + (1 - t) * base[group]
    return result


def regmean(alpha):
    scaled = [g * np.where(np.eye(len(g)) == 1, 1, alpha) for g in grams]
    return np.linalg.solve(sum(scaled), sum(g @ m.T for g, m in zip(scaled, models))).T


W = [0.5, 0.3, -0.2]
P = [0.5, 0.3, 0.4]
each = lambda ws, **more: [{"weight": w, **more} for w in ws]
cases = []


def case(method, options, each_model, merged, count=3):
    cases.append({"method": method, "options": options, "each": each_model, "models": count, "merged": numbers(merged)})


case("linear", {"normalize": True}, each(P), sum(w * m for w, m in zip(P, models)) / sum(P))
case("linear", {"normalize": False}, each(W), sum(w * m for w, m in zip(W, models)))
case("warm", {}, [{}] * 3, np.mean(models, axis=0))
case("passthrough", {}, [{"scale": 0.5}], 0.5 * models[0], 1)
case("slerp", {"t": 0.3}, [{}], slerp(base, models[0], 0.3), 1)
case("karcher", {"max_iter": 50, "tol": 0}, each(P), karcher(models, P, 50))
case("task_arithmetic", {"normalize": False, "lambda": 0.7}, each(W), combined(deltas, W, normalize=False, lam=0.7))
case("task_arithmetic", {"normalize": True, "lambda": 1}, each(P), combined(deltas, P, normalize=True))
t = [trimmed(d, 0.4) for d in deltas]
case("ties", {"normalize": True, "lambda": 1}, each(P, density=0.4), combined(t, P, normalize=True, elect=True))
case("ties", {"normalize": False, "lambda": 0.9}, each(W, density=0.4), combined(t, W, normalize=False, lam=0.9, elect=True))
d = [dropped(x, u, 0.5) for x, u in zip(deltas, uniforms)]
o = {"normalize": False, "lambda": 1, "rescale": True}
case("dare_linear", o, each(W, density=0.5), combined(d, W, normalize=False))
case("dare_ties", o, each(W, density=0.5), combined(d, W, normalize=False, elect=True))
e = [della(x, u, 0.6, 0.2) for x, u in zip(deltas, uniforms)]
case("della_linear", o, each(W, density=0.6, epsilon=0.2), combined(e, W, normalize=False))
case("della", {**o, "normalize": True}, each(P, density=0.6, epsilon=0.2), combined(e, P, normalize=True, elect=True))
b = [crumbs(x, 0.6, 0.1) for x in deltas]
o = {"normalize": False, "lambda": 1}
case("breadcrumbs", o, each(W, density=0.6, gamma=0.1), combined(b, W, normalize=False))
case("breadcrumbs_ties", o, each(W, density=0.6, gamma=0.1), combined(b, W, normalize=False, elect=True))
case("model_stock", {"filter_wise": False}, [{}] * 3, stock(False))
case("model_stock", {"filter_wise": True}, [{}] * 3, stock(True))
case("fisher", {}, each(P), sum(w * f * m for w, f, m in zip(P, fishers, models)) / sum(w * f for w, f in zip(P, fishers)))
case("regmean", {"alpha": 0.9}, [{}] * 3, regmean(0.9))

golden = {
    "shape": list(SHAPE),
    "base": numbers(base),
    "models": [numbers(m) for m in models],
    "uniforms": [numbers(u) for u in uniforms],
    "fisher": [numbers(f) for f in fishers],
    "gram": [numbers(g) for g in grams],
    "cases": cases,
}
write_json(output_folder(__file__) / "expected.json", golden)
