import { custom, OptionError, text } from '@posttrain/interfaces';
import { type CausalLM, ValueModel } from '@posttrain/lm';
import {
  type PolicyObjectiveName,
  policyObjectives,
  policyOptions,
  trainPolicy,
  valueModelCritic,
} from '@posttrain/rl';
import { choiceOf, made } from '../options/choice.js';
import { CommandLineError } from '../options/command-line-error.js';
import { camelKeys, isRecord, kebabCase } from '../options/names.js';
import type { TrainingKind } from './kind.js';
import { makeReference } from './makers.js';
import { makeRewards, rewardNames } from './rewards.js';

type MakeObjective = (options: object) => unknown;

/** The option that an objective cannot be made without, if there is one. */
function needOf(make: MakeObjective): string | undefined {
  try {
    make({});
  } catch (error) {
    if (error instanceof OptionError && error.code === 'MISSING_OPTION') return error.option;
  }
  return undefined;
}

/** What is made of texts here. */
const shape = {
  /** Rewards by the name that they are logged under: `--rewards.correct numeric-match`, with options after a further dot and `weight`; a reward model's folder as `--rewards.good.model FOLDER`; a function that a module exports as `reward` or as its default as `--rewards.mine.module FILE`. */
  rewards: custom<Readonly<Record<string, unknown>>>()('rewards by name', isRecord, {}),
  /** Options of the objective that the command is named after, after a dot: `--objective.beta 0.04`. */
  objective: custom<Readonly<Record<string, unknown>>>()('its options', isRecord, { optional: true }),
  /** The folder of an adapter that a regulariser compares with. Default: the model without its adapter. */
  reference: text({ optional: true }),
} as const;

/** The command of an objective of `policyObjectives`. */
export function policyKind(objective: PolicyObjectiveName): TrainingKind {
  const make = policyObjectives[objective] as MakeObjective;
  const need = needOf(make);
  const name = kebabCase(objective).replaceAll('_', '-');
  return {
    name,
    about: `Reinforcement learning by ${objective}: completions of the rows' prompts are rewarded, and the policy learns from them. OUTPUT/adapter or OUTPUT/model is the result; OUTPUT/completions.jsonl has what was sampled.`,
    declared: policyOptions,
    made: shape,
    make: {
      rewards: makeRewards,
      reference: makeReference,
      async objective(value, { model, seed }) {
        const given = camelKeys(value ?? {}) as Readonly<Record<string, unknown>>;
        const critic = need === 'critic' ? { critic: await criticOf(model as CausalLM, given.critic, seed) } : {};
        return made('--objective', { name, options: { ...given, ...critic } }, make);
      },
    },
    descriptions: ['policy-command', 'command', 'trainPolicy', 'training', 'run'],
    more: [
      `\nRewards: ${rewardNames.map(kebabCase).join(', ')}, or module and model.`,
      ...(need === 'critic'
        ? ['The critic is a value model on MODEL, with its options as --objective.critic.learning-rate and so on.']
        : []),
    ].join('\n'),
    train: (given) => trainPolicy(given as unknown as Parameters<typeof trainPolicy>[0]),
  };
}

async function criticOf(model: CausalLM, given: unknown, seed: number) {
  if (given !== undefined && !isRecord(given)) {
    throw new CommandLineError('--objective.critic takes options, as --objective.critic.learning-rate 1e-5.');
  }
  const value = await ValueModel.fromCausalLM(model, { seed });
  const choice = choiceOf('--objective.critic', { ...given, name: 'valueModelCritic' }, ['valueModelCritic']);
  return made('--objective', choice, (options) => valueModelCritic(value, options));
}
