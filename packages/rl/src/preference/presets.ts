import { alphapoLoss } from './alphapo.js';
import { aotLoss } from './aot.js';
import { aotUnpairedLoss } from './aot-unpaired.js';
import { apoDownLoss } from './apo-down.js';
import { apoZeroLoss } from './apo-zero.js';
import { bcoLoss } from './bco.js';
import { bcoUnpairedLoss } from './bco-unpaired.js';
import { bfpoLoss } from './bfpo.js';
import { cdpoLoss } from './cdpo.js';
import { cpoLoss } from './cpo.js';
import { discopopLoss } from './discopop.js';
import { dpoLoss } from './dpo.js';
import { dpopLoss } from './dpop.js';
import { exoLoss } from './exo.js';
import { fdpoLoss } from './f-dpo.js';
import { hingeLoss } from './hinge.js';
import { implicitPrmLoss } from './implicit-prm.js';
import { ipoLoss } from './ipo.js';
import { ktoLoss } from './kto.js';
import { lddpoLoss } from './ld-dpo.js';
import { lipoLoss } from './lipo.js';
import { mdpoLoss } from './mdpo.js';
import { mipoLoss } from './mipo.js';
import { nashMdLoss } from './nash-md.js';
import { ncaLoss } from './nca.js';
import { orpoLoss } from './orpo.js';
import { plackettLuceLoss } from './plackett-luce.js';
import { robustLoss } from './robust.js';
import { rpoLoss } from './rpo.js';
import { sftLoss } from './sft.js';
import { sigmoidNormLoss } from './sigmoid-norm.js';
import { simpoLoss } from './simpo.js';
import { sppoLoss } from './sppo.js';
import { tdpoLoss } from './tdpo.js';
import { wpoLoss } from './wpo.js';
import { xpoLoss } from './xpo.js';

/**
 * Preference losses by TRL's `loss_type`, or the name of its trainer or paper. `kto`, `bco`, `nash_md` and `implicit_prm` are over single completions, `plackett_luce` and the
 * three after it over rankings, all others over pairs.
 */
export const preferenceLosses = {
  /** DPO (arXiv 2305.18290). */
  sigmoid: dpoLoss,
  /** DPO with log-ratios averaged over tokens (arXiv 2411.15124). */
  sigmoid_norm: sigmoidNormLoss,
  /** Conservative DPO. */
  cdpo: cdpoLoss,
  /** Robust DPO (arXiv 2403.00409). */
  robust: robustLoss,
  /** DPO-Positive (arXiv 2402.13228). */
  dpop: dpopLoss,
  /** DPO with the likelihood of what is chosen (arXiv 2404.19733). */
  rpo: rpoLoss,
  /** IPO (arXiv 2310.12036), averaged over tokens unless it is told otherwise. */
  ipo: ipoLoss,
  /** BFPO (arXiv 2408.15313): IPO with safety, of rows with `is_chosen_safe` and `is_rejected_safe`. */
  bfpo: bfpoLoss,
  /** SLiC's hinge (arXiv 2305.10425). */
  hinge: hingeLoss,
  /** EXO (arXiv 2402.00856). */
  exo_pair: exoLoss,
  /** NCA (arXiv 2402.05369). */
  nca_pair: ncaLoss,
  /** BCO (arXiv 2404.04656) of pairs, with a reward shift of 0. */
  bco_pair: bcoLoss,
  /** SPPO with hard labels (arXiv 2405.00675). */
  sppo_hard: sppoLoss,
  /** APO-zero (arXiv 2408.06266). */
  apo_zero: apoZeroLoss,
  /** APO-down (arXiv 2408.06266). */
  apo_down: apoDownLoss,
  /** DiscoPOP (arXiv 2406.08414). */
  discopop: discopopLoss,
  /** f-DPO (arXiv 2309.16240): DPO with another divergence from the reference. */
  f_dpo: fdpoLoss,
  /** LD-DPO (arXiv 2409.06411): DPO where what only the longer completion has counts less. */
  ld_dpo: lddpoLoss,
  /** Token-level DPO (arXiv 2404.11999), TDPO2 unless it is told otherwise. */
  tdpo: tdpoLoss,
  /** WPO (arXiv 2406.11827): a loss, of pairs that the policy would say itself more than of others. */
  wpo: wpoLoss,
  /** XPO (arXiv 2405.21046): online DPO with a bonus for what the reference does not say, of the pairs of `xpoPairs`. */
  xpo: xpoLoss,
  /** AOT (arXiv 2406.05882), over all pairs of a step. */
  aot: aotLoss,
  /** AOT over all chosen and all rejected completions of a step. */
  aot_unpaired: aotUnpairedLoss,
  /** CPO (arXiv 2401.08417), without a reference, with the likelihood of what is chosen. */
  cpo: cpoLoss,
  /** SimPO (arXiv 2405.14734), without a reference. */
  simpo: simpoLoss,
  /** AlphaPO (arXiv 2501.03884), without a reference. */
  alphapo: alphapoLoss,
  /** ORPO (arXiv 2403.07691), without a reference, with the likelihood of what is chosen. */
  orpo: orpoLoss,
  /** The likelihood of what is chosen alone: a term of `combinedLoss`. */
  sft: sftLoss,
  /** KTO (arXiv 2402.01306), over single completions. */
  kto: ktoLoss,
  /** BCO (arXiv 2404.04656), over single completions, with its reward shift. */
  bco: bcoUnpairedLoss,
  /** Nash-MD (arXiv 2312.00886), over single completions with a `preference`: those of `nashMdCompletions`. */
  nash_md: nashMdLoss,
  /** Implicit PRM by cross-entropy (arXiv 2412.01981), over single completions. */
  implicit_prm: implicitPrmLoss,
  /** DPO over rankings (arXiv 2305.18290, appendix A.3). */
  plackett_luce: plackettLuceLoss,
  /** LiPO-λ (arXiv 2402.01878), over rankings with scores. */
  lipo: lipoLoss,
  /** Multi-sample DPO (arXiv 2410.12138): the best of a ranking against all others. */
  mdpo: mdpoLoss,
  /** Multi-sample IPO (arXiv 2410.12138). */
  mipo: mipoLoss,
} as const;

/** The name of a loss of `preferenceLosses`. */
export type PreferenceLossName = keyof typeof preferenceLosses;
