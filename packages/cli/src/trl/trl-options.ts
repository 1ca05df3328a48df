import { DPO_TRL_NAMES, POLICY_TRL_NAMES } from '@posttrain/rl';
import { DISTILL_TRL_NAMES, REWARD_MODEL_TRL_NAMES, TRL_NAMES } from '@posttrain/training';
import { type AnyOptions, unknownOption } from '../options/command-line.js';
import { policyOptions, preferenceOptions, rewardOptions } from './objectives.js';
import {
  adapterOptions,
  lengthOptions,
  modelOptions,
  type Ours,
  optimizerOptions,
  rowOptions,
  rowsPerUpdate,
  WITHOUT_EFFECT,
  whenOptions,
} from './shared.js';
import { refusedTrl, TrlFile } from './trl-file.js';

/** What a file of TRL's says, by our names. */
export interface TrlOptions {
  readonly given: Readonly<Record<string, unknown>>;
  /** The command that it is for, where `loss_type` says another than was typed. */
  readonly command: string;
  /** What somebody who brings a file must know. */
  readonly notes: readonly string[];
}

const NAMES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  prefer: DPO_TRL_NAMES,
  reward: REWARD_MODEL_TRL_NAMES,
  distill: DISTILL_TRL_NAMES,
  policy: POLICY_TRL_NAMES,
};

/** Commands that a file of GRPOTrainer may be given to: `loss_type` says which it is. */
const GRPO_FAMILY: readonly string[] = ['grpo', 'dapo', 'dr-grpo', 'bnpo'];

/**
 * The options of a file of TRL 1.16 (`trl sft --config`), where they mean the same here. What it does not say has TRL's default. Names
 * and values that have no equal are refused; those that change no result are let pass.
 *
 * @param command the command that was typed
 * @param declared what that command takes
 * @throws CommandLineError
 */
export function trlOptions(
  command: string,
  declared: AnyOptions,
  options: Readonly<Record<string, unknown>>,
): TrlOptions {
  const file = new TrlFile(options);
  const kind = NAMES[command] || command === 'sft' ? command : 'policy';
  const isDropoutOff = kind === 'prefer' || kind === 'reward';
  const { given: when, isEvaluated } = whenOptions(file);
  const given: Ours = {
    ...modelOptions(file),
    ...adapterOptions(file, isDropoutOff),
    ...rowOptions(file, isEvaluated),
    ...optimizerOptions(file),
    ...when,
  };
  let meant = command;
  if (kind === 'policy') {
    if (command !== 'rloo' && !GRPO_FAMILY.includes(command)) {
      throw refusedTrl('trainer', `there is none for ${command}; write the file by our names.`);
    }
    const policy = policyOptions(file, command === 'rloo');
    Object.assign(given, policy.given);
    meant = policy.objective.replaceAll('_', '-');
  } else {
    Object.assign(given, lengthOptions(file), { batchSize: rowsPerUpdate(file) });
    if (kind === 'prefer') Object.assign(given, preferenceOptions(file));
    if (kind === 'reward') Object.assign(given, rewardOptions(file));
    if (kind === 'sft') file.only('loss_type', ['nll'], 'Give loss, by our names.');
    if (kind !== 'sft') file.only('label_smoothing_factor', [0], 'It is for sft.');
    const smoothing = file.number('label_smoothing_factor', 0);
    if (smoothing > 0) given.loss = { name: 'labelSmoothing', labelSmoothingFactor: smoothing };
  }
  const names: Readonly<Record<string, string>> = { ...TRL_NAMES, ...NAMES[kind] };
  for (const [name, value] of file.rest) {
    if (WITHOUT_EFFECT.includes(name)) continue;
    const ours = Object.hasOwn(names, name) ? names[name]! : name;
    const isOwn = Object.hasOwn(declared.shape, ours) && !Object.hasOwn(given, ours) && ours !== 'config';
    if (!isOwn)
      throw refusedTrl(
        name,
        unknownOption(declared, name)
          .replace(/^there is no option \S+ ?/, 'has no equal here. ')
          .trim(),
      );
    given[ours] = value;
  }
  const notes = [
    "the options are TRL's: what the file does not say has the default of TRL 1.16, on one device and in float32.",
    ...(meant === command ? [] : [`its loss_type makes it the command ${meant}.`]),
  ];
  return { given, command: meant, notes };
}
