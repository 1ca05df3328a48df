import { nearestName, PosttrainError } from '@posttrain/interfaces';

/** A safetensors file ends before the bytes its header promises. */
export class TruncatedFileError extends PosttrainError {
  constructor(path: string, expectedBytes: number, actualBytes: number) {
    super(
      'SAFETENSORS_TRUNCATED',
      `${path}: the file has ${actualBytes} bytes but its header needs ${expectedBytes}. ` +
        'It was probably not copied or downloaded completely; fetch it again.',
    );
  }
}

/** The header of a safetensors file, or a sharded index, cannot be what the format allows. */
export class InvalidHeaderError extends PosttrainError {
  constructor(path: string, problem: string, options?: ErrorOptions) {
    super('SAFETENSORS_INVALID_HEADER', `${path}: ${problem}`, options);
  }
}

/** The byte ranges of a safetensors header overlap, leave holes, or do not fit shape and dtype. */
export class InvalidOffsetsError extends PosttrainError {
  constructor(path: string, problem: string) {
    super('SAFETENSORS_INVALID_OFFSETS', `${path}: ${problem}`);
  }
}

/** A dtype that is unknown to the format, or that the engine has no type for. */
export class UnsupportedDTypeError extends PosttrainError {
  constructor(path: string, name: string, dtype: string, advice: string) {
    super('SAFETENSORS_UNSUPPORTED_DTYPE', `${path}: tensor "${name}" has dtype ${dtype}. ${advice}`);
  }
}

/** A value does not survive the conversion to the engine's dtype. */
export class DTypeConversionError extends PosttrainError {
  constructor(path: string, name: string, problem: string) {
    super('SAFETENSORS_CONVERSION', `${path}: tensor "${name}" ${problem}`);
  }
}

/** A tensor that was asked for is in none of the files. */
export class MissingTensorError extends PosttrainError {
  constructor(path: string, name: string, present: Iterable<string>) {
    const names = [...present];
    const near = nearestName(name, names) ?? commonSuffix(name, names);
    super(
      'SAFETENSORS_MISSING_TENSOR',
      `${path}: there is no tensor "${name}".${near ? ` Nearest name: "${near}".` : ''} ` +
        `The file has ${names.length} tensors${names.length > 0 ? `, the first being "${names[0]}"` : ''}.`,
    );
  }
}

/** A sharded index names a file that is not there. */
export class MissingShardError extends PosttrainError {
  constructor(indexPath: string, shards: readonly string[], options?: ErrorOptions) {
    super(
      'SAFETENSORS_MISSING_SHARD',
      `${indexPath}: names ${shards.length} file(s) that are not beside it: ${shards.join(', ')}. ` +
        'Copy or download the missing files into the same folder.',
      options,
    );
  }
}

/** What the caller handed over (data, shape, target buffer) does not fit together. */
export class InvalidTensorError extends PosttrainError {
  constructor(where: string, problem: string) {
    super('SAFETENSORS_INVALID_TENSOR', `${where}: ${problem}`);
  }
}

/** Prefixes (`model.`, `base_model.model.`) are the usual mistake, so a shared tail is worth naming. */
function commonSuffix(name: string, candidates: readonly string[]): string | undefined {
  return candidates.find((candidate) => candidate.endsWith(`.${name}`) || name.endsWith(`.${candidate}`));
}
