import { aotLoss } from './aot.js';
import { dpoLoss } from './dpo.js';
import { ipoLoss } from './ipo.js';
import { ktoLoss } from './kto.js';
import { orpoLoss } from './orpo.js';
import { simpoLoss } from './simpo.js';

/** Preference losses by TRL's `loss_type`, or the name of its trainer. `kto` is over single completions, the others over pairs. */
export const preferenceLosses = {
  /** DPO (arXiv 2305.18290). */
  sigmoid: dpoLoss,
  /** IPO (arXiv 2310.12036), averaged over tokens. */
  ipo: ipoLoss,
  /** AOT (arXiv 2406.05882), over all pairs of a step. */
  aot: aotLoss,
  /** SimPO (arXiv 2405.14734), without a reference. */
  simpo: simpoLoss,
  /** ORPO (arXiv 2403.07691), without a reference, with the likelihood of what is chosen. */
  orpo: orpoLoss,
  /** KTO (arXiv 2402.01306), over single completions. */
  kto: ktoLoss,
} as const;

/** The name of a loss of `preferenceLosses`. */
export type PreferenceLossName = keyof typeof preferenceLosses;
