import type { Entailer } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';

/** A text in single claims, and what they are held against. */
export interface ClaimedText {
  /** Atomic claims, each a sentence; a text that says nothing has none. */
  readonly claims: readonly string[];
  /** Passages that are true. */
  readonly evidence: readonly string[];
}

/** How many claims of a text are supported. */
export interface FactScore {
  /** Share of supported claims; `null` for a text without claims. */
  readonly precision: number | null;
  /** The share, times exp(1 − γ/n) for a text of n < γ claims. */
  readonly score: number | null;
  readonly supported: readonly boolean[];
}

/**
 * FActScore (arXiv 2305.14251) over an `Entailer` in the place of its retriever and prompted model: a claim is supported where some passage entails
 * it, entailment being the most probable class. The score has the authors' penalty for texts with few claims, min(1, exp(1 − γ/n)); γ = 0: none.
 *
 * @throws EvaluationError `BAD_ROW` for claims without evidence; `BAD_RESPONSE`
 */
export async function factScore(
  texts: readonly ClaimedText[],
  { entailer, gamma = 10 }: { readonly entailer: Entailer; readonly gamma?: number },
): Promise<FactScore[]> {
  texts.forEach(({ claims, evidence }, i) => {
    if (claims.length > 0 && evidence.length === 0)
      throw new EvaluationError('BAD_ROW', `factScore: text ${i} has claims and no evidence.`);
  });
  const asked = texts.flatMap(({ claims, evidence }) =>
    claims.flatMap((hypothesis) => evidence.map((premise) => ({ premise, hypothesis }))),
  );
  const answers = asked.length === 0 ? [] : await entailer.entail(asked);
  if (answers.length !== asked.length)
    throw new EvaluationError(
      'BAD_RESPONSE',
      `${entailer.name} gave ${answers.length} answers to ${asked.length} questions.`,
    );
  let next = 0;
  return texts.map(({ claims, evidence }) => {
    const supported = claims.map(() =>
      evidence.map(() => answers[next++]!).some((one) => one.entailment > Math.max(one.neutral, one.contradiction)),
    );
    if (claims.length === 0) return { precision: null, score: null, supported };
    const precision = supported.filter((one) => one).length / claims.length;
    const penalty = claims.length >= gamma ? 1 : Math.exp(1 - gamma / claims.length);
    return { precision, score: precision * penalty, supported };
  });
}
