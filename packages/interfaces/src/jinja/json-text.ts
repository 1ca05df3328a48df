/**
 * JSON text as data of templates, without what `JSON.parse` loses: the order of keys that are numbers (such objects become
 * `Map`s), the digits of integers beyond 2^53 (`bigint`), and that `2.0` is a float (a `Number` object).
 *
 * @returns undefined when the text is not JSON
 */
export function parseJsonText(text: string): unknown {
  try {
    const plain: unknown = JSON.parse(text);
    return needsCare(text) ? new JsonReader(text).read() : plain;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whether the text has a key that begins with a digit, a number with a point or exponent, or one of 16 digits. */
const needsCare = (text: string): boolean => /"(?:\d|\\u)[^"]*"\s*:|\d[.eE]|\d{16}|-0/.test(text);

const TOKEN = /\s*(?:([[\]{}:,])|("(?:[^"\\]|\\.)*")|(true|false|null)|(-?\d+)([.eE][\d.eE+-]*)?)/sy;

/** Reads text that `JSON.parse` has found to be JSON, so nothing is checked again. */
class JsonReader {
  readonly #tokens: RegExpExecArray[] = [];
  #at = 0;

  constructor(text: string) {
    TOKEN.lastIndex = 0;
    for (let token = TOKEN.exec(text); token; token = TOKEN.exec(text)) this.#tokens.push(token);
  }

  read(): unknown {
    const [, mark, string, word, whole, rest] = this.#tokens[this.#at++]!;
    if (mark === '[') return this.#list();
    if (mark === '{') return this.#object();
    if (string !== undefined || word !== undefined) return JSON.parse(string ?? word!);
    if (rest === undefined) {
      const number = Number(whole);
      return Number.isSafeInteger(number) ? number + 0 : BigInt(whole!);
    }
    const number = Number(whole! + rest);
    return Number.isInteger(number) ? Object(number) : number;
  }

  #is(mark: string): boolean {
    return this.#tokens[this.#at]![1] === mark;
  }

  #list(): unknown[] {
    const items: unknown[] = [];
    while (!this.#is(']')) {
      items.push(this.read());
      if (this.#is(',')) this.#at++;
    }
    this.#at++;
    return items;
  }

  #object(): unknown {
    const entries: [string, unknown][] = [];
    while (!this.#is('}')) {
      const key = JSON.parse(this.#tokens[this.#at]![2]!) as string;
      this.#at += 2;
      entries.push([key, this.read()]);
      if (this.#is(',')) this.#at++;
    }
    this.#at++;
    return entries.some(([key]) => isIndexKey(key)) ? new Map(entries) : Object.fromEntries(entries);
  }
}

/** A key that JavaScript objects move to the front: a whole number from 0 to 2^32 - 2. */
export const isIndexKey = (key: string): boolean => /^(0|[1-9]\d{0,9})$/.test(key) && Number(key) < 4_294_967_295;
