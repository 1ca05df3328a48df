import { join } from 'node:path';
import {
  type AdamWState,
  adamW,
  Key,
  type Named,
  type Optimizer,
  type ScheduleName,
  scheduleByName,
} from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError, type SamplingParams } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, NO_ADAPTER, sequenceLogProbs } from '@posttrain/lm';
import { Trainer } from '@posttrain/peft';
import {
  type PolicyObjective,
  type PolicyObjectiveParts,
  policyObjective,
  type Rollout,
} from '../objective/policy-objective.js';
import { positiveInteger } from '../positive-integer.js';
import type { PromptRow, Rewards } from '../rewards/reward.js';
import type { ScoreOptions } from '../rewards/score-completions.js';
import { meanMetrics, rolloutMetrics } from './policy-metrics.js';
import { hasSpread, type RewardedGroup, rollOut } from './rollouts.js';
import { RowOrder } from './row-order.js';
import { type Metrics, RUN_OPTIONS, type RunOptions, runSteps, type StepMetrics, warn } from './run-steps.js';
import { StepLog, type StepRecord } from './step-log.js';

type Sampling = Pick<SamplingParams, 'temperature' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty' | 'stop'>;

export interface PolicyTrainingOptions<Row extends PromptRow, State extends object> extends RunOptions, Sampling {
  readonly model: CausalLM;
  /** What is trained, beside the frozen model. Left out: every weight of the model. */
  readonly adapter?: Adapter<Named>;
  /** The prompts; further columns reach the reward functions. */
  readonly rows: readonly Row[];
  /** By the name they are logged under. */
  readonly rewards: Rewards<NoInfer<Row>>;
  /** `policyObjectives.grpo()`, or parts of your own. */
  readonly objective: PolicyObjectiveParts;
  /** Batches of completions to sample and learn from. */
  readonly steps: number;
  /** Prompts in a step. Default 8. */
  readonly promptsPerStep?: number;
  /** Completions of each prompt: the group. Default 8. */
  readonly completionsPerPrompt?: number;
  /** Updates on one batch of completions (TRL: `num_iterations`). Default 1. */
  readonly iterationsPerBatch?: number;
  /**
   * Where log π_old comes from: from the sampler (free; the same weights and maths, so equal up to rounding), or
   * computed again before the first update (one more forward pass; also logs the largest difference). Default `sampler`.
   */
  readonly oldLogProbs?: 'sampler' | 'recomputed';
  /** Peak learning rate. Default 1e-6, which is for full fine-tuning; adapters want about 1e-4 and more. */
  readonly learningRate?: number;
  /** Default `linear`. */
  readonly schedule?: ScheduleName;
  /** Updates over which the rate rises. Default 0. */
  readonly warmupSteps?: number;
  /** Default: AdamW without weight decay. */
  readonly optimizer?: Optimizer<State>;
  /** Gradients are scaled down to this norm; 0: never. Default 1. */
  readonly maxGradNorm?: number;
  /** Most tokens of a completion. Default 512. */
  readonly maxCompletionLength?: number;
  /** Completions that reach the limit are not trained on, though they count in their group's mean. Default false. */
  readonly maskTruncatedCompletions?: boolean;
  /**
   * Dynamic sampling (DAPO, arXiv 2503.14476): groups whose rewards are all equal are put aside and further prompts
   * sampled in their place, in at most this many rounds. Default: off.
   */
  readonly dynamicSampling?: { readonly maxRounds: number };
  /** The policy that a regulariser compares with. Default: the model with its adapter off. */
  readonly reference?: Adapter;
  /** Limits of the reward calls. */
  readonly scoring?: ScoreOptions;
  /** Default 42. */
  readonly seed?: number;
  /** Memory only: most tokens in one pass of training (default 4096), and completions decoded together (default 64). */
  readonly maxTokensPerPass?: number;
  readonly maxBatch?: number;
}

const SAMPLING_OPTIONS = ['temperature', 'topK', 'topP', 'minP', 'repetitionPenalty', 'stop'] as const;
const OPTIONS: readonly (keyof PolicyTrainingOptions<PromptRow, object>)[] = [
  ...RUN_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...(['model', 'adapter', 'rows', 'rewards', 'objective', 'steps', 'promptsPerStep', 'completionsPerPrompt'] as const),
  ...(['iterationsPerBatch', 'oldLogProbs', 'learningRate', 'schedule', 'warmupSteps', 'optimizer'] as const),
  ...(['maxGradNorm', 'maxCompletionLength', 'maskTruncatedCompletions', 'dynamicSampling', 'reference'] as const),
  ...(['scoring', 'seed', 'maxTokensPerPass', 'maxBatch'] as const),
];

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

export interface PolicyTrainingResult {
  /** `trainer.adapter` (or `trainer.model`, when no adapter was trained) is the trained policy. */
  readonly trainer: Trainer;
  /** Of all steps, those before a resumption included when there is an output folder. */
  readonly history: readonly StepMetrics[];
}

/** What stays the same over the steps, and what the steps carry along. */
interface PolicyRun<Row extends PromptRow> {
  readonly trainer: Trainer;
  readonly objective: PolicyObjective;
  readonly order: RowOrder;
  readonly options: Defaulted<Row>;
  readonly learningRateAt: (update: number) => number;
  readonly state: { cursor: number; numTokens: number; flatSteps: number };
  logCompletions?: (records: readonly CompletionRecord[]) => Promise<void>;
}

type Defaulted<Row extends PromptRow> = ReturnType<typeof withDefaults<Row, object>>;

function withDefaults<Row extends PromptRow, State extends object>(options: PolicyTrainingOptions<Row, State>) {
  return {
    ...options,
    promptsPerStep: options.promptsPerStep ?? 8,
    completionsPerPrompt: options.completionsPerPrompt ?? 8,
    iterationsPerBatch: options.iterationsPerBatch ?? 1,
    oldLogProbs: options.oldLogProbs ?? 'sampler',
    learningRate: options.learningRate ?? 1e-6,
    schedule: options.schedule ?? 'linear',
    warmupSteps: options.warmupSteps ?? 0,
    maxCompletionLength: options.maxCompletionLength ?? 512,
    maskTruncatedCompletions: options.maskTruncatedCompletions ?? false,
    temperature: options.temperature ?? 1,
    reference: options.reference ?? NO_ADAPTER,
    seed: options.seed ?? 42,
    maxTokensPerPass: options.maxTokensPerPass ?? 4096,
    maxBatch: options.maxBatch ?? 64,
  };
}

/**
 * Reinforcement learning of a language model: rollout → reward → advantage → objective → update, `steps` times. Which
 * algorithm it is, the objective says. Everything a run draws is a function of `seed` and the step.
 *
 * @throws PosttrainError for options that make no sense; RewardError; NonFiniteError before a bad update
 */
export async function trainPolicy<Row extends PromptRow, State extends object = AdamWState>(
  given: PolicyTrainingOptions<Row, State>,
): Promise<PolicyTrainingResult> {
  assertKnownOptions('trainPolicy', given, OPTIONS);
  const options = withDefaults<Row, object>(given as unknown as PolicyTrainingOptions<Row, object>);
  check(options);
  const { model, adapter, steps, iterationsPerBatch, maxTokensPerPass, seed, outputFolder } = options;
  const trainer = await Trainer.create(model, {
    optimizer: options.optimizer ?? (adamW() as unknown as Optimizer<object>),
    maxTokensPerPass,
    ...(adapter ? { adapter } : {}),
    ...(options.maxGradNorm === undefined ? {} : { maxGradNorm: options.maxGradNorm }),
  });
  const totalSteps = steps * iterationsPerBatch;
  const schedule = scheduleByName(options.schedule, { totalSteps, warmupSteps: options.warmupSteps });
  const run: PolicyRun<Row> = {
    trainer,
    objective: policyObjective(options.objective, { temperature: options.temperature }),
    order: new RowOrder(options.rows.length, seed),
    options,
    learningRateAt: (update) => options.learningRate * schedule(update),
    state: { cursor: 0, numTokens: 0, flatSteps: 0 },
  };
  const history = await runSteps(
    {
      ...{ stage: options.objective.name, trainer, steps, state: run.state, settings: settingsOf(options) },
      async begin(firstStep) {
        if (outputFolder === undefined) return;
        const { log } = await StepLog.open<CompletionRecord>(join(outputFolder, 'completions.jsonl'), firstStep);
        run.logCompletions = (records) => log.append(records);
      },
      step: (step) => policyStep(run, step),
    },
    options,
  );
  return { trainer, history };
}

/** One step of policy optimisation: the recipe, with everything else elsewhere. */
async function policyStep<Row extends PromptRow>(run: PolicyRun<Row>, step: number): Promise<Metrics> {
  const { trainer, objective, options, state } = run;

  // Rollout and reward, with the policy as it is now.
  const { groups, sampled } = await collectGroups(run, step);
  state.numTokens += sampled.reduce((sum, { promptTokens, completions }) => {
    return sum + completions.reduce((tokens, completion) => tokens + promptTokens.length + completion.tokens.length, 0);
  }, 0);

  // Advantage: what every token is worth, as training rows.
  const { rollouts, metrics: samplerMetrics } = await withLogProbs(run, groups);
  const { rows, advantages } = objective.annotate(rollouts, options);

  // Objective and update.
  const updates: Metrics[] = [];
  for (let i = 0; i < options.iterationsPerBatch && rows.length > 0; i++) {
    const learningRate = run.learningRateAt(step * options.iterationsPerBatch + i);
    const { loss, metrics } = await trainer.forwardBackward(rows, objective.loss);
    const { gradNorm } = await trainer.optimStep({ learningRate });
    const { old_logp_difference: difference, ...others } = metrics;
    const onPolicy = i === 0 ? { 'sampling/sampling_logp_difference/mean': difference! } : {};
    updates.push({ loss, grad_norm: gradNorm, learning_rate: learningRate, ...onPolicy, ...others });
  }

  await run.logCompletions?.(
    groups.flatMap((group, g) =>
      group.completions.map((completion, i) => ({
        ...{ step, prompt: group.row.prompt, completion: completion.text, finish_reason: completion.finishReason },
        ...{ tokens: completion.tokens.length, rewards: completion.rewards, reward: completion.reward },
        advantage: advantages[g]![i]!,
      })),
    ),
  );
  const metrics = {
    ...meanMetrics(updates),
    ...rolloutMetrics(sampled),
    ...samplerMetrics,
    num_tokens: state.numTokens,
  };
  warnOfNoSignal(run, metrics);
  return metrics;
}

/** The step's groups, and all that were sampled for it: with dynamic sampling some are put aside. */
async function collectGroups<Row extends PromptRow>(run: PolicyRun<Row>, step: number) {
  const { trainer, order, options, state } = run;
  const { rows, promptsPerStep, dynamicSampling } = options;
  const key = Key.fromSeed(options.seed).child(step);
  const sampling: Record<string, unknown> = { maxTokens: options.maxCompletionLength };
  for (const name of SAMPLING_OPTIONS) if (options[name] !== undefined) sampling[name] = options[name];
  const sampled: RewardedGroup<Row>[] = [];
  let kept: RewardedGroup<Row>[] = [];
  for (let round = 0; round < (dynamicSampling?.maxRounds ?? 1) && kept.length < promptsPerStep; round++) {
    const wanted = promptsPerStep - kept.length;
    const chosen = Array.from({ length: wanted }, () => rows[order.at(state.cursor++)]!);
    const { completionsPerPrompt, rewards, maxBatch, scoring = {} } = options;
    const groups = await rollOut({
      ...{ model: trainer.model, adapter: trainer.adapter, rows: chosen, rewards, completionsPerPrompt },
      ...{ sampling, scoring, maxBatch, key: key.child(round), step },
    });
    sampled.push(...groups);
    kept = dynamicSampling ? sampled.filter(hasSpread) : sampled;
  }
  // A policy that has solved every prompt has nothing to learn, which is no reason to stop.
  return { groups: kept.length > 0 ? kept : sampled.slice(0, promptsPerStep), sampled };
}

/** Adds log π_old and, where a regulariser needs it, log π_ref to what was sampled. */
async function withLogProbs<Row extends PromptRow>(
  { trainer, objective, options }: PolicyRun<Row>,
  groups: readonly RewardedGroup<Row>[],
): Promise<{ rollouts: Rollout[][]; metrics: Metrics }> {
  const { model, temperature, maxTokensPerPass } = options;
  const starts = groups.flatMap(({ promptTokens, completions }) => completions.map(() => promptTokens.length));
  const completions = groups.flatMap((group) => group.completions);
  const sequences = groups.flatMap(({ promptTokens, completions: of }) =>
    of.map(({ tokens }) => [...promptTokens, ...tokens]),
  );
  const under = async (policy: CausalLM, adapter: Adapter) => {
    const scored = await sequenceLogProbs(policy.network, policy.weights, sequences, {
      ...{ adapter, temperature, maxTokensPerPass },
    });
    return scored.map(({ logProbs }, i) => logProbs.subarray(starts[i]! - 1));
  };
  const recomputed = options.oldLogProbs === 'recomputed' ? await under(trainer.model, trainer.adapter) : undefined;
  const reference = objective.needsReference ? await under(model, options.reference) : undefined;
  let next = 0;
  const rollouts = groups.map(({ promptTokens, completions: of }) =>
    of.map(({ tokens, logProbs, finishReason, reward }): Rollout => {
      const i = next++;
      const masked = options.maskTruncatedCompletions && finishReason === 'length';
      return {
        ...{ promptTokens, completionTokens: tokens, reward, oldLogProbs: recomputed?.[i] ?? logProbs },
        ...(masked ? { mask: tokens.map(() => 0) } : {}),
        ...(reference ? { referenceLogProbs: reference[i]! } : {}),
      };
    }),
  );
  if (!recomputed) return { rollouts, metrics: {} };
  const differences = completions.flatMap(({ logProbs }, i) =>
    logProbs.map((p, t) => Math.abs(p - recomputed[i]![t]!)),
  );
  return {
    rollouts,
    metrics: {
      'sampling/sampling_logp_difference/mean': differences.reduce((a, b) => a + b, 0) / differences.length,
      'sampling/sampling_logp_difference/max': differences.reduce((a, b) => Math.max(a, b), 0),
    },
  };
}

const FLAT_STEPS_TO_WARN = 3;

/** Says so when nearly all groups have equal rewards for some steps in a row: the gradient of such groups is zero. */
function warnOfNoSignal<Row extends PromptRow>({ state, options }: PolicyRun<Row>, metrics: Metrics): void {
  const fraction = metrics.frac_reward_zero_std!;
  state.flatSteps = fraction > 0.9 ? state.flatSteps + 1 : 0;
  if (state.flatSteps !== FLAT_STEPS_TO_WARN) return;
  warn(
    options,
    `frac_reward_zero_std is ${fraction.toFixed(2)}: nearly all completions of a prompt get the same reward (mean ${metrics.reward}), so there is almost nothing to learn from. Choose prompts that are sometimes solved, a finer reward, or a higher temperature.`,
  );
}

function check<Row extends PromptRow>(options: Defaulted<Row>): void {
  const fail = (message: string): never => {
    throw new PosttrainError('POLICY_OPTIONS', `trainPolicy: ${message}`);
  };
  for (const name of [
    'steps',
    'promptsPerStep',
    'completionsPerPrompt',
    'iterationsPerBatch',
    'maxCompletionLength',
  ] as const)
    positiveInteger(`trainPolicy: ${name}`, options[name]);
  if (options.dynamicSampling)
    positiveInteger('trainPolicy: dynamicSampling.maxRounds', options.dynamicSampling.maxRounds);
  if (options.rows.length === 0) fail('there are no rows to train on');
  if (Object.keys(options.rewards).length === 0) fail('there are no reward functions');
  if (!(options.temperature > 0))
    fail(`temperature must be positive, not ${options.temperature}: a greedy policy explores nothing`);
  if (!['sampler', 'recomputed'].includes(options.oldLogProbs))
    fail(`oldLogProbs must be "sampler" or "recomputed", not "${options.oldLogProbs}"`);
}

/** What a resumed run must share with the one it continues. */
function settingsOf<Row extends PromptRow>(options: Defaulted<Row>): Record<string, string | number | boolean> {
  const { objective, rows, optimizer, dynamicSampling } = options;
  const names = [
    ...([
      'steps',
      'promptsPerStep',
      'completionsPerPrompt',
      'iterationsPerBatch',
      'oldLogProbs',
      'learningRate',
    ] as const),
    ...(['schedule', 'warmupSteps', 'maxCompletionLength', 'maskTruncatedCompletions', 'seed'] as const),
  ];
  return {
    ...Object.fromEntries(names.map((name) => [name, options[name]])),
    ...Object.fromEntries(SAMPLING_OPTIONS.map((name) => [name, String(options[name])])),
    ...{ objective: objective.name, rows: rows.length, optimizer: optimizer?.name ?? 'adamw' },
    dynamicSampling: dynamicSampling?.maxRounds ?? 0,
  };
}
