import { lora } from './lora.js';

/** The methods of this package, by `peft_type` of adapter_config.json: those that `loadAdapter` knows. */
export const peftMethods = {
  LORA: lora,
} as const;
