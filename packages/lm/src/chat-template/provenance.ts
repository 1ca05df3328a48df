import type { ChatMessage } from '@posttrain/interfaces';
import { isJsonObject } from '../json.js';
import type { TextSpan } from './assistant-spans.js';
import { ChatProvenanceError } from './errors.js';

/** Provenance of the tokens of a conversation: whose they are, one entry a token. */
export interface ChatProvenance {
  /**
   * The message that the token was rendered for: whose text it is, or which message brought it when it was added to those before it.
   * -1 where that is not certain, and for the header of an answer that is not there yet.
   */
  readonly messages: readonly number[];
  /** The role of that message; undefined for -1. */
  readonly roles: readonly (string | undefined)[];
  /** 1 where any of the token is text of a message (content or reasoning), 0 where all of it is the template's own. */
  readonly isContent: readonly (0 | 1)[];
}

/** A stretch of the rendered text that is a message's. */
export interface ContentSpan {
  readonly message: number;
  readonly span: TextSpan;
}

/** Fields of a message that are its words. */
const TEXT_FIELDS = ['content', 'reasoning_content', 'thinking', 'reasoning'] as const;

type Mark = (text: string, message: number) => string;

/** The message with every text of it marked. */
function markedMessage(message: ChatMessage, index: number, mark: Mark): ChatMessage {
  const fields: Record<string, unknown> = { ...message };
  for (const field of TEXT_FIELDS) {
    const value = fields[field];
    if (typeof value === 'string') fields[field] = mark(value, index);
    else if (Array.isArray(value)) {
      fields[field] = value.map((part: unknown) =>
        isJsonObject(part) && typeof part.text === 'string' ? { ...part, text: mark(part.text, index) } : part,
      );
    }
  }
  return fields as unknown as ChatMessage;
}

/** Private-use characters of Unicode that neither the template nor the conversation has. */
function* unusedCharacters(used: string): Generator<string> {
  const seen = new Set(used);
  for (const [first, last] of [
    [0xe000, 0xf8ff],
    [0xf0000, 0xffffd],
  ] as const) {
    for (let code = first; code <= last; code++) {
      const character = String.fromCodePoint(code);
      if (!seen.has(character)) yield character;
    }
  }
}

/**
 * Where the words of messages lie in the rendered text, found and not guessed: the template is rendered again with every
 * text between two characters of its own. Taking them out must give the plain rendering; where it does not, because the template
 * trims, they are put within the white space at the ends of a text, which then is the template's.
 *
 * @param used the template and its rendering
 * @throws ChatProvenanceError where a template rewrites or measures what messages say
 */
export function contentSpans(
  messages: readonly ChatMessage[],
  used: { readonly template: string; readonly text: string },
  render: (messages: readonly ChatMessage[]) => string,
): ContentSpan[] {
  try {
    return markedSpans(messages, used, render, (text) => text);
  } catch (error) {
    if (!(error instanceof ChatProvenanceError)) throw error;
    return markedSpans(messages, used, render, (text) => text.trim());
  }
}

function markedSpans(
  messages: readonly ChatMessage[],
  used: { readonly template: string; readonly text: string },
  render: (messages: readonly ChatMessage[]) => string,
  wordsOf: (text: string) => string,
): ContentSpan[] {
  const free = unusedCharacters(used.template + used.text + JSON.stringify(messages));
  const marks = new Map<string, { readonly message: number; readonly opens: boolean }>();
  const take = (message: number, opens: boolean): string => {
    const { value } = free.next();
    if (value === undefined) throw new ChatProvenanceError('the conversation has more texts than can be marked.');
    marks.set(value, { message, opens });
    return value;
  };
  const mark: Mark = (text, message) => {
    const words = wordsOf(text);
    if (words.trim() === '') return text;
    const at = text.indexOf(words);
    return text.slice(0, at) + take(message, true) + words + take(message, false) + text.slice(at + words.length);
  };
  const marked = render(messages.map((message, i) => markedMessage(message, i, mark)));
  const spans: ContentSpan[] = [];
  let plain = '';
  let open: { readonly message: number; readonly start: number } | undefined;
  for (const character of marked) {
    const found = marks.get(character);
    if (!found) {
      plain += character;
      continue;
    }
    const wrong = () =>
      new ChatProvenanceError(
        `the template takes the text of messages[${found.message}] apart; give its parts as they are rendered.`,
      );
    if (found.opens) {
      if (open) throw wrong();
      open = { message: found.message, start: plain.length };
    } else {
      if (open?.message !== found.message) throw wrong();
      spans.push({ message: found.message, span: [open.start, plain.length] });
      open = undefined;
    }
  }
  if (open) throw new ChatProvenanceError(`the template cuts the text of messages[${open.message}].`);
  if (plain !== used.text) {
    throw new ChatProvenanceError('the template reads what messages say and renders something else for other words.');
  }
  return spans;
}

/**
 * The message that each character is rendered for: what the rendering of messages 0 to k adds to that of the messages before.
 * Stretches between beginnings that the template does not keep belong to no message for certain.
 *
 * @param lengths of the rendering of the first k + 1 messages; undefined where it is no beginning of the whole text
 */
export function messageRegions(lengths: readonly (number | undefined)[]): ContentSpan[] {
  const regions: ContentSpan[] = [];
  let start = 0;
  let since = 0;
  lengths.forEach((length, k) => {
    if (length === undefined || length < start) return;
    regions.push({ message: since === k ? k : -1, span: [start, length] });
    [start, since] = [length, k + 1];
  });
  return regions;
}

/** Provenance by token. Text of a message wins over the region that it lies in. */
export function provenanceOf(
  messages: readonly ChatMessage[],
  offsets: readonly TextSpan[],
  spans: readonly ContentSpan[],
  regions: readonly ContentSpan[],
): ChatProvenance {
  const meets = ([start, end]: TextSpan, span: TextSpan) => start < span[1] && end > span[0];
  const content = offsets.map((offset) => spans.find(({ span }) => meets(offset, span)));
  const owners = offsets.map(
    (offset, t) => content[t]?.message ?? regions.find(({ span }) => meets(offset, span))?.message ?? -1,
  );
  return {
    messages: owners,
    roles: owners.map((message) => messages[message]?.role),
    isContent: content.map((found) => (found ? 1 : 0)),
  };
}
