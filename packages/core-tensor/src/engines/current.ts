import { PosttrainError } from '@posttrain/interfaces';
import { EngineError } from '../errors.js';
import type { Engine } from './engine.js';

let current: Engine | undefined;
let makeDefault: (() => Engine) | undefined;

/**
 * For entry points only: what makes the engine where none was set. Methods and tensors import no engine, so that a page
 * loads only the one it uses.
 */
export function installDefaultEngine(make: () => Engine): void {
  makeDefault = make;
}

/**
 * The engine that tensors are realised on, and that what is compiled now computes on: the last that was given to
 * `setEngine`; in Node, before that, ONNX Runtime on the CPU.
 *
 * @throws EngineError where there is none: in a browser before `setEngine`
 */
export function currentEngine(): Engine {
  current ??= makeDefault?.();
  if (!current) {
    throw new EngineError(
      'core-tensor',
      'no engine is set, and there is no default in a browser: call setEngine first, for example with ' +
        'await tfjsEngine() of @posttrain/core-tensor/tfjs or referenceEngine()',
    );
  }
  return current;
}

/**
 * Sets the engine for tensors that are realised and functions that are compiled from now on. What was compiled before
 * stays with its engine. Tensors that already live on another engine are copied over where they are used.
 */
export function setEngine(engine: Engine): void {
  current = engine;
}

/**
 * Runs `body` with another engine, then puts the present one back. What is made in `body` (compiled functions, models,
 * trainers) holds that engine for good, however its calls are interleaved with those of others.
 *
 * @throws PosttrainError ASYNC_BODY where `body` returns a promise: whatever else runs while it is awaited would take the
 * engine too
 */
export function withEngine<T>(engine: Engine, body: () => T): T {
  const before = current;
  current = engine;
  try {
    const result = body();
    if (isPromise(result)) {
      // The error below says it all.
      result.then(undefined, () => undefined);
      throw new PosttrainError(
        'ASYNC_BODY',
        'withEngine: the body returned a promise, and the engine is put back before it settles. Make what computes in the ' +
          'body (compile, new Trainer, …: it keeps the engine) and await its calls outside; load a model, realize or read ' +
          'a tensor with its option `engine`; or call setEngine once for the whole program.',
      );
    }
    return result;
  } finally {
    current = before;
  }
}

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
