import type { Prompt } from '@posttrain/interfaces';

/** What happened when a component was used on one instance. */
export interface ReflectionRecord {
  /** What the model was asked. */
  readonly input: string;
  readonly output: string;
  readonly score: number;
  /** What the verifier said of the outcome (`Verdict.explanation`), or its score in words. */
  readonly feedback: string;
}

/** What is asked for a better prompt. */
export interface ReflectionRequest {
  readonly component: string;
  /** The component's text so far. */
  readonly text: string;
  readonly records: readonly ReflectionRecord[];
}

/** A prompt as one text, for whoever reads about it. */
export const promptAsText = (prompt: Prompt): string =>
  typeof prompt === 'string' ? prompt : prompt.map(({ role, content }) => `${role}: ${content}`).join('\n\n');

const FENCE = '```';

/** The default question: the instruction, what came of it with the feedback, and the wish for a better one between fences. */
export function reflectionPrompt({ component, text, records }: ReflectionRequest): string {
  const shown = records.map(
    ({ input, output, feedback }, i) =>
      `## Case ${i + 1}\nAsked:\n${input}\n\nAnswered:\n${output}\n\nFeedback:\n${feedback}`,
  );
  return [
    `A language model works under this instruction (${component}):`,
    `${FENCE}\n${text}\n${FENCE}`,
    'What came of it:',
    ...shown,
    'Find out what the task is, which facts and rules the feedback gives away, and what went wrong why. Keep what worked. Then write the ' +
      `whole new instruction between ${FENCE} marks: general rules, and facts that the model cannot know, but nothing that holds for one case only.`,
  ].join('\n\n');
}

/** What stands between the first fence and the last, without the language that a fence names; without fences, all of it. `null`: nothing. */
export function fencedText(answer: string): string | null {
  const first = answer.indexOf(FENCE);
  const last = answer.lastIndexOf(FENCE);
  const inside =
    first < 0
      ? answer
      : answer.slice(first + FENCE.length, last > first ? last : undefined).replace(/^[\w-]*[^\S\n]*\n/, '');
  const text = inside.trim();
  return text === '' ? null : text;
}
