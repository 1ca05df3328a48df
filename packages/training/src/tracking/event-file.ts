import { crc32c } from './crc32c.js';

/** One event of a TensorBoard file, with the fields of TensorFlow's `Event` that scalars need. */
export interface ScalarEvent {
  /** Seconds since 1970. */
  readonly wallTime: number;
  readonly step?: number;
  /** Of the first event of a file: `brain.Event:2`. */
  readonly fileVersion?: string;
  /** A run goes on at this step: what earlier files have from it on is to be forgotten. */
  readonly isRestart?: boolean;
  readonly scalars?: Readonly<Record<string, number>>;
}

/** Protocol buffers' wire types. */
const [VARINT, FIXED64, BYTES, FIXED32] = [0, 1, 2, 5];

/**
 * An event as a protocol buffer, fields in the order of their numbers: `Event { wall_time = 1, step = 2, file_version = 3,
 * summary = 5, session_log = 7 }`, `Summary.Value { tag = 1, simple_value = 2 }`, `SessionLog { status = 1 }`.
 */
export function encodeEvent({ wallTime, step = 0, fileVersion, isRestart, scalars }: ScalarEvent): Buffer {
  const values = Object.entries(scalars ?? {}).map(([tag, value]) =>
    bytesField(1, Buffer.concat([bytesField(1, Buffer.from(tag)), field(2, FIXED32, float(value))])),
  );
  return Buffer.concat([
    field(1, FIXED64, double(wallTime)),
    // 0 is what a reader takes for a step that is not there.
    ...(step === 0 ? [] : [field(2, VARINT, varint(step))]),
    ...(fileVersion === undefined ? [] : [bytesField(3, Buffer.from(fileVersion))]),
    ...(scalars === undefined ? [] : [bytesField(5, Buffer.concat(values))]),
    // SessionLog.START
    ...(isRestart ? [bytesField(7, field(1, VARINT, varint(1)))] : []),
  ]);
}

/**
 * A record of a TFRecord file: length (uint64), masked CRC-32C of the length, data, masked CRC-32C of the data; all
 * little-endian.
 */
export function tfRecord(data: Uint8Array): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(data.length));
  return Buffer.concat([length, maskedCrc(length), data, maskedCrc(data)]);
}

/** TFRecord's mask, so that a CRC over data that contains CRCs stays one: rotated right by 15 bits, plus a constant. */
function maskedCrc(bytes: Uint8Array): Buffer {
  const crc = crc32c(bytes);
  const masked = ((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) >>> 0;
  const out = Buffer.alloc(4);
  out.writeUInt32LE(masked);
  return out;
}

const field = (number: number, wireType: number, value: Uint8Array): Buffer =>
  Buffer.concat([varint(number * 8 + wireType), value]);

const bytesField = (number: number, value: Uint8Array): Buffer =>
  field(number, BYTES, Buffer.concat([varint(value.length), value]));

/** 7 bits a byte, the lowest first; the top bit says that more follow. Of integers from 0 to 2^53. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

function double(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeDoubleLE(value);
  return out;
}

function float(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeFloatLE(value);
  return out;
}
