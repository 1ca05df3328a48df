import { isJsonObject, type JsonObject } from '../files.js';
import type { ToolFormat } from './served-model.js';

/** A function that the model wants called. */
export interface ToolCall {
  readonly name: string;
  /** JSON text, as the API has it. */
  readonly arguments: string;
}

export interface ParsedPiece {
  /** Text that is certainly not part of a call. */
  readonly text: string;
  readonly calls: readonly ToolCall[];
}

/** Finds tool calls in text as it comes. What could become one is held back; what looked like one and is not is text. */
export interface ToolCallParser {
  push(text: string): ParsedPiece;
  /** What was held back, when nothing follows. */
  end(): ParsedPiece;
}

const OPEN = '<tool_call>';
const CLOSE = '</tool_call>';

/** @param names of the functions that were offered */
export const toolCallParser = (format: ToolFormat, names: ReadonlySet<string>): ToolCallParser =>
  format === 'tags' ? new TagParser() : new JsonParser(names);

/** For an answer that was constrained to be one call and nothing else. */
export const forcedCallParser = (names: ReadonlySet<string>): ToolCallParser => new JsonParser(names);

/** `<tool_call>{"name": …, "arguments": {…}}</tool_call>` among text, any number of them (Hermes, Qwen). */
class TagParser implements ToolCallParser {
  #buffer = '';
  #inside = false;
  /** White space before a call belongs to the call. */
  #space = '';

  push(text: string): ParsedPiece {
    this.#buffer += text;
    let out = '';
    const calls: ToolCall[] = [];
    while (true) {
      const tag = this.#inside ? CLOSE : OPEN;
      const at = this.#buffer.indexOf(tag);
      if (at < 0) break;
      const before = this.#buffer.slice(0, at);
      this.#buffer = this.#buffer.slice(at + tag.length);
      if (this.#inside) {
        const found = callsOf(before);
        if (found) {
          calls.push(...found);
          this.#space = '';
        } else out += this.#flushSpace() + OPEN + before + CLOSE;
      } else out += this.#text(before);
      this.#inside = !this.#inside;
    }
    if (!this.#inside) {
      const held = heldBack(this.#buffer, OPEN);
      out += this.#text(this.#buffer.slice(0, this.#buffer.length - held));
      this.#buffer = held === 0 ? '' : this.#buffer.slice(-held);
    }
    return { text: out, calls };
  }

  end(): ParsedPiece {
    const rest = this.#buffer;
    this.#buffer = '';
    if (!this.#inside) return { text: this.#flushSpace() + rest, calls: [] };
    // Some models end their turn instead of closing the tag.
    const calls = callsOf(rest);
    return calls ? { text: '', calls } : { text: this.#flushSpace() + OPEN + rest, calls: [] };
  }

  /** Passes text on, but holds back white space at its end. */
  #text(text: string): string {
    const trimmed = text.trimEnd();
    if (trimmed === '') {
      this.#space += text;
      return '';
    }
    const out = this.#flushSpace() + trimmed;
    this.#space = text.slice(trimmed.length);
    return out;
  }

  #flushSpace(): string {
    const space = this.#space;
    this.#space = '';
    return space;
  }
}

/** An answer that is all calls: objects one after the other (perhaps with `;` between), or a list of them. */
class JsonParser implements ToolCallParser {
  #text = '';
  #decided = false;
  readonly #names: ReadonlySet<string>;

  constructor(names: ReadonlySet<string>) {
    this.#names = names;
  }

  push(text: string): ParsedPiece {
    if (this.#decided) return { text, calls: [] };
    this.#text += text;
    if (/^\s*([{[]|$)/.test(this.#text)) return { text: '', calls: [] };
    this.#decided = true;
    return { text: this.#text, calls: [] };
  }

  end(): ParsedPiece {
    if (this.#decided) return { text: '', calls: [] };
    const calls = callsOf(this.#text);
    // An answer that happens to be JSON is no call.
    return calls?.every(({ name }) => this.#names.has(name)) ? { text: '', calls } : { text: this.#text, calls: [] };
  }
}

/** The calls that a text consists of; undefined when it is anything else. */
function callsOf(text: string): ToolCall[] | undefined {
  const trimmed = text.trim();
  const list = parseJson(trimmed) ?? parseJson(`[${trimmed.split(/(?<=\})\s*;\s*(?=\{)/).join(',')}]`);
  const calls = [list].flat().map(callOf);
  return calls.length > 0 && calls.every((call) => call !== undefined) ? calls : undefined;
}

function callOf(value: unknown): ToolCall | undefined {
  if (!isJsonObject(value) || typeof value.name !== 'string') return undefined;
  const given = value.arguments ?? value.parameters ?? {};
  if (typeof given === 'string') return { name: value.name, arguments: given };
  return isJsonObject(given) ? { name: value.name, arguments: JSON.stringify(given) } : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Length of the longest end of `text` that begins `tag`. */
function heldBack(text: string, tag: string): number {
  for (let length = Math.min(tag.length - 1, text.length); length > 0; length--) {
    if (tag.startsWith(text.slice(-length))) return length;
  }
  return 0;
}

/** What a forced call must look like: one of the functions, with arguments of its schema. */
export function callSchema(functions: readonly JsonObject[], format: ToolFormat): JsonObject {
  const key = format === 'tags' ? 'arguments' : 'parameters';
  const one = (it: JsonObject): JsonObject => ({
    type: 'object',
    properties: { name: { type: 'string', const: it.name }, [key]: it.parameters ?? { type: 'object' } },
    required: ['name', key],
    additionalProperties: false,
  });
  return functions.length === 1 ? one(functions[0]!) : { anyOf: functions.map(one) };
}

/** What a prompt goes on with so that the next text is the JSON of a call. */
export const callOpening = (format: ToolFormat): string => (format === 'tags' ? `${OPEN}\n` : '');
