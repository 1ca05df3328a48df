import { text } from '@posttrain/interfaces';
import { distill, distillOptions } from '@posttrain/training';
import type { TrainingKind } from './kind.js';
import { loadModel } from './load.js';

/** What is made of texts here. */
const shape = {
  /** The model that is imitated: a folder, or a name on the hub. */
  teacher: text({}),
} as const;

export const distillKind: TrainingKind = {
  name: 'distill',
  about:
    "Generalised knowledge distillation: MODEL learns a teacher's distributions, on rows { prompt, completion } and on completions of its own. OUTPUT/adapter or OUTPUT/model is the result.",
  declared: distillOptions,
  made: shape,
  make: { teacher: (value) => loadModel(String(value)) },
  descriptions: ['distill-command', 'command', 'distill', 'training', 'run'],
  train: (given) => distill(given as unknown as Parameters<typeof distill>[0]),
};
