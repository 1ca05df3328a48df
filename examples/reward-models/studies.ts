import { clickArms } from './clicks.js';
import { aiFeedbackArms, conflictArms, constitutionArms, negativeArms } from './feedback.js';
import { hackingArms, hybridArms, refitArms, stepwiseArms } from './policies.js';
import { verifierArms } from './verifiers.js';

/** Arms by name, with what was measured of each. */
export type Arms = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** A study of three seeds. */
export interface Study {
  readonly title: string;
  readonly measures: readonly string[];
  /** The arm that all others are compared with. */
  readonly base: string;
  arms(seed: number): Promise<Arms>;
}

export const STUDIES = {
  verifiers: {
    title: 'Verifiers of planted errors',
    measures: ['auroc', 'located'],
    base: 'outcome',
    arms: async (seed) => (await verifierArms(seed)) as unknown as Arms,
  },
  clicks: {
    title: 'Clicks on what an old ranker showed',
    measures: ['ordered'],
    base: 'clicks as they are',
    arms: clickArms,
  },
  hybrid: { title: 'Rewards of steps and the outcome', measures: ['right'], base: 'outcome', arms: hybridArms },
  stepwise: {
    title: 'Preferences of steps',
    measures: ['right'],
    base: 'whole solutions',
    arms: stepwiseArms,
  },
  hacking: {
    title: 'Reward models that like length',
    measures: ['worth', 'length'],
    base: 'one reward model',
    arms: hackingArms,
  },
  refit: {
    title: 'A reward model that is fitted again',
    measures: ['worth', 'steps'],
    base: 'frozen',
    arms: refitArms,
  },
  feedback: {
    title: 'RLAIF',
    measures: ['harmless'],
    base: 'control: a coin',
    arms: aiFeedbackArms,
  },
  constitution: {
    title: 'Constitutional AI',
    measures: ['harmless'],
    base: 'control: its own answers',
    arms: constitutionArms,
  },
  conflict: {
    title: 'Helpful against harmless',
    measures: ['helpful', 'harmless', 'area'],
    base: 'front of weighted rewards',
    arms: conflictArms,
  },
  negatives: {
    title: 'Negatives that are hard',
    measures: ['clean', 'perturbed'],
    base: 'pairs as they come',
    arms: negativeArms,
  },
} satisfies Record<string, Study>;

/** The name of a study. */
export type StudyName = keyof typeof STUDIES;
