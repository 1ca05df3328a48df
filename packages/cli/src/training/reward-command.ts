import { type CausalLM, SequenceClassifier, TokenClassifier } from '@posttrain/lm';
import { ODIN_LABELS, rewardModelLosses, rewardModelOptions, trainRewardModel } from '@posttrain/training';
import { choiceOf, made } from '../options/choice.js';
import { kebabCase } from '../options/names.js';
import type { TrainingKind } from './kind.js';
import { chosen, isNamed } from './made-options.js';

type LossName = keyof typeof rewardModelLosses;
const chosenLoss = (value: unknown) =>
  choiceOf('--loss', value ?? 'bradleyTerry', Object.keys(rewardModelLosses), 'bradleyTerry');
/** Losses over every step of an answer. */
const OF_STEPS: readonly string[] = ['process', 'stepValue'] satisfies readonly LossName[];

function labelsOf(loss: ReturnType<typeof chosenLoss>, asked: unknown): number | readonly string[] {
  if (asked !== undefined) return asked as number | readonly string[];
  if (loss.name === 'odin') return ODIN_LABELS;
  return loss.name === 'decision' ? Number(loss.options.labels) : loss.name === 'process' ? 2 : 1;
}

/** What is made of texts here. */
const shape = {
  /** A loss of reward models, which says what rows are for it, with its options after a dot. Default `bradley-terry`, of pairs. */
  loss: chosen('the name of a loss', isNamed, { optional: true }),
  /** Outputs of a new head. Default: as many as the loss is for. */
  labels: chosen('how many there are, or their names', (value) => Number.isSafeInteger(value) || Array.isArray(value), {
    optional: true,
  }),
} as const;

export const rewardKind: TrainingKind = {
  name: 'reward',
  about:
    'Trains a reward model, with a new head on MODEL: on pairs { prompt, chosen, rejected }, or the rows of another loss (outcomes, steps, rankings). OUTPUT/adapter or OUTPUT/model is the result.',
  declared: rewardModelOptions,
  made: shape,
  make: {
    loss(value) {
      const choice = chosenLoss(value);
      return made('--loss', choice, rewardModelLosses[choice.name as LossName] as (options: never) => unknown);
    },
  },
  ofModel: ['labels'],
  descriptions: ['reward-command', 'command', 'trainRewardModel', 'training', 'run'],
  more: `\nLosses: ${Object.keys(rewardModelLosses).map(kebabCase).join(', ')}.`,
  async modelOf(model: CausalLM, { loss: given, labels, seed }) {
    const loss = chosenLoss(given);
    const options = { labels: labelsOf(loss, labels), seed: typeof seed === 'number' ? seed : 42 };
    return OF_STEPS.includes(loss.name)
      ? TokenClassifier.fromCausalLM(model, options)
      : SequenceClassifier.fromCausalLM(model, options);
  },
  train: (given) => trainRewardModel(given as unknown as Parameters<typeof trainRewardModel>[0]),
};
