import { currentEngine, setEngine } from '../engines/current.js';
import type { Engine } from '../engines/engine.js';

/**
 * Runs an async test with an engine set, and puts the present one back when the test has ended. For tests, which run one
 * after the other: two of these at once would take each other's engine, which is why `withEngine` refuses async bodies.
 */
export async function onEngine<T>(engine: Engine, body: () => Promise<T>): Promise<T> {
  const before = currentEngine();
  setEngine(engine);
  try {
    return await body();
  } finally {
    setEngine(before);
  }
}
