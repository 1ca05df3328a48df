import { EvaluationError } from '../errors.js';
import type { ChoiceProblem } from '../log/format.js';
import type { ChoiceMetric } from '../task.js';

/** 1 where the gold choice has the highest log-likelihood; the first wins ties (`acc` of lm-evaluation-harness). */
export function accuracy(): ChoiceMetric {
  return choiceMetric('acc', () => 1);
}

/**
 * As `accuracy`, with each log-likelihood divided by the choice's length in Unicode code points, without the delimiter
 * (`acc_norm` of lm-evaluation-harness, whose lengths are Python's `len`).
 */
export function accuracyPerCharacter(): ChoiceMetric {
  return choiceMetric('acc_norm', (text) => [...text].length);
}

/** As `accuracy`, with each log-likelihood divided by the choice's length in UTF-8 bytes (`acc_bytes`). */
export function accuracyPerByte(): ChoiceMetric {
  return choiceMetric('acc_bytes', (text) => Buffer.byteLength(text));
}

function choiceMetric(name: string, length: (text: string) => number): ChoiceMetric {
  return {
    name,
    value: ({ id, choices, gold }: ChoiceProblem) => {
      const odd = choices.findIndex(({ logProb }) => Number.isNaN(logProb) || logProb === Number.POSITIVE_INFINITY);
      if (odd >= 0) {
        throw new EvaluationError(
          'NOT_FINITE',
          `${name}: choice ${odd} of problem "${id}" has the log-likelihood ${choices[odd]!.logProb}.`,
        );
      }
      let best = 0;
      const scores = choices.map(({ text, logProb }) => logProb / length(text));
      scores.forEach((score, i) => {
        if (score > scores[best]!) best = i;
      });
      return best === gold ? 1 : 0;
    },
  };
}
