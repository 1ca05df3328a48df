export { type AlphapoLossOptions, alphapoLoss } from './alphapo.js';
export { type AotLossOptions, aotLoss } from './aot.js';
export { aotUnpairedLoss } from './aot-unpaired.js';
export { type ApoDownLossOptions, apoDownLoss } from './apo-down.js';
export { type ApoZeroLossOptions, apoZeroLoss } from './apo-zero.js';
export { type BcoLossOptions, bcoLoss } from './bco.js';
export { type BcoUnpairedLossOptions, bcoUnpairedLoss } from './bco-unpaired.js';
export { type BfpoLossOptions, bfpoLoss } from './bfpo.js';
export { type CdpoLossOptions, cdpoLoss } from './cdpo.js';
export { type CombinedLossOptions, combinedLoss } from './combined.js';
export type {
  CompletionLogProbs,
  CompletionReadouts,
  Completions,
  PreferenceLossDescription,
  PreferenceLosses,
  ReferenceInPass,
} from './completions.js';
export { type CpoLossOptions, cpoLoss } from './cpo.js';
export { type DiscopopLossOptions, discopopLoss } from './discopop.js';
export { type DpoLossOptions, dpoLoss } from './dpo.js';
export { type DpopLossOptions, dpopLoss } from './dpop.js';
export { type ExoLossOptions, exoLoss } from './exo.js';
export { type FdpoLossOptions, fdpoLoss } from './f-dpo.js';
export { type HingeLossOptions, hingeLoss } from './hinge.js';
export { type ImplicitPrmLossOptions, implicitPrmLoss } from './implicit-prm.js';
export { type IpoLossOptions, ipoLoss } from './ipo.js';
export { type KtoLossOptions, ktoLoss } from './kto.js';
export { type LddpoLossOptions, lddpoLoss } from './ld-dpo.js';
export {
  type AnyPreferenceLoss,
  type LiftPreferenceOptions,
  liftPreferenceLoss,
} from './lift-preference-loss.js';
export { type LipoLossOptions, lipoLoss } from './lipo.js';
export { type MdpoLossOptions, mdpoLoss } from './mdpo.js';
export { type MipoLossOptions, mipoLoss } from './mipo.js';
export { type NashMdLossOptions, nashMdLoss } from './nash-md.js';
export { type NcaLossOptions, ncaLoss } from './nca.js';
export { type OrpoLossOptions, orpoLoss } from './orpo.js';
export { type PlackettLuceLossOptions, plackettLuceLoss } from './plackett-luce.js';
export {
  annotatePairs,
  coupledPairs,
  type OfPair,
  type PairLogProbs,
  type PairReference,
  type PreferenceLoss,
  type ReferredPair,
  type TokenizedPair,
} from './preference-loss.js';
export { type PreferenceRow, PreferenceRowError, tokenizePair } from './preference-rows.js';
export { type PreferenceLossName, preferenceLosses } from './presets.js';
export {
  annotateRankings,
  type RankedLogProbs,
  type RankedLoss,
  type ReferredRanking,
  type TokenizedRanking,
} from './ranked-loss.js';
export { type RankedRow, tokenizeRanking } from './ranked-rows.js';
export { isReferenceUpdate, type ReferenceUpdate } from './reference-update.js';
export { type RobustLossOptions, robustLoss } from './robust.js';
export { type RpoLossOptions, rpoLoss } from './rpo.js';
export { sftLoss } from './sft.js';
export { type SigmoidNormLossOptions, sigmoidNormLoss } from './sigmoid-norm.js';
export { type SimpoLossOptions, simpoLoss } from './simpo.js';
export { type SppoLossOptions, sppoLoss } from './sppo.js';
export { type StepSolutions, stepDpoPair } from './step-dpo.js';
export { type TdpoLossOptions, tdpoLoss } from './tdpo.js';
export { type TrDpoOptions, trDpo } from './tr-dpo.js';
export {
  annotateUnpaired,
  type UnpairedCompletion,
  type UnpairedLogProbs,
  type UnpairedLoss,
  type UnpairedStep,
} from './unpaired-loss.js';
export { type TokenizedCompletion, tokenizeUnpaired, type UnpairedRow } from './unpaired-rows.js';
export { type WpoLossOptions, wpoLoss } from './wpo.js';
export { type XpoLossOptions, xpoLoss } from './xpo.js';
