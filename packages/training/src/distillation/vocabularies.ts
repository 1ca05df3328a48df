import { OptionError } from '@posttrain/interfaces';
import { type CausalLM, type TextModel, vocabularyDifference } from '@posttrain/lm';

/** What distillation across tokenizers has left: the teacher's texts. */
const REMEDY =
  'Distillation across tokenizers is not there: take a teacher of the student’s tokenizer, or train on the teacher’s texts, which ' +
  'need no common vocabulary (sft on completions that the teacher has sampled).';

/**
 * Refuses a teacher whose token ids do not mean what the student's mean: of two vocabularies of one size too, whose distributions could
 * be compared and would teach nonsense.
 *
 * @throws OptionError
 */
export function refuseOtherVocabulary(
  where: string,
  teacher: Pick<CausalLM, 'tokenizer' | 'config'>,
  student: Pick<TextModel, 'tokenizer'> & Partial<Pick<CausalLM, 'config'>>,
): void {
  const wrong = (problem: string) =>
    new OptionError('INVALID_OPTION', where, 'teacher', `the teacher has ${problem}. ${REMEDY}`);
  const [taught, own] = [teacher.config.vocabSize, student.config?.vocabSize];
  if (own !== undefined && taught !== own) {
    throw wrong(`a vocabulary of ${taught} tokens and the student one of ${own}; a divergence needs one for both`);
  }
  const difference = vocabularyDifference(teacher.tokenizer, student.tokenizer);
  if (difference !== undefined) throw wrong(`another tokenizer than the student: ${difference}`);
}
