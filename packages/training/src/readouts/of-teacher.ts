import type { ForwardPass, Readout, ReadoutValue } from '../loss/loss.js';
import type { TeacherModel } from './divergence.js';

/**
 * Readouts of a teacher that is run beside the student, over the same rows: log-probabilities of tokens, values, hidden states. The
 * teacher is run once in a pass, however many readouts of it are read; it gets no gradient.
 */
export function ofTeacher(teacher: TeacherModel): <T extends ReadoutValue>(readout: Readout<T>) => Readout<T> {
  const passes = new WeakMap<ForwardPass, ForwardPass>();
  return (readout) => ({
    ...readout,
    name: `${readout.name} of the teacher`,
    compute(pass) {
      const beside = passes.get(pass) ?? pass.beside(teacher);
      passes.set(pass, beside);
      return beside.read(readout);
    },
  });
}
