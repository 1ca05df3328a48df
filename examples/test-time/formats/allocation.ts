import { estimatePassAtK, type MeanEstimate, meanDifference, meanWithStandardError } from '@posttrain/eval';
import { allocateCompletions } from '@posttrain/tts';
import { mulberry32, type Problem } from '../../pretrain-tiny/problem.js';
import { heldOutSums, randomSum } from './problems.js';
import { bareSamples, borrows, type FormatStudySettings, formatModel } from './study.js';

/** What a study of completions that are shared out by difficulty is of. */
export interface AllocationSettings extends FormatStudySettings {
  /** Training problems that the predictor is learned from, and draws of each. */
  readonly training: number;
  readonly trainingSamples: number;
  /** Draws of each held-out problem: more than a problem can get. */
  readonly samples: number;
  /** Completions a problem, on average. */
  readonly budgets: readonly number[];
}

export const ALLOCATION_SETTINGS = {
  ...{ problems: 64, training: 200, trainingSamples: 4, samples: 24, budgets: [1, 2, 4, 8] },
};

/** One way to share out at one budget, over seeds. */
export interface AllocationRow {
  readonly budget: number;
  readonly arm: string;
  /** Problems that a free check finds a right completion of. */
  readonly solved: MeanEstimate;
  readonly overEven: MeanEstimate;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
/** What is seen of a problem before it is asked: how many terms, and whether a step borrows. */
const kindOf = (problem: Problem): string => `${problem.rest.length} ${borrows(problem)}`;

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const list = [...items];
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}

/** Problems of which one of `counts[i]` draws is right, in expectation over which of the draws those are. */
const solvedBy = (right: readonly number[], samples: number, counts: readonly number[]): number =>
  mean(right.map((correct, i) => (counts[i] === 0 ? 0 : estimatePassAtK(samples, correct, counts[i]!))));

/**
 * Input-adaptive best-of-k with a free check (arXiv 2410.04707): completions of all problems together are shared out by a predictor of success that
 * was learned on training problems from what is seen before anything is drawn, beside an even share of as many completions, the predictions given to
 * the wrong problems (a control), and those that the draws themselves say (more than can be known).
 */
export async function runAllocationStudy(settings: AllocationSettings): Promise<readonly AllocationRow[]> {
  const { seeds, samples, budgets, onProgress } = settings;
  const problems = heldOutSums(mulberry32(1), settings.problems);
  const model = await formatModel(settings);
  const rates = async (list: readonly Problem[], each: number, seed: number) => {
    const drawn = await bareSamples(model, list, each, seed);
    return drawn.problems.map(({ completions }) => mean(completions.map(({ grades }) => grades.answer?.score ?? 0)));
  };
  const found: Record<string, number>[] = [];
  for (const seed of seeds) {
    const random = mulberry32(70_000 + seed);
    const training = Array.from({ length: settings.training }, () => randomSum(random, 'train'));
    const byKind = new Map<string, number[]>();
    for (const [i, rate] of (await rates(training, settings.trainingSamples, seed)).entries()) {
      const kind = kindOf(training[i]!);
      byKind.set(kind, [...(byKind.get(kind) ?? []), rate]);
    }
    const all = mean([...byKind.values()].flat());
    // A kind that was seen seldom is near what all are.
    const predicted = problems.map((problem) => {
      const seen = byKind.get(kindOf(problem)) ?? [];
      return (seen.reduce((a, b) => a + b, 0) + all) / (seen.length + 1);
    });
    const observed = await rates(problems, samples, 1000 + seed);
    const right = observed.map((rate) => Math.round(rate * samples));
    const probabilities: Record<string, readonly number[]> = {
      'by the predictor': predicted,
      'control: the predictions of other problems': shuffled(predicted, random),
      'by the draws themselves': observed,
    };
    const solved: Record<string, number> = {};
    for (const budget of budgets) {
      const total = budget * problems.length;
      const even = problems.map(() => budget);
      solved[`${budget} evenly`] = solvedBy(right, samples, even);
      for (const [arm, p] of Object.entries(probabilities)) {
        const counts = allocateCompletions({ probabilities: [...p], total, max: samples });
        solved[`${budget} ${arm}`] = solvedBy(right, samples, counts);
      }
    }
    found.push(solved);
    onProgress?.(`seed ${seed}: ${JSON.stringify(solved)}`);
  }
  const of = (key: string) => found.map((it) => it[key]!);
  return Object.keys(found[0]!).map((key) => {
    const [budget = '', ...arm] = key.split(' ');
    const even = of(`${budget} evenly`);
    return {
      ...{ budget: Number(budget), arm: arm.join(' ') },
      solved: meanWithStandardError(of(key)),
      overEven: meanDifference(of(key).map((value, s) => value - even[s]!)),
    };
  });
}
