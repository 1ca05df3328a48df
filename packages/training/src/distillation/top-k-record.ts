import { float16ToFloat32, float32ToFloat16 } from '@posttrain/core-tensor';
import type { TokenLogProb } from '@posttrain/interfaces';
import { crc32c } from '../tracking/crc32c.js';

/** How numbers of a file of top-k distributions are written. */
export interface TopKLayout {
  readonly k: number;
  /** Of an id: 2 where every id of the vocabulary fits, else 4. */
  readonly idBytes: 2 | 4;
  readonly logProbs: 'float16' | 'float32';
}

/** The annotations that a `TopKTeacher` of the readout `divergence` reads. */
export type TopKAnnotations = Readonly<{ teacher_ids: Int32Array; teacher_log_probs: Float32Array }>;

/** Predictions, checksum of the tokens, checksum of the numbers: uint32 each. */
export const RECORD_HEADER = 12;

/** Bytes of a record, its header included. In float16 every prediction has one number more: log Σp of its k tokens, in float32. */
export const recordBytes = ({ k, idBytes, logProbs }: TopKLayout, predictions: number): number =>
  RECORD_HEADER + predictions * (k * (idBytes + (logProbs === 'float16' ? 2 : 4)) + (logProbs === 'float16' ? 4 : 0));

/** A checksum by which a record knows whose it is. */
export function tokensChecksum(tokens: readonly number[]): number {
  const words = Int32Array.from(tokens);
  return crc32c(new Uint8Array(words.buffer));
}

const logSumExp = (values: Float32Array): number => {
  let sum = 0;
  for (const value of values) sum += Math.exp(value);
  return Math.log(sum);
};

/** The record of a sequence: the k most likely tokens at each of its predictions. */
export function writeRecord(
  layout: TopKLayout,
  tokens: readonly number[],
  top: readonly (readonly TokenLogProb[])[],
): Uint8Array {
  const { k, idBytes } = layout;
  const bytes = new Uint8Array(recordBytes(layout, top.length));
  const view = new DataView(bytes.buffer);
  let at = RECORD_HEADER;
  for (const { tokenId } of top.flat()) {
    if (idBytes === 2) view.setUint16(at, tokenId, true);
    else view.setUint32(at, tokenId, true);
    at += idBytes;
  }
  const logProbs = Float32Array.from(top.flat(), ({ logProb }) => logProb);
  if (layout.logProbs === 'float32') {
    for (const value of logProbs) {
      view.setFloat32(at, value, true);
      at += 4;
    }
  } else {
    for (const bits of float32ToFloat16(logProbs)) {
      view.setUint16(at, bits, true);
      at += 2;
    }
    for (let t = 0; t < top.length; t++) {
      view.setFloat32(at, logSumExp(logProbs.subarray(t * k, (t + 1) * k)), true);
      at += 4;
    }
  }
  view.setUint32(0, top.length, true);
  view.setUint32(4, tokensChecksum(tokens), true);
  view.setUint32(8, crc32c(bytes.subarray(RECORD_HEADER)), true);
  return bytes;
}

/** What a record says of itself. */
export function readRecordHeader(bytes: Uint8Array): {
  readonly predictions: number;
  readonly tokens: number;
  readonly checksum: number;
} {
  const view = new DataView(bytes.buffer, bytes.byteOffset, RECORD_HEADER);
  return {
    predictions: view.getUint32(0, true),
    tokens: view.getUint32(4, true),
    checksum: view.getUint32(8, true),
  };
}

/** The numbers of a record, or undefined where its checksum is not theirs. */
export function readRecord(layout: TopKLayout, bytes: Uint8Array): TopKAnnotations | undefined {
  const { k, idBytes } = layout;
  const { predictions, checksum } = readRecordHeader(bytes);
  if (crc32c(bytes.subarray(RECORD_HEADER)) !== checksum) return undefined;
  const count = predictions * k;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ids = Int32Array.from({ length: count }, (_, i) => {
    const at = RECORD_HEADER + i * idBytes;
    return idBytes === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
  });
  const from = RECORD_HEADER + count * idBytes;
  if (layout.logProbs === 'float32') {
    const exact = Float32Array.from({ length: count }, (_, i) => view.getFloat32(from + 4 * i, true));
    return { teacher_ids: ids, teacher_log_probs: exact };
  }
  const rounded = float16ToFloat32(Uint16Array.from({ length: count }, (_, i) => view.getUint16(from + 2 * i, true)));
  // Rounding would make the tail, 1 - Σp, another one, or less than nothing: the sum is put back to what it was.
  for (let t = 0; t < predictions; t++) {
    const own = rounded.subarray(t * k, (t + 1) * k);
    const shift = view.getFloat32(from + 2 * count + 4 * t, true) - logSumExp(own);
    own.forEach((value, i) => {
      own[i] = value + shift;
    });
  }
  return { teacher_ids: ids, teacher_log_probs: rounded };
}
