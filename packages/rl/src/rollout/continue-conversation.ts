import type { ChatMessage } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';

/** A conversation as the chat template writes it. */
export interface Rendered {
  readonly text: string;
  readonly tokenIds: readonly number[];
}

/** A conversation that was sampled up to its last reply. */
export interface SampledConversation {
  readonly messages: readonly ChatMessage[];
  /** The last reply's text as it was sampled. */
  readonly text: string;
  readonly lastToken: number;
  render(messages: readonly ChatMessage[], addGenerationPrompt: boolean): Rendered;
}

/** Tokens to go on with: those behind the last sampled one, or a whole prompt, where earlier messages are written otherwise now. */
export type Continuation =
  | { readonly said: readonly number[] }
  | { readonly prompt: readonly number[]; readonly why: string };

/**
 * What stands between a reply and the next one: what the template writes behind the reply's last sampled token, the new messages, and
 * the header of the next reply. Only that is encoded.
 */
export function continueConversation(
  { tokenizer, endTokens }: CausalLM,
  { messages, text, lastToken, render }: SampledConversation,
  added: readonly ChatMessage[],
): Continuation {
  // As it is written again, which calls of tools may be in other spaces: only what stands behind it counts.
  const closed = render(messages, false).text;
  const whole = render([...messages, ...added], true);
  const rewritten = (why: string): Continuation => ({ prompt: whole.tokenIds, why });
  if (!whole.text.startsWith(closed)) {
    return rewritten('the chat template changes earlier messages when there are more');
  }
  const isEnded = endTokens.has(lastToken);
  // Behind a stop string, the template's own end of the message is still to come.
  const end = isEnded ? tokenizer.decode([lastToken]) : text;
  const plain: ChatMessage = { role: 'assistant', content: text };
  const written = isEnded ? closed : render([...messages.slice(0, -1), plain], false).text;
  // What an earlier message ends with is not meant.
  const from = render(messages.slice(0, -1), true).text.length;
  const found = written.lastIndexOf(end);
  const at = found < from ? -1 : found;
  if (at < 0 && !isEnded) return rewritten('the chat template does not write the reply as it is');
  const tail = at < 0 ? '' : written.slice(at + end.length);
  return { said: tokenizer.encode(tail + whole.text.slice(closed.length), { addSpecialTokens: false }) };
}
