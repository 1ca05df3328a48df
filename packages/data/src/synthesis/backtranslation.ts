import { type Given, integer, number, options } from '@posttrain/interfaces';
import {
  fill,
  generatorOption,
  promptsOption,
  ratingIn,
  synthesisShape,
  synthesisStep,
  textOf,
} from '../steps/asking.js';

const PROMPTS = {
  instruction: 'Write the instruction that this text is a good answer to. Write the instruction only.\n\n{text}',
  curate:
    'How good is this answer of an AI assistant to its instruction, from 1 (not an answer) to 5 (a perfect answer, as by an expert)? Say why, then write "Score: " and the number.\n\nInstruction: {instruction}\n\nAnswer: {text}',
} as const;

/** The score that a rating ends with; a number elsewhere may count anything. */
const FINAL_SCORE = /score:\s*\**\s*(\d+(?:\.\d+)?)(?:\s*(?:\/|out of)\s*5)?\**\.?\s*$/i;

const backtranslationOptions = options('instructionBacktranslation', {
  /** The backward model, which writes instructions for texts. */
  generator: generatorOption,
  /** The model that rates the pairs: the forward model of the round before. */
  rater: generatorOption,
  /** Instructions of each text. Default 1. */
  samples: integer({ default: 1, min: 1 }),
  /** Pairs that are rated at least this stay. Default 5: in the paper the second round keeps fives, and 4 is its other set. */
  threshold: number({ default: 5, min: 1, max: 5 }),
  prompts: promptsOption(PROMPTS),
  ...synthesisShape,
});
/** Options of `instructionBacktranslation`. */
export type InstructionBacktranslationOptions = Given<typeof backtranslationOptions>;

/** A text that people wrote as the answer to an instruction that was made for it. */
export type BacktranslatedRow = {
  readonly prompt: string;
  readonly completion: string;
  readonly rating: number;
};

/**
 * Instruction backtranslation (Humpback, arXiv 2308.06259): self-augmentation makes an instruction for every row's `text`, an unlabelled text of people; self-curation
 * rates each pair from 1 to 5 and keeps the best. The answer stays as people wrote it. A loop of train and curate is yours: give the model of the last round as `rater`.
 *
 * @throws OptionError; RowError for a row without text; PosttrainError `BAD_RESPONSE`
 */
export function instructionBacktranslation(given: InstructionBacktranslationOptions) {
  const settings = backtranslationOptions.read(given);
  const { generator, rater, samples, threshold } = settings;
  const prompts = { ...PROMPTS, ...settings.prompts };
  return synthesisStep<object, BacktranslatedRow>(
    'instruction backtranslation',
    JSON.stringify(backtranslationOptions.settings(given)),
    settings,
    async (row, ask, context, rowNumber) => {
      const text = textOf(row, 'text', rowNumber);
      const drawn = await ask.many(generator, fill(prompts.instruction, { text }), 'instruction', samples);
      const made: { row: BacktranslatedRow; part: number }[] = [];
      for (const [i, raw] of drawn.entries()) {
        const instruction = raw.trim();
        const said = await ask(rater, fill(prompts.curate, { instruction, text }), `curate ${i}`);
        const rating = ratingIn(FINAL_SCORE.exec(said)?.[1] ?? '', 1, 5);
        if (rating === null) context.warn('a rating cannot be read');
        else if (rating >= threshold) made.push({ row: { prompt: instruction, completion: text, rating }, part: i });
      }
      return made.length === 0 ? { drop: 'no instruction is rated high enough' } : made;
    },
  );
}
