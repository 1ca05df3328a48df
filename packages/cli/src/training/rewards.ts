import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { SequenceClassifier } from '@posttrain/lm';
import {
  cosineLength,
  exactMatch,
  formatTags,
  kimiLength,
  languageConsistency,
  lengthPenalty,
  lengthTarget,
  missingEosPenalty,
  numericMatch,
  type PromptRow,
  type Reward,
  type Rewards,
  repetitionPenalty,
  softOverlongPunishment,
  stopProperly,
} from '@posttrain/rl';
import { choiceOf, made } from '../options/choice.js';
import { CommandLineError } from '../options/command-line-error.js';
import { isRecord } from '../options/names.js';

/** Rewards that need nothing but numbers and texts. */
const rewards = {
  exactMatch,
  numericMatch,
  formatTags,
  languageConsistency,
  lengthPenalty,
  lengthTarget,
  cosineLength,
  kimiLength,
  softOverlongPunishment,
  missingEosPenalty,
  repetitionPenalty,
  stopProperly,
} as const;

/** Names of rewards that the command line has. */
export const rewardNames: readonly string[] = Object.keys(rewards);

/** Rewards by the name that they are logged under. @throws CommandLineError */
export async function makeRewards(value: unknown): Promise<Rewards<PromptRow>> {
  const entries = Object.entries(value as Readonly<Record<string, unknown>>).map(async ([name, given]) => {
    const { weight = 1, ...rest } = isRecord(given) ? given : { name: given };
    if (typeof weight !== 'number') throw new CommandLineError(`--rewards.${name}.weight takes a number.`);
    return [name, { verifier: await oneReward(`--rewards.${name}`, rest), weight }] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** A reward by its name, by the folder of a reward model, or of a module. @throws CommandLineError */
export async function oneReward(where: string, given: Readonly<Record<string, unknown>>): Promise<Reward> {
  if (given.module !== undefined) return ofModule(where, String(given.module));
  if (given.model !== undefined) return (await SequenceClassifier.load(String(given.model))).verifier();
  const choice = choiceOf(where, given, rewardNames);
  return made(where, choice, rewards[choice.name as keyof typeof rewards] as (options: never) => Reward);
}

async function ofModule(where: string, path: string): Promise<Reward> {
  let module: { readonly reward?: unknown; readonly default?: unknown };
  try {
    module = await import(pathToFileURL(resolve(path)).href);
  } catch (cause) {
    throw new CommandLineError(`${where}.module: ${path} cannot be loaded: ${(cause as Error).message.split('\n')[0]}`);
  }
  const reward = module.reward ?? module.default;
  const isReward =
    typeof reward === 'function' || typeof (reward as { verify?: unknown } | undefined)?.verify === 'function';
  if (isReward) return reward as Reward;
  throw new CommandLineError(
    `${where}.module: ${path} must export a function or a verifier as "reward" or as its default.`,
  );
}
