import { adaLora } from './adalora.js';
import { houlsby } from './houlsby.js';
import { ia3 } from './ia3.js';
import { lnTuning } from './ln-tuning.js';
import { lora } from './lora.js';
import { poly } from './poly.js';
import { prefixTuning } from './prefix-tuning.js';
import { promptTuning } from './prompt-tuning.js';
import { vera } from './vera.js';
import { xLora } from './xlora.js';

/** The methods of this package, by `peft_type` of adapter_config.json: those that `loadAdapter` knows. */
export const peftMethods = {
  LORA: lora,
  ADALORA: adaLora,
  VERA: vera,
  IA3: ia3,
  LN_TUNING: lnTuning,
  PROMPT_TUNING: promptTuning,
  PREFIX_TUNING: prefixTuning,
  XLORA: xLora,
  POLY: poly,
  HOULSBY: houlsby,
} as const;
