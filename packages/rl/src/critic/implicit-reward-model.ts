import type { OptimizerChoice } from '@posttrain/core-tensor/optim';
import {
  boolean,
  custom,
  type Given,
  integer,
  number,
  OptionError,
  oneOf,
  options,
  PosttrainError,
  showValue,
  text,
} from '@posttrain/interfaces';
import { type Adapter, CausalLM, NO_ADAPTER, sequenceLogProbs } from '@posttrain/lm';
import { type Metrics, Trainer, trainerShape, type UpdateResult, update } from '@posttrain/training';
import type { Annotator } from '../annotator.js';
import { type ScoredRollout, trainedTokens } from '../rollout.js';
import { implicitRewardLoss, implicitRewardRows, implicitRewardShape } from './implicit-reward-loss.js';

const modelOptions = options('implicitRewardModel', {
  ...trainerShape,
  ...implicitRewardShape,
  /** Default `adamw_torch`. */
  optimizer: custom<OptimizerChoice>()(trainerShape.optimizer.expects, trainerShape.optimizer.isValid, {
    default: 'adamw_torch',
  }),
  /** Constant over the run. Default 1e-6, as in PRIME, which is for full fine-tuning. */
  learningRate: number({ default: 1e-6, min: 0 }),
  /** Updates on one batch of rollouts. Default 1. */
  iterationsPerBatch: integer({ default: 1, min: 1 }),
  /** Whether it learns from a step's rollouts before it scores them, or after the policy's updates. Default `before`, as in PRIME. */
  learns: oneOf(['before', 'after'], { default: 'before' }),
  /** Divide the rewards of a step by the largest return that they come to, in absolute value. Default true. */
  normalize: boolean({ default: true }),
  /** The reward that says what is right (1) and wrong (0), by its name among the run's. Default: the reward itself. */
  accuracy: text({ optional: true }),
});
/** Options of `implicitRewardModel`. */
export type ImplicitRewardModelOptions = Given<typeof modelOptions>;

/** An implicit reward model that a run trains, as an annotator of it. */
export interface ImplicitRewardModel extends Annotator {
  readonly trainer: Trainer<CausalLM>;
}

/** Added to the largest return, which is divided by. */
const EPSILON = 1e-6;

/**
 * The online process reward model of PRIME (arXiv 2502.01456): a causal language model φ that begins as the policy does and learns, beside it, which
 * completions are right (`implicitRewardLoss`), from nothing but the outcomes of the policy's own rollouts. Its log-ratio to what it began as is a
 * reward of each token, r_t = β log π_φ(y_t) / π_ref(y_t), which it adds to `tokenRewards`; the last token has none, as the outcome is paid there. For
 * the advantage `prime()`. Its trainer is in the run's checkpoints; one belongs to one run.
 *
 * @param model φ as it begins, and π_ref for good; with `adapter` only that is trained
 * @throws OptionError; what `Trainer.create` throws; in a run PosttrainError ACCURACY for a reward that is no number from 0 to 1
 */
export async function implicitRewardModel(
  model: CausalLM,
  given: ImplicitRewardModelOptions = {},
): Promise<ImplicitRewardModel> {
  const { beta, learningRate, iterationsPerBatch, learns, normalize, accuracy, ...settings } = modelOptions.read(given);
  if (!(model instanceof CausalLM)) {
    const problem = `model is ${showValue(model)}; it must be a causal language model, such as the policy.`;
    throw new OptionError('INVALID_OPTION', 'implicitRewardModel', 'model', problem);
  }
  const trainer = await Trainer.create(model, settings);
  const reference = settings.adapter?.reference ?? NO_ADAPTER;
  const loss = implicitRewardLoss({ beta });

  const logProbsOf = async (of: CausalLM, adapter: Adapter, rollouts: readonly Sequence[]) => {
    const sequences = rollouts.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
    const scored = await sequenceLogProbs(of, sequences, { adapter, maxTokensPerPass: settings.maxTokensPerPass });
    return scored.map(({ logProbs }, i) => logProbs.subarray(rollouts[i]!.promptTokens.length - 1));
  };
  const ofReference = (rollouts: readonly Sequence[]) => logProbsOf(model, reference, rollouts);

  async function learn(rollouts: readonly Outcome[], references: readonly ArrayLike<number>[]): Promise<Metrics> {
    const rows = implicitRewardRows(
      rollouts,
      rollouts.map((rollout) => accuracyOf(rollout, accuracy)),
      references,
    );
    let last: UpdateResult | undefined;
    for (let i = 0; i < iterationsPerBatch && rows.length > 0; i++)
      last = await update(trainer, rows, loss, learningRate);
    if (!last) return {};
    const { prm_loss, prm_accuracy } = last.metrics;
    return { 'prime/prm_loss': prm_loss!, 'prime/prm_accuracy': prm_accuracy!, 'prime/grad_norm': last.gradNorm };
  }

  let logged: Metrics = {};
  return {
    name: 'implicit-reward-model',
    settings: modelOptions.settings(given),
    gives: ['tokenRewards'],
    trainer,
    trainers: { implicit_reward_model: trainer },
    async annotate(rollouts) {
      const theirs = await ofReference(rollouts);
      logged = learns === 'before' ? await learn(rollouts, theirs) : {};
      const ours = await logProbsOf(trainer.model, trainer.adapter, rollouts);
      const rewards = rollouts.map((rollout, i) => {
        const mask = trainedTokens(rollout);
        const last = mask.lastIndexOf(1);
        return mask.map((isTrained, t) => (isTrained && t < last ? beta * (ours[i]![t]! - theirs[i]![t]!) : 0));
      });
      const scale = normalize ? 1 / (largestReturn(rewards) + EPSILON) : 1;
      return rollouts.map((rollout, i) => ({
        ...rollout,
        tokenRewards: rewards[i]!.map((reward, t) => (rollout.tokenRewards?.[t] ?? 0) + scale * reward),
      }));
    },
    learn: async (rollouts) => (learns === 'after' ? learn(rollouts, await ofReference(rollouts)) : logged),
  };
}

type Sequence = Pick<ScoredRollout, 'promptTokens' | 'completionTokens' | 'mask'>;
type Outcome = Sequence & Partial<Pick<ScoredRollout, 'rewards'>> & Pick<ScoredRollout, 'reward'>;

/** How right a completion is, from 0 to 1; null where nobody could say. @throws PosttrainError ACCURACY */
function accuracyOf({ reward, rewards }: Outcome, name: string | undefined): number | null {
  const found = name === undefined ? reward : rewards?.[name];
  if (found === null || (found !== undefined && found >= 0 && found <= 1)) return found;
  const what = name === undefined ? 'the reward' : `the reward "${name}"`;
  const problem = `${what} is ${showValue(found)}, and what is right must be a number from 0 to 1`;
  const remedy = 'name the reward that is one (`accuracy`)';
  throw new PosttrainError('ACCURACY', `implicitRewardModel: ${problem}; ${remedy}`);
}

/** The largest |Σ_{s ≥ t} r_s|. */
function largestReturn(rewards: readonly (readonly number[])[]): number {
  let largest = 0;
  for (const own of rewards) {
    let sum = 0;
    for (const reward of own.toReversed()) {
      sum += reward;
      largest = Math.max(largest, Math.abs(sum));
    }
  }
  return largest;
}
