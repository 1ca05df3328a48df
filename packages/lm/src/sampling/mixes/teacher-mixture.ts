import { type Given, number, options } from '@posttrain/interfaces';
import { type DecodingMix, logitsFrom } from '../decoding-mix.js';
import { logSoftmax } from '../log-softmax.js';

const teacherMixtureOptions = options('teacherMixture', {
  teacher: logitsFrom(),
  /** α: the teacher's share of every token. Default 0.2, as in the paper. */
  alpha: number({ default: 0.2, min: 0, max: 1 }),
});
/** Options of `teacherMixture`. */
export type TeacherMixtureOptions = Given<typeof teacherMixtureOptions>;

/**
 * Teacher-mixed sampling (MiniLLM, arXiv 2306.08543 §2.2), token by token what GKD (arXiv 2306.13649) does by whole completions:
 *
 *   log(α p_teacher(y) + (1 − α) p(y))
 *
 * with p = softmax of the logits; a temperature applies to the mixture.
 *
 * @throws OptionError
 */
export function teacherMixture(given: TeacherMixtureOptions): DecodingMix {
  const { teacher, alpha } = teacherMixtureOptions.read(given);
  return {
    name: 'teacherMixture',
    settings: teacherMixtureOptions.settings(given),
    models: [teacher],
    combine(policy, [other]) {
      const theirs = logSoftmax(other!);
      return logSoftmax(policy).map((logProb, token) =>
        Math.log(alpha * Math.exp(theirs[token]!) + (1 - alpha) * Math.exp(logProb)),
      );
    },
  };
}
