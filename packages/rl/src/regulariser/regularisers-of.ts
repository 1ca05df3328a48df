import { number } from '@posttrain/interfaces';
import { entropyBonus } from './entropy-bonus.js';
import type { Regulariser } from './regulariser.js';

/** The options of a published combination that add regularisers to it. */
export const regulariserShape = {
  /** Weight of the KL to the reference policy; 0 needs no reference. Default 0. */
  beta: number({ default: 0, min: 0 }),
  /** Weight of the entropy bonus. Default 0. */
  entropyCoef: number({ default: 0 }),
};

interface RegulariserOptions {
  readonly beta: number;
  readonly entropyCoef: number;
}

/** Those that are asked for, with the KL where the combination has it: in the loss or in the reward. */
export function regularisersOf(
  { beta, entropyCoef }: RegulariserOptions,
  kl: (options: { beta: number }) => Regulariser,
): Regulariser[] {
  return [...(beta === 0 ? [] : [kl({ beta })]), ...(entropyCoef === 0 ? [] : [entropyBonus({ entropyCoef })])];
}
