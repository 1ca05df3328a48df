import { PosttrainError } from '@posttrain/interfaces';
import type { TensorData } from '../io/tensor-data.js';
import { showShape, sizeOf } from '../shape.js';

/** A weight [out, in] as plain numbers, row-major. */
export interface FloatMatrix {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A weight that cannot be quantised, or codes that do not fit what they are said to be. */
export class QuantizationError extends PosttrainError {
  constructor(what: string, message: string) {
    super('QUANTIZATION', `${what}: ${message}`);
  }
}

/** How 4-bit codes of a table of 16 levels (NF4, FP4) are laid out. */
export interface FourBitFormat {
  readonly method: 'nf4' | 'fp4';
  /** [out, in]. */
  readonly shape: readonly number[];
  /** Consecutive elements, across rows, that share one scale. */
  readonly blockSize: number;
  readonly doubleQuantization: boolean;
}

/** How LLM.int8() weights are laid out. */
export interface Int8Format {
  readonly method: 'int8';
  /** [out, in]. */
  readonly shape: readonly number[];
  /** Feature columns in which some |x| reaches it are multiplied as floats. */
  readonly threshold: number;
}

/** How 4-bit integers with a scale a block are laid out: the B operand of ONNX Runtime's MatMulNBits. */
export interface Int4Format {
  readonly method: 'int4';
  /** [out, in]. */
  readonly shape: readonly number[];
  /** Elements of a row that share one scale; the last block of a row is padded to it. */
  readonly blockSize: number;
  /** Whether every block's zero is code 8; otherwise each has a zero point of its own. */
  readonly symmetric: boolean;
  /** What a product rounds its inputs to: see `Int4Activations`. */
  readonly activations: Int4Activations;
}

/**
 * How a product reads its inputs x beside 4-bit weights. `float32`: as they are. `int8`: each block of a row of x rounded
 * to multiples of its largest |x| / 127 first, as llama.cpp does beside Q4_0 and ONNX Runtime at accuracy level 4.
 */
export type Int4Activations = (typeof INT4_ACTIVATIONS)[number];
/** What products with an int4 weight may round their inputs to. */
export const INT4_ACTIVATIONS = ['float32', 'int8'] as const;

/** What a quantised weight is, without its numbers: plain JSON data. */
export type QuantizedFormat = FourBitFormat | Int8Format | Int4Format;

/** The tensors of a 4-bit weight. */
export interface FourBitParts<T> {
  /** uint8 [ceil(size / 2), 1]: two codes a byte, the earlier element in the high half. */
  readonly codes: T;
  /** float32 [blocks]; with double quantisation uint8 [blocks], codes of the 8-bit dynamic map. */
  readonly absmax: T;
  /** float32 [ceil(blocks / 256)]: the scales of the scales. */
  readonly nestedAbsmax?: T;
  /** float32 []: the mean of the scales, which was taken off before they were quantised. */
  readonly nestedOffset?: T;
}

/** The tensors of an int8 weight. */
export interface Int8Parts<T> {
  /** uint8 [in, out]: the signed code plus 128, transposed, as integer products read it. */
  readonly codes: T;
  /** float32 [out]: the largest |w| of each row. A weight is (code - 128) · scale / 127. */
  readonly scales: T;
}

/** The tensors of an int4 weight. */
export interface Int4Parts<T> {
  /** uint8 [out, blocks of a row, blockSize / 2]: two codes a byte, the earlier element in the low half. */
  readonly codes: T;
  /** float32 [out · blocks of a row]. */
  readonly scales: T;
  /**
   * uint8 [out, ceil(blocks of a row / 2)], packed as the codes are; or float32 [out · blocks of a row], where zeros are no
   * whole numbers (HQQ); absent when symmetric.
   */
  readonly zeroPoints?: T;
}

/** A weight in 4 bits with a scale per block (NF4 or FP4, arXiv 2305.14314). */
export type FourBitWeight<T = TensorData> = FourBitFormat & { readonly parts: FourBitParts<T> };
/** A weight in 8 bits with a scale per row (arXiv 2208.07339). */
export type Int8Weight<T = TensorData> = Int8Format & { readonly parts: Int8Parts<T> };
/** A weight in 4 bits with a scale per block of a row. */
export type Int4Weight<T = TensorData> = Int4Format & { readonly parts: Int4Parts<T> };

/** A quantised weight: its format, and its parts as plain data or as tensors. */
export type QuantizedWeight<T = TensorData> = FourBitWeight<T> | Int8Weight<T> | Int4Weight<T>;

/** The parts that a weight of this format has. */
export function partNames(format: QuantizedFormat): readonly string[] {
  if (format.method === 'int8') return ['codes', 'scales'];
  if (format.method === 'int4') return format.symmetric ? ['codes', 'scales'] : ['codes', 'scales', 'zeroPoints'];
  return format.doubleQuantization ? ['codes', 'absmax', 'nestedAbsmax', 'nestedOffset'] : ['codes', 'absmax'];
}

/** Bits that a quantised weight takes for each of its elements, scales included. */
export function bitsPerWeight({ shape, parts }: QuantizedWeight): number {
  const bytes = Object.values(parts).reduce((sum: number, part: TensorData) => sum + part.data.byteLength, 0);
  return (8 * bytes) / sizeOf(shape);
}

/** The rows and columns of a matrix. @throws QuantizationError unless `weight` is one of finite numbers */
export function checkMatrix(what: string, { shape, data }: FloatMatrix): readonly [rows: number, columns: number] {
  const [rows, columns] = shape;
  if (shape.length !== 2 || rows! < 1 || columns! < 1 || sizeOf(shape) !== data.length) {
    throw new QuantizationError(what, `needs a matrix, not ${data.length} numbers of shape ${showShape(shape)}`);
  }
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new QuantizationError(
      what,
      `row ${Math.floor(bad / columns!)}, column ${bad % columns!} is ${data[bad]}; it has no code`,
    );
  }
  return [rows!, columns!];
}
