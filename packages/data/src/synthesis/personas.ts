import { type Given, integer, options, text } from '@posttrain/interfaces';
import { ownValue } from '../rows.js';
import { fill, generatorOption, promptsOption, synthesisShape, synthesisStep, textOf } from '../steps/asking.js';

const PROMPTS = {
  persona: 'Who is likely to read, write, like or dislike this text? Describe that person in one sentence.\n\n{text}',
  related: 'Who is in a close relationship with this person? Describe that other person in one sentence.\n\n{persona}',
  create: 'Write {what} that this person would ask or need. Write it only.\n\n{persona}',
  answer: '{prompt}',
} as const;

const personaOptions = options('personas', {
  generator: generatorOption,
  /** What each person asks for. Default `'an instruction'`; a paper's: a mathematics problem, a tool, a game character. */
  what: text({ default: 'an instruction' }),
  /** Persons made from each person by their relations, one behind the other. Default 0. */
  relations: integer({ default: 0, min: 0 }),
  prompts: promptsOption(PROMPTS),
  ...synthesisShape,
});
/** Options of `personas`. */
export type PersonaOptions = Given<typeof personaOptions>;

/** What a person asks, and the answer. */
export type PersonaRow = {
  readonly persona: string;
  readonly prompt: string;
  readonly completion: string;
};

/**
 * Persona Hub (arXiv 2406.20094): of every row's `text` a model infers who would read it (text-to-persona), of that person others by their relations
 * (persona-to-persona), and of each what they would ask, which it answers. A row that has a `persona` begins with that.
 *
 * @throws OptionError; RowError for a row without text and persona; PosttrainError `BAD_RESPONSE`
 */
export function personas(given: PersonaOptions) {
  const settings = personaOptions.read(given);
  const { generator, what, relations } = settings;
  const prompts = { ...PROMPTS, ...settings.prompts };
  return synthesisStep<object, PersonaRow>(
    'personas',
    JSON.stringify(personaOptions.settings(given)),
    settings,
    async (row, ask, { warn }, rowNumber) => {
      // A column that other rows have is null here, in tables.
      const hasPersona = (ownValue(row, 'persona') ?? undefined) !== undefined;
      const known = textOf(row, hasPersona ? 'persona' : 'text', rowNumber);
      let persona = hasPersona ? known : await ask(generator, fill(prompts.persona, { text: known }), 'persona');
      const made: { row: PersonaRow; part: number }[] = [];
      for (let i = 0; i <= relations; i++) {
        if (i > 0) persona = await ask(generator, fill(prompts.related, { persona }), `related ${i}`);
        const prompt = (await ask(generator, fill(prompts.create, { persona, what }), `create ${i}`)).trim();
        if (prompt === '') {
          warn('a person asks nothing');
          continue;
        }
        const completion = await ask(generator, fill(prompts.answer, { prompt }), `answer ${i}`);
        made.push({ row: { persona, prompt, completion }, part: i });
      }
      return made.length === 0 ? { drop: 'nobody asks anything' } : made;
    },
  );
}
