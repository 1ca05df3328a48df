import type { Tensor } from '@posttrain/core-tensor';
import type { DecisiveSettings } from '@posttrain/interfaces';

/**
 * How the reference of a run moves with the policy: a pure function of both. What it has become is in the checkpoints of the run, and
 * what is compared with it is computed anew.
 */
export interface ReferenceUpdate {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** Whether the reference moves after so many updates of the policy. */
  isDue(updates: number): boolean;
  /** What becomes of a tensor of the reference, of the same shape. `name`: that of the parameter. */
  next(reference: Tensor, policy: Tensor, name: string): Tensor;
}

/** Whether a value is a rule by which a reference moves. */
export const isReferenceUpdate = (value: unknown): boolean => {
  const { isDue, next } = (value ?? {}) as Partial<ReferenceUpdate>;
  return typeof isDue === 'function' && typeof next === 'function';
};
