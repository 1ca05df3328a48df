import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isPlainObject, nearestName } from '@posttrain/interfaces';
import { parse, stringify } from 'yaml';
import { DataFileError, messageOf } from '../errors.js';
import type { ParquetColumnType, ParquetSchema } from './parquet/write-schema.js';

/** The files of a configuration: globs below the folder for each split, in order. */
export interface CardConfig {
  readonly name: string;
  /** `undefined` where the names of files say the split. */
  readonly splits: ReadonlyMap<string, readonly string[]> | undefined;
  readonly folder: string | undefined;
  readonly isDefault: boolean;
}

/**
 * The `configs` of the front matter of a data set's README.md (huggingface.co/docs/hub/datasets-manual-configuration); none where there is no
 * such file, or it has none. @throws DataFileError for what cannot be read as that
 */
export async function readCardConfigs(folder: string): Promise<readonly CardConfig[]> {
  const path = join(folder, 'README.md');
  const text = await readFile(path, 'utf8').catch(() => '');
  const front = /^\uFEFF?---\r?\n([\s\S]*?)\r?\n---\s*(?:\r?\n|$)/.exec(text)?.[1];
  if (front === undefined) return [];
  let card: unknown;
  try {
    card = parse(front);
  } catch (cause) {
    throw new DataFileError({ path }, `its front matter is no YAML: ${messageOf(cause)}`, { cause });
  }
  const configs = isPlainObject(card) ? (card.configs ?? []) : [];
  const wrong = (what: string) => new DataFileError({ path }, `"configs" of the front matter ${what}.`);
  if (!Array.isArray(configs)) throw wrong('must be a list');
  return configs.map((config: unknown, i): CardConfig => {
    if (!isPlainObject(config)) throw wrong(`has no object at place ${i + 1}`);
    const { config_name: name = 'default', data_files: files, data_dir: below, default: isDefault = false } = config;
    if (typeof name !== 'string') throw wrong(`has a config_name at place ${i + 1} that is no text`);
    const splits = files === undefined || files === null ? undefined : patternsOf(files);
    if (splits === null)
      throw wrong(`has data_files of "${name}" that are neither paths nor a list of { split, path }`);
    for (const pattern of [...(splits?.values() ?? [])].flat()) {
      if (/^[a-z]+:\/\//i.test(pattern)) {
        throw wrong(`names "${pattern}", which is not in the folder; download it, and name the copy`);
      }
      if (pattern.split('/').includes('..')) throw wrong(`names "${pattern}", which leads out of the folder`);
    }
    return { name, splits, folder: typeof below === 'string' ? below : undefined, isDefault: isDefault === true };
  });
}

function patternsOf(files: unknown): Map<string, string[]> | null {
  const list: unknown[] = Array.isArray(files) ? files : [files];
  if (list.every((one) => typeof one === 'string')) return new Map([['train', list as string[]]]);
  const splits = new Map<string, string[]>();
  for (const one of list) {
    if (!isPlainObject(one) || typeof one.split !== 'string') return null;
    const paths: unknown[] = Array.isArray(one.path) ? one.path : [one.path];
    if (!paths.every((path) => typeof path === 'string')) return null;
    splits.set(one.split, [...(splits.get(one.split) ?? []), ...(paths as string[])]);
  }
  return splits;
}

/** The configuration of a name; without one, that called `default`, the one marked as such, or the only one. */
export function chosenConfig(
  folder: string,
  configs: readonly CardConfig[],
  name: string | undefined,
): CardConfig | undefined {
  const names = configs.map((config) => config.name);
  if (name !== undefined) {
    const found = configs.find((config) => config.name === name);
    if (found !== undefined) return found;
    const near = nearestName(name, names);
    const there = names.length === 0 ? 'README.md names none' : `it has ${names.join(', ')}`;
    throw new DataFileError(
      { path: folder },
      `has no configuration "${name}": ${there}.${near ? ` Did you mean "${near}"?` : ''}`,
    );
  }
  if (configs.length <= 1) return configs[0];
  const fallback = configs.find(({ isDefault }) => isDefault) ?? configs.find((config) => config.name === 'default');
  if (fallback !== undefined) return fallback;
  throw new DataFileError({ path: folder }, `has several configurations; name one with "config": ${names.join(', ')}.`);
}

/** What is known of a split that was written. */
export interface WrittenSplit {
  readonly name: string;
  readonly rows: number;
  readonly bytes: number;
}

/** The README.md of a data set of Parquet files below `data/`, as `datasets` writes it. */
export function datasetCard(config: string, schema: ParquetSchema, splits: readonly WrittenSplit[]): string {
  const bytes = splits.reduce((sum, split) => sum + split.bytes, 0);
  const front = {
    dataset_info: {
      config_name: config,
      features: featuresOf(schema),
      splits: splits.map(({ name, rows, bytes }) => ({ name, num_bytes: bytes, num_examples: rows })),
      download_size: bytes,
      dataset_size: bytes,
    },
    configs: [{ config_name: config, data_files: splits.map(({ name }) => ({ split: name, path: `data/${name}-*` })) }],
  };
  return `---\n${stringify(front)}---\n`;
}

const DTYPES: Readonly<Record<Exclude<ParquetColumnType, object>, string>> = {
  string: 'string',
  int64: 'int64',
  double: 'float64',
  boolean: 'bool',
  timestamp: 'timestamp[ms, tz=UTC]',
  binary: 'binary',
};

const featuresOf = (schema: ParquetSchema): object[] =>
  Object.entries(schema).map(([name, type]) => ({ name, ...featureOf(type) }));

function featureOf(type: ParquetColumnType): object {
  if (typeof type === 'string') return { dtype: DTYPES[type] };
  if ('struct' in type) return { struct: featuresOf(type.struct) };
  const { list } = type;
  if (typeof list === 'string') return { list: DTYPES[list] };
  return 'struct' in list ? { list: featuresOf(list.struct) } : { list: featureOf(list) };
}
