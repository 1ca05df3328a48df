import { custom, type Given, options } from '@posttrain/interfaces';
import type { DType, TypedArray } from '../../dtype.js';
import type { Graph, TensorSpec } from '../../graph/node.js';
import type { CompileOptions, Engine, EngineBuffer, Executable } from '../engine.js';
import { Backend } from './backend.js';
import { fromStorage, HeldTensors, tfjsBuffer, toStorage } from './buffers.js';
import { TfjsExecutable } from './executable.js';
import { ownKernels } from './fused.js';
import type { TfjsBackend } from './load.js';
import { storageTypeOf, type Tfjs } from './tfjs.js';

const tfjsOptions = options('tfjsEngine', {
  /**
   * TensorFlow.js with the backend to use already imported: the module `@tensorflow/tfjs-core`, or one that re-exports
   * it (`@tensorflow/tfjs`, `@tensorflow/tfjs-node`). Its current backend is used. Default: loaded by `backend`.
   */
  tf: custom<Tfjs>()('a module of TensorFlow.js', (value) => typeof value === 'object' && value !== null, {
    optional: true,
  }),
  /**
   * The backend to load: `tfjs-node-gpu`, `tfjs-node`, `wasm` or `cpu`. With `tf`, the name under which the backend is
   * registered there. Default: `wasm`, or the current one of `tf`.
   */
  backend: custom<TfjsBackend | (string & Record<never, never>)>()('a text', (value) => typeof value === 'string', {
    optional: true,
  }),
});
/** Options of `tfjsEngine`. */
export type TfjsEngineOptions = Given<typeof tfjsOptions>;

/**
 * Runs graphs on TensorFlow.js, one kernel call a primitive; gradients and optimizers stay this package's own. Tensors
 * live on the backend until they are freed, donated or dropped. The packages are optional peers, imported here: `EngineError`
 * names what to install.
 */
export async function tfjsEngine(given: TfjsEngineOptions = {}): Promise<Engine> {
  const options = tfjsOptions.read(given);
  const backend = await Backend.open(options.tf, options.backend);
  const { tf, device } = backend;
  const held = new HeldTensors();
  return {
    name: 'tfjs',
    device,
    kernels: ownKernels,
    nativeDTypes: new Set<DType>(['float32', 'int32', 'bool']),
    async upload(data: TypedArray, spec: TensorSpec): Promise<EngineBuffer> {
      await backend.use();
      const { shape, dtype } = spec;
      return held.hold(spec, tf.tensor(toStorage(data, dtype), [...shape], storageTypeOf(dtype)));
    },
    async read(buffer: EngineBuffer): Promise<TypedArray> {
      return fromStorage(await tfjsBuffer(buffer).tensor.data(), buffer.spec.dtype);
    },
    free(buffer: EngineBuffer): void {
      held.take(tfjsBuffer(buffer)).dispose();
    },
    async compile(graph: Graph, { donations }: CompileOptions): Promise<Executable> {
      await backend.use();
      return new TfjsExecutable(backend, held, graph, donations);
    },
  };
}
