import { bytesOf, type TensorData } from '../io/tensor-data.js';
import { sizeOf } from '../shape.js';
import { dynamicMap, NESTED_BLOCK_SIZE } from './dynamic-map.js';
import { FOUR_BIT_LEVELS } from './nf4.js';
import { type FourBitWeight, QuantizationError } from './quantized-weight.js';

/** Tensors of a file by what follows the parameter's name; `''` is the parameter itself. */
export type FileTensors = Readonly<Record<string, TensorData>>;

const STATE_SUFFIX = '.quant_state.bitsandbytes__';

/**
 * A 4-bit weight as the tensors bitsandbytes puts into a safetensors file: codes under the parameter's own name, then
 * `.absmax`, `.quant_map`, `.nested_absmax`, `.nested_quant_map` and `.quant_state.bitsandbytes__nf4` (JSON in bytes).
 *
 * @param dtype what the weight was before it was quantised, and what transformers computes with
 */
export function toBitsandbytes(weight: FourBitWeight, dtype: 'float32' | 'float16' | 'bfloat16'): FileTensors {
  const { method, shape, blockSize, parts } = weight;
  const { nestedAbsmax, nestedOffset } = parts;
  const state = {
    quant_type: method,
    blocksize: blockSize,
    dtype,
    shape,
    ...(nestedOffset && {
      nested_blocksize: NESTED_BLOCK_SIZE,
      nested_dtype: 'float32',
      nested_offset: nestedOffset.data[0]!,
    }),
  };
  const bytes = new TextEncoder().encode(pythonJson(state));
  return {
    '': parts.codes,
    '.absmax': parts.absmax,
    '.quant_map': vector(FOUR_BIT_LEVELS[method]),
    ...(nestedAbsmax && { '.nested_absmax': nestedAbsmax, '.nested_quant_map': vector(dynamicMap()) }),
    [`${STATE_SUFFIX}${method}`]: { dtype: 'uint8', shape: [bytes.length], data: bytes },
  };
}

const vector = (data: Float32Array): TensorData => ({ dtype: 'float32', shape: [data.length], data: data.slice() });

/** `json.dumps` of Python, whose separators have spaces. */
function pythonJson(value: object): string {
  const item = (x: unknown): string => (Array.isArray(x) ? `[${x.map(item).join(', ')}]` : JSON.stringify(x));
  return `{${Object.entries(value)
    .map(([key, x]) => `${JSON.stringify(key)}: ${item(x)}`)
    .join(', ')}}`;
}

/** Suffixes that the tensors of a 4-bit weight can have in a file, beside the parameter's own name. */
export const BITSANDBYTES_SUFFIXES: readonly string[] = [
  ...['.absmax', '.quant_map', '.nested_absmax', '.nested_quant_map'],
  ...[`${STATE_SUFFIX}nf4`, `${STATE_SUFFIX}fp4`],
];

/**
 * The inverse of `toBitsandbytes`.
 *
 * @throws QuantizationError when a tensor is missing, has another size than the state says, or has other levels
 */
export function fromBitsandbytes(name: string, tensors: FileTensors): FourBitWeight {
  const fail = (message: string): never => {
    throw new QuantizationError(name, message);
  };
  const method = (['nf4', 'fp4'] as const).find((kind) => `${STATE_SUFFIX}${kind}` in tensors);
  if (!method) return fail(`there is no tensor ${name}${STATE_SUFFIX}nf4 or …fp4 beside it`);
  const state = parseState(name, tensors[`${STATE_SUFFIX}${method}`]!);
  const { shape, blocksize: blockSize } = state;
  const part = <D extends TensorData['dtype']>(suffix: string, dtype: D, size: number, found = tensors[suffix]) => {
    if (!found) return fail(`${name}${suffix} is missing`);
    if (found.dtype !== dtype || found.data.length !== size) {
      return fail(`${name}${suffix} has ${found.data.length} elements of ${found.dtype}, not ${size} of ${dtype}`);
    }
    return found as Extract<TensorData, { dtype: D }>;
  };
  const blocks = Math.ceil(sizeOf(shape) / blockSize);
  const same = (suffix: string, levels: Float32Array) => {
    const { data } = part(suffix, 'float32', levels.length);
    if (levels.some((level, i) => level !== data[i])) fail(`${name}${suffix} has other levels than bitsandbytes`);
  };
  same('.quant_map', FOUR_BIT_LEVELS[method]);
  const codes = part('', 'uint8', Math.ceil(sizeOf(shape) / 2), asBytes(tensors['']));
  const doubleQuantization = '.nested_absmax' in tensors;
  const format = { method, shape, blockSize, doubleQuantization };
  if (!doubleQuantization) return { ...format, parts: { codes, absmax: part('.absmax', 'float32', blocks) } };
  same('.nested_quant_map', dynamicMap());
  if (state.nested_blocksize !== NESTED_BLOCK_SIZE || typeof state.nested_offset !== 'number') {
    return fail(`its scales are nested in another way: ${JSON.stringify(state)}`);
  }
  return {
    ...format,
    parts: {
      codes,
      absmax: part('.absmax', 'uint8', blocks),
      nestedAbsmax: part('.nested_absmax', 'float32', Math.ceil(blocks / NESTED_BLOCK_SIZE)),
      nestedOffset: { dtype: 'float32', shape: [], data: Float32Array.of(state.nested_offset) },
    },
  };
}

/** The bytes of a tensor: with `bnb_4bit_quant_storage`, codes are in a file as numbers of a wider type that nobody reads as such. */
function asBytes(tensor: TensorData | undefined): TensorData | undefined {
  if (tensor === undefined || tensor.dtype === 'uint8') return tensor;
  const data = bytesOf(tensor.data);
  return { dtype: 'uint8', shape: [data.length], data };
}

interface State {
  readonly shape: readonly number[];
  readonly blocksize: number;
  readonly nested_blocksize?: number;
  readonly nested_offset?: number;
}

function parseState(name: string, { data }: TensorData): State {
  const text = new TextDecoder().decode(Uint8Array.from(data));
  let state: Partial<State>;
  try {
    state = JSON.parse(text);
  } catch (cause) {
    throw new QuantizationError(name, `its quant_state is not JSON: ${(cause as Error).message}`);
  }
  const { shape, blocksize } = state;
  const isSize = (n: unknown) => typeof n === 'number' && Number.isInteger(n) && n > 0;
  if (!Array.isArray(shape) || shape.length !== 2 || !shape.every(isSize) || !isSize(blocksize)) {
    throw new QuantizationError(name, `its quant_state has no matrix shape and block size: ${text}`);
  }
  return state as State;
}
