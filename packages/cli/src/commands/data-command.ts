import {
  type AnyStep,
  detectFormat,
  exactDeduplicate,
  pipeline,
  type Row,
  readDataset,
  validate,
  writeRows,
} from '@posttrain/data';
import { integer, oneOf, options, text } from '@posttrain/interfaces';
import type { DeclaredCommand } from './declared-command.js';

const FORMATS = [
  'language-modeling',
  'prompt-only',
  'prompt-completion',
  'preference',
  'implicit-preference',
  'unpaired-preference',
  'stepwise-supervision',
] as const;

const shape = {
  /** A file of rows (jsonl, json, csv, tsv, all also with .gz, parquet), a folder or a glob of them. */
  rows: text({}),
  /** The file that is written, whole or not at all, by its ending: jsonl, csv, tsv or parquet. Default: rows are looked at only. */
  output: text({ optional: true }),
  /** Which part of a folder. */
  split: oneOf(['train', 'validation', 'test'], { default: 'train' }),
  /** Take so many rows at most. Default: all. */
  limit: integer({ optional: true, min: 1 }),
  /** Refuse rows that are not of this format of TRL's. Default: what they are is said, and not asked for. */
  format: oneOf(FORMATS, { optional: true }),
  /** The column of which rows with a text that was there before are left out. Default: none. */
  deduplicate: text({ optional: true }),
};
const declared = options('data', shape);

export const dataCommand: DeclaredCommand<typeof shape> = {
  name: 'data',
  usage: 'ROWS [OUTPUT] [options]',
  about: 'Looks at rows, checks their format, and converts them from one kind of file to another.',
  declared,
  positionals: ['rows', 'output'],
  async run({ rows, output, split, limit, format, deduplicate }, { print }) {
    const formats = new Map<string, number>();
    let count = 0;
    async function* taken(): AsyncGenerator<Row> {
      for await (const row of readDataset(rows, { split })) {
        if (count === limit) return;
        count++;
        const kind = kindOf(row);
        formats.set(kind, (formats.get(kind) ?? 0) + 1);
        yield row;
      }
    }
    const steps: AnyStep[] = [
      ...(format ? [validate(format)] : []),
      ...(deduplicate === undefined ? [] : [exactDeduplicate({ text: deduplicate })]),
    ];
    const kept = pipeline<Row>(taken(), steps);
    let left = 0;
    async function* counted() {
      for await (const row of kept.rows) {
        left++;
        yield row;
      }
    }
    if (output === undefined) for await (const _ of counted());
    else await writeRows(output, counted());
    const kinds = [...formats].map(([kind, number]) => `${number} ${kind}`).join(', ');
    print(`${rows}: ${count} rows (${kinds || 'none'})\n`);
    if (output !== undefined) print(`${output}: ${left} rows\n`);
    else if (left !== count) print(`${left} are kept\n`);
    return 0;
  },
};

function kindOf(row: Row): string {
  try {
    const { format, conversational } = detectFormat(row);
    return conversational ? `${format}, conversational` : format;
  } catch {
    return 'of no format of TRL';
  }
}
