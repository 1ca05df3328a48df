import { addSettings, type DecisiveSettings, OptionError } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import type { Loss } from '../loss/loss.js';
import type { TrainingRow } from '../loss/rows.js';
import type { TeacherModel, TopKTeacher } from '../readouts/divergence.js';
import { modelIdentity } from '../run/identity.js';
import type { DistillSettings } from './distill-options.js';
import { annotateTopK, distillation } from './distillation.js';
import { knowledgeDistillation } from './knowledge-distillation.js';
import { TeacherFile } from './teacher-file.js';
import { refuseOtherVocabulary } from './vocabularies.js';

/** How a teacher teaches: in the same pass, by its top-k tokens of each batch, or by those that are on disk. */
export interface Teaching {
  readonly loss: Loss;
  /** The teacher itself, to sample from; undefined where there is only what it once said. */
  readonly model: CausalLM | undefined;
  /** Rows with what the loss reads of the teacher. `indices`: which rows of the data they are. */
  annotate(rows: readonly TrainingRow[], indices?: readonly number[]): Promise<readonly TrainingRow[]>;
  /** What stands for the teacher in a run. */
  identity(): Promise<DecisiveSettings>;
}

/**
 * How the teacher of a run of `distill` teaches.
 *
 * @throws OptionError for a teacher of another vocabulary, and for options that a teacher on disk has no answer to
 */
export function teachingOf(where: string, settings: DistillSettings): Teaching {
  const { teacher } = settings;
  return teacher instanceof TeacherFile ? byFile(where, teacher, settings) : byModel(where, teacher, settings);
}

function lossOf(settings: DistillSettings, teacher: TeacherModel | TopKTeacher): Loss {
  const { alpha, beta, divergenceTemperature: temperature } = settings;
  return alpha === undefined
    ? distillation({ teacher, beta, temperature })
    : knowledgeDistillation({ teacher, alpha, beta, temperature });
}

function byModel(where: string, teacher: CausalLM, settings: DistillSettings): Teaching {
  const { model, topK: k, divergenceTemperature: temperature, maxTokensPerPass } = settings;
  refuseOtherVocabulary(where, teacher, model);
  return {
    loss: lossOf(settings, k === undefined ? teacher : { k }),
    model: teacher,
    annotate: async (rows) =>
      k === undefined ? rows : annotateTopK(teacher, rows, { k, temperature, maxTokensPerPass }),
    identity: () => modelIdentity(teacher),
  };
}

function byFile(where: string, file: TeacherFile, settings: DistillSettings): Teaching {
  const { k, temperature, vocabSize } = file.header;
  const refuse = (option: string, problem: string) =>
    new OptionError('INVALID_OPTION', where, option, `${option}: ${problem}`);
  const { lmbda, seqKd, topK, divergenceTemperature, evaluationRows, model } = settings;
  const only = 'a teacher on disk knows the rows that it was run on and no others';
  if (lmbda > 0) throw refuse('lmbda', `is ${lmbda}, and ${only}; give 0, or the teacher itself.`);
  if (seqKd) throw refuse('seqKd', `${only}; it cannot be sampled from.`);
  if (evaluationRows) throw refuse('evaluationRows', `${only}; evaluate with the teacher itself.`);
  if (topK !== undefined && topK !== k)
    throw refuse('topK', `is ${topK}, and ${file.path} has ${k} tokens of each distribution.`);
  if (divergenceTemperature !== temperature) {
    throw refuse(
      'divergenceTemperature',
      `is ${divergenceTemperature}, and ${file.path} was written at ${temperature}.`,
    );
  }
  if (vocabSize !== model.config.vocabSize) {
    const problem = `${file.path} is of a vocabulary of ${vocabSize} tokens, and the student has ${model.config.vocabSize}.`;
    throw refuse('teacher', problem);
  }
  return {
    loss: lossOf(settings, { k }),
    model: undefined,
    annotate: (rows, indices = []) =>
      Promise.all(
        rows.map(async (row, i) => ({
          ...row,
          annotations: { ...row.annotations, ...(await file.annotations(indices[i]!, row.tokens)) },
        })),
      ),
    async identity() {
      const identity: Record<string, DecisiveSettings[string]> = {};
      const { teacher, ...header } = file.header;
      addSettings(identity, 'file', header as DecisiveSettings);
      return { ...teacher, ...identity };
    },
  };
}
