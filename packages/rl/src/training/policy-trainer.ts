import { join } from 'node:path';
import { Key } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import { withParameters } from '@posttrain/lm';
import {
  adapterIdentity,
  createTrainer,
  type Metrics,
  planRates,
  type RunResult,
  runSteps,
  StepLog,
  type TrainableAdapter,
  type Trainer,
  timed,
  trainingIdentity,
  warn,
} from '@posttrain/training';
import type { PolicyLoss } from '../loss-objective.js';
import {
  type AnnotatedRollouts,
  type AnyPolicyObjective,
  isLossObjective,
  type PolicyObjective,
  policyObjective,
} from '../objective/policy-objective.js';
import type { PromptRow } from '../rewards/reward.js';
import { checkRollouts } from '../rollout/check-rollouts.js';
import { stalenessMetrics } from '../rollout/policy-version.js';
import { singleTurn } from '../rollout/single-turn.js';
import { groupsOf, type Rollout, type ScoredRollout } from '../rollout.js';
import { annotatorContext } from './annotator-context.js';
import { type CompletionRecord, completionRecords } from './completion-records.js';
import { teaches } from './dynamic-sampling.js';
import { checkMetrics, meanMetrics, rolloutMetrics } from './policy-metrics.js';
import {
  checkPolicyOptions,
  type PolicySettings,
  type PolicyTrainingOptions,
  policyOptions,
  referenceOf,
  samplingOf,
} from './policy-options.js';
import { policyUpdate, whyNoUpdate } from './policy-update.js';
import { rolloutsOnRows } from './rollout-evaluation.js';
import { withLogProbs } from './rollout-log-probs.js';
import { sampleAndScore, sampleAndScoreAhead } from './rollouts.js';
import { type AheadState, RolloutsAhead } from './rollouts-ahead.js';
import { type RowFeed, rowFeedOf } from './row-feed.js';
import { type PartStates, RunParts } from './run-parts.js';

/** What `trainPolicy` gives. */
export interface PolicyTrainingResult<A extends TrainableAdapter = TrainableAdapter> extends RunResult {
  /** `trainer.parameters` (or `trainer.model`, when no adapter was trained) are the result. */
  readonly trainer: Trainer;
  /** The adapter with its trained parameters; undefined when the model itself was trained. */
  readonly adapter: A | undefined;
}

/** What the steps of a run carry along. */
export interface PolicyRunState {
  cursor: number;
  numTokens: number;
  flatSteps: number;
  /** Steps without an update, and why the last of them had none. */
  skipped?: number;
  why?: string;
  /** Whether something of a rollout has failed, of which a run warns once. */
  hasFailed?: boolean;
  parts?: PartStates;
  /** Rollouts of further steps, with `maxStaleness`. */
  ahead?: AheadState;
}

/** What stays the same over the steps, and what the steps carry along. */
export interface PolicyRun {
  readonly trainer: Trainer;
  readonly objective: PolicyObjective<PolicyLoss>;
  readonly feed: RowFeed;
  readonly parts: RunParts;
  readonly options: PolicySettings;
  readonly learningRateAt: (update: number) => number;
  readonly state: PolicyRunState;
  /** With `maxStaleness`. */
  ahead?: RolloutsAhead;
  logCompletions?: (records: readonly CompletionRecord[]) => Promise<void>;
}

/**
 * Reinforcement learning of a language model: rollout → reward → advantage → objective → update, `steps` times. Which
 * algorithm it is, the objective says. Everything a run draws is a function of `seed` and the step.
 *
 * @throws OptionError, PromptRowError, CheckpointError, RunLockedError, FileError; RewardError, RolloutError; NonFiniteError before a
 *   bad update; PosttrainError NO_UPDATE where none of the steps has made one
 */
export async function trainPolicy<Row extends PromptRow, A extends TrainableAdapter = TrainableAdapter>(
  given: PolicyTrainingOptions<Row, A>,
): Promise<PolicyTrainingResult<A>> {
  // Every reward gets the rows that it came with, whatever their type.
  const declared = given as unknown as Parameters<typeof policyOptions.read>[0];
  const options = policyOptions.read(declared);
  checkPolicyOptions(options);
  const { model, steps, iterationsPerBatch, outputFolder, evaluationRows } = options;
  const parts = new RunParts(options);
  const feed = await rowFeedOf(options);
  const trainer = await createTrainer('trainPolicy', options);
  const run: PolicyRun = {
    trainer,
    objective: policyObjective(options.objective, { temperature: options.temperature }),
    ...{ feed, parts, options },
    learningRateAt: planRates('trainPolicy', options, steps * iterationsPerBatch),
    state: { cursor: 0, numTokens: 0, flatSteps: 0 },
  };
  parts.claim();
  const { maxStaleness } = options;
  if (maxStaleness > 0) run.ahead = new RolloutsAhead(maxStaleness, (...given) => beginRollouts(run, ...given));
  const result = await runSteps(
    {
      ...{ stage: options.objective.name, trainer, model, adapter: options.adapter, steps, state: run.state },
      others: parts.trainers,
      settings: async () => ({
        ...trainingIdentity('trainPolicy', policyOptions.settings(declared), options),
        ...(await adapterIdentity('reference', referenceOf(options))),
        ...feed.identity,
      }),
      async begin(firstStep) {
        await prepareAnnotators(run, firstStep, options.signal);
        parts.begin(firstStep);
        if (firstStep > 0) await parts.load(run.state.parts);
        run.ahead?.load(run.state.ahead ?? []);
        if (outputFolder === undefined) return;
        const { log } = await StepLog.open<CompletionRecord>(join(outputFolder, 'completions.jsonl'), firstStep);
        run.logCompletions = (records) => log.append(records);
      },
      beforeSave: async () => {
        if (run.ahead) run.state.ahead = await run.ahead.state();
      },
      step: timed((step, signal) => policyStep(run, step, signal)),
      evaluation: evaluationRows && (await rolloutsOnRows(evaluationRows, options)),
      bestMetric: 'reward',
    },
    options,
  ).finally(() => {
    run.ahead?.close();
    parts.release();
  });
  if (!result.stopped && trainer.step === 0) throw noUpdate('trainPolicy', steps, run.state.why);
  return { trainer, adapter: given.adapter && withParameters(given.adapter, trainer.parameters), ...result };
}

/** One step of policy optimisation: the recipe, with everything else elsewhere. */
async function policyStep(run: PolicyRun, step: number, signal: AbortSignal | undefined): Promise<Metrics> {
  const { state } = run;

  // Rollout and reward, with the policy as it is now.
  const { kept, sampled } = await collectRollouts(run, step, signal);
  state.numTokens += sampled.reduce((n, { promptTokens, completionTokens }) => {
    return n + promptTokens.length + completionTokens.length;
  }, 0);

  const { annotated, advantages, rollouts, metrics: learnt, skipped } = await learnFrom(run, step, kept, signal);
  run.ahead?.done(step);
  if (skipped !== undefined) countSkipped(run, step, skipped);
  await run.parts.feedback(rollouts, { step, advantages });
  const parts = await run.parts.states();
  if (parts) state.parts = parts;

  await run.logCompletions?.(completionRecords(step, annotated, advantages, run.options.rollouts?.isOffPolicy));
  const metrics = {
    ...learnt,
    ...rolloutMetrics(sampled),
    ...(run.options.rollouts?.isOffPolicy && stalenessMetrics(sampled, step)),
    num_tokens: state.numTokens,
    ...(state.skipped !== undefined && { skipped: state.skipped }),
    ...(run.feed.size !== undefined && { epoch: state.cursor / run.feed.size }),
  };
  warnOfNoSignal(run, step, sampled, metrics);
  return metrics;
}

/** What of a run a policy learns by. */
export type LearningPolicy = Pick<PolicyRun, 'trainer' | 'objective' | 'options' | 'learningRateAt'>;

/** What came of learning from rollouts. */
export interface Learnt extends Pick<AnnotatedRollouts, 'advantages'> {
  readonly annotated: readonly ScoredRollout[];
  readonly rollouts: readonly Rollout[];
  readonly metrics: Metrics;
  /** Why there was no update; undefined where there was one. */
  readonly skipped: string | undefined;
}

/** The second half of a step: advantage, objective and update, of rollouts that the policy has made. */
export async function learnFrom(
  run: LearningPolicy,
  step: number,
  scored: readonly ScoredRollout[],
  signal: AbortSignal | undefined,
): Promise<Learnt> {
  const { trainer, objective, options } = run;

  // Advantage: what every token is worth, as training rows.
  const annotators = annotatorsOf(run, step, signal);
  let annotated = scored;
  for (const { annotator, context } of annotators) {
    const made = await annotator.annotate(annotated, context);
    annotated = checkRollouts(`the annotator ${annotator.name}`, made, annotator.gives);
  }
  const { needsReference } = objective;
  const { rollouts, metrics: samplerMetrics } = await withLogProbs(annotated, trainer, needsReference, options);
  const { rows, advantages, rollouts: seen, scalars } = objective.annotate(rollouts, options);
  const skipped = whyNoUpdate(rows, annotated, options);

  // Objective and update. What has begun to change the weights comes to its end.
  signal?.throwIfAborted();
  const { update: rule, beside } = options.objective;
  const updates: Metrics[] = [];
  for (let i = 0; i < options.iterationsPerBatch && skipped === undefined; i++) {
    const count = step * options.iterationsPerBatch + i;
    const learningRate = run.learningRateAt(count);
    const other = beside && { rows: beside.rows(options.model, count), loss: beside.loss };
    const made = { rows, scalars, rule, loss: objective.loss, beside: other, learningRate };
    const { loss, metrics, gradNorm } = await policyUpdate(trainer, made);
    const { old_logp_difference: difference, ...others } = metrics;
    const isFirst = i === 0 && difference !== undefined;
    const onPolicy = isFirst && { 'sampling/sampling_logp_difference/mean': difference };
    updates.push({ loss, grad_norm: gradNorm, learning_rate: learningRate, ...onPolicy, ...others });
  }

  // What learns beside the policy.
  const learnt: Metrics[] = [];
  for (const { annotator, context } of annotators) {
    learnt.push(checkMetrics(annotator.name, (await annotator.learn?.(seen, advantages, context)) ?? {}));
  }
  for (const part of learningPartsOf(options.objective)) {
    learnt.push(checkMetrics(part.name, part.learn?.(seen) ?? {}));
  }
  const metrics = { ...meanMetrics(updates), ...samplerMetrics, ...Object.assign({}, ...learnt) };
  return { annotated, advantages, rollouts, metrics, skipped };
}

/** What every request for rollouts of a step has. */
export function samplingRequest(
  { trainer, options }: LearningPolicy,
  step: number,
  key: Key,
  signal: AbortSignal | undefined,
) {
  const { rewards, rollouts: source = singleTurn(), maxBatch, scoring = {} } = options;
  return {
    ...{ model: trainer.model, adapter: trainer.adapter, source, rewards, scoring, maxBatch, key, step, signal },
    sampling: samplingOf(options),
    // The same digits after an interruption: weights that change start anew at each step by themselves.
    packWeights: options.adapter ? ('at-once' as const) : ('auto' as const),
  };
}

/** Of the keys of a step, rounds of sampling have those from 0 up; annotators have these from the last one down. */
const LAST_ANNOTATOR = 2 ** 32 - 1;

/** The objective's annotators, each with what it may use in this step. */
function annotatorsOf(run: LearningPolicy, step: number, signal: AbortSignal | undefined) {
  const key = Key.fromSeed(run.options.seed).child(step);
  return (run.options.objective.annotators ?? []).map((annotator, i) => ({
    annotator,
    context: annotatorContext(samplingRequest(run, step, key.child(LAST_ANNOTATOR - i), signal)),
  }));
}

const learningPartsOf = (objective: AnyPolicyObjective) =>
  isLossObjective(objective) ? [] : [objective.advantage, ...(objective.regularisers ?? [])];

/** What annotators have to say before the first step. @throws what they refuse a run with */
export async function prepareAnnotators(run: LearningPolicy, step: number, signal: AbortSignal | undefined) {
  for (const { annotator, context } of annotatorsOf(run, step, signal)) await annotator.prepare?.(context);
}

interface Collected {
  readonly kept: readonly ScoredRollout[];
  readonly sampled: readonly ScoredRollout[];
}

/** The step's rollouts, and all that were sampled for it: with dynamic sampling some groups are put aside. */
async function collectRollouts(run: PolicyRun, step: number, signal: AbortSignal | undefined): Promise<Collected> {
  const { feed, options, state, ahead } = run;
  if (ahead) {
    const rollouts = await ahead.take(step, options.steps, signal);
    state.cursor = (step + 1) * options.promptsPerStep;
    return { kept: rollouts, sampled: rollouts };
  }
  const { promptsPerStep, dynamicSampling, completionsPerPrompt } = options;
  const key = Key.fromSeed(options.seed).child(step);
  const sampled: ScoredRollout[] = [];
  let groups: (readonly ScoredRollout[])[] = [];
  let firstGroup = 0;
  for (let round = 0; round < (dynamicSampling?.maxRounds ?? 1) && groups.length < promptsPerStep; round++) {
    const count = promptsPerStep - groups.length;
    const { rows, prompts } = await feed.take(state.cursor, { count, step, key: key.child(round) });
    state.cursor += count;
    const request = samplingRequest(run, step, key.child(round), signal);
    sampled.push(...(await sampleAndScore({ ...request, rows, prompts, completionsPerPrompt, firstGroup })));
    firstGroup += count;
    const all = groupsOf(sampled);
    groups = dynamicSampling ? all.filter((group) => teaches(group, dynamicSampling.accuracy)) : all;
  }
  // A policy that has solved every prompt has nothing to learn, which is no reason to stop.
  const kept = groups.length > 0 ? groups : groupsOf(sampled).slice(0, promptsPerStep);
  return { kept: kept.flat(), sampled };
}

/** Begins the rollouts of a step that is to come, from what the synchronous loop would draw them from: all but the policy. */
async function beginRollouts(run: PolicyRun, step: number, policyStep: number, signal: AbortSignal) {
  const { promptsPerStep: count, completionsPerPrompt, seed } = run.options;
  const key = Key.fromSeed(seed).child(step).child(0);
  const { rows, prompts } = await run.feed.take(step * count, { count, step, key });
  const asked = {
    ...samplingRequest(run, step, key, signal),
    policyStep,
    rows,
    prompts,
    completionsPerPrompt,
    firstGroup: 0,
  };
  return sampleAndScoreAhead(asked);
}

/** Counts a step without an update, and says why at the first one. */
function countSkipped({ state, options }: PolicyRun, step: number, why: string): void {
  state.skipped = (state.skipped ?? 0) + 1;
  state.why = why;
  if (state.skipped > 1) return;
  warn(options, `step ${step} made no update: ${why}. The metric "skipped" counts such steps.`);
}

/** A run that has come to its end and has not changed a weight. */
export const noUpdate = (where: string, steps: number, why: string | undefined): PosttrainError =>
  new PosttrainError('NO_UPDATE', `${where}: none of the ${steps} steps made an update, of the last one: ${why}`);

/** Says at the first one what failed; metrics count them. */
function warnOfFailures(
  { state, options }: Pick<PolicyRun, 'state' | 'options'>,
  step: number,
  completions: readonly ScoredRollout[],
): void {
  if (state.hasFailed) return;
  const [failed] = completions.flatMap(({ failure, rewardFailures = {} }) => failure ?? Object.values(rewardFailures));
  if (failed === undefined) return;
  state.hasFailed = true;
  const counted =
    'The metrics rollouts/failed and rewards/NAME/failed count such rollouts, and completions.jsonl has them.';
  warn(options, `step ${step}: ${failed}. ${counted}`);
}

const FLAT_STEPS_TO_WARN = 3;

/** Says so when no completion has a reward, or nearly all groups have equal ones for some steps in a row: nothing is learnt. */
function warnOfNoSignal(
  { state, options }: PolicyRun,
  step: number,
  completions: readonly ScoredRollout[],
  metrics: Metrics,
): void {
  warnOfFailures({ state, options }, step, completions);
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
