import {
  dpSgd,
  dynamicFineTuning,
  labelSmoothing,
  negativeLogLikelihood,
  sam,
  sft,
  sftOptions,
  sophia,
} from '@posttrain/training';
import { choiceOf, made } from '../options/choice.js';
import type { TrainingKind } from './kind.js';
import { chosen, isNamed } from './made-options.js';

const losses = {
  negativeLogLikelihood: () => negativeLogLikelihood,
  dynamicFineTuning: () => dynamicFineTuning,
  labelSmoothing,
} as const;
const rules = { dpSgd, sam, sophia } as const;

/** What is made of texts here. */
const shape = {
  /** `negative-log-likelihood`, `dynamic-fine-tuning` or `label-smoothing`, with its options after a dot. Default: the first. */
  loss: chosen('the name of a loss', isNamed, { optional: true }),
  /** How an update is made: `dp-sgd`, `sam` or `sophia`, with its options after a dot. Default: by the optimizer. */
  update: chosen('the name of a rule', isNamed, { optional: true }),
} as const;

export const sftKind: TrainingKind = {
  name: 'sft',
  about:
    'Supervised fine-tuning: of rows { text }, { prompt, completion } or { messages }, in the formats of TRL. OUTPUT/adapter or OUTPUT/model is the result.',
  declared: sftOptions,
  made: shape,
  make: {
    loss(value) {
      const choice = choiceOf('--loss', value, Object.keys(losses), 'negativeLogLikelihood');
      return made<unknown>('--loss', choice, losses[choice.name as keyof typeof losses]);
    },
    update(value) {
      const choice = choiceOf('--update', value, Object.keys(rules));
      return made<unknown>('--update', choice, rules[choice.name as keyof typeof rules] as (options: never) => unknown);
    },
  },
  descriptions: ['sft-command', 'command', 'sft', 'training', 'run'],
  train: (given) => sft(given as unknown as Parameters<typeof sft>[0]),
};
