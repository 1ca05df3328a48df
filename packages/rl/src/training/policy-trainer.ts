import { join } from 'node:path';
import { Key } from '@posttrain/core-tensor';
import { withParameters } from '@posttrain/lm';
import {
  adapterIdentity,
  collectRows,
  contentHash,
  createTrainer,
  type Metrics,
  planRates,
  RowOrder,
  type RunResult,
  runSteps,
  StepLog,
  type StepRecord,
  type TrainableAdapter,
  type Trainer,
  timed,
  trainingIdentity,
  update,
  warn,
} from '@posttrain/training';
import { type PolicyObjective, policyObjective } from '../objective/policy-objective.js';
import type { PromptRow } from '../rewards/reward.js';
import { refuseUnscorable } from '../rewards/score-completions.js';
import { meanMetrics, rolloutMetrics } from './policy-metrics.js';
import {
  checkPolicyOptions,
  type PolicySettings,
  type PolicyTrainingOptions,
  policyOptions,
  samplingOf,
} from './policy-options.js';
import { checkPrompts } from './prompts.js';
import { rolloutsOnRows } from './rollout-evaluation.js';
import { withLogProbs } from './rollout-log-probs.js';
import { hasSpread, type RewardedGroup, rollOut } from './rollouts.js';

/** One line of `completions.jsonl`. */
export interface CompletionRecord extends StepRecord {
  readonly prompt: PromptRow['prompt'];
  readonly completion: string;
  readonly finish_reason: string;
  readonly tokens: number;
  readonly rewards: Readonly<Record<string, number | null>>;
  readonly reward: number | null;
  readonly advantage: number;
}

export interface PolicyTrainingResult<A extends TrainableAdapter = TrainableAdapter> extends RunResult {
  /** `trainer.parameters` (or `trainer.model`, when no adapter was trained) are the result. */
  readonly trainer: Trainer;
  /** The adapter with its trained parameters; undefined when the model itself was trained. */
  readonly adapter: A | undefined;
}

/** What stays the same over the steps, and what the steps carry along. */
interface PolicyRun {
  readonly trainer: Trainer;
  readonly objective: PolicyObjective;
  readonly rows: readonly PromptRow[];
  /** Their tokens: of what the rows were before the first step. */
  readonly prompts: readonly (readonly number[])[];
  readonly order: RowOrder;
  readonly options: PolicySettings;
  readonly learningRateAt: (update: number) => number;
  readonly state: { cursor: number; numTokens: number; flatSteps: number };
  logCompletions?: (records: readonly CompletionRecord[]) => Promise<void>;
}

/**
 * Reinforcement learning of a language model: rollout → reward → advantage → objective → update, `steps` times. Which
 * algorithm it is, the objective says. Everything a run draws is a function of `seed` and the step.
 *
 * @throws OptionError, PromptRowError, CheckpointError, RunLockedError, FileError; RewardError; NonFiniteError before a bad update
 */
export async function trainPolicy<Row extends PromptRow, A extends TrainableAdapter = TrainableAdapter>(
  given: PolicyTrainingOptions<Row, A>,
): Promise<PolicyTrainingResult<A>> {
  // Every reward gets the rows that it came with, whatever their type.
  const declared = given as unknown as Parameters<typeof policyOptions.read>[0];
  const options = policyOptions.read(declared);
  checkPolicyOptions(options);
  const { model, steps, iterationsPerBatch, seed, outputFolder, evaluationRows } = options;
  const { rows, identity } = await collectRows('trainPolicy', options.rows, options);
  refuseUnscorable('trainPolicy', options.rewards, rows);
  const prompts = checkPrompts(rows, options);
  const trainer = await createTrainer('trainPolicy', options);
  const run: PolicyRun = {
    trainer,
    objective: policyObjective(options.objective, { temperature: options.temperature }),
    rows,
    prompts,
    order: new RowOrder(rows.length, seed),
    options,
    learningRateAt: planRates('trainPolicy', options, steps * iterationsPerBatch),
    state: { cursor: 0, numTokens: 0, flatSteps: 0 },
  };
  const result = await runSteps(
    {
      ...{ stage: options.objective.name, trainer, model, adapter: options.adapter, steps, state: run.state },
      settings: async () => ({
        ...trainingIdentity('trainPolicy', policyOptions.settings(declared), options),
        ...(await adapterIdentity('reference', options.reference)),
        ...identity,
        // Of the tokenizer and the chat template.
        prompts: contentHash(prompts),
      }),
      async begin(firstStep) {
        if (outputFolder === undefined) return;
        const { log } = await StepLog.open<CompletionRecord>(join(outputFolder, 'completions.jsonl'), firstStep);
        run.logCompletions = (records) => log.append(records);
      },
      step: timed((step, signal) => policyStep(run, step, signal)),
      evaluation: evaluationRows && (await rolloutsOnRows(evaluationRows, options)),
      bestMetric: 'reward',
    },
    options,
  );
  return { trainer, adapter: given.adapter && withParameters(given.adapter, trainer.parameters), ...result };
}

/** One step of policy optimisation: the recipe, with everything else elsewhere. */
async function policyStep(run: PolicyRun, step: number, signal: AbortSignal | undefined): Promise<Metrics> {
  const { trainer, objective, options, state } = run;

  // Rollout and reward, with the policy as it is now.
  const { groups, sampled } = await collectGroups(run, step, signal);
  state.numTokens += sampled.reduce((sum, { promptTokens, completions }) => {
    return sum + completions.reduce((tokens, completion) => tokens + promptTokens.length + completion.tokens.length, 0);
  }, 0);

  // Advantage: what every token is worth, as training rows.
  const { rollouts, metrics: samplerMetrics } = await withLogProbs(groups, trainer, objective.needsReference, options);
  const { rows, advantages } = objective.annotate(rollouts, options);

  // Objective and update. What has begun to change the weights comes to its end.
  signal?.throwIfAborted();
  const updates: Metrics[] = [];
  for (let i = 0; i < options.iterationsPerBatch && rows.length > 0; i++) {
    const learningRate = run.learningRateAt(step * options.iterationsPerBatch + i);
    const { loss, metrics, gradNorm } = await update(trainer, rows, objective.loss, learningRate);
    const { old_logp_difference: difference, ...others } = metrics;
    const onPolicy = i === 0 ? { 'sampling/sampling_logp_difference/mean': difference! } : {};
    updates.push({ loss, grad_norm: gradNorm, learning_rate: learningRate, ...onPolicy, ...others });
  }

  await run.logCompletions?.(completionRecords(step, groups, advantages));
  const metrics = {
    ...meanMetrics(updates),
    ...rolloutMetrics(sampled),
    ...samplerMetrics,
    num_tokens: state.numTokens,
    epoch: state.cursor / run.rows.length,
  };
  warnOfNoSignal(run, step, sampled, metrics);
  return metrics;
}

/** The step's groups, and all that were sampled for it: with dynamic sampling some are put aside. */
async function collectGroups(run: PolicyRun, step: number, signal: AbortSignal | undefined) {
  const { trainer, rows, prompts, order, options, state } = run;
  const { promptsPerStep, dynamicSampling } = options;
  const key = Key.fromSeed(options.seed).child(step);
  const sampling = samplingOf(options);
  const sampled: RewardedGroup[] = [];
  let kept: RewardedGroup[] = [];
  for (let round = 0; round < (dynamicSampling?.maxRounds ?? 1) && kept.length < promptsPerStep; round++) {
    const wanted = promptsPerStep - kept.length;
    const chosen = Array.from({ length: wanted }, () => order.at(state.cursor++));
    const { completionsPerPrompt, rewards, maxBatch, scoring = {} } = options;
    const groups = await rollOut({
      model: trainer.model,
      adapter: trainer.adapter,
      rows: chosen.map((i) => rows[i]!),
      prompts: chosen.map((i) => prompts[i]!),
      rewards,
      completionsPerPrompt,
      sampling,
      scoring,
      maxBatch,
      // The same digits after an interruption: weights that change start anew at each step by themselves.
      packWeights: options.adapter ? 'at-once' : 'auto',
      key: key.child(round),
      step,
      signal,
    });
    sampled.push(...groups);
    kept = dynamicSampling ? sampled.filter(hasSpread) : sampled;
  }
  // A policy that has solved every prompt has nothing to learn, which is no reason to stop.
  return { groups: kept.length > 0 ? kept : sampled.slice(0, promptsPerStep), sampled };
}

function completionRecords(
  step: number,
  groups: readonly RewardedGroup[],
  advantages: readonly (readonly number[])[],
): CompletionRecord[] {
  return groups.flatMap((group, g) =>
    group.completions.map((completion, i) => ({
      step,
      prompt: group.row.prompt,
      completion: completion.text,
      finish_reason: completion.finishReason,
      tokens: completion.tokens.length,
      rewards: completion.rewards,
      reward: completion.reward,
      advantage: advantages[g]![i]!,
    })),
  );
}

const FLAT_STEPS_TO_WARN = 3;

/** Says so when no completion has a reward, or nearly all groups have equal ones for some steps in a row: nothing is learnt. */
function warnOfNoSignal(
  { state, options }: PolicyRun,
  step: number,
  groups: readonly RewardedGroup[],
  metrics: Metrics,
): void {
  const completions = groups.flatMap((group) => group.completions);
  if (completions.every(({ reward }) => reward === null)) {
    const names = Object.keys(options.rewards).join(', ');
    warn(
      options,
      `step ${step}: no completion could be scored (${names} gave null for all ${completions.length}), so it taught nothing.`,
    );
  }
  const fraction = metrics.frac_reward_zero_std!;
  state.flatSteps = fraction > 0.9 ? state.flatSteps + 1 : 0;
  if (state.flatSteps !== FLAT_STEPS_TO_WARN) return;
  warn(
    options,
    `frac_reward_zero_std is ${fraction.toFixed(2)}: nearly all completions of a prompt get the same reward (mean ${metrics.reward}), so there is almost nothing to learn from. Choose prompts that are sometimes solved, a finer reward, or a higher temperature.`,
  );
}
