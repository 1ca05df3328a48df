import { type ChatMessage, custom, type Given, integer, number, OptionError, options } from '@posttrain/interfaces';
import { extractFinalAnswer } from '@posttrain/interfaces/answers';
import type { PromptRow } from '../rewards/reward.js';
import type { MultiAgentEnvironment } from '../rollout/multi-agent.js';

const isFunction = (value: unknown): boolean => typeof value === 'function';

const debateOptions = options('debate', {
  /** How many debate. Default 2. */
  debaters: integer({ default: 2, min: 2 }),
  /** How often each answers; from the second time on it is shown what the others said last. Default 2. */
  rounds: integer({ default: 2, min: 1 }),
  /** How much of a debater's reward is that it is right, which `grade` says; the rest is agreement. Default 1. */
  grounding: number({ default: 1, min: 0, max: 1 }),
  /** Whether an answer is right, 0 to 1, of the text and the row. Needed where `grounding` is above 0. */
  grade: custom<(text: string, row: PromptRow) => number>()('a function (text, row) => number', isFunction, {
    optional: true,
  }),
  /** What a debater is told of what the others said last. Default: a sentence in English. */
  again: custom<(others: readonly string[]) => string>()('a function of texts', isFunction, {
    default: (others) => `The others say:\n${others.join('\n')}\nAnswer again.`,
  }),
  /** What of a text counts as its answer. Default: the final answer of `extractFinalAnswer`, or the whole text. */
  answer: custom<(text: string) => string>()('a function of a text', isFunction, { optional: true }),
});
/** Options of `debate`. */
export type DebateOptions = Given<typeof debateOptions>;

const finalAnswer = (text: string): string => extractFinalAnswer(text) ?? text.trim();

/** The share of the others whose answer is the same, for each. */
export const agreements = (answers: readonly string[]): number[] =>
  answers.map(
    (own, i) => answers.filter((other, j) => j !== i && other === own).length / Math.max(1, answers.length - 1),
  );

const questionOf = ({ prompt }: PromptRow): readonly ChatMessage[] =>
  typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt;

/**
 * A debate as a world of several (arXiv 2305.14325; trained for as in ACC-Debate, arXiv 2411.00053): `debaters` answer a question, read what the others said
 * and answer again, `rounds` times. Debater i of the last round is paid grounding · grade + (1 - grounding) · (the share of the others that say
 * the same). Agreement alone is what an echo chamber pays too: `grounding` 0 has nothing that could tell. For `multiAgent(debate({ … }))`, with roles
 * `debater_1`, `debater_2`, …, which one policy may play (`policies`).
 *
 * @throws OptionError
 */
export function debate<Row extends PromptRow = PromptRow>(given: DebateOptions): MultiAgentEnvironment<Row> {
  const { debaters, rounds, grounding, grade, again, answer = finalAnswer } = debateOptions.read(given);
  if (grounding > 0 && !grade) {
    const problem = `grounding is ${grounding}, and there is no grade; give a function (text, row) => number, or grounding 0.`;
    throw new OptionError('INVALID_OPTION', 'debate', 'grade', problem);
  }
  const roles = Array.from({ length: debaters }, (_, i) => `debater_${i + 1}`);
  return {
    name: 'debate',
    settings: debateOptions.settings(given),
    roles,
    start(row) {
      const said: string[][] = [];
      return {
        next() {
          const turns = said.flat().length;
          if (turns === debaters * rounds) return undefined;
          const i = turns % debaters;
          const before = said[Math.floor(turns / debaters) - 1];
          const role = roles[i]!;
          if (!before) return { role, messages: questionOf(row) };
          const told: ChatMessage[] = [
            { role: 'assistant', content: before[i]! },
            { role: 'user', content: again(before.toSpliced(i, 1)) },
          ];
          return { role, messages: [...questionOf(row), ...told] };
        },
        take(_, { content }) {
          if (said.length === 0 || said.at(-1)!.length === debaters) said.push([]);
          said.at(-1)!.push(String(content));
        },
        rewards() {
          const last = said[rounds - 1] ?? [];
          if (last.length < debaters) return {};
          const agreed = agreements(last.map(answer));
          return Object.fromEntries(
            roles.map((role, i) => {
              const right = grounding > 0 ? grade!(last[i]!, row) : 0;
              return [role, grounding * right + (1 - grounding) * agreed[i]!];
            }),
          );
        },
      };
    },
  };
}
