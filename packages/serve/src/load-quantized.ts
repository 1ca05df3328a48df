import { readFile } from 'node:fs/promises';
import { CausalLM } from '@posttrain/lm';
import { ArgumentsError, type ServeQuantization } from './serve-arguments.js';

/** The model of a folder, quantised as the command was asked to. @throws ArgumentsError for a file without rows; what `CausalLM` throws */
export async function loadQuantized(folder: string, quantization?: ServeQuantization): Promise<CausalLM> {
  if (!quantization) return CausalLM.load(folder);
  if (!('calibration' in quantization)) return CausalLM.load(folder, { quantization });
  const { method, calibration } = quantization;
  const model = await CausalLM.load(folder);
  return model.quantize({ method, rows: await calibrationRows(calibration, model) });
}

/** Token ids of the texts of a file, one a line, cut to the model's context. @throws ArgumentsError */
async function calibrationRows(path: string, { tokenizer, config }: CausalLM): Promise<number[][]> {
  const refuse = (problem: string): never => {
    throw new ArgumentsError(`--calibration ${path}: ${problem}`);
  };
  const content = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) =>
    refuse(error.code === 'ENOENT' ? 'there is no such file.' : error.message),
  );
  const lines = content.split(/\r?\n/).filter((line) => line.trim() !== '');
  const texts = path.endsWith('.jsonl')
    ? lines.map((line, i) => textOf(line) ?? refuse(`line ${i + 1} has no "text".`))
    : lines;
  const rows = texts.map((text) => tokenizer.encode(text).slice(0, config.maxPositionEmbeddings));
  const filled = rows.filter((row) => row.length > 0);
  return filled.length > 0 ? filled : refuse('it has no text.');
}

function textOf(line: string): string | undefined {
  try {
    const { text } = JSON.parse(line) as { readonly text?: unknown };
    return typeof text === 'string' ? text : undefined;
  } catch {
    return undefined;
  }
}
