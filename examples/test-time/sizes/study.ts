import {
  evaluate,
  flopsMatched,
  inferenceFlops,
  type MeanEstimate,
  majorityAtK,
  meanDifference,
  meanWithStandardError,
  pretrainingFlops,
  type ScalingStrategy,
  type SearchPoint,
  scalingCurve,
} from '@posttrain/eval';
import type { Prompt } from '@posttrain/interfaces';
import { answersEqual } from '@posttrain/interfaces/answers';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { type CausalLM, LocalGenerator } from '@posttrain/lm';
import { answerOf, type Problem, renderExpression } from '../../pretrain-tiny/problem.js';
import { parametersOf } from '../formats/study.js';
import { largerModel, type Size, smallerModel, type TrainingSettings } from './models.js';
import { answered, castingOutNines, heldOutPairs } from './sums.js';

/** What a comparison of two sizes is of. */
export interface SizesSettings {
  readonly smaller: Size;
  /** Of the smaller model, from nothing. */
  readonly training: TrainingSettings;
  /** Of all draws. */
  readonly seeds: readonly number[];
  /** Held-out problems, the same for all seeds. */
  readonly problems: number;
  /** Draws of the smaller model for each problem: the most that a search may spend. */
  readonly samples: number;
  /** Ratios R of tokens generated in a model's life to tokens it was trained on. */
  readonly ratios: readonly number[];
  /** Where trained models are kept. */
  readonly folder: string;
  readonly onProgress?: (what: string) => void;
}

export const SIZES_SETTINGS: Omit<SizesSettings, 'folder'> = {
  smaller: { width: 48, layers: 2 },
  training: { steps: 500, tokensPerStep: 1024, learningRate: 3e-3 },
  ...{ seeds: [1, 2, 3], problems: 120, samples: 64, ratios: [0.8, 1, 2, 5, 20, 100] },
};

const SEARCHES = ['majority-vote', 'best-of-n', 'weighted-best-of-n'] as const satisfies readonly ScalingStrategy[];
const BINS = 3;
/** Longest answer: three digits and the end. */
const MAX_TOKENS = 6;

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

const isRight = (problem: Problem, answer: string | null): boolean =>
  answer !== null && answersEqual(answer, String(answerOf(problem)));

/** How each is asked: the smaller one in its chats, the larger one in a line of a drill, both with the number as the first that follows. */
const ASKED: Readonly<Record<'smaller' | 'larger', (expression: string) => Prompt>> = {
  smaller: (content) => [{ role: 'user', content }],
  larger: (expression) => `${expression}=`,
};

/** Ends of an answer in the styles of a drill; after a chat's answer the model has ended. */
const STOP = [',', ';', ' ', '\n', '<'];

const drawn = (
  { size, model }: { readonly size: 'smaller' | 'larger'; readonly model: CausalLM },
  problems: readonly Problem[],
  samples: number,
  temperature: number,
  seed: number,
) =>
  evaluate(
    {
      ...{ type: 'generate' as const, name: 'sums of two' },
      dataset: problems.map((problem) => ({ problem })),
      prompt: ({ problem }: { problem: Problem }) => ASKED[size](renderExpression(problem)),
      ...{ sampling: { temperature, maxTokens: MAX_TOKENS, stop: STOP }, samples },
      graders: [
        ruleVerifier('answer', {}, ({ completion, row }) => {
          const answer = answered(completion);
          return { score: Number(isRight(row!.problem as Problem, answer)), answer };
        }),
      ],
      verifiers: [castingOutNines],
      metrics: [majorityAtK(Math.min(8, samples))],
    },
    new LocalGenerator(model),
    { seed },
  );

type Drawn = Awaited<ReturnType<typeof drawn>>;

const scoresOf = (result: Drawn): number[][] =>
  result.problems.map(({ completions }) => completions.map(({ grades }) => grades.answer?.score ?? 0));

const part = (result: Drawn, among: readonly number[]): Drawn => ({
  ...result,
  problems: among.map((i) => result.problems[i]!),
});

/** Problems by how often further draws of the smaller model are right, easiest first. */
function binsOf(ease: readonly number[]): Record<string, number[]> {
  const order = ease.map((p, i) => ({ p, i })).sort((a, b) => b.p - a.p || a.i - b.i);
  const size = Math.ceil(order.length / BINS);
  const bins = Array.from({ length: BINS }, (_, b) => order.slice(b * size, (b + 1) * size).map(({ i }) => i));
  return Object.fromEntries([['all', ease.map((_, i) => i)], ...bins.map((list, b) => [`bin ${b + 1}`, list])]);
}

/** One comparison over seeds; `null` where a seed's compute is beyond what was drawn. */
export interface MatchedRow {
  readonly set: string;
  readonly search: string;
  /** The larger model answers greedily, or once at temperature 1. */
  readonly against: 'greedy' | 'sampled';
  readonly ratio: number;
  /** Greedy answers of the smaller model that cost, with its pretraining, what the larger costs. */
  readonly multiplier: number;
  readonly larger: MeanEstimate;
  readonly smaller: MeanEstimate | null;
  readonly difference: MeanEstimate | null;
}

/**
 * A larger model's answers against search with a smaller one that was trained on the same authors' answers, each on its own tokens, at the same
 * FLOPs of training and inference together (arXiv 2408.03314 §7), for all problems and by difficulty. A sample costs what a greedy answer
 * costs, question and answer; the verifier is arithmetic and costs nothing.
 */
export async function runSizesStudy(settings: SizesSettings) {
  const { seeds, samples, ratios, training, folder, onProgress } = settings;
  const problems = heldOutPairs(settings.problems, 1);
  const told = (step: number, loss: number) => {
    if (step % 50 === 0) onProgress?.(`smaller model, step ${step}: loss ${loss.toFixed(3)}`);
  };
  const models = {
    smaller: await smallerModel(settings.smaller, training, folder, told),
    larger: await largerModel(),
  };
  const parameters = { smaller: parametersOf(models.smaller.model), larger: parametersOf(models.larger.model) };
  const scale = parameters.larger / parameters.smaller;
  const tokenShare = models.smaller.tokens / models.larger.tokens;
  const found: {
    readonly seed: number;
    readonly small: Drawn;
    readonly large: Drawn;
    readonly greedy: Readonly<Record<'smaller' | 'larger', Drawn>>;
    readonly bins: Record<string, number[]>;
  }[] = [];
  for (const seed of seeds) {
    const small = await drawn({ size: 'smaller', ...models.smaller }, problems, samples, 1, seed);
    const large = await drawn({ size: 'larger', ...models.larger }, problems, 8, 1, seed);
    const greedy = {
      smaller: await drawn({ size: 'smaller', ...models.smaller }, problems, 1, 0, seed),
      larger: await drawn({ size: 'larger', ...models.larger }, problems, 1, 0, seed),
    };
    // Difficulty by draws that no search has.
    const further = scoresOf(await drawn({ size: 'smaller', ...models.smaller }, problems, 16, 1, 1000 + seed)).map(
      mean,
    );
    onProgress?.(
      `seed ${seed}: drawn; smaller ${(100 * mean(further)).toFixed(1)} % of samples, larger ${(100 * mean(scoresOf(large).flat())).toFixed(1)} %`,
    );
    found.push({ seed, small, large, greedy, bins: binsOf(further) });
  }
  const over = (of: (it: (typeof found)[number]) => number) => meanWithStandardError(found.map(of));
  const accuracy = (result: Drawn, among: readonly number[]) => mean(among.map((i) => mean(scoresOf(result)[i]!)));
  const sets = Object.keys(found[0]!.bins);
  const curves = sets.flatMap((set) =>
    SEARCHES.map((search) => ({
      ...{ set, search },
      bySeed: found.map(({ seed, small, bins }) =>
        scalingCurve(part(small, bins[set]!), { seed, strategies: [search], resamples: 200 }).map(
          ({ k, accuracy }): SearchPoint => ({ compute: k, accuracy: accuracy! }),
        ),
      ),
    })),
  );
  const matched = curves.flatMap(({ set, search, bySeed }) =>
    (['greedy', 'sampled'] as const).flatMap((against): MatchedRow[] => {
      const points = found.map(({ greedy, large, bins }, s) =>
        flopsMatched({
          ...{ scale, ratios, tokenShare, smaller: bySeed[s]! },
          larger: accuracy(against === 'greedy' ? greedy.larger : large, bins[set]!),
        }),
      );
      return ratios.map((ratio, r) => {
        const at = points.map((list) => list[r]!);
        const estimate = (of: (it: (typeof at)[number]) => number | null, mean = meanWithStandardError) =>
          at.every((it) => of(it) !== null) ? mean(at.map((it) => of(it)!)) : null;
        return {
          ...{ set, search, against, ratio, multiplier: at[0]!.multiplier },
          larger: meanWithStandardError(at.map(({ larger }) => larger)),
          smaller: estimate(({ smaller }) => smaller),
          difference: estimate(({ difference }) => difference, meanDifference),
        };
      });
    }),
  );
  const usage = found[0]!.greedy.smaller.problems.map(({ completions }) => completions[0]!.usage);
  const answerTokens = mean(usage.map(({ promptTokens, completionTokens }) => promptTokens + completionTokens));
  const flopsOf = (of: 'smaller' | 'larger') => ({
    ...{ parameters: parameters[of], trainingTokens: models[of].tokens },
    pretraining: pretrainingFlops(parameters[of], models[of].tokens),
    answer: inferenceFlops(parameters[of], answerTokens),
  });
  return {
    ...{ problems: problems.length, samples, scale, tokenShare },
    flops: { smaller: flopsOf('smaller'), larger: flopsOf('larger') },
    accuracies: sets.map((set) => ({
      set,
      ...{ smallerGreedy: over((it) => accuracy(it.greedy.smaller, it.bins[set]!)) },
      ...{ smallerSampled: over((it) => accuracy(it.small, it.bins[set]!)) },
      ...{ largerGreedy: over((it) => accuracy(it.greedy.larger, it.bins[set]!)) },
      ...{ largerSampled: over((it) => accuracy(it.large, it.bins[set]!)) },
    })),
    curves: curves.map(({ set, search, bySeed }) => ({
      ...{ set, search },
      points: bySeed[0]!.map(({ compute }, k) => ({
        samples: compute,
        accuracy: meanWithStandardError(bySeed.map((points) => points[k]!.accuracy)),
      })),
    })),
    matched,
  };
}
