import { createProgress } from '@posttrain/eval';
import { custom, integer, options, type SamplingParams, text } from '@posttrain/interfaces';
import { EXIT } from '../command.js';
import { CommandLineError } from '../options/command-line-error.js';
import { camelKeys, isRecord } from '../options/names.js';
import { interruptible } from '../training/interruptible.js';
import { chosen, isNamed } from '../training/made-options.js';
import type { DeclaredCommand } from './declared-command.js';
import { KeptRows, keptMessage } from './kept-rows.js';
import { localGenerator, type PromptRow, promptsOf } from './local-generator.js';

const shape = {
  /** A Hugging Face folder, a GGUF file, or a name on the hub. */
  model: text({}),
  /** What is asked. A model with a chat template is asked it as a message. */
  prompt: text({ optional: true }),
  /** Rows with a `prompt` each, in the place of one that is typed. */
  rows: chosen('a file or folder of rows', isNamed, { optional: true }),
  /** The file of rows that is written, whole or not at all: each row with its `completions`. Until then they are kept in FILE.part, and the same command goes on with it. Default: they are printed. */
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
  async run(given, { print, complain }) {
    if (given.rows !== undefined && given.output === undefined) {
      throw new CommandLineError('--rows needs --output FILE, where they are written with their completions.');
    }
    const { model, generator } = await localGenerator(given);
    const rows = await promptsOf(given, model);
    const sampling = camelKeys(given.sampling) as SamplingParams;
    const completed = async (at: number, signal?: AbortSignal) => {
      const batch = rows.slice(at, at + given.batchSize);
      const requests = batch.map(({ prompt }, i) => ({
        ...{ prompt, n: given.n, ...sampling, ...(signal && { signal }) },
        // Every prompt has draws of its own.
        ...(sampling.seed !== undefined && { seed: sampling.seed + (at + i) * given.n }),
      }));
      const completions = await generator.generate(requests);
      return batch.map((row, i) => ({ ...row, completions: completions[i]!.map(({ text: said }) => said) }));
    };
    if (given.output === undefined) {
      for (let at = 0; at < rows.length; at += given.batchSize) {
        for (const { completions } of await completed(at)) print(`${completions.join('\n\n')}\n`);
      }
      return 0;
    }
    const { output, config: _, ...decisive } = given;
    const isWhole = await writeKept(output, { ...decisive, rows }, completed, complain);
    if (!isWhole) return EXIT.interrupted;
    print(`${output}: ${rows.length} rows, ${rows.length * given.n} completions\n`);
    return 0;
  },
};

/** Writes rows with their completions, batch by batch. Gives whether all are there; Ctrl-C drops the batch that is under way. */
async function writeKept(
  output: string,
  decisive: { readonly rows: readonly PromptRow[] },
  completed: (at: number, signal: AbortSignal) => Promise<object[]>,
  complain: (text: string) => void,
): Promise<boolean> {
  const total = decisive.rows.length;
  const kept = await KeptRows.open(output, decisive);
  const { onProgress, finish } = createProgress();
  const { signal, release } = interruptible(() => {});
  try {
    while (kept.rows.length < total && !signal.aborted) {
      const batch = await completed(kept.rows.length, signal);
      if (signal.aborted) break;
      await kept.add(batch);
      onProgress({ stage: 'generate', done: kept.rows.length, total });
    }
  } finally {
    release();
    finish();
  }
  if (kept.rows.length < total) {
    complain(keptMessage('generate', kept.rows.length, total));
    return false;
  }
  await kept.finish();
  return true;
}
