import { access } from 'node:fs/promises';
import {
  custom,
  type DecisiveSettings,
  type Given,
  integer,
  number,
  type OnProgress,
  OptionError,
  oneOf,
  options,
  text,
} from '@posttrain/interfaces';
import { type Adapter, type CausalLM, contextOf, NO_ADAPTER, sequenceLogProbs, type TextModel } from '@posttrain/lm';
import { isRows, ROWS, type Rows, rowsHint } from '../run/collect-rows.js';
import { adapterIdentity, modelIdentity } from '../run/identity.js';
import { type DistillRow, distillPrompt } from './distill-rows.js';
import { refuseOther, TeacherFile, type TeacherFileHeader, TeacherFileWriter } from './teacher-file.js';
import { writeRecord } from './top-k-record.js';
import { refuseOtherVocabulary } from './vocabularies.js';

const storeOptions = options('storeTeacherTopK', {
  teacher: custom<CausalLM>()(
    'a CausalLM (await CausalLM.load(folder) reads one)',
    (value) => typeof value === 'object' && value !== null && 'network' in value && 'weights' in value,
    {},
  ),
  /** Of the teacher. Default: none. */
  adapter: custom<Adapter>()('an adapter', (value) => typeof value === 'object' && value !== null && 'hooks' in value, {
    optional: true,
  }),
  /** Whose tokenizer and chat template make tokens of the rows: the student. Default: the teacher. */
  student: custom<TextModel>()(
    'a model',
    (value) => typeof value === 'object' && value !== null && 'tokenizer' in value,
    {
      optional: true,
    },
  ),
  /** Rows of `distill`, with a completion each; read one after the other, so that they may be more than fit into memory. */
  rows: custom<Rows<DistillRow>>()(ROWS, isRows, { hint: rowsHint }),
  /** The file to write. */
  file: text({}),
  /** How many tokens of each distribution. */
  k: integer({ min: 1 }),
  /** Divides the teacher's logits; `distill` then wants the same `divergenceTemperature`. Default 1. */
  temperature: number({ default: 1, above: 0 }),
  /**
   * How log-probabilities are written: in float16 their error is below 2⁻¹¹ of each, and their sum is kept exactly; in float32 there is
   * none. Default `float16`.
   */
  logProbs: oneOf(['float16', 'float32'], { default: 'float16' }),
  /** Most tokens of prompt and completion, as in `distill`. Default: the teacher's context, at most 1024. */
  maxLength: integer({ optional: true, min: 2 }),
  /** Rows that are scored and written together. Default 32. */
  batchSize: integer({ default: 32, min: 1 }),
  /** Most tokens, padding included, that one pass holds. Default 4096. */
  maxTokensPerPass: integer({ default: 4096, min: 1 }),
  /** Stops between batches; what is whole stays, and the next call goes on from it. */
  signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, { optional: true }),
  onProgress: custom<OnProgress>()('a function', (value) => typeof value === 'function', { optional: true }),
});

/** Options of `storeTeacherTopK`. */
export type StoreTeacherTopKOptions = Given<typeof storeOptions>;

/**
 * Runs a teacher once over a data set and writes its k most likely tokens at every prediction, with their log-probabilities, to a file:
 * `await distill({ teacher: await storeTeacherTopK({ teacher, rows, file, k: 64 }), rows, lmbda: 0, … })` trains on it, as often as one
 * likes and where the teacher does not fit. A prediction takes 4 k + 4 bytes (float16, vocabularies of at most 65,536 tokens), where its
 * logits would take 4 bytes a token of the vocabulary.
 *
 * The file appears when it is whole. A call that was killed leaves `FILE.partial`, and the same call goes on from there; a file that is
 * whole and of the same teacher is opened and not written again. Its header has the digest of the teacher and all settings.
 *
 * @throws OptionError, DistillRowError, TeacherFileError, FileError; the reason of the signal
 */
export async function storeTeacherTopK(given: StoreTeacherTopKOptions): Promise<TeacherFile> {
  const settings = storeOptions.read(given);
  const {
    teacher,
    adapter = NO_ADAPTER,
    student = teacher,
    file,
    k,
    temperature,
    logProbs,
    batchSize,
    signal,
  } = settings;
  const { vocabSize } = teacher.config;
  if (k > vocabSize) {
    const problem = `k is ${k}, and the teacher's vocabulary has ${vocabSize} tokens.`;
    throw new OptionError('INVALID_OPTION', 'storeTeacherTopK', 'k', problem);
  }
  refuseOtherVocabulary('storeTeacherTopK', teacher, student);
  const maxLength = settings.maxLength ?? Math.min(1024, contextOf(teacher.config, adapter));
  const identity: DecisiveSettings = {
    ...(await modelIdentity(teacher)),
    ...(await adapterIdentity('adapter', adapter)),
  };
  const header: TeacherFileHeader = {
    ...{ k, idBytes: vocabSize <= 65_536 ? 2 : 4, logProbs, vocabSize, temperature },
    teacher: identity,
  };
  const isWhole = await access(file).then(
    () => true,
    () => false,
  );
  if (isWhole) {
    const known = await TeacherFile.open(file);
    try {
      refuseOther(file, known.header, header);
      return known;
    } catch (error) {
      await known.close();
      throw error;
    }
  }
  const writer = await TeacherFileWriter.open(file, header);
  let isDone = false;
  try {
    let batch: (readonly number[])[] = [];
    const flush = async () => {
      signal?.throwIfAborted();
      if (batch.length === 0) return;
      const { maxTokensPerPass } = settings;
      const scored = await sequenceLogProbs(teacher, batch, { adapter, temperature, maxTokensPerPass, topLogProbs: k });
      await writer.append(batch.map((tokens, i) => writeRecord(header, tokens, scored[i]!.topLogProbs!)));
      batch = [];
      settings.onProgress?.({ stage: 'storeTeacherTopK', done: writer.count });
    };
    let index = 0;
    let isResuming = true;
    for await (const row of settings.rows as AsyncIterable<DistillRow>) {
      const { tokens } = distillPrompt(student, row, index++, { maxLength, needsData: true }).data!;
      if (isResuming) isResuming = await writer.has(tokens);
      if (isResuming) continue;
      batch.push(tokens);
      if (batch.length === batchSize) await flush();
    }
    await flush();
    if (index === 0) {
      throw new OptionError('INVALID_OPTION', 'storeTeacherTopK', 'rows', 'rows: there are no rows to store.');
    }
    await writer.finish();
    isDone = true;
  } finally {
    if (!isDone) await writer.close();
  }
  return TeacherFile.open(file);
}
