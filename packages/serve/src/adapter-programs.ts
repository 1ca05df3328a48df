import type { CausalLM } from '@posttrain/lm';
import { loadAdapter, type PeftAdapter, withAdapterParameters } from '@posttrain/peft';

/** Configurations whose compiled passes are at hand. */
const MOST_KNOWN = 8;

/**
 * Program sharing: what is compiled for an adapter is kept under its hooks, so a version of an adapter that differs from an earlier one
 * in its trained numbers only is served with the hooks of that one, and compiles nothing. One with frozen tensors of its own has hooks of
 * its own.
 */
export class AdapterPrograms {
  readonly #model: CausalLM;
  /** By what decides the program, least recently used first. */
  readonly #known = new Map<string, PeftAdapter>();

  constructor(model: CausalLM) {
    this.#model = model;
  }

  /** @throws AdapterFileError, and what `loadAdapter` throws */
  async load(folder: string, name: string): Promise<PeftAdapter> {
    const loaded = await loadAdapter(this.#model, folder, { name });
    if (Object.keys(loaded.frozen).length > 0) return loaded;
    const shapes = Object.entries(loaded.parameters).map(([key, { shape, dtype }]) => [key, shape, dtype]);
    const program = JSON.stringify([loaded.identity, shapes]);
    const known = this.#known.get(program);
    this.#known.delete(program);
    const adapter = known ? { ...withAdapterParameters(known, loaded.parameters), name } : loaded;
    this.#known.set(program, adapter);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MOST_KNOWN) this.#known.delete(oldest!);
    return adapter;
  }
}
