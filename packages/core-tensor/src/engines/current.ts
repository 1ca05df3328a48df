import type { Engine } from './engine.js';
import { onnxruntimeEngine } from './onnxruntime/engine.js';

let current: Engine | undefined;

/** The engine that tensors are realised on. The ONNX Runtime engine on `cpu` unless `setEngine` was called. */
export function currentEngine(): Engine {
  current ??= onnxruntimeEngine();
  return current;
}

/** Sets the engine for tensors realised from now on. Tensors that already live on another engine are copied over. */
export function setEngine(engine: Engine): void {
  current = engine;
}

/** Runs `body` with another engine, then puts the present one back. */
export async function withEngine<T>(engine: Engine, body: () => Promise<T>): Promise<T> {
  const before = current;
  current = engine;
  try {
    return await body();
  } finally {
    current = before;
  }
}
