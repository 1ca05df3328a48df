export {
  DataFileError,
  DataOptionError,
  DataStepError,
  type FileLocation,
  RowError,
  TaskExhaustedError,
} from './errors.js';
export { type WriteSummary, writeFileAtomically } from './io/atomic-file.js';
export { type ReadCsvOptions, readCsv, type WriteCsvOptions, writeCsv } from './io/csv.js';
export { readRows, writeRows } from './io/files.js';
export { readJson } from './io/json.js';
export { type ReadJsonlOptions, readJsonl, writeJsonl } from './io/jsonl.js';
export { type ReadParquetOptions, readParquet, type WriteParquetOptions, writeParquet } from './io/parquet.js';
export { inferParquetSchema, type ParquetColumnType, type ParquetSchema } from './io/parquet-schema.js';
export {
  type DataStep,
  formatReport,
  type Pipeline,
  type PipelineOptions,
  pipeline,
  type StepContext,
  type StepReport,
} from './pipeline.js';
export { createRandom, philox4x32, type Random } from './random.js';
export type { Row, RowSource } from './rows.js';
export { canonicalJson, hashFraction } from './stable-hash.js';
export { type FilterVerdict, filter } from './steps/filter.js';
export { type MapOptions, map } from './steps/map.js';
export { type ShuffleOptions, shuffle } from './steps/shuffle.js';
export { type SplitName, type SplitRule, split, splitOf } from './steps/split.js';
export { take } from './steps/take.js';
