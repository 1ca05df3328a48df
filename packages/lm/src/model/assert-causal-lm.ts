import { assertArgument } from '@posttrain/interfaces';

/** @throws OptionError for a path, a promise, an adapter and whatever else is no model */
export function assertCausalLM(where: string, model: unknown): void {
  const isModel = typeof model === 'object' && model !== null && 'network' in model && 'tokenizer' in model;
  const hint = model instanceof Promise ? ' (await it first)' : '';
  assertArgument(where, 'model', model, isModel, `a loaded model, as CausalLM.load gives it${hint}`);
}
