"""Selection by the packages of its authors: DSIR's weights (data-selection), uncertainty of one model and of committees (modAL), a ridge (scikit-learn), DoReMi's update (numpy)."""

import json
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder  # noqa: E402
from types import SimpleNamespace

import numpy as np
from data_selection import HashedNgramDSIR
from data_selection.hashed_ngram_dsir import hash_buckets
from modAL.disagreement import KL_max_disagreement, consensus_entropy, vote_entropy
from modAL.uncertainty import classifier_entropy, classifier_margin, classifier_uncertainty
from sklearn.linear_model import Ridge

RAW = [
    "The cat sat on the mat, and the dog sat too.",
    "Solve x + 3 = 7: x equals 4, since 7 - 3 = 4.",
    "Stocks fell on Monday; analysts don't agree why.",
    "If x^2 = 16 then x = 4 or x = -4. Solve it!",
    "A naïve café owner said: \"Être, ou ne pas être?\"",
    "two words",
]
TARGET = ["Solve x + 5 = 9: x equals 4.", "Solve 2x = 8, so x = 4."]


def dsir() -> dict:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, texts in (("raw", RAW), ("target", TARGET)):
            path = Path(folder) / f"{name}.jsonl"
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
            paths.append(str(path))
        model = HashedNgramDSIR([paths[0]], [paths[1]], cache_dir=f"{folder}/cache", num_buckets=64, min_example_length=3, num_proc=1)
        model.fit_importance_estimator(num_tokens_to_fit="all")
        features = [model.featurizer(text) for text in RAW]
        lengths = np.array([model.get_perexample_metadata({}, one) for one in features])
        return {
            "raw": RAW,
            "target": TARGET,
            "buckets": {text: hash_buckets(text) for text in ["the", "solve x", "être", "x ^ 2"]},
            "logDifference": model.log_diff.tolist(),
            "weights": [float(model.importance_estimator(one)) for one in features],
            "lengths": lengths.tolist(),
            "longEnough": model.perexample_metadata_filter(lengths).tolist(),
        }


def uncertainty() -> dict:
    rng = np.random.default_rng(3)
    members = rng.dirichlet(np.ones(4) * 0.7, size=(3, 5))
    learners = [SimpleNamespace(predict_proba=lambda X, own=own: own, predict=lambda X, own=own: own.argmax(1)) for own in members]
    one = learners[0]
    one.classes_ = np.arange(4)

    class Committee:
        classes_ = np.arange(4)

        def __len__(self):
            return len(learners)

        def __iter__(self):
            return iter(learners)

        def vote(self, X):
            return np.stack([own.argmax(1) for own in members], axis=1)

        def vote_proba(self, X):
            return np.moveaxis(members, 0, 1)

        def predict_proba(self, X):
            return members.mean(0)

    X = np.zeros((5, 1))
    committee = Committee()
    return {
        "members": members.tolist(),
        "leastConfidence": classifier_uncertainty(one, X).tolist(),
        "margin": classifier_margin(one, X).tolist(),
        "entropy": classifier_entropy(one, X).tolist(),
        "voteEntropy": vote_entropy(committee, X).tolist(),
        "consensusEntropy": consensus_entropy(committee, X).tolist(),
        "maxDisagreement": KL_max_disagreement(committee, X).tolist(),
    }


def mixtures() -> dict:
    rng = np.random.default_rng(5)
    weights = rng.dirichlet(np.ones(3), size=8)
    loss = weights @ np.array([2.0, 1.0, 3.0]) + 0.5 + rng.normal(size=8) * 0.05
    ridge = Ridge(alpha=1e-3).fit(weights, loss)
    alpha = np.array([0.5, 0.3, 0.2])
    updates = []
    for excess in ([0.2, -0.1, 0.7], [0.0, 0.0, 0.0], [1.5, 0.4, -2.0]):
        raised = alpha * np.exp(0.8 * np.maximum(np.array(excess), 0))
        alpha = (1 - 1e-2) * raised / raised.sum() + 1e-2 / 3
        updates.append({"excess": excess, "weights": alpha.tolist()})
    return {
        "runs": [{"weights": w.tolist(), "loss": float(l)} for w, l in zip(weights, loss)],
        "slopes": ridge.coef_.tolist(),
        "intercept": float(ridge.intercept_),
        "start": [0.5, 0.3, 0.2],
        "updates": updates,
    }


text = json.dumps({"dsir": dsir(), "uncertainty": uncertainty(), "mixtures": mixtures()}, ensure_ascii=True, separators=(",", ":"))
(output_folder(__file__) / "selection.json").write_text(text + "\n")
