import {
  boolean,
  custom,
  type DecisiveSettings,
  type Given,
  integer,
  listOf,
  number,
  OptionError,
  oneOf,
  options,
  type Read,
  type SamplingParams,
  settingsOf,
  text,
} from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER } from '@posttrain/lm';
import {
  type RowSource as AnyRowSource,
  isRowSource,
  isRows,
  ROWS,
  type Rows,
  rowsHint,
  type TrainableAdapter,
  trainingShape,
  trlNames,
  type UncheckedRow,
  type UncheckedRows,
} from '@posttrain/training';
import type { RolloutNeed } from '../advantage/advantage.js';
import { type AnyPolicyObjective, isLossObjective } from '../objective/policy-objective.js';
import { policyObjectives } from '../objective/presets.js';
import type { PromptRow, Rewards } from '../rewards/reward.js';
import {
  isRewards,
  REWARDS,
  rewardSettings,
  type ScoreOptions,
  weightedRewardsOf,
} from '../rewards/score-completions.js';
import { policyVersion } from '../rollout/policy-version.js';
import type { RolloutSource } from '../rollout/rollout-source.js';
import type { RowSource } from '../rollout/row-source.js';
import {
  checkDynamicSampling,
  type DynamicSampling,
  dynamicSamplingSettings,
  isDynamicSampling,
} from './dynamic-sampling.js';
import { hintOfName } from './hint-of-name.js';
import { refuseDropout, refuseRowInputs } from './refuse-dropout.js';

const isScoreOptions = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  Object.entries(value).every(
    ([name, x]) =>
      (name === 'onError' && (x === undefined || x === 'throw' || x === 'null')) ||
      (['concurrency', 'timeoutMs'].includes(name) &&
        (x === undefined || (Number.isSafeInteger(x) && (x as number) > 0))),
  );

const hasParts = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (['advantage', 'ratio', 'surrogate', 'aggregation'].every((part) => part in value) ||
    ('loss' in value && typeof (value as { rows?: unknown }).rows === 'function'));

/** What decides a run of an objective: of one that has a loss of its own its settings, beside what it is put together with. */
function objectiveSettings(objective: AnyPolicyObjective): DecisiveSettings[string] | DecisiveSettings {
  if (!isLossObjective(objective) || !objective.settings) return settingsOf(objective);
  const { name, settings, annotators = [], update, beside } = objective;
  return settingsOf({ name, own: { settings }, annotators, ...(update && { update }), ...(beside && { beside }) });
}

/** Below this, logits divided by it leave float32. */
const SMALLEST_TEMPERATURE = 1e-4;

/** How completions are sampled. */
export const samplingShape = {
  /** Divides the logits, when completions are sampled and when they are trained. Default 1; a greedy policy explores nothing. */
  temperature: number({ default: 1, min: SMALLEST_TEMPERATURE }),
  /** Keep the k most likely tokens. Default: all. */
  topK: integer({ optional: true, min: 0 }),
  /** Keep the smallest set of tokens whose probability reaches p. Default 1. */
  topP: number({ optional: true, above: 0, max: 1 }),
  /** Keep tokens with at least this fraction of the most likely token's probability. Default 0. */
  minP: number({ optional: true, min: 0, max: 1 }),
  /** Divides positive and multiplies negative logits of tokens already seen. Default 1. */
  repetitionPenalty: number({ optional: true, above: 0 }),
  /** A completion ends before the first of these strings. */
  stop: listOf(text({}), { optional: true }),
};

/** How rewards are called. */
export const scoringOption = {
  /** Limits of the reward calls, and what becomes of those that fail. */
  scoring: custom<Omit<ScoreOptions, 'signal'>>()(
    '{ concurrency, timeoutMs }, both positive whole numbers, and onError: "throw" or "null"',
    isScoreOptions,
    { optional: true, decisive: false },
  ),
};

const shape = {
  ...trainingShape,
  /** The prompts; further columns reach the reward functions. */
  rows: custom<Rows<PromptRow> | RowSource | UncheckedRows | AnyRowSource<UncheckedRow>>()(
    `${ROWS}, or a source of rows`,
    (value) => isRows(value) || isRowSource(value),
    { decisive: false, hint: rowsHint },
  ),
  /**
   * Held-out prompts: evaluations sample completions of each and give `eval_reward` and the other metrics of rollouts, always
   * from the same random numbers. Default: none.
   */
  evaluationRows: custom<Rows<PromptRow> | UncheckedRows>()(ROWS, isRows, {
    optional: true,
    decisive: false,
    hint: rowsHint,
  }),
  /** By the name they are logged under. */
  rewards: custom<Rewards<PromptRow>>()(REWARDS, isRewards, {
    settings: rewardSettings,
  }),
  /** `policyObjectives.grpo()`, parts of your own, or rows and a loss of your own (`LossObjective`). */
  objective: custom<AnyPolicyObjective>()('a policy objective, such as policyObjectives.grpo()', hasParts, {
    settings: objectiveSettings,
    hint: (value) =>
      typeof value === 'function' ? 'Call it.' : hintOfName(value, 'policyObjectives', policyObjectives),
  }),
  /** Where rollouts come from: `singleTurn()`, `multiTurn(environment)`, or a source of your own. Default `singleTurn()`. */
  rollouts: custom<RolloutSource>()(
    'a source of rollouts, such as singleTurn() or multiTurn(environment)',
    (value) => typeof (value as Partial<RolloutSource> | null | undefined)?.sample === 'function',
    { optional: true, hint: (value) => (typeof value === 'function' ? 'Call it.' : undefined) },
  ),
  /** Batches of completions to sample and learn from. */
  steps: integer({ min: 1 }),
  /** Prompts in a step. Default 8. */
  promptsPerStep: integer({ default: 8, min: 1 }),
  /** Completions of each prompt: the group. Default 8. */
  completionsPerPrompt: integer({ default: 8, min: 1 }),
  /**
   * Asynchronous rollouts: those of a step are sampled while this many steps before it learn, from the policy before the first of them, by a
   * source that samples elsewhere (`fleetRollouts`). Default 0: sampling and learning take turns.
   */
  maxStaleness: integer({ default: 0, min: 0 }),
  /** Updates on one batch of completions (TRL: `num_iterations`). Default 1. */
  iterationsPerBatch: integer({ default: 1, min: 1 }),
  /**
   * Where log π_old comes from: from the sampler (free; the same weights and maths, so equal up to rounding), or
   * computed again before the first update (one more forward pass; also logs the largest difference). Default `sampler`.
   */
  oldLogProbs: oneOf(['sampler', 'recomputed'], { default: 'sampler' }),
  /**
   * The run fails where the sampler's log-probability of a token differs from the trainer's by more than this: another precision, kernel,
   * chat template or set of weights than was meant. Needs `oldLogProbs: 'recomputed'`. Default: it is only logged.
   */
  maxLogProbDifference: number({ optional: true, min: 0, decisive: false }),
  /** Peak learning rate. Default 1e-6, which is for full fine-tuning; adapters want about 1e-4 and more. */
  learningRate: number({ default: 1e-6, min: 0 }),
  /** Most tokens of a completion. Default 512. */
  maxCompletionLength: integer({ default: 512, min: 1 }),
  /** Completions that reach the limit are not trained on, though they count in their group's mean. Default false. */
  maskTruncatedCompletions: boolean({ default: false }),
  /**
   * Dynamic sampling (DAPO, arXiv 2503.14476): groups whose rewards are all equal are put aside and further prompts
   * sampled in their place, in at most this many rounds. With `accuracy` those are put aside whose mean of the reward that it names is not from
   * 0.2 to 0.8 (or `from` and `to`), as PRIME's online prompt filter has it (arXiv 2502.01456). Default: off.
   */
  dynamicSampling: custom<DynamicSampling>()(
    '{ maxRounds }, a whole number of at least 1, and accuracy: { reward, from, to } or nothing',
    isDynamicSampling,
    { optional: true, settings: dynamicSamplingSettings },
  ),
  /**
   * The policy that a regulariser compares with. Default: the model with its adapter off, or the adapter as it was made where
   * training starts from that (PiSSA and others that change the base).
   */
  reference: custom<Adapter>()(
    'an adapter',
    (value) => typeof value === 'object' && value !== null && 'hooks' in value,
    { optional: true, decisive: false },
  ),
  ...scoringOption,
  ...samplingShape,
  /** Memory only: completions decoded together. Default 64. */
  maxBatch: integer({ default: 64, min: 1, decisive: false }),
};

/** TRL's names for options of GRPOTrainer and PPOTrainer; those of the objective are options of it here. */
export const POLICY_TRL_NAMES = {
  num_generations: 'completionsPerPrompt',
  num_iterations: 'iterationsPerBatch',
  max_staleness: 'maxStaleness',
  max_completion_length: 'maxCompletionLength',
  max_new_tokens: 'maxCompletionLength',
  maxTokens: 'maxCompletionLength',
  temperature: 'temperature',
  top_k: 'topK',
  top_p: 'topP',
  min_p: 'minP',
  repetition_penalty: 'repetitionPenalty',
  mask_truncated_completions: 'maskTruncatedCompletions',
  reward_funcs: 'rewards',
  reward_weights: 'rewards',
  beta: 'objective',
  epsilon: 'objective',
  epsilon_high: 'objective',
  delta: 'objective',
  loss_type: 'objective',
  scale_rewards: 'objective',
  importance_sampling_level: 'objective',
  // PPOTrainer, as far as TRL 1.9.
  num_ppo_epochs: 'iterationsPerBatch',
  response_length: 'maxCompletionLength',
  missing_eos_penalty: 'rewards',
  kl_coef: 'objective',
  cliprange: 'objective',
  lam: 'objective',
  whiten_rewards: 'objective',
  vf_coef: 'objective',
  cliprange_value: 'objective',
} as const;

/** Options of GRPOTrainer that have none of the same meaning here. */
export const POLICY_TRL_REMARKS = {
  per_device_train_batch_size: 'A step has promptsPerStep × completionsPerPrompt completions.',
  steps_per_generation: 'A batch of completions is one step; iterationsPerBatch says how often it is learnt from.',
  generation_batch_size: 'A step has promptsPerStep × completionsPerPrompt completions.',
  num_generations_eval: 'Evaluations sample completionsPerPrompt completions of each prompt.',
  log_completions: 'Completions are in completions.jsonl of the outputFolder.',
  beta: 'β belongs to the objective: objective: policyObjectives.grpo({ beta: 0.04 }).',
  epsilon: 'ε belongs to the objective: objective: policyObjectives.grpo({ epsilon: 0.2 }).',
  epsilon_high: 'It belongs to the objective: objective: policyObjectives.dapo({ epsilonHigh: 0.28 }).',
  loss_type: 'The objective is a value: objective: policyObjectives.dr_grpo().',
  scale_rewards: "It belongs to the objective: objective: policyObjectives.grpo({ scaleRewards: 'none' }).",
  reward_weights: 'A reward has its weight beside it: rewards: { correct: { verifier: numericMatch(), weight: 1 } }.',
  use_vllm:
    'Completions are sampled from the model that is trained, or by servers elsewhere: fleetRollouts, externalSampler.',
  missing_eos_penalty: 'It is a reward beside others: rewards: { ..., ended: missingEosPenalty({ penalty: 1 }) }.',
  kl_coef: 'β belongs to the objective: objective: policyObjectives.ppo({ critic, beta: 0.05 }).',
  cliprange: 'ε belongs to the objective: objective: policyObjectives.ppo({ critic, epsilon: 0.2 }).',
  lam: 'λ belongs to the objective: objective: policyObjectives.ppo({ critic, lambda: 0.95 }).',
  whiten_rewards: 'It belongs to the objective: objective: policyObjectives.ppo({ critic, whitenRewards: true }).',
  vf_coef: 'It belongs to the critic: await valueModelCritic(model, { vfCoef: 0.1 }).',
  cliprange_value: 'It belongs to the critic: await valueModelCritic(model, { cliprangeValue: 0.2 }).',
} as const;

/** The declared options of `trainPolicy`. */
export const policyOptions = options('trainPolicy', shape, trlNames(shape, POLICY_TRL_NAMES, POLICY_TRL_REMARKS));

/** Options of `trainPolicy`. */
export interface PolicyTrainingOptions<Row extends PromptRow, A extends TrainableAdapter = TrainableAdapter>
  extends Omit<Given<typeof policyOptions>, 'adapter' | 'rows' | 'evaluationRows' | 'rewards' | 'rollouts'> {
  /** What is trained, beside the frozen model. Left out: every weight of the model. */
  readonly adapter?: A;
  /** The prompts; further columns reach the reward functions. A source is asked for those of every step. */
  readonly rows: Rows<Row> | RowSource<Row> | UncheckedRows | AnyRowSource<UncheckedRow>;
  /** Where rollouts come from. Default `singleTurn()`: one completion of the prompt. */
  readonly rollouts?: RolloutSource<NoInfer<Row>>;
  /** Held-out prompts, which evaluations sample completions of. Default: none. */
  readonly evaluationRows?: Rows<Row> | UncheckedRows;
  /** By the name they are logged under. */
  readonly rewards: Rewards<NoInfer<Row>>;
}

/** Options with every default in place. */
export type PolicySettings = Read<typeof policyOptions>;

/** The policy that a regulariser compares with. */
export const referenceOf = ({ reference, adapter }: Pick<PolicySettings, 'reference' | 'adapter'>): Adapter =>
  reference ?? adapter?.reference ?? NO_ADAPTER;

/** How completions are sampled. */
export function samplingOf(
  settings: Pick<PolicySettings, keyof typeof samplingShape | 'maxCompletionLength'>,
): SamplingParams {
  const names = Object.keys(samplingShape) as (keyof typeof samplingShape)[];
  const given = names.filter((name) => settings[name] !== undefined).map((name) => [name, settings[name]]);
  return { maxTokens: settings.maxCompletionLength, ...Object.fromEntries(given) };
}

/** Refuses what rollouts that run ahead cannot have. @throws OptionError */
function checkStaleness({ maxStaleness, rollouts, rows, dynamicSampling }: PolicySettings): void {
  if (maxStaleness === 0) return;
  const wrong = (option: string, problem: string) => new OptionError('INVALID_OPTION', 'trainPolicy', option, problem);
  if (!rollouts?.sampleAhead) {
    const problem = `the source of rollouts ${rollouts?.name ?? 'single-turn'} samples from the weights that are being trained; take one that samples elsewhere (fleetRollouts), or leave maxStaleness out.`;
    throw wrong('maxStaleness', problem);
  }
  if (dynamicSampling)
    throw wrong('dynamicSampling', 'further rounds are of a later policy with maxStaleness; leave one out.');
  const stateful = [rollouts, rows as Partial<RowSource>].find(({ state, feedback }) => state ?? feedback);
  if (!stateful) return;
  throw wrong('maxStaleness', `"${stateful.name}" learns from what came of the step before, which has not come yet.`);
}

/** Refuses options that make no sense together. @throws OptionError; PosttrainError DROPOUT, ADAPTER_INPUTS */
export function checkPolicyOptions(settings: PolicySettings): void {
  const { model, objective, completionsPerPrompt, adapter, rewards, rollouts } = settings;
  const { oldLogProbs, maxLogProbDifference } = settings;
  if (maxLogProbDifference !== undefined && oldLogProbs === 'sampler') {
    const problem = 'nothing is compared with the sampler unless oldLogProbs is "recomputed".';
    throw new OptionError('INVALID_OPTION', 'trainPolicy', 'maxLogProbDifference', problem);
  }
  refuseDropout('trainPolicy', adapter);
  refuseRowInputs('trainPolicy', adapter);
  weightedRewardsOf(rewards);
  objective.beside?.rows(model, 0);
  const isOwn = isLossObjective(objective);
  const reader = isOwn ? objective : objective.advantage;
  const what = `the ${isOwn ? 'objective' : 'advantage'} ${reader.name}`;
  if (reader.needsGroup && completionsPerPrompt === 1) {
    throw new OptionError(
      'INVALID_OPTION',
      'trainPolicy',
      'completionsPerPrompt',
      `completionsPerPrompt is 1, but ${what} compares completions of one prompt: it would always ` +
        'be 0. Sample at least 2, or use another advantage (noBaseline(), batchMean()).',
    );
  }
  const { isOffPolicy = false, givesOldLogProbs = false } = rollouts ?? {};
  const given = new Set<RolloutNeed>(['rewardsByFunction', ...(rollouts?.gives ?? [])]);
  if (!isOffPolicy || givesOldLogProbs) given.add(policyVersion.need);
  for (const { gives } of objective.annotators ?? []) for (const need of gives) given.add(need);
  for (const need of reader.needs ?? []) {
    if (given.has(need)) continue;
    const problem = `${what} needs ${need}, which nothing gives: neither an annotator of the objective nor the source of rollouts ${rollouts?.name ?? 'single-turn'}.`;
    throw new OptionError('INVALID_OPTION', 'trainPolicy', 'objective', problem);
  }
  refuseMask(settings);
  refuseOwnWeights(settings);
  if (isOffPolicy && !givesOldLogProbs && oldLogProbs === 'sampler') {
    const problem = `the source of rollouts ${rollouts!.name} does not sample from the policy itself: its log-probabilities are not log π_old. Say "recomputed".`;
    throw new OptionError('INVALID_OPTION', 'trainPolicy', 'oldLogProbs', problem);
  }
  checkStaleness(settings);
  checkDynamicSampling(settings);
  // A loss of its own says by itself what it makes of log-probabilities.
  if (isOwn) return;
  if (givesOldLogProbs && !objective.ratio.correct) {
    const problem = `the source of rollouts ${rollouts!.name} samples from something else than the policy, and the ratio ${objective.ratio.name} does not correct for it; use truncatedImportance(${objective.ratio.name === 'none' ? 'noRatio()' : 'ratio'}).`;
    throw new OptionError('INVALID_OPTION', 'trainPolicy', 'objective', problem);
  }
  if (objective.ratio.correct && oldLogProbs === 'sampler' && !givesOldLogProbs) {
    const problem = `the ratio ${objective.ratio.name} compares the sampler with log π_old; they are the same unless oldLogProbs is "recomputed".`;
    throw new OptionError('INVALID_OPTION', 'trainPolicy', 'oldLogProbs', problem);
  }
}

/** Refuses a sampler's mask without an objective that replays it, and the other way about. @throws OptionError */
function refuseMask({ objective, rollouts }: PolicySettings): void {
  const gives = rollouts?.gives ?? [];
  const mask = isLossObjective(objective) ? undefined : objective.samplingMask;
  const isGiven = gives.find((need) => need.startsWith('extras.rl.kept_tokens.'));
  if (mask?.need === isGiven) return;
  const problem = mask
    ? `its samplingMask needs ${mask.need}, and the source of rollouts ${rollouts?.name ?? 'single-turn'} gives ${isGiven ?? 'none'}; use singleTurn({ keptTokens }) with the same keptTokens.`
    : `the source of rollouts ${rollouts!.name} gives log-probabilities over what it could draw; use an objective with samplingMask: samplingMaskReplay({ keptTokens }).`;
  throw new OptionError('INVALID_OPTION', 'trainPolicy', 'objective', problem);
}

/** Refuses weights of rewards that the advantage would not see. @throws OptionError */
function refuseOwnWeights({ objective, rewards }: PolicySettings): void {
  if (isLossObjective(objective) || !objective.advantage.weighsRewards) return;
  const weighted = weightedRewardsOf(rewards).find(({ weight }) => weight !== 1);
  if (!weighted) return;
  const { name, weight } = weighted;
  const problem = `the reward "${name}" has the weight ${weight}, and the advantage ${objective.advantage.name} weighs rewards itself, after it has normalised each; give it rewardWeights: { ${name}: ${weight}, … }, and rewards no weight.`;
  throw new OptionError('INVALID_OPTION', 'trainPolicy', 'rewards', problem);
}
