import { policyObjectives } from '@posttrain/rl';
import type { Command } from './command.js';

const TRAINING = 'MODEL ROWS OUTPUT [options]';

/** Commands by name; the objectives of reinforcement learning are commands beside them. */
export const commands: Readonly<Record<string, Command>> = {
  sft: {
    usage: TRAINING,
    about: 'Fine-tunes a model on texts, completions or conversations.',
    run: async (given, context) => (await import('./training/run.js')).runTraining('sft', given, context),
  },
  prefer: {
    usage: TRAINING,
    about: 'Trains on preferences: DPO and the other losses.',
    run: async (given, context) => (await import('./training/run.js')).runTraining('prefer', given, context),
  },
  reward: {
    usage: TRAINING,
    about: 'Trains a reward model.',
    run: async (given, context) => (await import('./training/run.js')).runTraining('reward', given, context),
  },
  distill: {
    usage: TRAINING,
    about: 'Trains a model to say what a teacher would.',
    run: async (given, context) => (await import('./training/run.js')).runTraining('distill', given, context),
  },
};

/** Commands of TRL's, and others that have a second name. */
const ALIASES: Readonly<Record<string, string>> = { dpo: 'prefer' };

/** The objectives of reinforcement learning, as they are typed. */
export const policyCommands = (): string[] => Object.keys(policyObjectives).map((name) => name.replaceAll('_', '-'));

export const commandNames = (): string[] => [...Object.keys(commands), ...Object.keys(ALIASES), ...policyCommands()];

/** The command of a name; undefined where there is none. */
export function commandNamed(name: string): Command | undefined {
  const meant = Object.hasOwn(ALIASES, name) ? ALIASES[name]! : name;
  if (Object.hasOwn(commands, meant)) return commands[meant];
  if (!policyCommands().includes(name)) return undefined;
  return {
    usage: TRAINING,
    about: 'Reinforces a policy with rewards.',
    run: async (given, context) => (await import('./training/run.js')).runTraining(name, given, context),
  };
}
