import { clickArms } from './clicks.js';
import { aiFeedbackArms, conflictArms, constitutionArms } from './feedback.js';
import type { Arms, Study } from './harness.js';
import { mixingArms } from './mixing.js';
import { negativeArms } from './negatives.js';
import { hackingArms, hybridArms, refitArms, stepwiseArms } from './policies.js';
import { generativeArms, verifierArms } from './verifiers.js';

/** Of studies whose settings were chosen on seed 11. */
const FRESH = [21, 22, 23];

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
  generative: {
    title: 'A verifier that says Yes or No',
    measures: ['auroc'],
    base: 'generative, labels by chance',
    seeds: FRESH,
    arms: (seed) => generativeArms(seed),
  },
  hybrid: {
    title: 'Rewards of steps and the outcome',
    measures: ['right'],
    base: 'outcome',
    arms: (seed) => hybridArms(seed),
  },
  mixing: {
    title: 'Answers in two scripts',
    measures: ['right', 'mixed'],
    base: 'outcome',
    arms: (seed) => mixingArms(seed),
  },
  stepwise: {
    title: 'Preferences of steps',
    measures: ['right'],
    base: 'whole solutions',
    seeds: [1, 2, 3, 4, 5],
    arms: (seed) => stepwiseArms(seed),
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
    seeds: FRESH,
    arms: (seed) => negativeArms(seed),
  },
} satisfies Record<string, Study>;
