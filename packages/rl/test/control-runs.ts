import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAdapter, lora } from '@posttrain/peft';
import { type RunOptions, type RunResult, sft, type Trainer, type TrainingOptions } from '@posttrain/training';
import { dpo, namedReward, onlinePairs, policyObjectives, trainPolicy, trainPreferences } from '../src/index.js';
import { fractionOfC, prompts, toyModel } from './toy.js';

/** What every trainer takes and gives, as far as a run is controlled. */
export type Controlled = Partial<Omit<TrainingOptions, 'model' | 'adapter'>> & RunOptions;
export type ControlledResult = RunResult & { readonly trainer: Trainer };
/** `held`: with held-out rows of the trainer's own. */
export type Start = (options?: Controlled, held?: boolean) => Promise<ControlledResult>;

export const STEPS = 6;

const model = toyModel(3);
const start = async () => ({
  model: await model,
  adapter: await createAdapter(await model, lora, { r: 2, targetModules: 'all-linear' }, { seed: 3 }),
  learningRate: 0.02,
});

const letters = ['a', 'b', 'd', 'e', 'f', 'g'];
const pairs = letters.map((letter) => ({ prompt: `${letter}ab`, chosen: 'cc', rejected: letter.repeat(2) }));
const completions = letters.map((letter) => ({ prompt: `${letter}ab`, completion: 'cc' }));
// Named, since a child process and the test compile its text differently.
const reward = namedReward('halves', {}, (text) => Math.round(fractionOfC(text) * 2) / 2);

/** One run of six steps with each trainer. */
export const trainers: Readonly<Record<'sft' | 'dpo' | 'trainPolicy', Start>> = {
  sft: async (options, held) =>
    sft({
      ...(await start()),
      rows: completions,
      ...{ batchSize: 2, steps: STEPS },
      ...(held && { evaluationRows: completions.slice(0, 3).map((row) => ({ ...row, completion: 'cd' })) }),
      ...options,
    }),
  dpo: async (options, held) =>
    dpo({
      ...(await start()),
      rows: pairs,
      batchSize: 1,
      ...(held && { evaluationRows: pairs.slice(0, 3).map((row) => ({ ...row, chosen: 'cd' })) }),
      ...options,
    }),
  trainPolicy: async (options, held) =>
    trainPolicy({
      ...(await start()),
      rows: prompts,
      rewards: { reward },
      objective: policyObjectives.grpo({ beta: 0.05 }),
      ...{ steps: STEPS, promptsPerStep: 2, completionsPerPrompt: 3, maxCompletionLength: 3 },
      ...(held && { evaluationRows: prompts.slice(0, 2).map(({ prompt }) => ({ prompt: `c${prompt}` })) }),
      ...options,
    }),
};

const alphabetical = namedReward('alphabetical', {}, (text) =>
  [...text].reduce((sum, letter, i) => sum + letter.charCodeAt(0) / 128 ** i, 0),
);

/** One of online DPO, whose every step samples. */
export const onlineDpo: Start = async (options, held) =>
  trainPreferences({
    ...(await start()),
    rows: onlinePairs({ rows: prompts, rewards: { alphabetical }, maxCompletionLength: 3 }),
    ...{ steps: STEPS, batchSize: 4 },
    ...(held && { evaluationRows: pairs.slice(0, 3).map((row) => ({ ...row, chosen: 'cd' })) }),
    ...options,
  });

/** The trained numbers. */
export const numbersOf = async ({ trainer }: Pick<ControlledResult, 'trainer'>): Promise<number[][]> =>
  Promise.all(Object.values(trainer.parameters).map((parameter) => parameter.toArray()));

/** Entries without the time that steps took. */
export const untimed = <T extends { readonly metrics: Readonly<Record<string, number>> }>(entries: readonly T[]) =>
  entries.map(({ metrics: { step_time: _, ...metrics }, ...entry }) => ({ ...entry, metrics }));

export const metricsIn = async (folder: string) => {
  const lines = (await readFile(join(folder, 'metrics.jsonl'), 'utf8')).trim().split('\n');
  return untimed(lines.map((line) => JSON.parse(line) as { step: number; metrics: Record<string, number> }));
};

/** Everything that steers a run at once; what it decides differs from step to step. */
export const everything = {
  evaluateEvery: 2,
  evaluateOnStart: true,
  keepBest: true,
  patience: 9,
  saveSteps: 3,
  saveTotalLimit: 2,
  loggingSteps: 4,
} as const;

// As a program: runs into a folder and kills itself at a step.
const [, script, name, folder, killAt] = process.argv;
if (script === import.meta.filename) {
  const afterStep = ({ step }: { readonly step: number }) => {
    if (step === Number(killAt)) process.kill(process.pid, 'SIGKILL');
  };
  const run = { ...trainers, onlineDpo }[name as keyof typeof trainers | 'onlineDpo'];
  await run({ ...everything, outputFolder: folder!, afterStep }, true);
}
