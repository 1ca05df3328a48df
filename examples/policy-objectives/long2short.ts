// Long to short by each of its ways (Kimi k1.5, arXiv 2501.12599, section 2.4): a policy whose answers are long and mostly right gets shorter ones by rows, by pairs,
// by a reward and by merging, each beside the same updates without the length part, with three seeds. Cells that `results/long2short.json` has are not run again.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { long2shortPairs, pipeline, rejectionSampling, shortestRejectionSampling } from '@posttrain/data';
import type { Verifier } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { CausalLM, LocalGenerator } from '@posttrain/lm';
import { mergeModels } from '@posttrain/peft';
import { kimiLength, policyObjectives, preferenceLosses, trainPolicy, trainPreferences } from '@posttrain/rl';
import { sft } from '@posttrain/training';
import { cellsOf } from '../background-rl/cells.js';
import { LETTERS, modelOf } from '../background-rl/letters.js';
import { interval, table } from '../background-rl/tables.js';

/** Most tokens of a completion. */
const MOST = 13;
/** Updates of every arm behind the long policy, and completions that each of them sees; a merge has none. */
const [UPDATES, BATCH] = [30, 32];

interface Task {
  readonly prompt: string;
  readonly letter: string;
  /** The same prompt is asked several times, with other random numbers. */
  readonly copy: number;
}
const asked = (copies: number): Task[] =>
  Array.from({ length: copies }, (_, copy) =>
    LETTERS.map((letter) => ({ prompt: letter + letter, letter, copy })),
  ).flat();

/** Right is a completion that has the prompt's letter somewhere and has ended. */
const isRight = (text: string, letter: string, finishReason?: string): boolean =>
  finishReason !== 'length' && text.includes(letter);

const verifier = (name: string, wanted: boolean): Verifier => ({
  name,
  verify: async (requests) =>
    requests.map(({ completion, row, finishReason }) => ({
      score: Number(isRight(completion, String(row!.letter), finishReason) === wanted),
    })),
});
const [right, wrong] = [verifier('right', true), verifier('wrong', false)];

/** Texts of so many letters, of which each is the prompt's with a chance: the longer, the more often right. */
function texts(from: number, to: number, chance: number, seed: number) {
  const random = createRandom(seed);
  return asked(48).map(({ prompt, letter }) => {
    const others = LETTERS.filter((one) => one !== letter);
    const length = random.integer(from, to);
    const said = Array.from({ length }, () =>
      random.float() < chance ? letter : others[random.integer(0, others.length - 1)]!,
    );
    return { prompt, completion: said.join('') };
  });
}

const quiet = { schedule: 'constant', maxLength: 16, loggingSteps: 1000, onWarning: () => {} } as const;
type Rows = readonly { readonly prompt: string; readonly completion: string }[];
async function tuned(
  model: CausalLM,
  rows: Rows,
  seed: number,
  steps: number,
  learningRate: number,
): Promise<CausalLM> {
  const { trainer } = await sft({ ...quiet, model, rows: [...rows], seed, steps, learningRate, batchSize: BATCH });
  return trainer.model as CausalLM;
}

/** Fine-tuned on rows of the policy's own, at the rate of every arm here. */
const onRows = (policy: CausalLM, rows: Rows, seed: number) => tuned(policy, rows, seed, UPDATES, 0.01);

/** Eight completions of each of 56 prompts. */
const drawn = (policy: CausalLM) => ({
  ...{ generator: new LocalGenerator(policy), sampling: { maxTokens: MOST, temperature: 1 }, concurrency: 56 },
});
const collected = <R extends object>(step: Parameters<typeof pipeline<R>>[1][number], seed: number) =>
  pipeline<R>(asked(8), [step], { seed }).collect();
const accepted = (policy: CausalLM, by: Verifier, most: number, seed: number) =>
  collected<Task & { completion: string }>(
    rejectionSampling<Task>({ ...drawn(policy), verifiers: [by], samples: 8, most }),
    seed,
  );

type Pairs = readonly { readonly prompt: string; readonly chosen: string; readonly rejected: string }[];
async function onPairs(policy: CausalLM, rows: Pairs, seed: number, learningRate = 0.003): Promise<CausalLM> {
  const loss = preferenceLosses.sigmoid({ beta: 0.1 });
  const given = { ...quiet, model: policy, rows: [...rows], seed, loss, steps: UPDATES, batchSize: BATCH / 2 };
  return (await trainPreferences({ ...given, learningRate })).trainer.model as CausalLM;
}

/** Two updates of every 32 completions, as many as the others have. */
async function onRewards(policy: CausalLM, lengthWeight: number, seed: number, updates = UPDATES): Promise<CausalLM> {
  const { trainer } = await trainPolicy<Task>({
    ...{ model: policy, rows: asked(1), objective: policyObjectives.dr_grpo(), schedule: 'constant', seed },
    rewards: { right, short: { verifier: kimiLength({ correct: right }), weight: lengthWeight } },
    ...{ steps: updates / 2, iterationsPerBatch: 2, promptsPerStep: 4, completionsPerPrompt: BATCH / 4 },
    ...{ maxCompletionLength: MOST, learningRate: 0.01, onWarning: () => {} },
  });
  return trainer.model as CausalLM;
}

/** Half of each, number by number. */
async function merged(models: readonly CausalLM[]): Promise<CausalLM> {
  const folder = mkdtempSync(join(tmpdir(), 'posttrain-long2short-'));
  try {
    const parts = models.map((_, i) => join(folder, String(i)));
    for (const [i, model] of models.entries()) await model.save(parts[i]!);
    const output = join(folder, 'merged');
    await mergeModels(
      { merge_method: 'linear', dtype: 'float32', models: parts.map((model) => ({ model })) },
      { output },
    );
    return await CausalLM.load(output);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What an arm starts from. */
interface Start {
  readonly base: CausalLM;
  readonly long: CausalLM;
}
const LONG = [4, 9, 0.3] as const;
const longOf = (base: CausalLM, seed: number) => tuned(base, texts(...LONG, seed + 20), seed, 120, 0.01);
/** Short answers, which are right less often. */
const shortOf = (base: CausalLM, seed: number) => tuned(base, texts(1, 2, 0.45, seed + 30), seed, 120, 0.01);

const shortAndLong = async ({ long }: Start, seed: number, learningRate?: number) => {
  const step = long2shortPairs<Task>({ ...drawn(long), verifier: right, rollouts: 8 });
  return onPairs(long, (await collected(step, seed)) as unknown as Pairs, seed, learningRate);
};
/** As many of each prompt as there are wrong completions, however long they are. */
const rightAndWrong = async ({ long }: Start, seed: number, learningRate?: number) => {
  const [chosen, rejected] = [await accepted(long, right, 1, seed), await accepted(long, wrong, 8, seed)];
  const pairs = rejected.flatMap(({ prompt, completion, copy }) => {
    const best = chosen.find((one) => one.prompt === prompt && one.copy === copy);
    return best ? [{ prompt, chosen: best.completion, rejected: completion }] : [];
  });
  return onPairs(long, pairs, seed, learningRate);
};

/** Each way, and behind it the same without the length part. Those with numbers in brackets were added when the others had been seen. */
const ARMS: Readonly<Record<string, (start: Start, seed: number) => Promise<CausalLM>>> = {
  'the long policy': async ({ long }) => long,
  'shortest of the right ones, SFT': async ({ long }, seed) => {
    const step = shortestRejectionSampling<Task>({ ...drawn(long), verifier: right, rollouts: 8 });
    return onRows(long, (await collected(step, seed)) as unknown as Rows, seed);
  },
  'any of the right ones, SFT': async ({ long }, seed) => onRows(long, await accepted(long, right, 1, seed), seed),
  'pairs of short and long, DPO': shortAndLong,
  'pairs of right and wrong, DPO': rightAndWrong,
  'right and kimiLength, RL': ({ long }, seed) => onRewards(long, 0.5, seed),
  'right alone, RL': ({ long }, seed) => onRewards(long, 0, seed),
  'long and short, merged': async ({ base, long }, seed) => merged([long, await shortOf(base, seed)]),
  'long and another long, merged': async ({ base, long }, seed) => merged([long, await longOf(base, seed + 1000)]),
  'pairs of short and long, DPO (a third of the rate)': (start, seed) => shortAndLong(start, seed, 0.001),
  'pairs of right and wrong, DPO (a third of the rate)': (start, seed) => rightAndWrong(start, seed, 0.001),
  'right and kimiLength, RL (90 updates)': ({ long }, seed) => onRewards(long, 0.5, seed, 90),
  'right alone, RL (90 updates)': ({ long }, seed) => onRewards(long, 0, seed, 90),
  'the short policy': ({ base }, seed) => shortOf(base, seed),
};

/** The share of 448 completions that are right, and how many tokens they have, the end among them. */
async function measured(model: CausalLM, seed: number): Promise<readonly [number, number]> {
  const rows = asked(1);
  const found = await new LocalGenerator(model).generate(
    rows.map(({ prompt }, i) => ({ prompt, n: 64, maxTokens: MOST, temperature: 1, seed: 10_000 * seed + 100 * i })),
  );
  const all = found.flatMap((own, i) => own.map((one) => ({ ...one, letter: rows[i]!.letter })));
  const mean = (of: (one: (typeof all)[number]) => number) => all.reduce((sum, one) => sum + of(one), 0) / all.length;
  return [
    mean(({ text, letter, finishReason }) => Number(isRight(text, letter, finishReason))),
    mean(({ usage }) => usage.completionTokens),
  ];
}

const { ofSeeds } = cellsOf(join(import.meta.dirname, 'results'));
const starts = new Map<number, Promise<Start>>();
const startOf = (seed: number) => {
  const make = async (): Promise<Start> => {
    // Texts of all lengths, by chance: what both policies are fine-tunes of.
    const base = await tuned(await modelOf(seed), texts(1, 9, 1 / LETTERS.length, seed + 10), seed, 120, 0.01);
    return { base, long: await longOf(base, seed) };
  };
  if (!starts.has(seed)) starts.set(seed, make());
  return starts.get(seed)!;
};

const found = new Map<string, (readonly [number, number])[]>();
for (const [arm, make] of Object.entries(ARMS)) {
  const cell = async (seed: number) => measured(await make(await startOf(seed), seed), seed);
  found.set(arm, await ofSeeds('long2short', arm, cell));
}
table(
  ['policy', 'right', 'tokens'],
  [...found].map(([arm, cells]) => [arm, interval(cells.map(([own]) => own)), interval(cells.map(([, own]) => own))]),
);
const names = Object.keys(ARMS);
const long = found.get(names[0]!)!;
table(
  [
    'way',
    'right, more than its control',
    'tokens, more than its control',
    'right, more than the long policy',
    'tokens, more than that',
  ],
  [1, 3, 5, 7, 9, 11].map((at) => {
    const [own, control] = [found.get(names[at]!)!, found.get(names[at + 1]!)!];
    const differences = [control, long].flatMap((other) =>
      [0, 1].map((i) => interval(own.map((cell, s) => cell[i]! - other[s]![i]!))),
    );
    return [names[at]!, ...differences];
  }),
);
