import { type DType, Tensor, type TypedArray, tensor } from '@posttrain/core-tensor';
import { PosttrainError, showValue } from '@posttrain/interfaces';

/** Typed arrays that a state may hold, by their names. */
const ARRAYS = {
  ...{ Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Uint8Array, Uint8ClampedArray },
  ...{ Uint16Array, Uint32Array, BigInt64Array, BigUint64Array },
} as const;

type StoredArray = InstanceType<(typeof ARRAYS)[keyof typeof ARRAYS]>;

const arrayKind = (value: object): keyof typeof ARRAYS | undefined => {
  const { name } = value.constructor ?? {};
  return ArrayBuffer.isView(value) && Object.hasOwn(ARRAYS, name) ? (name as keyof typeof ARRAYS) : undefined;
};

/** The key of what stands in JSON for an array or a tensor, whose numbers are in a file of their own. */
const STORED = '$stored';

interface Stored {
  readonly [STORED]: keyof typeof ARRAYS | 'tensor';
}

/** JSON pointer (RFC 6901) of a member. */
const within = (path: string, key: string | number): string =>
  `${path}/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`;

/** The same tree with other leaves; `leaf` gives undefined where it is no leaf. */
function mapped(value: unknown, path: string, leaf: (value: object, path: string) => unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const found = leaf(value, path);
  if (found !== undefined) return found;
  if (Array.isArray(value)) return value.map((part, i) => mapped(part, within(path, i), leaf));
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, mapped(part, within(path, key), leaf)]));
}

/** A state, copied; tensors, which do not change, are shared. */
export const cloneState = <T>(state: T): T =>
  mapped(state, '', (value) =>
    value instanceof Tensor ? value : arrayKind(value) ? (value as StoredArray).slice() : undefined,
  ) as T;

/**
 * A state, copied, with tensors in memory of their own: what was copied may be given away (by `optimStep`) or written over.
 *
 * @param what names the state in errors: `the state of the part "rows"`
 * @throws PosttrainError STATE for what a checkpoint would not give back as it was
 */
export async function copyState(state: unknown, what: string): Promise<unknown> {
  refuseUnstorable(state, what, '');
  const copies = new Map<Tensor, Tensor>();
  mapped(state, '', (value) => {
    if (value instanceof Tensor) copies.set(value, value);
    return value instanceof Tensor || arrayKind(value) ? value : undefined;
  });
  for (const one of copies.keys()) {
    const data = await one.data();
    // The reference engine computes in float64, which files do not have.
    const own = data instanceof Float64Array ? Float32Array.from(data) : data.slice();
    copies.set(one, tensor(own, one.shape, one.dtype));
  }
  return mapped(state, '', (value) =>
    value instanceof Tensor ? copies.get(value) : arrayKind(value) ? (value as StoredArray).slice() : undefined,
  );
}

/** @throws PosttrainError STATE */
function refuseUnstorable(value: unknown, what: string, path: string): void {
  const wrong = (problem: string) => {
    const at = path === '' ? '' : `, at ${path},`;
    return new PosttrainError('STATE', `${what}${at} is ${problem}`);
  };
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return;
  if (typeof value === 'number') {
    if (Number.isFinite(value)) return;
    throw wrong(`${value}, which JSON cannot hold. Put such numbers into a Float64Array.`);
  }
  if (typeof value !== 'object') {
    throw wrong(`${showValue(value)}; a state is JSON, typed arrays and tensors.`);
  }
  if (value instanceof Tensor || arrayKind(value)) return;
  const isPlain = Array.isArray(value) || [Object.prototype, null].includes(Object.getPrototypeOf(value));
  if (!isPlain) {
    throw wrong(`${showValue(value)}, of which a checkpoint would hold the class no more; give its plain parts.`);
  }
  if (Object.hasOwn(value, STORED)) throw wrong(`an object with the key "${STORED}", which stands for an array.`);
  if (Array.isArray(value)) {
    // A hole would come back as null.
    for (let i = 0; i < value.length; i++) refuseUnstorable(value[i], what, within(path, i));
    return;
  }
  for (const [key, part] of Object.entries(value)) {
    if (part !== undefined) refuseUnstorable(part, what, within(path, key));
  }
}

/** A state as JSON, and the tensors that its arrays and tensors are, by their places in it. */
export interface SplitState {
  readonly json: unknown;
  readonly tensors: Readonly<Record<string, Tensor>>;
}

/** Bytes, of those that no dtype of a tensor fits. */
const OWN_DTYPES: Readonly<Partial<Record<keyof typeof ARRAYS, DType>>> = {
  Float32Array: 'float32',
  Int32Array: 'int32',
  Int8Array: 'int8',
  Uint8Array: 'uint8',
};

/** Takes arrays and tensors out of a state, for a file of their own. */
export function splitState(state: unknown): SplitState {
  const tensors: Record<string, Tensor> = {};
  const json = mapped(state, '', (value, path): Stored | undefined => {
    if (value instanceof Tensor) {
      tensors[path] = value;
      return { [STORED]: 'tensor' };
    }
    const kind = arrayKind(value);
    if (!kind) return undefined;
    const array = value as StoredArray;
    const dtype = OWN_DTYPES[kind];
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    const data = dtype ? (array as TypedArray) : bytes;
    tensors[path] = tensor(data.slice(), [data.length], dtype ?? 'uint8');
    return { [STORED]: kind };
  });
  return { json, tensors };
}

/**
 * Puts the arrays and tensors back that `splitState` took out.
 *
 * @throws PosttrainError STATE where one is not there
 */
export async function joinState({ json, tensors }: SplitState): Promise<unknown> {
  const arrays = new Map<string, StoredArray | Tensor>();
  const kinds = new Map<string, Stored[typeof STORED]>();
  const isStored = (value: object): value is Stored => Object.hasOwn(value, STORED);
  mapped(json, '', (value, path) => {
    if (isStored(value)) kinds.set(path, value[STORED]);
    return isStored(value) ? value : undefined;
  });
  for (const [path, kind] of kinds) {
    const found = tensors[path];
    if (!found) throw new PosttrainError('STATE', `the checkpoint has no numbers for ${path} of its state`);
    if (kind === 'tensor') arrays.set(path, found);
    else {
      const data = (await found.data()).slice();
      arrays.set(path, OWN_DTYPES[kind] ? (data as StoredArray) : new ARRAYS[kind](data.buffer as ArrayBuffer));
    }
  }
  return mapped(json, '', (value, path) => (isStored(value) ? arrays.get(path) : undefined));
}
