import { type Given, integer, number, options } from '@posttrain/interfaces';
import type { ReferenceUpdate } from './reference-update.js';

const trDpoOptions = options('trDpo', {
  /** α: how far the reference goes towards the policy; 1 is the hard update of the paper. TRL's `ref_model_mixup_alpha`. Default 0.6. */
  refModelMixupAlpha: number({ default: 0.6, min: 0, max: 1 }),
  /** τ: updates of the policy from one move of the reference to the next. TRL's `ref_model_sync_steps`. Default 512. */
  refModelSyncSteps: integer({ default: 512, min: 1 }),
});
/** Options of `trDpo`. */
export type TrDpoOptions = Given<typeof trDpoOptions>;

/**
 * TR-DPO (arXiv 2404.09656): after every τ updates the reference becomes α π + (1 - α) π_ref, tensor by tensor: a soft update, and with
 * α = 1 a hard one. TRL's `sync_ref_model`, also where an adapter is trained, of which it mixes the parameters.
 */
export function trDpo(given: TrDpoOptions = {}): ReferenceUpdate {
  const { refModelMixupAlpha: alpha, refModelSyncSteps: every } = trDpoOptions.read(given);
  return {
    name: 'tr-dpo',
    settings: trDpoOptions.settings(given),
    isDue: (updates) => updates % every === 0,
    next: (reference, policy) => reference.mul(1 - alpha).add(policy.mul(alpha)),
  };
}
