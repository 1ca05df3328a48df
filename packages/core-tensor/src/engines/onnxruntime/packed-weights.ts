import { sizeOf } from '../../shape.js';
import type { EngineBuffer } from '../engine.js';
import { type OnnxBuffer, onnxBuffer } from './memory.js';
import { onnxruntimeEnvironment } from './native/environment.js';
import type { OrtApi, Pointer } from './native/library.js';
import { inputName } from './onnx-values.js';

/** Prepacked weights containers, by the memory of the largest weight in them: graphs over one model share one. */
const containers = new WeakMap<object, Promise<Pointer>>();
const released = new FinalizationRegistry(({ api, container }: { api: OrtApi; container: Pointer }) =>
  api.releasePrepackedWeightsContainer(container),
);

/** Constant inputs as initializers. */
export interface PackedWeights {
  readonly inputs: ReadonlySet<number>;
  /** By the names of the initializers. */
  readonly values: ReadonlyMap<string, Pointer>;
  /** Must stay reachable for as long as the session lives. */
  readonly owners: readonly object[];
  /** Where sessions over the same weights keep them packed. */
  container(): Promise<Pointer>;
}

/** undefined where there is nothing to pack. */
export function packedOf(constants: ReadonlyMap<number, EngineBuffer>): PackedWeights | undefined {
  const buffers = [...constants].flatMap(([input, buffer]): [number, OnnxBuffer][] =>
    sizeOf(buffer.spec.shape) === 0 ? [] : [[input, onnxBuffer(buffer)]],
  );
  if (buffers.length === 0) return undefined;
  const [, largest] = buffers.reduce((a, b) => (b[1].length > a[1].length ? b : a));
  return {
    inputs: new Set(buffers.map(([input]) => input)),
    values: new Map(buffers.map(([input, buffer]) => [inputName(input), buffer.value()])),
    owners: buffers.map(([, buffer]) => buffer),
    container: () => {
      const known = containers.get(largest.block) ?? newContainer(largest.block);
      containers.set(largest.block, known);
      return known;
    },
  };
}

async function newContainer(block: object): Promise<Pointer> {
  const { api } = await onnxruntimeEnvironment();
  const container = api.make('createPrepackedWeightsContainer');
  released.register(block, { api, container });
  return container;
}
