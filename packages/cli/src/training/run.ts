import { type PolicyObjectiveName, policyObjectives } from '@posttrain/rl';
import type { CommandContext } from '../command.js';
import { CommandLineError } from '../options/command-line-error.js';
import { distillKind } from './distill-command.js';
import type { TrainingKind } from './kind.js';
import { policyKind } from './policy-command.js';
import { preferKind } from './prefer-command.js';
import { rewardKind } from './reward-command.js';
import { sftKind } from './sft-command.js';
import { trainingCommand } from './training-command.js';

/** The trainings by the name of their command; any other is an objective of reinforcement learning. */
const kinds: Readonly<Record<string, TrainingKind>> = {
  sft: sftKind,
  prefer: preferKind,
  reward: rewardKind,
  distill: distillKind,
};

/** @throws CommandLineError for a name that is none */
export function kindNamed(name: string): TrainingKind {
  if (Object.hasOwn(kinds, name)) return kinds[name]!;
  const objective = name.replaceAll('-', '_');
  if (Object.hasOwn(policyObjectives, objective)) return policyKind(objective as PolicyObjectiveName);
  throw new CommandLineError(`there is no objective "${name}".`);
}

export const runTraining = (name: string, given: readonly string[], context: CommandContext): Promise<number> =>
  trainingCommand(kindNamed(name), given, context, kindNamed);
