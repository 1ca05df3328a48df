import { type Generator, PosttrainError, type Prompt, type SamplingParams, type Verifier } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { DataOptionError } from '../errors.js';
import { scoresOf } from '../steps/verified.js';

/** A completion of a prompt, with its score. */
export interface ScoredSample {
  readonly completion: string;
  readonly score: number;
}

/** What a method of self-training is: which samples stay, and what is trained from. */
export interface SelfTrainingMethod {
  /** Which of a prompt's samples are trained on; `threshold` is that of the round. */
  keep(samples: readonly ScoredSample[], threshold: number, random: Random): readonly ScoredSample[];
  /** Whether a round trains the model that it began with, or the one of the round before. */
  readonly from: 'base' | 'last';
  /** Whether samples are drawn anew in a round, or those of the first are filtered again (ReST's Improve). */
  readonly draws: 'every-round' | 'first-round';
}

const different = (samples: readonly ScoredSample[]): ScoredSample[] =>
  samples.filter(({ completion }, i) => samples.findIndex((one) => one.completion === completion) === i);
const reaching = (samples: readonly ScoredSample[], threshold: number): ScoredSample[] =>
  different(samples.filter(({ score }) => score >= threshold));

/** Published methods, by name. A method of your own is an object literal. */
export const selfTrainingMethods = {
  /** RFT (arXiv 2308.01825): one round, all different samples that are right. */
  rft: { keep: reaching, from: 'base', draws: 'every-round' },
  /** STaR (2203.14465) without rationalisation (`star` has it): one sample that is right, always from the first model. */
  star: { keep: (samples, threshold) => reaching(samples, threshold).slice(0, 1), from: 'base', draws: 'every-round' },
  /** RAFT (2304.06767): the best of each prompt's samples, whatever its score, from the last model. */
  raft: {
    keep: (samples) => [samples.reduce((best, one) => (one.score > best.score ? one : best))],
    from: 'last',
    draws: 'every-round',
  },
  /** ReST (2308.08998): one Grow, then Improve steps with rising thresholds on its samples, each from the last model. */
  rest: { keep: reaching, from: 'last', draws: 'first-round' },
  /** ReST-EM (2312.06585): E draws anew and keeps at most ten of a prompt that are right, M trains the first model. */
  restEm: {
    keep: (samples, threshold, random) => random.shuffled(reaching(samples, threshold)).slice(0, 10),
    from: 'base',
    draws: 'every-round',
  },
} as const satisfies Record<string, SelfTrainingMethod>;

/** A row that is trained on. */
export interface SelfTrainingRow {
  readonly prompt: Prompt;
  readonly completion: string;
}

/** The parts of a loop of self-training. */
export interface SelfTrainingOptions<Model extends Generator> {
  readonly method: SelfTrainingMethod;
  readonly base: Model;
  /** Rows with a `prompt`, and what the verifier needs. */
  readonly rows: readonly { readonly prompt: Prompt }[];
  readonly verifier: Verifier;
  /** Trains a model on rows, from another. It must leave that one as it is. */
  readonly train: (rows: readonly SelfTrainingRow[], from: Model, round: number) => Promise<Model>;
  /** Samples of each prompt. */
  readonly samples: number;
  readonly rounds: number;
  /** Least score of each round, the last goes on. Default 1. */
  readonly thresholds?: readonly number[];
  readonly sampling?: SamplingParams;
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

/** What a round came to. */
export interface SelfTrainingRound<Model> {
  readonly model: Model;
  readonly rows: readonly SelfTrainingRow[];
  /** Mean score of what was drawn, before filtering; a sample that cannot be scored is 0. */
  readonly meanScore: number;
  /** Prompts with a row. */
  readonly solved: number;
}

/**
 * Self-training: draw, score, keep, train, again. RFT, STaR, RAFT, ReST and ReST-EM differ in what is kept and what is trained from (`selfTrainingMethods`). A round that keeps nothing is an error,
 * since a model cannot be trained on nothing.
 *
 * @throws DataOptionError; PosttrainError `BAD_RESPONSE`; the signal's reason
 */
export async function selfTraining<Model extends Generator>({
  method,
  base,
  rows,
  verifier,
  train,
  samples,
  rounds,
  thresholds = [1],
  sampling,
  seed = 0,
  signal = new AbortController().signal,
}: SelfTrainingOptions<Model>): Promise<{
  readonly model: Model;
  readonly rounds: readonly SelfTrainingRound<Model>[];
}> {
  let model = base;
  let drawn: ScoredSample[][] = [];
  const done: SelfTrainingRound<Model>[] = [];
  for (let round = 0; round < rounds; round++) {
    signal.throwIfAborted();
    if (round === 0 || method.draws === 'every-round') {
      const requests = rows.map(({ prompt }, i) => ({
        ...{ ...sampling, prompt, n: samples, signal },
        seed: createRandom(seed, 'self-training', round, i).integer(0, 2 ** 31 - 1),
      }));
      const found = await model.generate(requests);
      if (found.length !== rows.length || found.some((own) => own.length !== samples)) {
        throw new PosttrainError(
          'BAD_RESPONSE',
          `${model.name} did not return ${samples} completions for each of ${rows.length} prompts`,
        );
      }
      drawn = await Promise.all(
        found.map(async (own, i) => {
          const texts = own.map(({ text }) => text);
          const scores = await scoresOf(verifier, rows[i]!, rows[i]!.prompt, texts, signal);
          return texts.map((completion, s) => ({ completion, score: scores[s] ?? 0 }));
        }),
      );
    }
    const threshold = thresholds[Math.min(round, thresholds.length - 1)]!;
    const kept = drawn.map((own, i) => method.keep(own, threshold, createRandom(seed, 'kept', round, i)));
    const made = kept.flatMap((own, i) => own.map(({ completion }) => ({ prompt: rows[i]!.prompt, completion })));
    if (made.length === 0)
      throw new DataOptionError(
        'selfTraining',
        `nothing that was drawn in round ${round} is kept; lower the threshold or draw more.`,
      );
    model = await train(made, method.from === 'base' ? base : model, round);
    const all = drawn.flat();
    const meanScore = all.reduce((sum, { score }) => sum + score, 0) / all.length;
    done.push({ model, rows: made, meanScore, solved: kept.filter((own) => own.length > 0).length });
  }
  return { model, rounds: done };
}
