import type { Optimizer, ScheduleName } from '@posttrain/core-tensor';
import { PosttrainError, type SamplingParams } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, NO_ADAPTER } from '@posttrain/lm';
import { RUN_OPTIONS, type RunOptions, runIdentity, type TrainableAdapter } from '@posttrain/training';
import type { PolicyObjectiveParts } from '../objective/policy-objective.js';
import { positiveInteger } from '../positive-integer.js';
import type { PromptRow, Rewards } from '../rewards/reward.js';
import type { ScoreOptions } from '../rewards/score-completions.js';
import { refuseDropout } from './refuse-dropout.js';

type Sampling = Pick<SamplingParams, 'temperature' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty' | 'stop'>;

export interface PolicyTrainingOptions<
  Row extends PromptRow,
  State extends object,
  A extends TrainableAdapter = TrainableAdapter,
> extends RunOptions,
    Sampling {
  readonly model: CausalLM;
  /** What is trained, beside the frozen model. Left out: every weight of the model. */
  readonly adapter?: A;
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

export const SAMPLING_OPTIONS = ['temperature', 'topK', 'topP', 'minP', 'repetitionPenalty', 'stop'] as const;
export const POLICY_OPTIONS: readonly (keyof PolicyTrainingOptions<PromptRow, object>)[] = [
  ...RUN_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...(['model', 'adapter', 'rows', 'rewards', 'objective', 'steps', 'promptsPerStep', 'completionsPerPrompt'] as const),
  ...(['iterationsPerBatch', 'oldLogProbs', 'learningRate', 'schedule', 'warmupSteps', 'optimizer'] as const),
  ...(['maxGradNorm', 'maxCompletionLength', 'maskTruncatedCompletions', 'dynamicSampling', 'reference'] as const),
  ...(['scoring', 'seed', 'maxTokensPerPass', 'maxBatch'] as const),
];

/** Options with every default in place. */
export type PolicySettings<Row extends PromptRow> = ReturnType<typeof withDefaults<Row, object>>;

export function withDefaults<Row extends PromptRow, State extends object>(options: PolicyTrainingOptions<Row, State>) {
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

/** @throws PosttrainError for options that make no sense */
export function checkPolicyOptions<Row extends PromptRow>(options: PolicySettings<Row>): void {
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
  refuseDropout('trainPolicy', options.adapter);
  if (options.rows.length === 0) fail('there are no rows to train on');
  if (Object.keys(options.rewards).length === 0) fail('there are no reward functions');
  if (!(options.temperature > 0))
    fail(`temperature must be positive, not ${options.temperature}: a greedy policy explores nothing`);
  if (!['sampler', 'recomputed'].includes(options.oldLogProbs))
    fail(`oldLogProbs must be "sampler" or "recomputed", not "${options.oldLogProbs}"`);
}

/** What a resumed run must share with the one it continues. */
export function identityOf<Row extends PromptRow>(
  options: PolicySettings<Row>,
): Record<string, string | number | boolean> {
  const { objective, rows, rewards, optimizer, dynamicSampling } = options;
  const compared = [
    'steps',
    'promptsPerStep',
    'completionsPerPrompt',
    'iterationsPerBatch',
    'oldLogProbs',
    'learningRate',
    'schedule',
    'warmupSteps',
    'maxCompletionLength',
    'maskTruncatedCompletions',
    'seed',
  ] as const;
  const prompts = rows.map(({ prompt }) => prompt);
  return {
    ...runIdentity(prompts, options.adapter),
    ...Object.fromEntries(compared.map((name) => [name, options[name]])),
    ...Object.fromEntries(SAMPLING_OPTIONS.map((name) => [name, String(options[name])])),
    objective: objective.name,
    rewards: Object.keys(rewards).join(),
    optimizer: optimizer?.name ?? 'adamw',
    dynamicSampling: dynamicSampling?.maxRounds ?? 0,
  };
}
