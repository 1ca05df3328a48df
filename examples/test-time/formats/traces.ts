import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type MeanEstimate, meanDifference, meanWithStandardError } from '@posttrain/eval';
import type { Verifier } from '@posttrain/interfaces';
import { extractFinalAnswer } from '@posttrain/interfaces/answers';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { type CausalLM, LocalGenerator } from '@posttrain/lm';
import {
  bestOfN,
  majorityVote,
  NoCandidateError,
  restMcts,
  restStepValue,
  type SearchResult,
  type Trace,
  traceRows,
  traceTexts,
} from '@posttrain/tts';
import { mulberry32, type Problem, type Random, renderExpression } from '../../pretrain-tiny/problem.js';
import type { Said } from './author.js';
import { judgeOf } from './judge.js';
import { trainOn } from './model.js';
import { heldOutSums, randomSum, resultOf, writtenSteps } from './problems.js';
import { bareSamples, type FormatStudySettings, formatModel, isRight, outcomesOf, parametersOf } from './study.js';

/** What a study of training on traces is of. */
export interface TraceStudySettings extends FormatStudySettings {
  /** Training problems that are searched. */
  readonly searched: number;
  /** Iterations of the tree search. */
  readonly iterations: number;
  /** Samples of each problem for the arm without a search: about as many tokens. */
  readonly samples: number;
  /** Rows that each arm of fine-tuning has at most, and its updates, of as many tokens in every arm. */
  readonly rows: number;
  readonly tuneSteps: number;
  /** Updates of the value model, and samples of each held-out problem that accuracy is of. */
  readonly valueSteps: number;
  readonly measured: number;
  /** Where the cells of seeds are kept, so that a run that was killed goes on. Default: nowhere. */
  readonly cells?: string;
}

export const TRACE_SETTINGS = {
  ...{ problems: 32, searched: 40, iterations: 4, samples: 8, rows: 80, tuneSteps: 12, valueSteps: 24, measured: 6 },
};

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const asked = (problem: Problem) => ({
  prompt: [{ role: 'user' as const, content: renderExpression(problem) }],
  row: { problem },
});
const solved = (problem: Problem, completion: string): Said => ({
  ...{ prompt: renderExpression(problem), prefix: '', completion, ended: true },
});
const isSolution = (problem: Problem, text: string): boolean =>
  text.includes('####') && isRight(problem, extractFinalAnswer(text));

/** Knows the reference answers: of training problems only. */
const reference: Verifier = ruleVerifier('reference', {}, ({ completion, row }) =>
  Number(isSolution(row!.problem as Problem, completion)),
);

/** A judge by which every text is as good as a coin says: the control of guided search. */
const coin = (random: Random): Verifier => ({
  name: 'coin',
  verify: async (requests) => requests.map(() => ({ score: random() })),
});

/** The trace of a search, also of one that found nothing. */
const traceOf = (search: Promise<SearchResult>): Promise<Trace> =>
  search.then(
    ({ trace }) => trace,
    (error: unknown) => {
      if (error instanceof NoCandidateError) return error.trace as Trace;
      throw error;
    },
  );

/**
 * Rows of the value model: v of ReST-MCTS* (arXiv 2406.03816, §3.1) after the last step of every text of the search, the reference answer's verdict where the
 * text has ended; as a judgement that is "1" with probability v, so that the cross-entropy's minimum is v.
 */
function valueRows(problem: Problem, trace: Trace, random: Random): Said[] {
  const texts = new Set([...traceTexts(trace).values()].filter((text) => text !== ''));
  return [...texts].map((text) => {
    let value = 0;
    writtenSteps(text).forEach(({ step, result }, i) => {
      value = restStepValue(value, Math.max(0, problem.rest.length - i - 1), resultOf(step) !== result);
    });
    if (text.includes('####')) value = Number(isSolution(problem, text));
    return {
      ...{ prompt: `${renderExpression(problem)}\nSo far: ${text}\nIs it right?`, prefix: '' },
      ...{ completion: random() < value ? '1' : '0', ended: true },
    };
  });
}

/** The trace with the reference answer's verdict in the place of the judge's on texts that have ended. */
function byReference(problem: Problem, trace: Trace): Trace {
  const texts = traceTexts(trace);
  return {
    ...trace,
    nodes: trace.nodes.map((node) =>
      node.finishReason === 'stop' && node.stop === undefined
        ? { ...node, score: Number(isSolution(problem, texts.get(node.id)!)) }
        : node,
    ),
  };
}

const textOf = (completion: string | readonly { readonly content: string }[]): string =>
  typeof completion === 'string' ? completion : completion[0]!.content;

/** Right solutions of a trace, as rows. */
const rightRows = (problem: Problem, trace: Trace): Said[] =>
  traceRows(trace, { kind: 'completion', minScore: 1 }).map(({ completion }) => solved(problem, textOf(completion)));

function chosenRows(rows: readonly Said[], count: number, random: Random): Said[] {
  const left = [...rows];
  const taken: Said[] = [];
  while (taken.length < count && left.length > 0) taken.push(...left.splice(Math.floor(random() * left.length), 1));
  return taken;
}

/** One seed: the arms of fine-tuning, and those of guided search. */
async function oneSeed(model: CausalLM, settings: TraceStudySettings, problems: readonly Problem[], seed: number) {
  const { searched, iterations, samples, rows, tuneSteps, valueSteps, measured, onProgress } = settings;
  const random = mulberry32(50_000 + seed);
  const generator = new LocalGenerator(model);
  const judge = judgeOf(generator);
  const grown = { generator, n: iterations, stop: [', '], maxDepth: 8 };
  const draw = (of: number) => ({ temperature: 1, maxTokens: 64, seed: of });
  const training = Array.from({ length: searched }, () => randomSum(random, 'train'));
  const seedOf = (i: number) => seed * 100_003 + i * 101;
  const traces = await Promise.all(
    training.map((problem, i) =>
      traceOf(restMcts(asked(problem), { ...grown, verifier: judge, sampling: draw(seedOf(i)) })),
    ),
  );
  const best = await Promise.all(
    training.map((problem, i) =>
      traceOf(bestOfN(asked(problem), { generator, verifier: reference, n: samples, sampling: draw(seedOf(i)) })),
    ),
  );
  const checked = traces.map((trace, i) => byReference(training[i]!, trace));
  const fromTraces = checked.flatMap((trace, i) => rightRows(training[i]!, trace));
  const fromBest = best.flatMap((trace, i) => rightRows(training[i]!, trace));
  const unfiltered = best.flatMap((trace, i) =>
    [...new Set(traceTexts(trace).values())].filter((text) => text !== '').map((text) => solved(training[i]!, text)),
  );
  const count = Math.min(rows, fromTraces.length, fromBest.length);
  const spent = (list: readonly Trace[]) => mean(list.map((trace) => trace.spent.completionTokens));
  const tokens = { traces: spent(traces), bestOfN: spent(best) };
  onProgress?.(
    `seed ${seed}: ${fromTraces.length} solutions of traces (${tokens.traces.toFixed(0)} tokens a problem), ${fromBest.length} of best-of-N (${tokens.bestOfN.toFixed(0)})`,
  );
  // A search that has found nothing teaches nothing.
  const tune = async (list: readonly Said[], steps: number) =>
    list.length === 0 ? model : trainOn(model, list, { steps, seed, tokensPerStep: 512, learningRate: 5e-4 });
  const measure = async (tuned: CausalLM) => {
    const sampled = await bareSamples(tuned, problems, measured, seed);
    const greedy = await outcomesOf(
      (problem, at) =>
        majorityVote(asked(problem), {
          ...{ generator: new LocalGenerator(tuned), n: 1 },
          sampling: { temperature: 0, maxTokens: 64, seed: at },
        }),
      ...([problems, parametersOf(tuned), seed] as const),
    );
    return {
      sampled: mean(
        sampled.problems.flatMap(({ completions }) => completions.map(({ grades }) => grades.answer?.score ?? 0)),
      ),
      greedy: mean(greedy.map(({ correct }) => correct)),
    };
  };
  const policies: Record<string, { readonly sampled: number; readonly greedy: number }> = {
    before: await measure(model),
  };
  const arms = { 'SFT on traces': fromTraces, 'SFT on best-of-N': fromBest, 'control: SFT on all samples': unfiltered };
  for (const [name, list] of Object.entries(arms)) {
    const found = await measure(await tune(chosenRows(list, count, random), tuneSteps));
    policies[name] = found;
    onProgress?.(
      `seed ${seed}: ${name}: ${(100 * found.sampled).toFixed(1)} % sampled, ${(100 * found.greedy).toFixed(1)} % greedy`,
    );
  }
  const values = chosenRows(
    training.flatMap((problem, i) => valueRows(problem, checked[i]!, random)),
    2000,
    random,
  );
  const valueModel = await tune(values, valueSteps);
  const guides: Record<string, Verifier> = {
    'value model': judgeOf(new LocalGenerator(valueModel)),
    'the model as it was': judge,
    'control: a coin': coin(mulberry32(seed)),
  };
  const guided: Record<string, number> = {};
  for (const [name, verifier] of Object.entries(guides)) {
    const found = await outcomesOf(
      (problem, at) => restMcts(asked(problem), { ...grown, verifier, sampling: draw(at) }),
      ...([problems, parametersOf(model), seed] as const),
    );
    guided[name] = mean(found.map(({ correct }) => correct));
    onProgress?.(`seed ${seed}: restMcts led by ${name}: ${(100 * guided[name]).toFixed(1)} %`);
  }
  return { rows: count, valueRows: values.length, tokens, policies, guided };
}

/** The same, or what is in the folder of the same settings. */
async function keptSeed(
  model: CausalLM,
  settings: TraceStudySettings,
  problems: readonly Problem[],
  seed: number,
): ReturnType<typeof oneSeed> {
  const { cells, runs, steps, searched, iterations, samples, rows, tuneSteps, valueSteps, measured } = settings;
  if (cells === undefined) return oneSeed(model, settings, problems, seed);
  const trained = { runs, steps, tuneSteps, valueSteps, rows };
  const identity = JSON.stringify({ ...trained, problems, searched, iterations, samples, measured });
  const file = join(cells, `seed-${seed}.json`);
  const kept = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
  if (kept?.identity === identity) return kept.cell;
  const cell = await oneSeed(model, settings, problems, seed);
  mkdirSync(cells, { recursive: true });
  writeFileSync(file, JSON.stringify({ identity, cell }));
  return cell;
}

/** One arm over seeds, and by how much it is over the arm that it is compared with: pairs by seed. */
export interface TraceArm {
  readonly accuracy: MeanEstimate;
  readonly over: MeanEstimate;
}

/**
 * Distillation of test-time compute into the model, one round: right solutions of ReST-MCTS* searches as rows of SFT, beside as many rows of best-of-N
 * and as many unfiltered samples, in as many updates of as many tokens; and a value model trained on the steps of the searches leading
 * the search, beside the same search led by the model as it was and by a coin.
 */
export async function runTraceStudy(settings: TraceStudySettings) {
  const problems = heldOutSums(mulberry32(1), settings.problems);
  const model = await formatModel(settings);
  const seeds: Awaited<ReturnType<typeof oneSeed>>[] = [];
  for (const seed of settings.seeds) seeds.push(await keptSeed(model, settings, problems, seed));
  const table = (of: (seed: (typeof seeds)[number]) => Readonly<Record<string, number>>, against: string) =>
    Object.fromEntries(
      Object.keys(of(seeds[0]!)).map((name): [string, TraceArm] => [
        name,
        {
          accuracy: meanWithStandardError(seeds.map((it) => of(it)[name]!)),
          over: meanDifference(seeds.map((it) => of(it)[name]! - of(it)[against]!)),
        },
      ]),
    );
  const measured = (kind: 'sampled' | 'greedy') => (it: (typeof seeds)[number]) =>
    Object.fromEntries(Object.entries(it.policies).map(([name, found]) => [name, found[kind]]));
  return {
    rows: seeds.map(({ rows }) => rows),
    valueRows: seeds.map((it) => it.valueRows),
    tokens: seeds.map(({ tokens }) => tokens),
    sampled: table(measured('sampled'), 'SFT on best-of-N'),
    greedy: table(measured('greedy'), 'SFT on best-of-N'),
    guided: table(({ guided }) => guided, 'the model as it was'),
  };
}
