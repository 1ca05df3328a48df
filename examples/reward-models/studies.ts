import { clickArms } from './clicks.js';
import { hackingArms, hybridArms, refitArms } from './policies.js';
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
  hacking: {
    title: 'Reward models that like length',
    measures: ['worth', 'length', 'density'],
    base: 'one reward model',
    arms: hackingArms,
  },
  refit: {
    title: 'A reward model that is fitted again',
    measures: ['worth', 'steps'],
    base: 'frozen',
    arms: refitArms,
  },
} satisfies Record<string, Study>;

/** The name of a study. */
export type StudyName = keyof typeof STUDIES;
