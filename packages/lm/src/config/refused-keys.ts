import type { LayerType } from './common-config.js';
import type { Fields } from './fields.js';

/**
 * Keys that change what transformers computes with every decoder, and the values with which they do not. `is_causal` false
 * lets tokens see the ones behind them; `per_layer_config` gives single layers sizes of their own.
 */
const WITHOUT_EFFECT: Readonly<Record<string, readonly unknown[]>> = {
  is_causal: [true],
  per_layer_config: [{}],
  use_bidirectional_attention: [false],
};

/** Refuses what no decoder of this package computes. @throws InvalidModelFileError naming the key */
export function refuseUnsupportedKeys(fields: Fields): void {
  for (const [key, values] of Object.entries(WITHOUT_EFFECT)) {
    const value = fields.raw(key);
    if (value === undefined || values.some((harmless) => JSON.stringify(harmless) === JSON.stringify(value))) continue;
    fields.fail(key, `${values.map((harmless) => JSON.stringify(harmless)).join(' or ')} (nothing else is supported)`);
  }
}

/** Of a family whose layers attend alike: refuses `layer_types` that say something else. @throws InvalidModelFileError */
export function refuseOtherLayerTypes(fields: Fields, type: LayerType): void {
  const listed = fields.raw('layer_types');
  if (listed === undefined) return;
  if (!Array.isArray(listed) || listed.some((entry) => entry !== type)) {
    fields.fail('layer_types', `${type} in every layer, as the other keys have it for this architecture`);
  }
}
