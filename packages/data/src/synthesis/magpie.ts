import { type Given, integer, options, text } from '@posttrain/interfaces';
import { ownValue } from '../rows.js';
import { generatorOption, synthesisShape, synthesisStep } from '../steps/asking.js';

const magpieOptions = options('magpie', {
  /** An aligned model that continues raw text: a base prompt is a text, not messages. */
  generator: generatorOption,
  /** What stands before a user's message in the model's chat template: `<|im_start|>user\n`. */
  userStart: text({}),
  /** What ends the user's message: `<|im_end|>`. */
  userEnd: text({}),
  /** What then begins the answer: `\n<|im_start|>assistant\n`. */
  assistantStart: text({}),
  /** What stands before and behind a system message of a row (its column `system`), where it has one. Default nothing. */
  systemStart: text({ default: '' }),
  systemEnd: text({ default: '' }),
  /** Instructions of each row. Default 1. */
  samples: integer({ default: 1, min: 1 }),
  ...synthesisShape,
});
/** Options of `magpie`. */
export type MagpieOptions = Given<typeof magpieOptions>;

/** An instruction and its answer, both of one model. */
export type MagpieRow = {
  readonly prompt: string;
  readonly completion: string;
};

/**
 * Magpie (arXiv 2406.08464): an aligned model that is given only what stands before a user's message writes the user's message itself; that, with its answer, is a row.
 * The rows that go in say how: a column `system` steers what is asked (mathematics, a language). An instruction that is empty, or that runs on without an end, is left
 * out with a warning, as is one that comes twice of a row.
 *
 * @throws OptionError; PosttrainError `BAD_RESPONSE`
 */
export function magpie(given: MagpieOptions) {
  const settings = magpieOptions.read(given);
  const { generator, userStart, userEnd, assistantStart, systemStart, systemEnd, samples } = settings;
  return synthesisStep<object, MagpieRow>(
    'magpie',
    JSON.stringify(magpieOptions.settings(given)),
    settings,
    async (row, ask, context) => {
      const system = ownValue(row, 'system');
      const start = (typeof system === 'string' ? systemStart + system + systemEnd : '') + userStart;
      const drawn = await ask.drawn(generator, start, 'instructions', samples, { stop: [userEnd] });
      const made: { row: MagpieRow; part: number }[] = [];
      const seen = new Set<string>();
      for (const [i, { text: raw, finishReason }] of drawn.entries()) {
        const prompt = raw.trim();
        const what =
          prompt === '' ? 'is empty' : finishReason !== 'stop' ? 'has no end' : seen.has(prompt) ? 'came twice' : null;
        if (what !== null) {
          context.warn(`an instruction ${what}`);
          continue;
        }
        seen.add(prompt);
        const completion = await ask(generator, start + raw + userEnd + assistantStart, `answer ${i}`, {
          stop: [userEnd],
        });
        made.push({ row: { prompt, completion: completion.trim() }, part: i });
      }
      return made.length === 0 ? { drop: 'no instruction came' } : made;
    },
  );
}
