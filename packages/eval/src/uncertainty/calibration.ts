import { type Given, integer, oneOf, options } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';

const calibrationOptions = options('calibration', {
  /** Default 15. */
  bins: integer({ default: 15, min: 1 }),
  /** `width`: bins as wide as each other. `mass`: as many answers in each, which is adaptive. Default `width`. */
  binning: oneOf(['width', 'mass'], { default: 'width' }),
});
/** Options of `calibration`. */
export type CalibrationOptions = Given<typeof calibrationOptions>;

/** Answers of about one confidence. */
export interface CalibrationBin {
  readonly count: number;
  /** Means. */
  readonly confidence: number;
  readonly accuracy: number;
}

/** How far confidences are from shares. */
export interface Calibration {
  /** Expected calibration error, Σ_b n_b/n |accuracy_b − confidence_b|: 0 to 1. */
  readonly ece: number;
  /** √ Σ_b n_b/n (accuracy_b − confidence_b)². */
  readonly rms: number;
  /** The largest of bins. */
  readonly max: number;
  /** Those that have answers, of rising confidence: the reliability plot. */
  readonly bins: readonly CalibrationBin[];
}

/**
 * Calibration of stated confidences (Naeini et al. 2015; Guo et al., arXiv 1706.04599): of what is said with 80 %, 80 % should be right. The expected error of perfect
 * confidences is not 0 but falls as 1/√n, and depends on the bins: compare like with like. A bin holds its upper end, as in the published code.
 *
 * @param confidences 0 to 1 @param correct whether the answer was right
 * @throws OptionError; EvaluationError `UNPAIRED`, `BAD_PROBABILITY`
 */
export function calibration(
  confidences: readonly number[],
  correct: readonly (boolean | number)[],
  given: CalibrationOptions = {},
): Calibration {
  const { bins, binning } = calibrationOptions.read(given);
  assertForecasts('calibration', confidences, correct);
  const n = confidences.length;
  const order = confidences.map((_, i) => i).sort((i, j) => confidences[i]! - confidences[j]!);
  const members = Array.from({ length: bins }, (): number[] => []);
  order.forEach((i, rank) => {
    const at = binning === 'mass' ? Math.floor((rank * bins) / n) : Math.ceil(confidences[i]! * bins) - 1;
    members[Math.max(0, at)]!.push(i);
  });
  const filled = members
    .filter((bin) => bin.length > 0)
    .map((bin) => ({
      count: bin.length,
      confidence: bin.reduce((sum, i) => sum + confidences[i]!, 0) / bin.length,
      accuracy: bin.reduce((sum, i) => sum + Number(correct[i]), 0) / bin.length,
    }));
  const gap = (bin: CalibrationBin) => Math.abs(bin.accuracy - bin.confidence);
  return {
    ece: filled.reduce((sum, bin) => sum + (bin.count / n) * gap(bin), 0),
    rms: Math.sqrt(filled.reduce((sum, bin) => sum + (bin.count / n) * gap(bin) ** 2, 0)),
    max: filled.reduce((most, bin) => Math.max(most, gap(bin)), 0),
    bins: filled,
  };
}

/** Brier's score and what it is made of. */
export interface BrierScore {
  /** mean (p − y)²: 0 to 1, lower is better. */
  readonly score: number;
  /** Murphy's parts over the distinct forecasts: score = reliability − resolution + uncertainty. */
  readonly reliability: number;
  readonly resolution: number;
  readonly uncertainty: number;
}

/**
 * Brier's score of stated probabilities of yes (Brier 1950), with the decomposition of Murphy (1973). Over several classes, `brierOfClasses`.
 *
 * @throws EvaluationError `UNPAIRED`, `BAD_PROBABILITY`
 */
export function brierScore(probabilities: readonly number[], outcomes: readonly (boolean | number)[]): BrierScore {
  assertForecasts('brierScore', probabilities, outcomes);
  const n = probabilities.length;
  const meanOf = (list: readonly number[]) => list.reduce((sum, i) => sum + Number(outcomes[i]), 0) / list.length;
  const all = probabilities.map((_, i) => i);
  const base = meanOf(all);
  const groups = new Map<number, number[]>();
  for (const i of all) groups.set(probabilities[i]!, [...(groups.get(probabilities[i]!) ?? []), i]);
  let [reliability, resolution] = [0, 0];
  for (const [probability, group] of groups) {
    const share = meanOf(group);
    reliability += (group.length / n) * (probability - share) ** 2;
    resolution += (group.length / n) * (share - base) ** 2;
  }
  const score = all.reduce((sum, i) => sum + (probabilities[i]! - Number(outcomes[i])) ** 2, 0) / n;
  return { score, reliability, resolution, uncertainty: base * (1 - base) };
}

/**
 * Brier's score over classes, mean Σ_c (p_c − y_c)²: 0 to 2 (`brier_score` of lm-evaluation-harness).
 *
 * @param probabilities of each class, which add up to 1 @param gold index of the class that came
 * @throws EvaluationError `UNPAIRED`, `BAD_PROBABILITY`
 */
export function brierOfClasses(probabilities: readonly (readonly number[])[], gold: readonly number[]): number {
  const n = probabilities.length;
  if (n === 0 || gold.length !== n) {
    throw new EvaluationError(
      'UNPAIRED',
      `brierOfClasses needs a class for each forecast, but got ${n} and ${gold.length}.`,
    );
  }
  const sums = probabilities.map((row, i) => {
    const total = row.reduce((sum, p) => sum + p, 0);
    if (!(Math.abs(total - 1) < 1e-6) || !row.every((p) => p >= 0) || row[gold[i]!] === undefined) {
      const rule = 'probabilities are not negative, add up to 1 and have the class that came';
      throw new EvaluationError(
        'BAD_PROBABILITY',
        `brierOfClasses: forecast ${i} is [${row}] of class ${gold[i]}; ${rule}.`,
      );
    }
    return row.reduce((sum, p, c) => sum + (p - Number(c === gold[i])) ** 2, 0);
  });
  return sums.reduce((sum, x) => sum + x, 0) / n;
}

/**
 * −mean ln p of what came, in nats (the log score): infinite where something came that was said to be impossible.
 *
 * @throws EvaluationError `UNPAIRED`, `BAD_PROBABILITY`
 */
export function logScore(probabilities: readonly number[], outcomes: readonly (boolean | number)[]): number {
  assertForecasts('logScore', probabilities, outcomes);
  const losses = probabilities.map((p, i) => -Math.log(outcomes[i] ? p : 1 - p));
  return losses.reduce((sum, x) => sum + x, 0) / losses.length;
}

export function assertForecasts(
  where: string,
  probabilities: readonly number[],
  outcomes: readonly (boolean | number)[],
): void {
  if (probabilities.length !== outcomes.length || probabilities.length === 0) {
    const got = `${probabilities.length} and ${outcomes.length}`;
    throw new EvaluationError('UNPAIRED', `${where} needs an outcome for each probability, but got ${got}.`);
  }
  const bad = probabilities.findIndex((p) => !(p >= 0 && p <= 1));
  const odd = outcomes.findIndex((y) => Number(y) !== 0 && Number(y) !== 1);
  if (bad < 0 && odd < 0) return;
  const what =
    bad >= 0
      ? `probability ${bad} is ${probabilities[bad]}; it must be from 0 to 1`
      : `outcome ${odd} is ${outcomes[odd]}; it must be 0 or 1`;
  throw new EvaluationError('BAD_PROBABILITY', `${where}: ${what}.`);
}
