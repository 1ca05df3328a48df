import { type Given, integer, number, options } from '@posttrain/interfaces';
import {
  atLeastOne,
  fill,
  generatorOption,
  promptsOption,
  synthesisShape,
  synthesisStep,
  textOf,
} from '../steps/asking.js';

const OPERATIONS = ['constraints', 'deepening', 'concretizing', 'reasoning', 'breadth'] as const;
/** A way to evolve an instruction: four in depth, one in breadth. */
export type EvolOperation = (typeof OPERATIONS)[number];

const FORM =
  'Write the new instruction only. It must be about as long (20 words more at most), and something people can understand and answer.\n\nInstruction: {instruction}';
const PROMPTS = {
  constraints: `Make this instruction a little harder for an AI: add one more constraint or requirement. ${FORM}`,
  deepening: `Make this instruction a little harder for an AI: ask deeper and wider about what it asks. ${FORM}`,
  concretizing: `Make this instruction a little harder for an AI: replace general concepts by more specific ones. ${FORM}`,
  reasoning: `Make this instruction a little harder for an AI: ask explicitly for several steps of reasoning. ${FORM}`,
  breadth: `Write a new instruction of the same domain as this one that is rarer, and about as long and hard. ${FORM}`,
  answer: '{instruction}',
  equal:
    'Are these two instructions equal: the same demands, as deep and as wide? Answer Equal or Not Equal.\n\nFirst: {before}\nSecond: {after}',
} as const;

const evolOptions = options('evolInstruct', {
  generator: generatorOption,
  /** Evolutions of every instruction, one behind the other. Default 4. */
  rounds: integer({ default: 4, min: 1 }),
  /** Of which one is drawn in each round. Default all five. */
  operations: atLeastOne(OPERATIONS),
  /** An answer that says sorry in fewer words than this is a refusal. Default 80. */
  refusalWords: number({ default: 80, min: 0 }),
  prompts: promptsOption(PROMPTS),
  ...synthesisShape,
});
/** Options of `evolInstruct`. */
export type EvolInstructOptions = Given<typeof evolOptions>;

/** An instruction that was evolved, with an answer. */
export type EvolvedRow = {
  readonly prompt: string;
  readonly completion: string;
  readonly round: number;
  readonly operation: EvolOperation;
  /** The instruction that it was made of. */
  readonly before: string;
};

const STOP_WORDS = new Set(
  'a an and are as at be but by for from had has have he her his i in is it its me my no not of on or our she so that the their them they this to was we were what will with you your'.split(
    ' ',
  ),
);

/**
 * Why an evolution is eliminated (§3.2): it adds nothing (a model says so), its answer says sorry and is short, its answer has nothing but marks and stop words,
 * or the instruction has words of the evolving prompt in it. `null` where it stays.
 */
export function evolutionFailure(
  after: string,
  answer: string,
  { isEqual, refusalWords = 80 }: { readonly isEqual: boolean; readonly refusalWords?: number },
): string | null {
  if (isEqual) return 'adds nothing';
  const words = answer.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  if (/\bsorry\b/i.test(answer) && words.length < refusalWords) return 'cannot be answered';
  if (words.every((word) => STOP_WORDS.has(word))) return 'answer without content';
  return /\b(?:given prompt|rewritten prompt|new prompt|new instruction|given instruction)\b/i.test(after)
    ? 'words of the evolving prompt'
    : null;
}

/**
 * Evol-Instruct (WizardLM, arXiv 2304.12244): every row's `prompt` is evolved so many times by a model, in depth (constraints, deepening, concretising, reasoning)
 * or in breadth, and answered. Evolutions that fail are eliminated, counted as warnings, and their instruction goes into the next round as it was. Rows come out
 * once for each evolution that stays, with `prompt`, `completion`, `round`, `operation` and `before`; the text of the paper's prompts is not used.
 *
 * @throws OptionError; RowError for a row without prompt; PosttrainError `BAD_RESPONSE`
 */
export function evolInstruct(given: EvolInstructOptions) {
  const settings = evolOptions.read(given);
  const { generator, rounds, operations, refusalWords } = settings;
  const prompts = { ...PROMPTS, ...settings.prompts };
  return synthesisStep<object, EvolvedRow>(
    'evol instruct',
    JSON.stringify(evolOptions.settings(given)),
    settings,
    async (row, ask, context, rowNumber) => {
      let before = textOf(row, 'prompt', rowNumber);
      const made: { row: EvolvedRow; part: number }[] = [];
      for (let round = 1; round <= rounds; round++) {
        const operation = context.random(`${context.keyOf(row).id} ${round}`).pick(operations);
        const instruction = before;
        const after = (await ask(generator, fill(prompts[operation], { instruction }), `evolve ${round}`)).trim();
        const completion = await ask(generator, fill(prompts.answer, { instruction: after }), `answer ${round}`);
        const verdict = await ask(generator, fill(prompts.equal, { before, after }), `equal ${round}`);
        const isEqual = /^\W*equal\b/i.test(verdict) || after === '';
        const failure = evolutionFailure(after, completion, { isEqual, refusalWords });
        if (failure !== null) {
          context.warn(`an evolution was eliminated: ${failure}`);
          continue;
        }
        made.push({ row: { prompt: after, completion, round, operation, before }, part: round });
        before = after;
      }
      return made.length === 0 ? { drop: 'no evolution stayed' } : made;
    },
  );
}
