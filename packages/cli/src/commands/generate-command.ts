import { writeRows } from '@posttrain/data';
import { createProgress } from '@posttrain/eval';
import { custom, integer, options, type SamplingParams, text } from '@posttrain/interfaces';
import { CommandLineError } from '../options/command-line-error.js';
import { camelKeys, isRecord } from '../options/names.js';
import { chosen, isNamed } from '../training/made-options.js';
import type { DeclaredCommand } from './declared-command.js';
import { localGenerator, promptsOf } from './local-generator.js';

const shape = {
  /** A Hugging Face folder, a GGUF file, or a name on the hub. */
  model: text({}),
  /** What is asked. A model with a chat template is asked it as a message. */
  prompt: text({ optional: true }),
  /** Rows with a `prompt` each, in the place of one that is typed. */
  rows: chosen('a file or folder of rows', isNamed, { optional: true }),
  /** The file of rows that is written, whole or not at all: each row with its `completions`. Default: they are printed. */
  output: text({ optional: true }),
  /** The folder of an adapter. Default: none. */
  adapter: text({ optional: true }),
  /** Completions of each prompt. */
  n: integer({ default: 1, min: 1 }),
  /** How tokens are drawn, after a dot: `--sampling.temperature 0`, `--sampling.max-tokens 64`, and the others of `SamplingParams`. */
  sampling: custom<SamplingParams>()('options by name', isRecord, { default: {} }),
  /** How the model is quantised as it is read: nf4, fp4, int8, int4 or hqq. Default: as it is. */
  quantization: chosen('the name of a method', isNamed, { optional: true }),
  /** Prompts that are asked together. */
  batchSize: integer({ default: 64, min: 1 }),
  /** A YAML file with these options; what is typed goes over it. */
  config: text({ optional: true }),
};
const declared = options('generate', shape);

export const generateCommand: DeclaredCommand<typeof shape> = {
  name: 'generate',
  usage: 'MODEL [PROMPT] [options]',
  about: 'Generates completions with a local model: of a prompt that is typed, or of a file of rows.',
  declared,
  positionals: ['model', 'prompt'],
  async run(given, { print }) {
    if (given.rows !== undefined && given.output === undefined) {
      throw new CommandLineError('--rows needs --output FILE, where they are written with their completions.');
    }
    const { model, generator } = await localGenerator(given);
    const rows = await promptsOf(given, model);
    const sampling = camelKeys(given.sampling) as SamplingParams;
    const { onProgress, finish } = createProgress();
    const done: object[] = [];
    for (let at = 0; at < rows.length; at += given.batchSize) {
      const batch = rows.slice(at, at + given.batchSize);
      const requests = batch.map(({ prompt }, i) => ({
        ...{ prompt, n: given.n, ...sampling },
        // Every prompt has draws of its own.
        ...(sampling.seed !== undefined && { seed: sampling.seed + (at + i) * given.n }),
      }));
      const completions = await generator.generate(requests);
      done.push(...batch.map((row, i) => ({ ...row, completions: completions[i]!.map(({ text: said }) => said) })));
      if (given.output !== undefined) onProgress({ stage: 'generate', done: done.length, total: rows.length });
    }
    finish();
    if (given.output === undefined) {
      for (const { completions } of done as { readonly completions: readonly string[] }[])
        print(`${completions.join('\n\n')}\n`);
      return 0;
    }
    await writeRows(given.output, done);
    print(`${given.output}: ${done.length} rows, ${done.length * given.n} completions\n`);
    return 0;
  },
};
