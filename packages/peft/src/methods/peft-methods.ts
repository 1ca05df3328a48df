import { adaLora } from './adalora.js';
import { bitFit } from './bitfit.js';
import { boft } from './boft.js';
import { c3a } from './c3a.js';
import { cpt } from './cpt.js';
import { curLora } from './curlora.js';
import { fourierFt } from './fourierft.js';
import { houlsby } from './houlsby.js';
import { hra } from './hra.js';
import { ia3 } from './ia3.js';
import { lnTuning } from './ln-tuning.js';
import { loha } from './loha.js';
import { lokr } from './lokr.js';
import { lora } from './lora.js';
import { loraXs } from './lora-xs.js';
import { loReft } from './loreft.js';
import { miss } from './miss.js';
import { mole } from './mole.js';
import { multitaskPromptTuning } from './multitask-prompt-tuning.js';
import { oft } from './oft.js';
import { osf } from './osf.js';
import { pTuning } from './p-tuning.js';
import { poly } from './poly.js';
import { prefixTuning } from './prefix-tuning.js';
import { promptTuning } from './prompt-tuning.js';
import { randLora } from './randlora.js';
import { road } from './road.js';
import { shira } from './shira.js';
import { tinyLora } from './tinylora.js';
import { vbLora } from './vb-lora.js';
import { vera } from './vera.js';
import { waveFt } from './waveft.js';
import { xLora } from './xlora.js';

/** The methods of this package, by `peft_type` of adapter_config.json: those that `loadAdapter` knows. */
export const peftMethods = {
  LORA: lora,
  ADALORA: adaLora,
  VERA: vera,
  IA3: ia3,
  OFT: oft,
  BOFT: boft,
  HRA: hra,
  LOHA: loha,
  LOKR: lokr,
  MISS: miss,
  ROAD: road,
  C3A: c3a,
  FOURIERFT: fourierFt,
  WAVEFT: waveFt,
  RANDLORA: randLora,
  SHIRA: shira,
  VBLORA: vbLora,
  TINYLORA: tinyLora,
  OSF: osf,
  LN_TUNING: lnTuning,
  PROMPT_TUNING: promptTuning,
  MULTITASK_PROMPT_TUNING: multitaskPromptTuning,
  PREFIX_TUNING: prefixTuning,
  P_TUNING: pTuning,
  CPT: cpt,
  XLORA: xLora,
  POLY: poly,
  HOULSBY: houlsby,
  BITFIT: bitFit,
  LOREFT: loReft,
  CURLORA: curLora,
  LORA_XS: loraXs,
  MOLE: mole,
} as const;
