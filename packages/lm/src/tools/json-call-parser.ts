import { CallPieces } from './call-pieces.js';
import { callHead, callsOf, JsonObjectEnd } from './json-calls.js';
import type { OfferedFunctions, ParsedPiece, ToolCallParser } from './tool-calls.js';

/** An answer that is all calls: objects one after the other (perhaps with `;` between), or a list of them. */
export class JsonCallParser implements ToolCallParser {
  readonly #functions: OfferedFunctions;
  readonly #pieces = new CallPieces();
  /** What has not become text or a call. */
  #buffer = '';
  /** `between`: after a call that was passed on. `text`: the answer is something else. */
  #state: 'start' | 'arguments' | 'between' | 'text' = 'start';
  #end = new JsonObjectEnd();

  constructor(functions: OfferedFunctions) {
    this.#functions = functions;
  }

  push(text: string): ParsedPiece {
    this.#buffer += text;
    const out = this.#read();
    return { text: out, calls: this.#pieces.take() };
  }

  end(): ParsedPiece {
    const rest = this.#buffer;
    this.#buffer = '';
    if (this.#state === 'arguments') this.#pieces.add('', true);
    else if (rest !== '') {
      const calls = callsOf(rest);
      // An answer that happens to be JSON is no call.
      if (!calls?.every(({ name }) => this.#functions.has(name))) return { text: rest, calls: [] };
      for (const call of calls) this.#pieces.whole(call);
    }
    return { text: '', calls: this.#pieces.take() };
  }

  /** Incremental step: consumes the unambiguous part of the buffer, and gives the text in it. */
  #read(): string {
    while (true) {
      if (this.#state === 'arguments') {
        const length = this.#end.take(this.#buffer);
        this.#pieces.add(this.#buffer.slice(0, length), this.#end.done);
        this.#buffer = this.#buffer.slice(length);
        if (!this.#end.done) return '';
        this.#state = 'between';
      }
      if (this.#state === 'between') this.#buffer = this.#buffer.replace(/^[\s};,\]]+/, '');
      const inList = this.#state === 'start' ? /^\s*\[/.exec(this.#buffer)?.[0].length : undefined;
      const head = this.#state === 'text' ? undefined : callHead(this.#buffer.slice(inList ?? 0));
      if (head && this.#functions.has(head.name)) {
        this.#pieces.begin(head.name);
        this.#buffer = this.#buffer.slice((inList ?? 0) + head.length);
        this.#end = new JsonObjectEnd();
        this.#state = 'arguments';
        continue;
      }
      if (this.#state !== 'text' && /^\s*([{[]|$)/.test(this.#buffer)) return '';
      this.#state = 'text';
      const text = this.#buffer;
      this.#buffer = '';
      return text;
    }
  }
}
