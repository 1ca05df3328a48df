import type { Verifier } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { isRounding, type MeanEstimate, meanWithStandardError, Z_95 } from '../statistics/standard-error.js';

/** What was said of a solution: the first wrong step, from 0; −1: none is wrong. `null`: nothing was said, which is wrong. */
export interface FirstError {
  readonly label: number;
  readonly predicted: number | null;
}

/** Where the first step is that a process reward model finds wrong: the first score below the threshold; −1 where none is. */
export const firstWrongStep = (stepScores: readonly number[], threshold = 0.5): number =>
  stepScores.findIndex((score) => score < threshold);

/** ProcessBench's numbers. */
export interface ProcessBenchResult {
  /** 2ab/(a + b) of both accuracies. */
  readonly f1: MeanEstimate;
  /** On solutions with a wrong step: the place of the first is found. */
  readonly wrong: MeanEstimate;
  /** On solutions without: none is found. */
  readonly correct: MeanEstimate;
}

/**
 * ProcessBench's F1 (arXiv 2412.06559): the harmonic mean of the accuracies on solutions with and without a wrong step. Its standard error is
 * the delta method's, √((2b²σ_a)² + (2a²σ_b)²)/(a + b)²; `null` without both kinds, or where one accuracy has none.
 */
export function processBenchF1(problems: readonly FirstError[]): ProcessBenchResult {
  const isRight = ({ label, predicted }: FirstError): number => Number(label === predicted);
  const of = (isWrong: boolean) =>
    meanWithStandardError(problems.filter(({ label }) => label >= 0 === isWrong).map(isRight));
  const [wrong, correct] = [of(true), of(false)];
  return { f1: harmonic(wrong, correct), wrong, correct };
}

function harmonic(first: MeanEstimate, second: MeanEstimate): MeanEstimate {
  const count = first.count + second.count;
  const unknown = { standardError: null, interval: null, count } as const;
  const [a, b] = [first.value, second.value];
  if (a === null || b === null) return { value: null, ...unknown };
  if (a + b === 0) return { value: 0, ...unknown };
  const value = (2 * a * b) / (a + b);
  if (first.standardError === null || second.standardError === null) return { value, ...unknown };
  const standardError = Math.hypot(2 * b * b * first.standardError, 2 * a * a * second.standardError) / (a + b) ** 2;
  const interval = isRounding(standardError, [value])
    ? null
    : ([value - Z_95 * standardError, value + Z_95 * standardError] as const);
  return { value, standardError, interval, count };
}

/**
 * PRMBench's PRMScore (arXiv 2501.03124): w F1 of right steps + (1 − w) F1 of wrong ones, w = ½, over all steps of all solutions.
 * `null` where a kind of step neither is there nor is predicted.
 *
 * @param steps whether each step is right, and whether it is said to be
 */
export function prmScore(
  steps: readonly (readonly [label: boolean, predicted: boolean])[],
  weight = 0.5,
): number | null {
  const f1 = (kind: boolean): number | null => {
    const both = steps.filter(([label, said]) => label === kind && said === kind).length;
    const either = steps.reduce((sum, [label, said]) => sum + Number(label === kind) + Number(said === kind), 0);
    return either === 0 ? null : (2 * both) / either;
  };
  const [right, wrong] = [f1(true), f1(false)];
  return right === null || wrong === null ? null : weight * right + (1 - weight) * wrong;
}

/**
 * The first wrong step that a critic names in `\\boxed{…}` (ProcessBench's prompt; −1: none), of several critiques the one named most often, the
 * earlier of equal ones; `null` where that is no whole number.
 */
export function criticStep(critiques: readonly string[]): number | null {
  const votes = new Map<string, number>();
  for (const text of critiques) {
    const named = [...text.matchAll(/\\boxed\{([^}]*)\}/g)].at(-1)?.[1]?.trim();
    if (named !== undefined) votes.set(named, (votes.get(named) ?? 0) + 1);
  }
  const [most] = [...votes].sort(([, a], [, b]) => b - a);
  return most && /^[+-]?\d+$/.test(most[0]) ? Number(most[0]) : null;
}

/** A row of ProcessBench (Qwen/ProcessBench): `label` is the first wrong step, −1 where none is. */
export interface ProcessBenchRow {
  readonly problem: string;
  readonly steps: readonly string[];
  readonly label: number;
}

/**
 * ProcessBench of a process reward model: any `Verifier` with `stepScores`, asked about solutions whose steps are joined with `separator`.
 *
 * @throws EvaluationError `BAD_ROW`; `BAD_RESPONSE` where the verifier gives another number of step scores than there are steps
 */
export async function processBench(
  verifier: Verifier,
  rows: readonly ProcessBenchRow[],
  { threshold = 0.5, separator = '\n\n' }: { readonly threshold?: number; readonly separator?: string } = {},
): Promise<ProcessBenchResult> {
  rows.forEach(({ steps, label }, i) => {
    const isGood = Array.isArray(steps) && Number.isInteger(label) && label >= -1 && label < steps.length;
    if (!isGood)
      throw new EvaluationError(
        'BAD_ROW',
        `processBench: row ${i} needs a list "steps" and "label", the place of one of them or -1.`,
      );
  });
  const verdicts = await verifier.verify(
    rows.map(({ problem, steps, label }) => ({
      prompt: problem,
      completion: steps.join(separator),
      row: { problem, steps, label },
    })),
  );
  return processBenchF1(
    rows.map(({ label, steps }, i) => {
      const scores = verdicts[i]?.stepScores;
      if (scores?.length !== steps.length)
        throw new EvaluationError(
          'BAD_RESPONSE',
          `${verifier.name} gave ${scores?.length ?? 'no'} step scores for ${steps.length} steps of row ${i}.`,
        );
      return { label, predicted: firstWrongStep(scores, threshold) };
    }),
  );
}
