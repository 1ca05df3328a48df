import type { Prompt } from '@posttrain/interfaces';
import { type CausalLM, LocalGenerator } from '@posttrain/lm';
import { loadAdapter } from '@posttrain/peft';
import { CommandLineError } from '../options/command-line-error.js';
import { loadModel, loadRows } from '../training/load.js';

/** What a command that generates is given. */
export interface GeneratorRequest {
  readonly model: string;
  readonly adapter?: string | undefined;
  readonly quantization?: unknown;
}

/** A local model, with its adapter where there is one. */
export async function localGenerator({ model: name, adapter: folder, quantization }: GeneratorRequest): Promise<{
  readonly model: CausalLM;
  readonly generator: LocalGenerator;
}> {
  const model = await loadModel(name, quantization);
  const adapter = folder === undefined ? undefined : await loadAdapter(model, folder);
  return { model, generator: new LocalGenerator(model, adapter ? { adapter: () => adapter } : {}) };
}

/** A row with what is asked. */
export type PromptRow = Readonly<Record<string, unknown>> & { readonly prompt: Prompt };

/** The prompt that was typed, or those of rows. @throws CommandLineError for neither, for both, and for a row without one */
export async function promptsOf(
  { prompt, rows }: { readonly prompt?: string | undefined; readonly rows?: unknown },
  { chatTemplate }: Pick<CausalLM, 'chatTemplate'>,
): Promise<readonly PromptRow[]> {
  if ((prompt === undefined) === (rows === undefined)) {
    throw new CommandLineError('give --prompt TEXT, or --rows FILE with a prompt in each row.');
  }
  // A model that has been taught to converse is asked as it was.
  if (prompt !== undefined) return [{ prompt: chatTemplate ? [{ role: 'user', content: prompt }] : prompt }];
  const read = await loadRows('--rows', rows);
  return read.map((row, i) => {
    if (typeof row.prompt === 'string' || Array.isArray(row.prompt)) return row as PromptRow;
    throw new CommandLineError(`--rows: row ${i + 1} has no prompt, a text or a list of messages.`);
  });
}
