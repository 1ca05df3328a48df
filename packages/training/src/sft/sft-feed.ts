import { Key } from '@posttrain/core-tensor';
import { addSettings, type DecisiveSettings, OptionError, PosttrainError, settingsOf } from '@posttrain/interfaces';
import { collectRows } from '../run/collect-rows.js';
import { rowsIdentity } from '../run/identity.js';
import { RowOrder } from '../run/row-order.js';
import { isRowSource, type RowSource, rowsOfSource } from '../run/row-source.js';
import { packedStream } from './packed-stream.js';
import { type PackedRow, packRows } from './packing.js';
import type { SftSettings } from './sft-options.js';
import { type SftRow, type TokenizedRow, type TokenizedRows, tokenizeRows } from './tokenize-rows.js';

/** Rows of a source that are packed together, as `datasets` gives them to TRL. */
const PACKING_BUFFER = 1000;

/** What became of the rows. */
export type RowsReport = Omit<TokenizedRows, 'rows'> & { readonly trainedRows: number };

/** Where the rows of every update come from. */
export interface SftFeed {
  /** What decides a run of it: tokenizer, chat template and packing are in it. */
  readonly identity: DecisiveSettings;
  readonly report: RowsReport;
  /** Updates in an epoch; undefined where there are no epochs. */
  readonly stepsPerEpoch: number | undefined;
  /** @param step counted from 0 */
  take(step: number): Promise<readonly (TokenizedRow | PackedRow)[]>;
  /** All that the next rows depend on beside the step, as `RowSource` has it; undefined where there is nothing. */
  state?(): unknown;
  load?(state: unknown): void | Promise<void>;
}

/** The rows of a run of `sft`: from a list, or from a source that is asked anew. @throws OptionError, SftRowError, PosttrainError */
export const sftFeedOf = (settings: SftSettings & { readonly maxLength: number }): Promise<SftFeed> =>
  isRowSource(settings.rows) ? fromSource(settings.rows as RowSource<SftRow>, settings) : fromRows(settings);

async function fromRows(settings: SftSettings & { readonly maxLength: number }): Promise<SftFeed> {
  const { model, maxLength, batchSize, seed, packing, packingStrategy: strategy = 'bfd' } = settings;
  const { rows: given } = await collectRows('sft', settings.rows as Iterable<SftRow>, settings);
  const keepLong = packing && strategy !== 'bfd';
  const { rows: tokenized, ...counts } = tokenizeRows(model, given, { ...settings, keepLong });
  const rows = packing ? packRows(tokenized, maxLength, strategy) : tokenized;
  if (rows.length === 0) {
    const problem = `truncation to maxLength ${maxLength} leaves none of ${given.length} rows a trained token`;
    throw new PosttrainError('SFT_ROWS', `sft: no rows are left to train on: ${problem}`);
  }
  const order = new RowOrder(rows.length, seed);
  const stepsPerEpoch = Math.ceil(rows.length / batchSize);
  if (settings.sampling === 'poisson') checkPoisson(settings, rows.length);
  if (settings.packingBuffer !== undefined) {
    const what = Array.isArray(settings.rows) ? 'a list is' : 'an iterable is read whole, and its rows are';
    const problem = `packingBuffer is of rows of a source; ${what} packed all together. Leave it out, or stream the file: rows: await streamRows(file), of @posttrain/data.`;
    throw new OptionError('INVALID_OPTION', 'sft', 'packingBuffer', problem);
  }
  return {
    identity: rowsIdentity(rows),
    report: { ...counts, trainedRows: rows.length },
    stepsPerEpoch,
    async take(step) {
      if (settings.sampling === 'poisson') return drawn(rows, batchSize / rows.length, Key.fromSeed(seed).child(step));
      const [epoch, position] = [Math.floor(step / stepsPerEpoch), step % stepsPerEpoch];
      // The last batch of an epoch has the rows that are left.
      const size = Math.min(batchSize, rows.length - position * batchSize);
      const first = epoch * rows.length + position * batchSize;
      return Array.from({ length: size }, (_, i) => rows[order.at(first + i)]!);
    },
  };
}

function checkPoisson({ batchSize, update }: SftSettings, count: number): void {
  const wrong = (problem: string) =>
    new OptionError('INVALID_OPTION', 'sft', 'sampling', `sampling "poisson" ${problem}`);
  if (batchSize > count) throw wrong(`has a mean of ${batchSize} rows an update, but there are ${count}.`);
  if (update?.expectedBatchSize === batchSize) return;
  const has = update
    ? `${update.name} divides by ${update.expectedBatchSize ?? 'how many there are'}`
    : 'there is none';
  throw wrong(
    `needs an update that divides by batchSize, whatever is drawn: dpSgd({ …, expectedBatchSize: ${batchSize} }); ${has}.`,
  );
}

/** Poisson sampling: each row by itself, with the probability q. */
function drawn<Row>(rows: readonly Row[], q: number, key: Key): readonly Row[] {
  const uniforms = key.uniformHost(rows.length);
  return rows.filter((_, i) => uniforms[i]! < q);
}

async function fromSource(
  source: RowSource<SftRow>,
  settings: SftSettings & { readonly maxLength: number },
): Promise<SftFeed> {
  const { model, batchSize: count, seed, maxLength, packing, packingBuffer: buffer = PACKING_BUFFER } = settings;
  const wrong = (option: string, problem: string) => new OptionError('INVALID_OPTION', 'sft', option, problem);
  const noEpochs = `Rows of a source (${source.name}) have no epochs.`;
  if (settings.sampling === 'poisson') throw wrong('sampling', `sampling "poisson" draws from a list. ${noEpochs}`);
  if (settings.steps === undefined)
    throw wrong('steps', `steps is missing; say how many updates there are. ${noEpochs}`);
  if ((source.state === undefined) !== (source.load === undefined)) {
    throw wrong('rows', 'state() and load() come together: a resumed run would go on from something else.');
  }
  const identity: Record<string, DecisiveSettings[string]> = { maxLength, ...(packing && { packingBuffer: buffer }) };
  addSettings(identity, 'rows', settingsOf(source));
  const report = { truncated: 0, dropped: 0, retokenizedPrompts: 0, trainedRows: 0 };
  const { packingStrategy: strategy = 'bfd' } = settings;
  const keepLong = packing && strategy !== 'bfd';
  const tokenize = (given: readonly SftRow[], step: number): readonly TokenizedRow[] => {
    const { rows, truncated, dropped, retokenizedPrompts } = tokenizeRows(model, given, { ...settings, keepLong });
    report.truncated += truncated;
    report.dropped += dropped;
    report.retokenizedPrompts += retokenizedPrompts;
    if (rows.length > 0) return rows;
    const problem = `truncation to maxLength ${maxLength} leaves none of ${given.length} rows of the source a trained token`;
    throw new PosttrainError('SFT_ROWS', `sft, step ${step}: no rows are left to train on: ${problem}`);
  };
  const counted = <T>(rows: readonly T[]): readonly T[] => {
    report.trainedRows += rows.length;
    return rows;
  };
  const shared = { identity, report, stepsPerEpoch: undefined };
  if (packing) {
    const stream = packedStream(source, { buffer, capacity: maxLength, strategy, seed, tokenize });
    return { ...stream, ...shared, take: async (step) => counted(await stream.take(step, count)) };
  }
  return {
    ...shared,
    ...(source.state && { state: () => source.state!() }),
    ...(source.load && { load: (state) => source.load!(state) }),
    async take(step) {
      const given = await rowsOfSource('sft', source, { count, step, key: Key.fromSeed(seed).child(step) });
      return counted(
        tokenize(
          given.map(({ row }) => row),
          step,
        ),
      );
    },
  };
}
