"""Updates of evolution strategies (arXiv 1703.03864) in numpy: mirrored points, centred ranks of all of them, and the sum of weighted noise."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import numpy as np  # noqa: E402

out = output_folder(__file__)
generator = np.random.RandomState(0)


def centred_ranks(x):
    ranks = np.empty(x.size, dtype=float)
    ranks[x.ravel().argsort(kind="stable")] = np.arange(x.size)
    return (ranks / (x.size - 1) - 0.5).reshape(x.shape)


cases = []
for shaping, pairs, width, sigma, rate, decay in [("rank", 5, 3, 0.2, 0.1, 0.0), ("rank", 4, 2, 0.05, 0.3, 0.01), ("none", 6, 4, 0.5, 0.2, 0.1)]:
    theta, noise = generator.normal(size=width), generator.normal(size=(pairs, width))
    # A column for θ + σε and one for θ - σε; the last two are tied in the first case.
    returns = np.round(generator.normal(size=(pairs, 2)) * 4, 3)
    if len(cases) == 0:
        returns[-1] = returns[0]
    shaped = centred_ranks(returns) if shaping == "rank" else returns
    gradient = (shaped[:, 0] - shaped[:, 1]) @ noise / (returns.size * sigma)
    cases.append(
        {
            **{"shaping": shaping, "sigma": sigma, "learningRate": rate, "weightDecay": decay},
            **{"point": theta.tolist(), "noise": noise.tolist(), "values": returns.ravel().tolist()},
            "next": ((1 - decay) * theta + rate * gradient).tolist(),
        }
    )
write_json(out / "updates.json", {"cases": cases})
