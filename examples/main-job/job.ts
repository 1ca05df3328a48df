import { join } from 'node:path';
import { compare, type EvalResult, evaluate, type GenerateProblem, majorityAtK, passAtK } from '@posttrain/eval';
import type { OnProgress } from '@posttrain/interfaces';
import { type CausalLM, LocalGenerator } from '@posttrain/lm';
import {
  createAdapter,
  lora,
  mergeAdapter,
  type PeftAdapter,
  saveAdapter,
  withAdapterParameters,
} from '@posttrain/peft';
import { policyObjectives, type Rewards, trainPolicy } from '@posttrain/rl';
import { sft } from '@posttrain/training';
import type { JobSettings } from './settings.js';
import type { JobRow, JobTask } from './task.js';

/** The metrics worth watching while a stage runs; everything is in the logs. */
const SHOWN_METRICS = ['loss', 'mean_token_accuracy', 'reward', 'frac_reward_zero_std', 'entropy'];

/** Progress under a stage's own name, with a few metrics. */
export function stageProgress(onProgress: OnProgress, stage: string): OnProgress {
  return ({ metrics = {}, ...event }) => {
    const shown = Object.entries(metrics).filter(([name]) => SHOWN_METRICS.includes(name));
    onProgress({ ...event, stage, metrics: Object.fromEntries(shown) });
  };
}

export type StageResult = EvalResult<GenerateProblem>;
export type MetricsLine = Readonly<Record<string, number>>;

/** An interrupted job goes on to the same digits. */
const SAME_DIGITS = { packWeights: 'at-once' } as const;

/** Completions asked of the model, and written down, together. */
const COMPLETIONS_AT_ONCE = 512;

/** Accuracy on the held-out problems, sampled at temperature 1. `samples`: of each (default `evaluationSamples`). */
export function evaluateStage(
  model: CausalLM,
  adapter: PeftAdapter | undefined,
  task: JobTask,
  settings: JobSettings,
  options: { readonly samples?: number; readonly log?: string; readonly onProgress?: OnProgress } = {},
): Promise<StageResult> {
  const { samples = settings.evaluationSamples, ...watched } = options;
  const generator = new LocalGenerator(model, { ...SAME_DIGITS, ...(adapter && { adapter: () => adapter }) });
  return evaluate(
    {
      type: 'generate',
      name: task.name,
      dataset: task.heldOut,
      prompt: (row: JobRow) => row.prompt,
      sampling: { temperature: 1, maxTokens: task.maxTokens },
      samples,
      graders: [task.grader],
      verifiers: task.verifier ? [task.verifier] : [],
      metrics: [passAtK(1), majorityAtK(settings.evaluationSamples)],
    },
    generator,
    { seed: settings.seed, batchSize: Math.max(1, Math.floor(COMPLETIONS_AT_ONCE / samples)), ...watched },
  );
}

/** What a stage writes on its way, to go on from when it is interrupted. */
interface StageOptions {
  /** Where checkpoints and logs go. Left out: nothing is written. */
  readonly outputFolder?: string;
  readonly onProgress?: OnProgress;
}

/** Checkpoints of a stage of training: often enough that an interrupted one loses little. */
const savingOf = ({ outputFolder, onProgress }: StageOptions, steps: number) => ({
  ...(outputFolder !== undefined && {
    ...{ outputFolder, saveSteps: Math.max(1, Math.ceil(steps / 8)), saveTotalLimit: 2, resume: true },
  }),
  ...(onProgress && { onProgress }),
});

/** LoRA on the worked solutions: loss on the assistant's tokens only. */
export async function fineTune(
  model: CausalLM,
  task: JobTask,
  settings: JobSettings,
  options: StageOptions = {},
): Promise<{ adapter: PeftAdapter; log: MetricsLine[] }> {
  const { loraRank, seed } = settings;
  const adapter = await createAdapter(
    model,
    lora,
    { r: loraRank, loraAlpha: 2 * loraRank, targetModules: 'all-linear' },
    { seed },
  );
  if (task.demonstrations.length === 0) return { adapter, log: [] };
  const { adapter: tuned, history } = await sft({
    model,
    adapter,
    rows: task.demonstrations.map(({ prompt, completion }) => ({ prompt, completion: completion! })),
    ...{ steps: settings.sft.steps, batchSize: settings.sft.rowsPerStep, learningRate: settings.sft.learningRate },
    ...{ warmupSteps: 5, loggingSteps: 1, seed },
    ...savingOf(options, settings.sft.steps),
  });
  return { adapter: tuned!, log: linesOf(history) };
}

/** GRPO with verifiable rewards, going on with the adapter. */
export async function reinforce(
  model: CausalLM,
  adapter: PeftAdapter,
  task: JobTask,
  settings: JobSettings,
  options: StageOptions & { readonly rewards?: Rewards<JobRow> } = {},
): Promise<{ adapter: PeftAdapter; log: MetricsLine[] }> {
  const { rewards = task.rewards } = options;
  const { trainer, history } = await trainPolicy({
    model,
    adapter,
    rows: task.train,
    rewards,
    // GRPO's advantages with DAPO's token mean, which is also TRL's default.
    objective: policyObjectives.dapo(),
    ...settings.grpo,
    ...{ warmupSteps: 5, maxCompletionLength: task.maxTokens, seed: settings.seed },
    ...savingOf(options, settings.grpo.steps),
  });
  return { adapter: withAdapterParameters(adapter, trainer.parameters), log: linesOf(history) };
}

/** The adapter in PEFT's format and the merged model in Hugging Face's; gives the largest logit change of merging. */
export async function saveResult(model: CausalLM, adapter: PeftAdapter, folder: string): Promise<{ drift: number }> {
  await saveAdapter(join(folder, 'adapter'), adapter);
  const { model: merged, drift } = await mergeAdapter(model, adapter);
  await merged.save(join(folder, 'model'));
  return { drift };
}

/** The gain of one stage over another on the same problems, with a paired bootstrap. */
export const gain = (before: StageResult, after: StageResult) => compare(before, after, { metric: 'pass@1' });

const linesOf = (history: readonly { readonly step: number; readonly metrics: MetricsLine }[]): MetricsLine[] =>
  history.map(({ step, metrics }) => ({ step: step + 1, ...metrics }));
