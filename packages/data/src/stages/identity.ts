import { createHash } from 'node:crypto';
import { type DecisiveSettings, hashText, settingDifferences, showDifferences } from '@posttrain/interfaces';
import type { AnyStep } from '../step.js';

/** What decides what a stage gives: the source, the seed, the shards, and every step up to its end. */
export type StageIdentity = DecisiveSettings;

/** A step's name and version, as an identity holds it. */
export function stepVersion(step: AnyStep): string {
  return `${step.name} ${step.version ?? hashText(`${step.plan ?? ''}${step.apply}`)}`;
}

/** The identity with the steps of one more stage. */
export function withSteps(before: StageIdentity, steps: readonly AnyStep[], firstStep: number): StageIdentity {
  const named = steps.map((step, i) => [`step ${firstStep + i + 1}`, stepVersion(step)] as const);
  return { ...before, ...Object.fromEntries(named) };
}

/** Content hash (SHA-256) of an identity. */
export function keyOfStage(identity: StageIdentity): string {
  const sorted = Object.entries(identity).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex');
}

/** Why a stage that was finished is not the one that is asked for. */
export const changeOf = (was: StageIdentity, is: StageIdentity): string => showDifferences(settingDifferences(was, is));
