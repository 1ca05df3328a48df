// The flags of `npm start`, apart from what they are for, so that --help loads little.
import { join, relative } from 'node:path';
import { boolean, integer, number, options, type Read, text } from '@posttrain/interfaces';
import { asCommandLineError, CommandLineError, commandLine, optionsHelp } from 'posttrain';
import { DEFAULT_SETTINGS } from './settings.js';

const { sft, grpo } = DEFAULT_SETTINGS;
/** Where it is written to, unless --out says otherwise. */
export const DEFAULT_FOLDER = join('runs', 'main-job');
const atLeastOne = (fallback: number) => integer({ default: fallback, min: 1 });

const declared = options('npm start', {
  model: text({ default: relative('.', join(import.meta.dirname, '..', 'pretrain-tiny', 'model')) }),
  data: text({ optional: true }),
  out: text({ optional: true }),
  seed: integer({ default: 0, min: 0 }),
  problems: atLeastOne(256),
  maxTokens: atLeastOne(128),
  loraRank: atLeastOne(DEFAULT_SETTINGS.loraRank),
  sftSteps: atLeastOne(sft.steps),
  sftLearningRate: number({ default: sft.learningRate, above: 0 }),
  grpoSteps: atLeastOne(grpo.steps),
  grpoLearningRate: number({ default: grpo.learningRate, above: 0 }),
  promptsPerStep: atLeastOne(grpo.promptsPerStep),
  completionsPerPrompt: atLeastOne(grpo.completionsPerPrompt),
  resume: boolean({ default: false }),
  replace: boolean({ default: false }),
});
export type Flags = Read<typeof declared>;

const ABOUT: Readonly<Record<keyof typeof declared.shape, string>> = {
  model: 'A model folder, or org/name on the hub.',
  data: 'A file of rows with prompt, answer and completion (jsonl, csv, parquet). Default: sums, which the default model has been pretrained on.',
  out: `The folder that is written. Default: ${DEFAULT_FOLDER}, or the first free one after it.`,
  seed: 'Of everything that is drawn.',
  problems: 'Held-out problems at most.',
  maxTokens: 'Of a completion; the default task has its own.',
  loraRank: 'Of the adapter.',
  sftSteps: 'Updates of the supervised fine-tuning.',
  sftLearningRate: 'For a real model start at 2e-4.',
  grpoSteps: 'Steps of the reinforcement.',
  grpoLearningRate: 'For a real model start at 2e-5.',
  promptsPerStep: 'Of the reinforcement.',
  completionsPerPrompt: 'Of the reinforcement.',
  resume: 'Go on with an interrupted run of the same flags in --out.',
  replace: 'Take the place of the run in --out, once the new one is complete.',
};

/** What --help says. */
export const HELP = () => `Usage: npm start -- [options]

A model folder in; a fine-tuned, reinforced, searched and evaluated model out, with a report.

${optionsHelp([{ title: 'Options', shape: declared.shape, about: ABOUT }], Math.min(100, process.stdout.columns ?? 100))}`;

/** @throws CommandLineError */
export function readFlags(given: readonly string[]): Flags {
  try {
    const { positionals, given: typed } = commandLine(declared, given);
    if (positionals.length > 0) throw new CommandLineError(`${JSON.stringify(positionals[0])} is no flag.`);
    const flags = declared.read(typed);
    if (flags.resume && flags.replace) throw new CommandLineError('--resume and --replace exclude each other.');
    return flags;
  } catch (error) {
    throw asCommandLineError(error);
  }
}
