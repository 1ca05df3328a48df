import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type ArmedQuestion,
  computeOptimal,
  computeOptimalCurve,
  evaluate,
  type MeanEstimate,
  majorityAtK,
  meanDifference,
  meanWithStandardError,
  type ScalingRow,
  scalingCurve,
} from '@posttrain/eval';
import type { Verifier } from '@posttrain/interfaces';
import { answersEqual, extractFinalAnswer } from '@posttrain/interfaces/answers';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { type CausalLM, LocalGenerator } from '@posttrain/lm';
import { quickjs } from '@posttrain/sandbox';
import { NoCandidateError, type SearchResult, type Trace, traceCosts } from '@posttrain/tts';
import { answerOf, mulberry32, type Problem, renderExpression } from '../../pretrain-tiny/problem.js';
import { baselineAt } from '../baseline.js';
import { FORMAT_ARMS, type FormatArm } from './arms.js';
import type { Said } from './author.js';
import { judgeOf } from './judge.js';
import { type Measures, meanMeasures, measuresOf } from './measures.js';
import { cached, formatBase, trainOn } from './model.js';
import { heldOutSums, isBorrow } from './problems.js';
import { demonstrationsOf, formatRows } from './rows.js';

/** What a study of the prompted strategies is of. */
export interface FormatStudySettings {
  /** Of all draws, and of the demonstrations. */
  readonly seeds: readonly number[];
  /** Held-out problems, the same for all seeds. */
  readonly problems: number;
  /** Draws of each problem that the majority at the same tokens is of. */
  readonly baselineSamples: number;
  /** Training problems that each strategy is run on over the author. */
  readonly runs: number;
  /** Updates of the model, in two rounds. */
  readonly steps: readonly [number, number];
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
  /** What else is measured of it. */
  readonly measures: Measures;
}

const NARROW = new Set([
  ...['zeroShotCot n=4', 'selfPolish n=1', 'debate n=2', 'universalSelfConsistency n=2'],
  ...['treeOfThoughts (sample) n=2', 'treeOfThoughts (propose) n=2'],
]);

/** Of all draws, the bare answers' too. */
const TEMPERATURE = 0.7;

export const FORMAT_SETTINGS: Omit<FormatStudySettings, 'folder'> = {
  // Of two widths of one strategy that both taught the format, one.
  arms: Object.keys(FORMAT_ARMS).filter((name) => !NARROW.has(name)),
  ...{ seeds: [1, 2, 3], problems: 32, baselineSamples: 16 },
  ...{ runs: 100, steps: [240, 120] },
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

/** The model of the formats: two rounds over the corpus, the second from another place in it. */
export async function formatModel(settings: FormatStudySettings): Promise<CausalLM> {
  const { folder, steps, onProgress } = settings;
  const told = (what: string) => (step: number, loss: number) => {
    if (step % 20 === 0) onProgress?.(`${what}: step ${step}, loss ${loss.toFixed(3)}`);
  };
  const [first, second] = steps;
  const learned = await cached(join(folder, 'formats'), async () => {
    const rows = await corpus(settings);
    const base = await formatBase(rows, join(folder, 'tokenizer'));
    return trainOn(base, rows, { steps: first, seed: 0, onStep: told('first round') });
  });
  return cached(join(folder, 'formats-1'), async () =>
    trainOn(learned, await corpus(settings), { steps: second, seed: 1, onStep: told('second round') }),
  );
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
export const bareSamples = (
  model: CausalLM,
  problems: readonly Problem[],
  samples: number,
  seed: number,
  verifier?: Verifier,
) =>
  evaluate(
    {
      ...{
        type: 'generate' as const,
        name: 'sums',
        dataset: problems.map((problem) => ({ problem, prompt: renderExpression(problem) })),
      },
      prompt: (row: { prompt: string }) => [{ role: 'user' as const, content: row.prompt }],
      ...{ sampling: { temperature: TEMPERATURE, maxTokens: 96 }, samples },
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
  readonly trace: Trace;
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
      const trace = found.trace as Trace;
      const { completionTokens, flops } = traceCosts(trace, { generator: parameters });
      return { correct: Number(isRight(problem, found.answer)), tokens: completionTokens, flops, trace };
    }),
  );
}

export const parametersOf = (model: CausalLM): number =>
  Object.values(model.weights).reduce((sum, { size }) => sum + size, 0);
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
  const ease: Record<'oracle' | 'predicted', number>[][] = [];
  const curves: ScalingRow[][] = [];
  const model = await formatModel(settings);
  for (const seed of seeds) {
    const generator = new LocalGenerator(model);
    const judge = judgeOf(generator);
    const sampled = await bareSamples(model, problems, baselineSamples, seed, judge);
    curves.push(scalingCurve(sampled, { seed }));
    ease.push(
      sampled.problems.map(({ completions }) => ({
        oracle: mean(completions.map(({ grades }) => grades.answer?.score ?? 0)),
        predicted: mean(completions.map(({ verifierScores }) => verifierScores?.[judge.name]?.score ?? 0)),
      })),
    );
    const demonstrations = demonstrationsOf(mulberry32(1000 + seed));
    for (const [name, run] of Object.entries(named)) {
      const started = Date.now();
      const outcomes = await outcomesOf(
        (problem, draw) =>
          run(problem, { ...{ generator, sandbox, demonstrations, seed: draw }, temperature: TEMPERATURE }),
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
      meanDifference(
        bySeed.map(
          (list, s) => mean(list.map(({ correct }) => correct)) - of(s, mean(list.map(({ tokens }) => tokens))),
        ),
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
      measures: meanMeasures(
        bySeed.flatMap((list) => list.map(({ trace }, i) => measuresOf(strategy, trace, problems[i]!))),
      ),
    };
  });
  const questions = (by: 'oracle' | 'predicted') =>
    seeds.flatMap((seed, s) =>
      problems.map(
        (problem, i): ArmedQuestion => ({
          ...{ id: `${seed}/${renderExpression(problem)}`, ease: ease[s]![i]![by] },
          outcomes: Object.fromEntries(
            [...found].map(([name, bySeed]) => {
              const { correct, tokens, flops } = bySeed[s]![i]!;
              return [name, { correct, completionTokens: tokens, flops }];
            }),
          ),
        }),
      ),
    );
  const choosers = (['oracle', 'predicted'] as const).map((by) => chooser(by, questions(by), rows));
  return {
    problems: problems.length,
    borrowing: hard.filter(Boolean).length,
    rows,
    baselines: curves.flat(),
    choosers,
  };
}

/** The policy by difficulty and one strategy for all, held out by folds, at budgets that a quarter, a half … of the strategies keep. */
function chooser(difficulty: 'oracle' | 'predicted', questions: readonly ArmedQuestion[], rows: readonly FormatRow[]) {
  const costs = rows.map(({ tokens }) => tokens).sort((a, b) => a - b);
  const budgets = [0.25, 0.5, 0.75, 1].map((share) => Math.ceil(1.05 * costs[Math.ceil(share * costs.length) - 1]!));
  const options = { bins: 3, folds: 4 } as const;
  const curve = computeOptimalCurve(questions, budgets, options).flatMap(({ budget, policy, single }) =>
    policy === null
      ? []
      : {
          ...{ budget, policy: policy.accuracy, single: single.accuracy },
          tokens: { policy: policy.costs.completionTokens!, single: single.costs.completionTokens! },
        },
  );
  return { difficulty, curve, bins: computeOptimal(questions, { ...options, budget: budgets[1]! }).bins };
}
