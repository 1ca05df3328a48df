import { withEngine } from './current.js';
import type { Engine } from './engine.js';

/**
 * Keeps what `make` gives for an engine, made while that engine is set: compiled functions of a module that any engine may
 * use, such as `const steps = perEngine(() => ({ grow: compile(grow) }))`, called as `steps(engine).grow(x)`.
 */
export function perEngine<T>(make: () => T): (engine: Engine) => T {
  const made = new WeakMap<Engine, { readonly value: T }>();
  return (engine) => {
    const known = made.get(engine) ?? { value: withEngine(engine, make) };
    made.set(engine, known);
    return known.value;
  };
}
