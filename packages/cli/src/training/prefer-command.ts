import { text } from '@posttrain/interfaces';
import { dpo, dpoOptions, preferenceLosses, trDpo } from '@posttrain/rl';
import { choiceOf, made } from '../options/choice.js';
import { kebabCase } from '../options/names.js';
import type { TrainingKind } from './kind.js';
import { chosen, isNamed } from './made-options.js';
import { makeReference } from './makers.js';

/** What is made of texts here. */
const shape = {
  /** A preference loss by TRL's loss_type or its own name, with its options after a dot: `--loss simpo --loss.gamma 0.5`. Default `sigmoid`: DPO with β 0.1. */
  loss: chosen('the name of a loss', isNamed, { optional: true }),
  /** The folder of an adapter that is compared with. Default: the model without its adapter. */
  reference: text({ optional: true }),
  /** How the reference moves with the policy: `tr-dpo`, with its options after a dot. Default: it stays. */
  referenceUpdate: chosen('tr-dpo', isNamed, { optional: true }),
} as const;

export const preferKind: TrainingKind = {
  name: 'prefer',
  about:
    'Trains on preferences, by DPO or another loss: pairs { prompt, chosen, rejected }, single completions { prompt, completion, label } or rankings { prompt, completions, ranks }, as the loss says. OUTPUT/adapter or OUTPUT/model is the result.',
  declared: dpoOptions,
  made: shape,
  make: {
    loss(value) {
      const choice = choiceOf('--loss', value, Object.keys(preferenceLosses), 'sigmoid');
      const make = preferenceLosses[choice.name as keyof typeof preferenceLosses] as (options: never) => unknown;
      return made('--loss', choice, make);
    },
    reference: makeReference,
    referenceUpdate(value) {
      return made(
        '--reference-update',
        choiceOf('--reference-update', value, ['tr-dpo']),
        trDpo as (options: never) => unknown,
      );
    },
  },
  descriptions: ['prefer-command', 'command', 'dpo', 'training', 'run'],
  more: `\nLosses: ${Object.keys(preferenceLosses).map(kebabCase).join(', ')}.`,
  train: (given) => dpo(given as unknown as Parameters<typeof dpo>[0]),
};
