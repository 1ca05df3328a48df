import {
  custom,
  type Given,
  type HasSettings,
  integer,
  number,
  options,
  type PairJudge,
  type Prompt,
  type Verifier,
} from '@posttrain/interfaces';
import type { SequenceClassifier } from '@posttrain/lm';
import {
  bradleyTerry,
  type RewardExample,
  type RewardModelLoss,
  type RewardPairRow,
  rewardExampleRows,
  type Trainer,
  update,
} from '@posttrain/training';
import type { Annotator } from '../annotator.js';
import { groupsOf, type Rollout } from '../rollout.js';

const refitOptions = options('refitRewardModel', {
  /** Of the reward model, as `trainRewardModel` gives it. The run keeps it in its checkpoints. */
  trainer: custom<Trainer<SequenceClassifier>>()(
    'a trainer of a SequenceClassifier, as that of trainRewardModel',
    (value) => typeof value === 'object' && value !== null && 'forwardBackward' in value && 'model' in value,
    { decisive: false },
  ),
  /** Who prefers one of two completions of the policy as it is now: people, a judge. */
  judge: custom<PairJudge>()(
    'a judge of pairs ({ name, compare(requests) })',
    (value) => typeof (value as Partial<PairJudge> | null)?.compare === 'function',
    { settings: ({ name }) => name },
  ),
  /** The loss that it learns with. Default `bradleyTerry()`. */
  loss: custom<RewardModelLoss<RewardPairRow>>()(
    'a loss of pairs, as bradleyTerry()',
    (value) => typeof value === 'object' && value !== null && 'example' in value,
    { default: bradleyTerry(), settings: ({ settings }) => settings },
  ),
  /** Steps of the policy between two fits. Default 1. */
  every: integer({ default: 1, min: 1 }),
  /** Constant over the run. Default 1e-5. */
  learningRate: number({ default: 1e-5, min: 0 }),
  /** Updates on the pairs of a step. Default 1. */
  iterations: integer({ default: 1, min: 1 }),
  /** Most tokens of prompt and completion. Default 1024. */
  maxLength: integer({ default: 1024, min: 2 }),
});
/** Options of `refitRewardModel`. */
export type RefitRewardModelOptions = Given<typeof refitOptions>;

/** What refits a reward model, and its reward. */
export interface RefitRewardModel extends Annotator {
  /** The reward model as it is now: a reward of the run. */
  readonly reward: Verifier & HasSettings;
}

/**
 * A reward model that is fitted again while a policy learns from it (iterated online RLHF, arXiv 2204.05862, §4.5; 2203.02155, §3.1): after
 * every `every` steps the policy's new completions are compared in pairs, two of one prompt each, by a judge, and the reward model
 * learns them, so that it knows what the policy writes now. Name it among an objective's `annotators` and its `reward` among the
 * run's rewards. Logged: `reward_model/loss`, `reward_model/accuracy` (before the fit: where it stays high, the judge is not needed
 * any more) and `reward_model/pairs`. Ties and equal completions teach nothing and are left out.
 *
 * @throws OptionError; what the judge and the trainer throw
 */
export function refitRewardModel(given: RefitRewardModelOptions): RefitRewardModel {
  const { trainer, judge, loss, every, learningRate, iterations, maxLength } = refitOptions.read(given);
  const settings = refitOptions.settings(given);
  return {
    name: 'refit-reward-model',
    settings,
    gives: [],
    learner: trainer,
    trainers: { reward_model: trainer },
    reward: {
      name: 'reward_model',
      settings,
      verify(requests) {
        const { model, adapter } = trainer;
        return model.verifier(adapter ? { adapter: () => adapter } : {}).verify(requests);
      },
    },
    annotate: async (rollouts) => rollouts,
    async learn(rollouts, _, { step, signal }) {
      if ((step + 1) % every !== 0) return {};
      const pairs = pairsOf(rollouts);
      const verdicts = await judge.compare(
        pairs.map(([first, second]) => ({
          ...{ prompt: first.row!.prompt, first: first.text!, second: second.text! },
          row: first.row as unknown as Readonly<Record<string, unknown>>,
          ...(signal && { signal }),
        })),
      );
      const examples = pairs.flatMap(([first, second], index): RewardExample[] => {
        const { winner } = verdicts[index]!;
        if (winner !== 'first' && winner !== 'second') return [];
        const [chosen, rejected] = winner === 'first' ? [first, second] : [second, first];
        const prompt = first.row!.prompt;
        const row = { prompt, chosen: answerOf(prompt, chosen), rejected: answerOf(prompt, rejected) };
        const example = loss.example(trainer.model, row, { index, maxLength, isHeldOut: false });
        return typeof example === 'string' ? [] : [example];
      });
      if (examples.length === 0) return { 'reward_model/pairs': 0 };
      const rows = rewardExampleRows(examples);
      let before: Awaited<ReturnType<typeof update>> | undefined;
      for (let i = 0; i < iterations; i++) {
        const result = await update(trainer, rows, loss, learningRate);
        before ??= result;
      }
      return {
        'reward_model/loss': before!.loss,
        'reward_model/accuracy': before!.metrics.accuracy ?? Number.NaN,
        'reward_model/pairs': examples.length,
      };
    },
  };
}

/** Two different completions of one prompt each, as they follow each other. */
const pairsOf = (rollouts: readonly Rollout[]): (readonly [Rollout, Rollout])[] =>
  groupsOf(rollouts).flatMap((group) => {
    const own = group.filter(({ text, row }) => text !== undefined && row !== undefined);
    return Array.from({ length: own.length >> 1 }, (_, i) => [own[2 * i]!, own[2 * i + 1]!] as const).filter(
      ([first, second]) => first.text !== second.text,
    );
  });

const answerOf = (prompt: Prompt, { text }: Rollout): Prompt =>
  typeof prompt === 'string' ? text! : [{ role: 'assistant', content: text! }];
