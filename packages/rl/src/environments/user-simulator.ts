import {
  type ChatMessage,
  custom,
  type Generator,
  type Given,
  integer,
  OptionError,
  options,
  type SamplingParams,
  text,
  type Verifier,
} from '@posttrain/interfaces';
import type { PromptRow } from '../rewards/reward.js';
import type { Environment } from '../rollout/environment.js';
import { seedOf } from '../rollout/rollout-source.js';
import { user } from './task-environment.js';

/** What a user says next; null: nothing more. */
export type ScriptedUser<Row extends PromptRow = PromptRow> = (
  messages: readonly ChatMessage[],
  row: Row,
) => string | null | Promise<string | null>;

const userSimulatorOptions = options('userSimulator', {
  /** A user by rule: a function of the conversation and the row. */
  script: custom<ScriptedUser>()('a function of messages and a row', (value) => typeof value === 'function', {
    optional: true,
  }),
  /** A user who is played by a model. */
  generator: custom<Generator>()(
    'a generator',
    (value) => typeof (value as Partial<Generator> | null)?.generate === 'function',
    { optional: true, settings: ({ name }) => name },
  ),
  /** Column with what the user wants and who they are, which only a played user is told. Default `persona`. */
  column: text({ default: 'persona' }),
  /** What a played user says when there is nothing more to ask. Default `[done]`. */
  end: text({ default: '[done]' }),
  /** How a played user is sampled. Default: at most 128 tokens. */
  sampling: custom<SamplingParams>()(
    'an object of sampling parameters',
    (value) => typeof value === 'object' && value !== null,
    { default: { maxTokens: 128 } },
  ),
  /** What the user says at most, the first question among it. Default 4. */
  maxUserTurns: integer({ default: 4, min: 1 }),
  /** What the conversation was worth, of the last reply and with all `messages`. Default: rewards of the run say it. */
  verifier: custom<Verifier>()(
    'a verifier ({ name, verify(requests) })',
    (value) => typeof (value as Partial<Verifier> | null)?.verify === 'function',
    { optional: true, settings: ({ name }) => name },
  ),
});
/** Options of `userSimulator`. */
export type UserSimulatorOptions = Given<typeof userSimulatorOptions>;

const INSTRUCTION =
  'You play a user who talks to an assistant. Stay in the part, say one short message at a time, and do not answer for the assistant.';

/**
 * A simulated user as an environment (as τ-bench's, arXiv 2406.12045): it answers every reply until it has nothing more to say, by a script, or played by a model
 * that sees the conversation from the other side and is told a persona that the assistant is not. The row's prompt is what the user says first. What a played
 * user draws comes from the episode's key.
 *
 * @throws OptionError unless there is one of `script` and `generator`
 */
export function userSimulator<Row extends PromptRow = PromptRow>(given: UserSimulatorOptions): Environment<Row> {
  const { script, generator, column, end, sampling, maxUserTurns, verifier } = userSimulatorOptions.read(given);
  if ((script === undefined) === (generator === undefined)) {
    const problem = 'give one of "script" and "generator": a user by rule, or one who is played by a model.';
    throw new OptionError('INVALID_OPTION', 'userSimulator', 'script', problem);
  }
  return {
    name: 'user-simulator',
    settings: userSimulatorOptions.settings(given),
    start(row, { key, signal }) {
      const messages: ChatMessage[] = [...(typeof row.prompt === 'string' ? [user(row.prompt)] : row.prompt)];
      let turns = messages.filter(({ role }) => role === 'user').length;
      const played = async (): Promise<string | null> => {
        const persona = String((row as Readonly<Record<string, unknown>>)[column] ?? 'You want the question answered.');
        const system = `${INSTRUCTION} When there is nothing more to ask, say ${end}\n\n${persona}`;
        const prompt = [{ role: 'system', content: system }, ...messages.flatMap(fromTheOtherSide)];
        const seed = seedOf(key.child(turns));
        const [[completion] = []] = await generator!.generate([
          { ...sampling, prompt, seed, ...(signal && { signal }) },
        ]);
        const said = (completion?.text ?? '').trim();
        return said === '' || said.includes(end) ? null : said;
      };
      return {
        messages: [...messages],
        async step(reply) {
          messages.push({ role: 'assistant', content: reply.content });
          const said = turns >= maxUserTurns ? null : script ? await script(messages, row) : await played();
          if (said === null) return { messages: [], done: true };
          turns++;
          messages.push(user(said));
          return { messages: [user(said)], done: false };
        },
        ...(verifier && {
          async reward() {
            const completion = messages.findLast(({ role }) => role === 'assistant')?.content ?? '';
            const [verdict] = await verifier.verify([
              { prompt: row.prompt, completion, messages, row: { ...row } as Readonly<Record<string, unknown>> },
            ]);
            return verdict?.score ?? null;
          },
        }),
      };
    },
  };
}

/** To a played user its own words are the assistant's. System messages are not for users. */
const fromTheOtherSide = ({ role, content }: ChatMessage): ChatMessage[] => {
  if (role === 'assistant') return [{ role: 'user', content }];
  return role === 'user' ? [{ role: 'assistant', content }] : [];
};
