import { AssistantMaskError } from './errors.js';
import { renderJinja } from './jinja-template.js';

/** `[start, end)` in UTF-16 code units of the rendered text. */
export type TextSpan = readonly [start: number, end: number];

/**
 * Where `{% generation %}` blocks lie in the rendered text. The template is rendered a second time with two characters
 * that occur neither in it nor in its text printed around each block; if taking them out does not give the plain rendering (a template may
 * measure or trim its own output), there is no certain answer and that is an error.
 *
 * @param text the plain rendering
 */
export function generationSpans(
  template: string,
  variables: Readonly<Record<string, unknown>>,
  now: Date,
  text: string,
): TextSpan[] {
  const [open, close] = unusedCharacters(template + text);
  const marked = renderJinja(template, variables, now, { open, close });
  const spans: TextSpan[] = [];
  let plain = '';
  let start: number | undefined;
  for (const part of marked.split(new RegExp(`([${open}${close}])`))) {
    if (part === open) {
      if (start !== undefined) throw new AssistantMaskError('the template nests one generation block in another.');
      start = plain.length;
    } else if (part === close) {
      if (start === undefined) throw new AssistantMaskError('the template ends a generation block that has no start.');
      spans.push([start, plain.length]);
      start = undefined;
    } else plain += part;
  }
  if (start !== undefined) throw new AssistantMaskError('the template does not end a generation block.');
  if (plain !== text) throw new AssistantMaskError('the template changes what its generation blocks have rendered.');
  return spans;
}

/**
 * The message that each generation block belongs to. Most templates have one block a message; otherwise messages are told
 * apart by how many blocks there are with the messages up to each of them.
 *
 * @param blocks how many blocks the template renders of the first `count` messages
 */
export function turnsOfBlocks(
  total: number,
  assistantTurns: readonly number[],
  blocks: (count: number) => number,
): number[] {
  if (total === assistantTurns.length) return [...assistantTurns];
  const turns: number[] = [];
  for (const turn of assistantTurns) while (turns.length < blocks(turn + 1)) turns.push(turn);
  if (turns.length === total) return turns;
  throw new AssistantMaskError(
    `the template renders ${total} generation blocks, of which ${turns.length} belong to the assistant’s messages; which ` +
      'message a token belongs to cannot be known.',
  );
}

/**
 * For templates without markers: what rendering up to and with an assistant message adds to the prompt that asks for
 * it. Sound only when each rendering is the beginning of the next, which is checked.
 *
 * @param render the template on the first `count` messages
 * @param assistantTurns the positions of the assistant's messages
 */
export function prefixDifferenceSpans(
  render: (count: number, addGenerationPrompt: boolean) => string,
  assistantTurns: readonly number[],
  text: string,
): TextSpan[] {
  return assistantTurns.map((turn) => {
    const prompt = render(turn, true);
    const answered = render(turn + 1, false);
    if (!answered.startsWith(prompt) || !text.startsWith(answered)) {
      throw new AssistantMaskError(
        `the template has no {% generation %} markers and is not prefix-preserving at message ${turn}: rendering more ` +
          'messages changes what came before. Use a template with {% generation %} markers.',
      );
    }
    return [prompt.length, answered.length];
  });
}

function unusedCharacters(used: string): [string, string] {
  const found: string[] = [];
  for (let code = 0xe000; code < 0xf900 && found.length < 2; code++) {
    const character = String.fromCharCode(code);
    if (!used.includes(character)) found.push(character);
  }
  if (found.length < 2) throw new AssistantMaskError('the conversation uses every private-use character of Unicode.');
  return found as [string, string];
}
