"""Bradley-Terry strengths and Elo ratings of battles with ties, by evalica."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import evalica  # noqa: E402
import numpy as np  # noqa: E402

out = output_folder(__file__)
generator = np.random.RandomState(0)
OUTCOMES = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}


def case(names, count):
    strengths = generator.normal(size=len(names))
    battles = []
    for _ in range(count):
        a, b = (int(i) for i in generator.choice(len(names), size=2, replace=False))
        won = generator.uniform() < 1 / (1 + np.exp(strengths[b] - strengths[a]))
        battles.append([names[a], names[b], 0.5 if generator.uniform() < 0.2 else float(won)])
    xs, ys, scores = ([battle[i] for battle in battles] for i in range(3))
    winners = [OUTCOMES[score] for score in scores]
    strength = evalica.bradley_terry(xs, ys, winners, tolerance=1e-15, limit=100_000, solver="naive").scores
    points = 400 * np.log10(strength)
    elo = evalica.elo(xs, ys, winners, solver="naive").scores
    return {
        "battles": battles,
        "bradley_terry": {name: float(value) for name, value in (points - points.mean() + 1000).items()},
        "elo": {name: float(value) for name, value in elo.items()},
    }


write_json(out / "ratings.json", {"cases": [case("ab", 30), case("abcd", 120), case("abcdefgh", 400)]})
