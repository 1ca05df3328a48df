import { isJsonObject } from '../files.js';
import type { ToolCall } from './call-pieces.js';

/** The start of a call whose arguments can be streamed: the name first, then an object. */
const HEAD = /^\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)/;

/** The name of the call that a text begins, and where its arguments start. */
export function callHead(text: string): { readonly name: string; readonly length: number } | undefined {
  const found = HEAD.exec(text);
  const name = found ? parseJson(found[1]!) : undefined;
  return found && typeof name === 'string' ? { name, length: found[0].length } : undefined;
}

/** Follows the text of a JSON object to its end. */
export class JsonObjectEnd {
  #depth = 0;
  #inString = false;
  #escaped = false;
  #done = false;

  /** Whether the object has ended, or what came is not JSON. */
  get done(): boolean {
    return this.#done;
  }

  /** How many characters of `text`, which goes on from the last one, belong to the object. */
  take(text: string): number {
    for (let i = 0; i < text.length; i++) {
      const c = text[i]!;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (c === '\\') this.#escaped = true;
        else if (c === '"') this.#inString = false;
      } else if (c === '"') this.#inString = true;
      else if (c === '{' || c === '[') this.#depth++;
      else if (c === '<') {
        this.#done = true;
        return i;
      } else if ((c === '}' || c === ']') && --this.#depth === 0) {
        this.#done = true;
        return i + 1;
      }
    }
    return text.length;
  }
}

/** The calls that a text consists of; undefined when it is anything else. */
export function callsOf(text: string): ToolCall[] | undefined {
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
