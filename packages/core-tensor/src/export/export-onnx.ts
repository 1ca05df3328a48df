import { basename, dirname, join } from 'node:path';
import { custom, type Given, listOf, oneOf, options, type Read, text } from '@posttrain/interfaces';
import { type WriteBytes, writeAtomically } from '@posttrain/interfaces/node';
import { arrayType, encodeNumbers, type TypedArray } from '../dtype.js';
import { currentEngine } from '../engines/current.js';
import { type ExternalOnnxTensor, encodeModel, type OnnxGraph, type OnnxTensor } from '../engines/onnxruntime/proto.js';
import { CompileError, DonatedTensorError } from '../errors.js';
import { isOp, type Storage } from '../graph/node.js';
import { inOrder, realizeWhereTheyAre } from '../realize.js';
import { sizeOf } from '../shape.js';
import { Tensor } from '../tensor.js';
import {
  type CheckedOnnxFunction,
  ONNX_OPERATORS,
  type OnnxFunction,
  type OnnxTensorInfo,
  type TracedOnnx,
  traceOnnx,
} from './trace-onnx.js';

const shared = {
  /** Captured tensors by the names that they are to have, such as a model's weights. Others: `captured0`, … */
  weightNames: custom<Readonly<Record<string, Tensor>>>()(
    'an object of tensors by name',
    (value) => typeof value === 'object' && value !== null && Object.values(value).every((x) => x instanceof Tensor),
    { optional: true },
  ),
  /** Default `standard`. */
  operators: oneOf(ONNX_OPERATORS, { default: 'standard' }),
};
const encodeShape = {
  /** One for each argument: what its tensors' names start with. Default `input0`, `input1`, … */
  inputNames: listOf(text({}), { optional: true }),
  ...shared,
};
const encodeOptions = options('encodeOnnx', encodeShape);
const exportOptions = options('exportOnnx', {
  ...encodeShape,
  /**
   * `embed`: captured tensors are part of the file, which must stay below 2 GiB. `external`: they are in a second file,
   * `PATH.data`. Default: `embed` where they fit.
   */
  weights: oneOf(['embed', 'external'], { optional: true }),
});
const exportModelsOptions = options('exportOnnxModels', {
  ...shared,
  /** The file, in the same folder, of the tensors that the functions capture; each is there once. Default `weights.data`. */
  weightsFile: text({ default: 'weights.data' }),
});
/** Options of `encodeOnnx`. */
export type EncodeOnnxOptions = Given<typeof encodeOptions>;
/** Options of `exportOnnx`. */
export type ExportOnnxOptions = Given<typeof exportOptions>;
/** Options of `exportOnnxModels`. */
export type ExportOnnxModelsOptions = Given<typeof exportModelsOptions>;

/** What an exported model takes and gives. The names of inputs and outputs are their tree paths, such as `state.w`. */
export interface OnnxSignature {
  readonly inputs: readonly OnnxTensorInfo[];
  readonly outputs: readonly OnnxTensorInfo[];
}

/** A model is one protobuf message, which has no more bytes than this. */
const LARGEST_MODEL = 2 ** 31 - 1;
/** Room left for the graph itself when it is decided whether captured tensors are embedded. */
const GRAPH_ROOM = 2 ** 26;
/** Smaller tensors stay in the model. */
const SMALLEST_EXTERNAL = 1024;
/** Runtimes map external tensors into memory, which goes by pages. */
const PAGE = 4096;

/**
 * Writes a function as an ONNX file (opset 21, IR 10), atomically. It is traced for the shapes and dtypes of `args`, and
 * every shape in the file is fixed: export once for each shape that is needed. Tensors of `args` become inputs, other
 * tensors that `f` uses become initializers, plain values are baked in.
 *
 * float16 tensors are float16 in the file and are computed with in float32, each result rounded. A captured bfloat16
 * tensor is stored as bfloat16; as inputs, outputs and in between bfloat16 is float32, rounded. An output whose name an
 * input has already is called `next.NAME`.
 *
 * @throws CompileError for what `compile` refuses, names that are not distinct, and weights too large to embed
 */
export async function exportOnnx<Args extends readonly unknown[]>(
  path: string,
  f: (...args: Args) => unknown,
  args: Readonly<Args>,
  given: ExportOnnxOptions = {},
): Promise<OnnxSignature> {
  const { inputNames, weights: asked, ...rest } = exportOptions.read(given);
  const name = basename(path);
  return tracing({ [name]: { f, args, ...(inputNames ? { inputNames } : {}) } }, rest, async ([traced]) => {
    const { weights } = traced!;
    const total = weights.reduce((sum, { storage }) => sum + bytesOf(storage), 0);
    const where = asked ?? (total < LARGEST_MODEL - GRAPH_ROOM ? 'embed' : 'external');
    if (where === 'external') await writeModels(dirname(path), [traced!], `${name}.data`);
    else {
      const bytes = await encodeEmbedded(traced!);
      await writeAtomically((files) => files.stage(path, (write) => write(bytes)));
    }
    return signatureOf(traced!);
  });
}

/** The bytes of the file that `exportOnnx` writes, with everything embedded. */
export async function encodeOnnx<Args extends readonly unknown[]>(
  f: (...args: Args) => unknown,
  args: Readonly<Args>,
  given: EncodeOnnxOptions = {},
): Promise<OnnxSignature & { readonly bytes: Uint8Array }> {
  const { inputNames, ...rest } = encodeOptions.read(given);
  return tracing({ encodeOnnx: { f, args, ...(inputNames ? { inputNames } : {}) } }, rest, async ([traced]) => {
    return { ...signatureOf(traced!), bytes: await encodeEmbedded(traced!) };
  });
}

/**
 * Writes several functions as ONNX files of one folder, `{ 'decode.onnx': { f, args } }`, with the tensors they capture
 * in one file beside them: functions of the same weights share them. All files appear, or none. See `exportOnnx`.
 */
export async function exportOnnxModels<Models extends Readonly<Record<string, readonly unknown[]>>>(
  folder: string,
  models: { readonly [File in keyof Models]: OnnxFunction<Models[File]> },
  given: ExportOnnxModelsOptions = {},
): Promise<{ [File in keyof Models]: OnnxSignature }> {
  const { weightsFile, ...rest } = exportModelsOptions.read(given);
  return tracing(models, rest, async (traced) => {
    await writeModels(folder, traced, weightsFile);
    const signatures = traced.map((one) => [one.file, signatureOf(one)]);
    return Object.fromEntries(signatures) as { [File in keyof Models]: OnnxSignature };
  });
}

interface TracedFile extends TracedOnnx {
  readonly file: string;
}

/** Serialised with all runs: traces in queue order, so that no compiled call donates memory that is being written. */
async function tracing<T>(
  models: Readonly<Record<string, CheckedOnnxFunction>>,
  { weightNames = {}, operators }: Pick<Read<typeof encodeOptions>, 'weightNames' | 'operators'>,
  use: (traced: TracedFile[]) => Promise<T>,
): Promise<T> {
  const fallback = currentEngine();
  return inOrder(async () => {
    await realizeWhereTheyAre(Object.values(weightNames), fallback);
    const names = new Map<Storage, string>();
    for (const [name, { value }] of Object.entries(weightNames)) {
      if (isOp(value.node, 'data')) names.set(value.node.attributes.storage, name);
    }
    return use(Object.entries(models).map(([file, given]) => ({ file, ...traceOnnx(file, given, operators, names) })));
  });
}

const signatureOf = ({ inputs, outputs }: TracedOnnx): OnnxSignature => ({ inputs, outputs });

const encode = (traced: TracedOnnx, weights: OnnxGraph['initializers']): Uint8Array =>
  encodeModel(
    { ...traced.graph, initializers: { ...traced.graph.initializers, ...weights } },
    { 'posttrain.signature': JSON.stringify(signatureOf(traced)) },
  );

async function encodeEmbedded(traced: TracedFile): Promise<Uint8Array> {
  const total = traced.weights.reduce((sum, { storage }) => sum + bytesOf(storage), 0);
  if (total > LARGEST_MODEL - GRAPH_ROOM) {
    throw new CompileError(
      `${traced.file}: its captured tensors have ${total} bytes, and an ONNX file holds at most 2 GiB; use weights: 'external'`,
    );
  }
  const embedded: Record<string, OnnxTensor> = {};
  for (const { name, storage } of traced.weights) {
    embedded[name] = { type: storage.spec.dtype, shape: storage.spec.shape, data: await hostData(storage) };
  }
  return encode(traced, embedded);
}

/** The models and, once each, the tensors they capture. */
async function writeModels(folder: string, models: readonly TracedFile[], weightsFile: string): Promise<void> {
  const offsets = new Map<Storage, number>();
  let end = 0;
  for (const { storage } of models.flatMap(({ weights }) => weights)) {
    if (offsets.has(storage) || bytesOf(storage) < SMALLEST_EXTERNAL) continue;
    offsets.set(storage, Math.ceil(end / PAGE) * PAGE);
    end = offsets.get(storage)! + bytesOf(storage);
  }
  await writeAtomically(async (files) => {
    await files.stage(join(folder, weightsFile), (write) => writeWeights(write, offsets));
    for (const model of models) {
      const initializers: Record<string, OnnxTensor | ExternalOnnxTensor> = {};
      for (const { name, storage } of model.weights) {
        const { dtype: type, shape } = storage.spec;
        const offset = offsets.get(storage);
        const external = { location: weightsFile, offset: offset ?? 0, length: bytesOf(storage) };
        initializers[name] =
          offset === undefined ? { type, shape, data: await hostData(storage) } : { type, shape, external };
      }
      await files.stage(join(folder, model.file), (write) => write(encode(model, initializers)));
    }
  });
}

async function writeWeights(write: WriteBytes, offsets: ReadonlyMap<Storage, number>): Promise<void> {
  let position = 0;
  for (const [storage, offset] of offsets) {
    await write(new Uint8Array(offset - position));
    const { buffer, byteOffset, byteLength } = await hostData(storage);
    await write(new Uint8Array(buffer, byteOffset, byteLength));
    position = offset + byteLength;
  }
}

const bytesOf = ({ spec }: Storage): number => sizeOf(spec.shape) * arrayType(spec.dtype).BYTES_PER_ELEMENT;

/** The elements of a captured tensor as a file stores them. */
async function hostData(storage: Storage): Promise<TypedArray> {
  if (storage.consumed) throw new DonatedTensorError('exporting to ONNX', storage.consumed);
  const data = storage.host ?? (await storage.device!.engine.read(storage.device!.buffer));
  // The reference engine's floats are double precision.
  return data instanceof Float64Array ? encodeNumbers(data, storage.spec.dtype) : data;
}
