import { readdir, stat } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { type Given, options, text } from '@posttrain/interfaces';
import { assertPath, DataFileError } from '../errors.js';
import type { Row } from '../rows.js';
import { type CardConfig, chosenConfig, readCardConfigs } from './dataset-card.js';
import { isReadable, isRowFile, isTextFile, readRows } from './files.js';

const dataFilesOptions = options('dataFiles', {
  /** Which part of the data set, as its README.md says, or else the names of its files and folders. Default `train`. */
  split: text({ default: 'train' }),
  /** Which configuration of its README.md. Default: that called `default`, or marked so, or the only one. */
  config: text({ optional: true }),
});
/** Options of `dataFiles` and `readDataset`. */
export type DataFilesOptions = Given<typeof dataFilesOptions>;

/** The words by which the `datasets` library knows the split of a file. */
const SPLIT_WORDS = {
  train: ['train', 'training'],
  validation: ['validation', 'valid', 'dev', 'val'],
  test: ['test', 'testing', 'eval', 'evaluation'],
} as const;

type Split = keyof typeof SPLIT_WORDS;

/** The split that a path names: a word between anything but letters (`test1.jsonl` is of `test`), in the file's name or in a folder's. */
function splitOf(path: string): Split | undefined {
  const words = path.toLowerCase().split(/[^a-z]+/);
  const found = (Object.keys(SPLIT_WORDS) as Split[]).filter((split) =>
    SPLIT_WORDS[split].some((word) => words.includes(word)),
  );
  // The last word says it: of train/test.jsonl it is the file's.
  return found.sort((a, b) => lastOf(words, a) - lastOf(words, b)).at(-1);
}

const lastOf = (words: readonly string[], split: Split): number =>
  Math.max(...SPLIT_WORDS[split].map((word) => words.lastIndexOf(word)));

/** A glob as a regular expression of the whole path: `*`, `?` and `[0-9]` or `[!0-9]` within a folder, `**` across folders, `{a,b}`. */
function patternOf(glob: string): RegExp {
  const parts = glob.split(/(\*\*\/|\*\*|\*|\?|\{[^{}/]*\}|\[[!^]?\]?[^\]/]*\])/);
  const source = parts.map((part) => {
    if (part === '**/') return '(?:[^/]+/)*';
    if (part === '**') return '.*';
    if (part === '*') return '[^/]*';
    if (part === '?') return '[^/]';
    if (/^\[.+\]$/.test(part)) return characterClass(glob, part);
    if (part.startsWith('{') && part.endsWith('}')) {
      return `(?:${part.slice(1, -1).split(',').map(escaped).join('|')})`;
    }
    return escaped(part);
  });
  return new RegExp(`^${source.join('')}$`);
}

/** `[0-9_]` as a regular expression: a character of a set, or with `!` or `^` in front of none of it, and no `/`. */
function characterClass(glob: string, part: string): string {
  const negated = /^\[[!^]/.test(part);
  const set = part.slice(negated ? 2 : 1, -1).replace(/[\\\]^[]/g, '\\$&');
  const source = `(?!/)[${negated ? '^' : ''}${set}]`;
  try {
    new RegExp(source);
  } catch {
    throw new DataFileError({ path: glob }, `"${part}" is no set of characters, such as [0-9].`);
  }
  return source;
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
const isGlob = (path: string): boolean => /[*?{]|\[[^\]/]+\]/.test(path);
/** Hidden files and folders, and those that begin with `_`, are no data, as in the `datasets` library. */
const isHidden = (path: string): boolean => path.split('/').some((part) => /^[._]./.test(part));

async function filesBelow(folder: string, recursive = true): Promise<string[]> {
  let entries: string[];
  try {
    entries = await readdir(folder, { recursive });
  } catch (cause) {
    throw new DataFileError({ path: folder }, 'cannot be read as a folder.', { cause });
  }
  return entries.map((path) => path.split(sep).join('/')).sort();
}

/** The files that a glob matches, in the order of their names. */
async function globbed(glob: string): Promise<string[]> {
  const path = glob.split(sep).join('/');
  const fixed = path.slice(0, path.search(/[*?{[]/));
  const folder = fixed.includes('/') ? fixed.slice(0, fixed.lastIndexOf('/') + 1) : './';
  const below = path.startsWith(folder) ? path.slice(folder.length) : path;
  const pattern = patternOf(below);
  // What is in other folders need not be readable.
  const found = (await filesBelow(folder, /\/|\*\*/.test(below))).filter((one) => pattern.test(one) && !isHidden(one));
  const files = found.filter(isReadable).map((one) => join(folder, one));
  if (files.length > 0) return files;
  const others = found.length > 0 ? ` It matches ${found.length} files that are none of rows.` : '';
  throw new DataFileError({ path: glob }, `no file of rows matches.${others}`);
}

/**
 * The files of a data set, sorted: of a file itself, of a glob (`shards/*.jsonl.gz`, `data/**`) all that it matches, of a folder
 * those of the split. A folder is laid out as the `datasets` library has it (a download of the hub, `data/train-00000-of-00002.parquet`):
 * `configs` in the front matter of its README.md name the files of each split; without them the split is a word in the name of a file or
 * of its folder, and files without one are of `train`.
 *
 * @throws DataFileError where nothing is found, which says what there is; OptionError
 */
export async function dataFiles(source: string, given: DataFilesOptions = {}): Promise<string[]> {
  const { split, config } = dataFilesOptions.read(given);
  assertPath(source);
  const found = await stat(source).catch(() => undefined);
  if (found?.isFile()) return [source];
  if (!found?.isDirectory()) {
    if (isGlob(source)) return globbed(source);
    const hint = /^[\w.-]+\/[\w.-]+$/.test(source)
      ? ' For a data set of the hub: readDataset(await downloadDataset(name)), of @posttrain/lm.'
      : '';
    throw new DataFileError({ path: source }, `there is no such file or folder.${hint}`);
  }
  const all = (await filesBelow(source)).filter((path) => !isHidden(path) && !isMetadata(path));
  const chosen = chosenConfig(source, await readCardConfigs(source), config);
  if (chosen?.splits !== undefined) return filesOfCard(source, all, chosen, split);
  const below =
    chosen?.folder === undefined ? '' : `${chosen.folder.replace(/^\.?\/|\/$/g, '')}/`.replace(/^\.?\//, '');
  const rowFiles = all.filter((path) => isRowFile(path) && path.startsWith(below));
  // Texts beside other files are notes on them.
  const others = rowFiles.filter((path) => !isTextFile(path));
  return filesOfWords(source, others.length > 0 ? others : rowFiles, split);
}

/** The files that a configuration names. */
function filesOfCard(source: string, all: readonly string[], { name, splits }: CardConfig, split: string): string[] {
  const patterns = splits!.get(split);
  if (patterns === undefined) {
    const there = [...splits!.keys()].join(', ');
    throw new DataFileError(
      { path: source },
      `has no split "${split}" in the configuration "${name}". It has ${there}.`,
    );
  }
  const files = patterns.flatMap((pattern) => {
    const matches = patternOf(pattern.replace(/^\.\//, ''));
    const found = all.filter((path) => matches.test(path));
    const other = found.find((path) => !isReadable(path));
    if (other !== undefined)
      throw new DataFileError({ path: join(source, other) }, 'is named by README.md, but is no file of rows.');
    if (found.length > 0) return found;
    throw new DataFileError({ path: source }, `README.md names "${pattern}", but no such file is there.`);
  });
  return [...new Set(files)].map((path) => join(source, path));
}

/** The files whose names say the split. */
function filesOfWords(source: string, all: readonly string[], split: string): string[] {
  const files = all.filter((path) => (splitOf(path) ?? 'train') === split);
  if (files.length > 0) return files.map((path) => join(source, path));
  const splits = [...new Set(all.map((path) => splitOf(path) ?? 'train'))].sort();
  const there =
    all.length === 0
      ? 'It has no files of rows.'
      : `Of its ${all.length} files of rows all are of ${splits.join(', ')}.`;
  throw new DataFileError({ path: source }, `has no files of the split "${split}". ${there}`);
}

/** JSON beside the data that is not data. */
const isMetadata = (path: string): boolean =>
  ['dataset_infos.json', 'dataset_info.json', 'state.json'].includes(basename(path));

/**
 * The rows of a data set, file by file: of a file, a folder, a glob (see `dataFiles`). Memory holds what the reader of a file holds.
 *
 * @throws DataFileError, OptionError
 */
export async function* readDataset(source: string, given: DataFilesOptions = {}): AsyncGenerator<Row> {
  for (const file of await dataFiles(source, given)) yield* readRows(file);
}

/** Names of files below what they have in common, for messages and identities. */
export const namesOf = (files: readonly string[], base: string): string[] =>
  files.map((file) =>
    file === base
      ? basename(file)
      : relative(isGlob(base) ? '.' : base, file)
          .split(sep)
          .join('/'),
  );
