import { Key } from '@posttrain/core-tensor';
import { custom, type Given, integer, options } from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER, sequenceLogProbs } from '@posttrain/lm';
import { trainingShape } from '@posttrain/training';
import type { PromptRow, Rewards } from '../rewards/reward.js';
import { isRewards, REWARDS } from '../rewards/score-completions.js';
import type { RolloutSource } from '../rollout/rollout-source.js';
import { singleTurn } from '../rollout/single-turn.js';
import type { Rollout, ScoredRollout } from '../rollout.js';
import { samplingOf, samplingShape, scoringOption } from './policy-options.js';
import { checkPrompts } from './prompts.js';
import { sampleAndScore } from './rollouts.js';

const shape = {
  /** What samples: `trainer.model`, with the weights as they are now. */
  model: trainingShape.model,
  /** `trainer.adapter`. Default: none. */
  adapter: custom<Adapter>()('an adapter', (value) => typeof value === 'object' && value !== null && 'hooks' in value, {
    optional: true,
  }),
  /** The prompts; further columns reach the reward functions. */
  rows: custom<readonly PromptRow[]>()('a list of rows with a prompt', Array.isArray, { decisive: false }),
  /** By name. */
  rewards: custom<Rewards<PromptRow>>()(REWARDS, isRewards, { decisive: false }),
  /** Where rollouts come from. Default `singleTurn()`. */
  source: custom<RolloutSource>()(
    'a source of rollouts, such as singleTurn() or multiTurn(environment)',
    (value) => typeof (value as Partial<RolloutSource> | null | undefined)?.sample === 'function',
    { optional: true },
  ),
  /** Rollouts of each prompt: the group. Default 8. */
  completionsPerPrompt: integer({ default: 8, min: 1 }),
  /** Most tokens of a completion. Default 512. */
  maxCompletionLength: integer({ default: 512, min: 1 }),
  ...samplingShape,
  ...scoringOption,
  /** Step of the loop, counted from 0: with `seed` it names the random numbers, which are those of a run of `trainPolicy`. Default 0. */
  step: integer({ default: 0, min: 0 }),
  /** Default 0. */
  seed: trainingShape.seed,
  /** Number of the first row's group. Default 0. */
  firstGroup: integer({ default: 0, min: 0 }),
  /** Memory only: completions decoded together. Default 64. */
  maxBatch: integer({ default: 64, min: 1 }),
  /** Ends sampling and scoring early; its reason is then thrown. */
  signal: trainingShape.signal,
  /** Takes warnings. Default: `process.emitWarning`. */
  onWarning: trainingShape.onWarning,
};
const rollOutOptions = options('rollOut', shape);

/** Options of `rollOut`. */
export interface RollOutOptions<Row extends PromptRow = PromptRow>
  extends Omit<Given<typeof rollOutOptions>, 'rows' | 'rewards' | 'source'> {
  /** The prompts; further columns reach the reward functions. */
  readonly rows: readonly Row[];
  /** By name. */
  readonly rewards: Rewards<NoInfer<Row>>;
  /** Where rollouts come from. Default `singleTurn()`. */
  readonly source?: RolloutSource<NoInfer<Row>>;
}

/** A scored rollout with log π_old, as an objective annotates it. */
export type RolledOut<Row extends PromptRow = PromptRow> = ScoredRollout<Row> & Pick<Rollout<Row>, 'oldLogProbs'>;

/**
 * Rollouts of every row with their rewards and log π_old, for a loop of one's own: what `trainPolicy` samples in a step, from the same
 * random numbers. Of an off-policy source log π_old is computed, one more forward pass.
 *
 * @throws OptionError, PromptRowError, RolloutError, RewardError; the reason of the signal when that fires
 */
export async function rollOut<Row extends PromptRow>(given: RollOutOptions<Row>): Promise<RolledOut<Row>[]> {
  const read = rollOutOptions.read(given as unknown as Parameters<typeof rollOutOptions.read>[0]);
  const {
    model,
    adapter = NO_ADAPTER,
    rows,
    rewards,
    source = singleTurn(),
    scoring = {},
    seed,
    step,
    ...others
  } = read;
  const rollouts = await sampleAndScore<PromptRow>({
    ...{ model, adapter, source, rewards, scoring, rows, step },
    prompts: checkPrompts(rows, read),
    completionsPerPrompt: others.completionsPerPrompt,
    firstGroup: others.firstGroup,
    maxBatch: others.maxBatch,
    sampling: samplingOf(read),
    packWeights: adapter === NO_ADAPTER ? 'auto' : 'at-once',
    key: Key.fromSeed(seed).child(step).child(0),
    signal: others.signal,
  });
  const isOnPolicy = !source.isOffPolicy || source.givesOldLogProbs;
  const sequences = rollouts.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
  const scored = isOnPolicy
    ? undefined
    : await sequenceLogProbs(model, sequences, { adapter, temperature: read.temperature });
  return rollouts.map((rollout, i) => ({
    ...rollout,
    oldLogProbs:
      scored?.[i]?.logProbs.subarray(rollout.promptTokens.length - 1) ?? rollout.oldLogProbs ?? rollout.samplerLogProbs,
  })) as unknown as RolledOut<Row>[];
}
