import { stat } from 'node:fs/promises';
import { type Row, readDataset } from '@posttrain/data';
import { CausalLM, downloadDataset, type QuantizationOptions, resolveModelFolder } from '@posttrain/lm';
import { CommandLineError } from '../options/command-line-error.js';
import { camelKeys, isRecord } from '../options/names.js';

const HUB_NAME = /^[\w-][\w.-]*\/[\w.-]+$/;
/** What is meant as a file, so that one which is not there is not looked for on the hub. */
const FILE_NAME = /\.(?:jsonl?|ndjson|csv|tsv|txt|tar|parquet|arrow|feather|html?|pdf)(?:\.(?:gz|zst))?$/i;
const SPLITS = ['train', 'validation', 'test'] as const;

/** All rows of a file, a folder, a glob or a data set of the hub. @throws CommandLineError; what `readDataset` throws */
export async function loadRows(option: string, given: unknown): Promise<Row[]> {
  const { path, split = 'train', ...others } = isRecord(given) ? given : { path: given };
  const [unknown] = Object.keys(others);
  if (unknown !== undefined || typeof path !== 'string') {
    throw new CommandLineError(`${option}: must be a path, or path and split; ${unknown ?? 'path'} is none of them.`);
  }
  const chosen = SPLITS.find((one) => one === split);
  if (!chosen) throw new CommandLineError(`${option}: split must be one of ${SPLITS.join(', ')}.`);
  const isThere = await stat(path).then(
    () => true,
    () => false,
  );
  const source = !isThere && HUB_NAME.test(path) && !FILE_NAME.test(path) ? await downloadDataset(path) : path;
  const rows: Row[] = [];
  for await (const row of readDataset(source, { split: chosen })) rows.push(row);
  if (rows.length === 0) throw new CommandLineError(`${option}: ${path} has no rows.`);
  return rows;
}

/** A model by its folder or name, quantised as it is read where that is asked for. */
export async function loadModel(nameOrFolder: string, quantization?: unknown): Promise<CausalLM> {
  const folder = await resolveModelFolder(nameOrFolder);
  if (quantization === undefined) return CausalLM.load(folder);
  const how = isRecord(quantization) ? camelKeys(quantization) : { method: quantization };
  return CausalLM.load(folder, { quantization: quantizationOf(how as Readonly<Record<string, unknown>>) });
}

/** A method by `name` or `method`. */
export function quantizationOf({ name, ...options }: Readonly<Record<string, unknown>>): QuantizationOptions {
  return { ...(name !== undefined && { method: name }), ...options } as QuantizationOptions;
}
