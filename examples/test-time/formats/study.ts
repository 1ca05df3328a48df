import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { evaluate, type MeanEstimate, majorityAtK, meanWithStandardError, type ScalingRow, scalingCurve } from '@posttrain/eval';
import { answersEqual, extractFinalAnswer } from '@posttrain/interfaces/answers';
import type { Verifier } from '@posttrain/interfaces';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { type CausalLM, LocalGenerator } from '@posttrain/lm';
import { quickjs } from '@posttrain/sandbox';
import { NoCandidateError, type SearchResult, traceCosts } from '@posttrain/tts';
import { answerOf, mulberry32, type Problem, renderExpression } from '../../pretrain-tiny/problem.js';
import { baselineAt } from '../baseline.js';
import { FORMAT_ARMS, type FormatArm } from './arms.js';
import type { Said } from './author.js';
import { cached, formatBase, trainOn } from './model.js';
import { demonstrationsOf, formatRows } from './rows.js';
import { heldOutSums, isBorrow } from './problems.js';

/** What a study of the prompted strategies is of. */
export interface FormatStudySettings {
  /** Of the last updates, and of all draws. */
  readonly seeds: readonly number[];
  /** Held-out problems, the same for all seeds. */
  readonly problems: number;
  /** Draws of each problem that the majority at the same tokens is of. */
  readonly baselineSamples: number;
  /** Training problems that each strategy is run on over the author. */
  readonly runs: number;
  /** Updates of the model that all seeds begin with, and of each seed's own; 0: they differ in their draws only. */
  readonly steps: number;
  readonly seedSteps: number;
  readonly arms?: readonly string[];
  /** Where trained models are kept. */
  readonly folder: string;
  readonly onProgress?: (what: string) => void;
}

/** One strategy over all seeds. */
export interface FormatRow {
  readonly strategy: string;
  readonly accuracy: MeanEstimate;
  /** Of the problems in which a step borrows: the ones that a chain gets wrong by the misconception. */
  readonly borrowing: number;
  /** Written by the model, and read and written as FLOPs. */
  readonly tokens: number;
  readonly megaflops: number;
  /** Less the majority of bare answers at the same tokens, and less one bare answer; seeds are the sample. */
  readonly overMajority: MeanEstimate;
  readonly overGreedy: MeanEstimate;
}

export const FORMAT_SETTINGS: Omit<FormatStudySettings, 'folder'> = {
  ...{ seeds: [1, 2, 3], problems: 32, baselineSamples: 32 },
  ...{ runs: 100, steps: 240, seedSteps: 16 },
};

/** The corpus, kept in the folder. */
const corpora = new Map<string, Promise<Said[]>>();
async function makeCorpus(folder: string, runs: number): Promise<Said[]> {
  const file = join(folder, 'rows.json');
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${file}.tmp`, JSON.stringify(await formatRows(runs, 0)));
    renameSync(`${file}.tmp`, file);
  }
  return JSON.parse(readFileSync(file, 'utf8')) as Said[];
}
function corpus({ folder, runs }: Pick<FormatStudySettings, 'folder' | 'runs'>): Promise<Said[]> {
  const key = `${folder}:${runs}`;
  if (!corpora.has(key)) corpora.set(key, makeCorpus(folder, runs));
  return corpora.get(key)!;
}

/** The model of the formats: one that has learned them, and of each seed that one after more updates on other rows. */
export async function formatModel(settings: FormatStudySettings, seed: number): Promise<CausalLM> {
  const { folder, steps, seedSteps, onProgress } = settings;
  const told = (what: string) => (step: number, loss: number) => {
    if (step % 20 === 0) onProgress?.(`${what}: step ${step}, loss ${loss.toFixed(3)}`);
  };
  const learned = await cached(join(folder, 'formats'), async () => {
    const rows = await corpus(settings);
    return trainOn(await formatBase(rows, join(folder, 'tokenizer')), rows, { steps, seed: 0, onStep: told('formats') });
  });
  if (seedSteps === 0) return learned;
  return cached(join(folder, `formats-${seed}`), async () => {
    const rows = await corpus(settings);
    return trainOn(learned, rows, { steps: seedSteps, seed, learningRate: 3e-4, onStep: told(`seed ${seed}`) });
  });
}

export const isRight = (problem: Problem, answer: string | null): boolean =>
  answer !== null && answersEqual(answer, String(answerOf(problem)));

/** Whether a chain without a mistake has a step that borrows. */
export function borrows({ first, rest }: Problem): boolean {
  let total = first;
  return rest.some(({ operator, operand }) => {
    const step = { total, operator, operand };
    total = operator === '+' ? total + operand : total - operand;
    return isBorrow(step);
  });
}

/** Samples of the bare question, graded: what the majority vote and best-of-N are read from. */
export const bareSamples = (model: CausalLM, problems: readonly Problem[], samples: number, seed: number, verifier?: Verifier) =>
  evaluate(
    {
      ...{ type: 'generate' as const, name: 'sums', dataset: problems.map((problem) => ({ problem, prompt: renderExpression(problem) })) },
      prompt: (row: { prompt: string }) => [{ role: 'user' as const, content: row.prompt }],
      ...{ sampling: { temperature: 1, maxTokens: 96 }, samples },
      graders: [
        ruleVerifier('answer', {}, ({ completion, row }) => {
          const answer = extractFinalAnswer(completion);
          return { score: Number(isRight(row!.problem as Problem, answer)), answer };
        }),
      ],
      verifiers: verifier ? [verifier] : [],
      metrics: [majorityAtK(Math.min(8, samples))],
    },
    new LocalGenerator(model),
    { seed },
  );

interface Outcome {
  readonly correct: number;
  readonly tokens: number;
  readonly flops: number;
}

/** Runs all problems of an arm at once; a search that finds no candidate is wrong and has cost what it has cost. */
export async function outcomesOf(
  run: (problem: Problem, seed: number) => Promise<SearchResult>,
  problems: readonly Problem[],
  parameters: number,
  seed: number,
): Promise<Outcome[]> {
  return Promise.all(
    problems.map(async (problem, i): Promise<Outcome> => {
      const found = await run(problem, seed * 100_003 + i * 101).catch((error: unknown) => {
        if (error instanceof NoCandidateError) return { answer: null, trace: error.trace };
        throw error;
      });
      const { completionTokens, flops } = traceCosts(found.trace as SearchResult['trace'], { generator: parameters });
      return { correct: Number(isRight(problem, found.answer)), tokens: completionTokens, flops };
    }),
  );
}

export const parametersOf = (model: CausalLM): number => Object.values(model.weights).reduce((sum, { size }) => sum + size, 0);
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Every prompted strategy on the held-out problems, at three seeds, beside the majority of bare answers at the same tokens. */
export async function runFormatStudy(settings: FormatStudySettings) {
  const { seeds, baselineSamples, arms = Object.keys(FORMAT_ARMS), onProgress } = settings;
  const problems = heldOutSums(mulberry32(1), settings.problems);
  const sandbox = quickjs();
  const named: Record<string, FormatArm['run']> = {};
  const greedy = FORMAT_ARMS['majorityVote n=1']!;
  named['greedy n=1'] = (problem, it) => greedy.run(problem, { ...it, temperature: 0 });
  for (const name of arms) named[name] = FORMAT_ARMS[name]!.run;
  const found = new Map<string, Outcome[][]>();
  const curves: ScalingRow[][] = [];
  for (const seed of seeds) {
    const model = await formatModel(settings, seed);
    curves.push(scalingCurve(await bareSamples(model, problems, baselineSamples, seed), { seed, strategies: ['majority-vote', 'pass@k'] }));
    const generator = new LocalGenerator(model);
    const demonstrations = demonstrationsOf(mulberry32(1000 + seed));
    for (const [name, run] of Object.entries(named)) {
      const started = Date.now();
      const outcomes = await outcomesOf(
        (problem, draw) => run(problem, { ...{ generator, sandbox, demonstrations, seed: draw }, temperature: 1 }),
        ...([problems, parametersOf(model), seed] as const),
      );
      found.set(name, [...(found.get(name) ?? []), outcomes]);
      const accuracy = (100 * mean(outcomes.map(({ correct }) => correct))).toFixed(1);
      onProgress?.(`seed ${seed}: ${name}: ${accuracy} % in ${((Date.now() - started) / 1000).toFixed(1)} s`);
    }
  }
  const hard = problems.map(borrows);
  const rows = [...found].map(([strategy, bySeed]): FormatRow => {
    const over = (of: (seed: number, tokens: number) => number) =>
      meanWithStandardError(
        bySeed.map((list, s) => mean(list.map(({ correct }) => correct)) - of(s, mean(list.map(({ tokens }) => tokens)))),
      );
    return {
      strategy,
      // A problem is one cluster: its runs share it.
      accuracy: meanWithStandardError(problems.map((_, i) => mean(bySeed.map((list) => list[i]!.correct)))),
      borrowing: mean(bySeed.flatMap((list) => list.filter((_, i) => hard[i]).map(({ correct }) => correct))),
      tokens: mean(bySeed.flat().map(({ tokens }) => tokens)),
      megaflops: mean(bySeed.flat().map(({ flops }) => flops)) / 1e6,
      overMajority: over((s, tokens) => baselineAt(curves[s]!, 'majority-vote', tokens)),
      overGreedy: over((s) => mean(found.get('greedy n=1')![s]!.map(({ correct }) => correct))),
    };
  });
  return { problems: problems.length, borrowing: hard.filter(Boolean).length, rows, baselines: curves.flat() };
}
