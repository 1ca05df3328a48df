import { isPosttrainError, OptionError, type TokenScorer } from '@posttrain/interfaces';
import { type CausalLM, NO_ADAPTER, sequenceLogProbs } from '@posttrain/lm';
import { refuseOtherVocabulary, type TrainableAdapter } from '@posttrain/training';
import type { AnnotatorContext } from '../annotator.js';

/** The student as a teacher: as it is now, or with its adapter off. */
export type SelfTeacher = 'live' | 'base';

/**
 * Who says how likely a student's tokens are: a model of ours, one behind an endpoint (`openaiCompatibleTokenScorer`), or the student
 * itself.
 */
export type TokenTeacher = CausalLM | TokenScorer | SelfTeacher;

/** What an option that is a teacher must be. */
export const TOKEN_TEACHER =
  "a CausalLM, something that scores tokens (openaiCompatibleTokenScorer of @posttrain/openai), 'live' or 'base'";

const isSelf = (teacher: unknown): teacher is SelfTeacher => teacher === 'live' || teacher === 'base';

const isScorer = (value: unknown): value is TokenScorer =>
  typeof (value as Partial<TokenScorer> | null | undefined)?.scoreTokens === 'function';

/** Whether a value is a teacher. */
export const isTokenTeacher = (value: unknown): value is TokenTeacher =>
  isSelf(value) ||
  isScorer(value) ||
  (typeof value === 'object' && value !== null && 'network' in value && 'weights' in value && 'tokenizer' in value);

/** What stands for a teacher in the settings of a run. */
export const nameOfTeacher = (teacher: TokenTeacher): string => (isSelf(teacher) ? teacher : teacher.name);

/** The model and adapter of a teacher that runs here; undefined where it is elsewhere. */
export function localTeacher(teacher: TokenTeacher, { model, adapter }: Pick<AnnotatorContext, 'model' | 'adapter'>) {
  if (teacher === 'live') return { model, adapter };
  // What an adapter that changes the base starts from is not the model without it.
  if (teacher === 'base') return { model, adapter: (adapter as Partial<TrainableAdapter>).reference ?? NO_ADAPTER };
  return isScorer(teacher) ? undefined : { model: teacher, adapter: NO_ADAPTER };
}

/** log p of every token but the first of each sequence, at the temperature that the student samples at. */
export async function teacherScores(
  teacher: TokenTeacher,
  sequences: readonly (readonly number[])[],
  context: AnnotatorContext,
): Promise<ArrayLike<number>[]> {
  if (sequences.length === 0) return [];
  const local = localTeacher(teacher, context);
  const { temperature, signal } = context;
  if (local) {
    const scored = await sequenceLogProbs(local.model, sequences, { adapter: local.adapter, temperature });
    return scored.map(({ logProbs }) => logProbs);
  }
  const scored = await (teacher as TokenScorer).scoreTokens(sequences, { signal });
  return scored.map(({ logProbs }) => logProbs);
}

/** How many tokens an endpoint is asked about before a run begins. */
const PROBE = 24;
const REMEDY = 'take one of the student’s tokenizer, or train on its texts (sft), which need no common vocabulary.';

/**
 * Refuses, before the first step, a teacher whose token ids mean something else than the student's, or which gives no log-probabilities.
 * One that is elsewhere is asked about tokens from all over the vocabulary; what it calls them must be what they are here.
 *
 * @throws OptionError
 */
export async function refuseUnfitTeacher(
  where: string,
  teacher: TokenTeacher,
  context: AnnotatorContext,
): Promise<void> {
  const { model, adapter, temperature, signal } = context;
  if (teacher === 'base' && adapter === NO_ADAPTER) {
    const problem =
      "teacher is 'base', and every weight is trained, so that there is no base beside it; give the model that";
    throw new OptionError('INVALID_OPTION', where, 'teacher', `${problem} the run begins with, or 'live'.`);
  }
  if (isSelf(teacher)) return;
  if (!isScorer(teacher)) return refuseOtherVocabulary(where, teacher, model);
  const wrong = (problem: string, cause?: unknown) =>
    Object.assign(
      new OptionError('INVALID_OPTION', where, 'teacher', `the teacher ${teacher.name} ${problem}`),
      cause ? { cause } : {},
    );
  if (temperature !== 1) {
    const problem = `is elsewhere and scores at temperature 1, and the student samples at ${temperature}; give temperature: 1.`;
    throw wrong(problem);
  }
  const { tokenizer } = model;
  const size = Math.min(tokenizer.vocabSize, model.config.vocabSize);
  const probe = Array.from({ length: PROBE }, (_, i) => Math.floor((i * (size - 1)) / (PROBE - 1)));
  const [answer] = await teacher.scoreTokens([probe], { signal }).catch((cause: unknown) => {
    if (signal?.aborted || !isPosttrainError(cause)) throw cause;
    throw wrong(`gives no log-probabilities of the student’s tokens: ${cause.message}`, cause);
  });
  if (answer?.logProbs.length !== PROBE - 1 || !Array.from(answer.logProbs).every((x) => x <= 0)) {
    throw wrong(
      `gives ${answer?.logProbs.length ?? 0} log-probabilities of ${PROBE} tokens, or others than numbers up to 0.`,
    );
  }
  // Pieces of characters have no text of their own, and servers differ in the space that a piece begins with.
  const texts = probe.slice(1).map((id) => tokenizer.decode([id]).trim());
  const others = answer.texts?.map((text) => text.trim());
  if (!others) return;
  const comparable = texts.flatMap((text, i) =>
    text === '' || others[i] === '' || /\uFFFD/.test(text + others[i])
      ? []
      : [[text, others[i]!, probe[i + 1]!] as const],
  );
  const different = comparable.filter(([text, other]) => text !== other);
  if (different.length * 4 <= comparable.length) return;
  const [text, other, id] = different[0]!;
  const problem = `has another tokenizer than the student: token ${id} is ${JSON.stringify(other)} there and ${JSON.stringify(text)} here`;
  throw wrong(`${problem}; ${REMEDY}`);
}
