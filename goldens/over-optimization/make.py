"""Laws of reward over-optimisation (arXiv 2210.10760) fitted to noisy points by scipy's curve_fit (Levenberg-Marquardt from a start of its
own), and the rewards of best-of-n by a proxy over every subset of samples, one by one."""

import itertools
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import numpy as np  # noqa: E402
from scipy.optimize import curve_fit  # noqa: E402

out = output_folder(__file__)
generator = np.random.RandomState(0)
LAWS = {
    "best-of-n": lambda kl, alpha, beta: np.sqrt(kl) * (alpha - beta * np.sqrt(kl)),
    "rl": lambda kl, alpha, beta: np.sqrt(kl) * (alpha - beta * np.log(np.sqrt(kl))),
}
fits = []
for law, alpha, beta, kls in [
    ("best-of-n", 0.9, 0.21, [np.log(n) - (n - 1) / n for n in (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)]),
    ("best-of-n", 0.4, -0.05, np.linspace(0.1, 6, 9)),
    ("rl", 0.7, 0.31, np.linspace(0.2, 80, 14)),
]:
    kls = np.asarray(kls, dtype=float)
    rewards = LAWS[law](kls, alpha, beta) + generator.normal(scale=0.02, size=len(kls))
    (fitted_alpha, fitted_beta), _ = curve_fit(LAWS[law], kls, rewards, p0=[1.0, 0.1], xtol=1e-15, ftol=1e-15)
    residual = float(np.sqrt(np.mean((rewards - LAWS[law](kls, fitted_alpha, fitted_beta)) ** 2)))
    points = [{"kl": float(kl), "reward": float(reward)} for kl, reward in zip(kls, rewards)]
    fits.append({"law": law, "points": points, "alpha": float(fitted_alpha), "beta": float(fitted_beta), "residual": residual})

# Ties among proxies: each of the tied samples is chosen equally often.
problems = [
    {"proxy": [float(x) for x in generator.randint(0, 5, size=8)], "gold": [float(x) for x in generator.normal(size=8)]} for _ in range(3)
]
curve = []
for n in (1, 2, 3, 5, 8):
    proxies, golds = [], []
    for problem in problems:
        proxy, gold = np.asarray(problem["proxy"]), np.asarray(problem["gold"])
        chosen = []
        for subset in itertools.combinations(range(8), n):
            best = [i for i in subset if proxy[i] == max(proxy[list(subset)])]
            chosen.append((proxy[best].mean(), gold[best].mean()))
        proxies.append(np.mean([p for p, _ in chosen]))
        golds.append(np.mean([g for _, g in chosen]))
    curve.append({"n": n, "proxy": float(np.mean(proxies)), "gold": float(np.mean(golds))})
write_json(out / "laws.json", {"fits": fits, "problems": problems, "curve": curve})
