import { custom, text } from '@posttrain/interfaces';

const isFolder = (value: unknown): boolean => typeof value === 'string' && value !== '';

/** Options of the commands that show a training. */
export const runShape = {
  /** The output folder of a training, with metrics.jsonl. */
  run: text({}),
  /** Output folders of other trainings, `a` or `[a, b]`, that are compared with it; runs that differ in their seeds only are one arm. Default: none. */
  with: custom<string | readonly string[]>()(
    'a folder, or a list of folders',
    (value) => isFolder(value) || (Array.isArray(value) && value.every(isFolder)),
    { default: [] },
  ),
};

/** The folders of `--with`. */
export const foldersOf = (value: string | readonly string[]): readonly string[] =>
  typeof value === 'string' ? [value] : value;
