import { CallPieces } from './call-pieces.js';
import { heldBack } from './held-back.js';
import { callHead, callsOf, JsonObjectEnd } from './json-calls.js';
import type { OfferedFunctions, ParsedPiece, ToolCallParser } from './tool-calls.js';
import { XmlArguments, xmlHead } from './xml-arguments.js';

export const OPEN = '<tool_call>';
const CLOSE = '</tool_call>';

/**
 * `<tool_call>{"name": …, "arguments": {…}}</tool_call>` among text, any number of them (Hermes, Qwen), or
 * `<tool_call><function=NAME>…</function></tool_call>` (Qwen3-Coder: see `XmlArguments`).
 */
export class TagCallParser implements ToolCallParser {
  readonly #functions: OfferedFunctions;
  readonly #pieces = new CallPieces();
  #buffer = '';
  /** Parser state. `opened`: behind the tag, before the form is known. `ended`: behind the arguments. */
  #state: 'text' | 'opened' | 'json' | 'xml' | 'ended' = 'text';
  #json = new JsonObjectEnd();
  #xml = new XmlArguments(undefined);
  /** White space before a call belongs to the call. */
  #space = '';

  constructor(functions: OfferedFunctions) {
    this.#functions = functions;
  }

  push(text: string): ParsedPiece {
    this.#buffer += text;
    let out = '';
    while (true) {
      const read = this.#read();
      if (read === undefined) break;
      out += read;
    }
    if (this.#state === 'text') {
      const held = heldBack(this.#buffer, OPEN);
      out += this.#text(this.#buffer.slice(0, this.#buffer.length - held));
      this.#buffer = held === 0 ? '' : this.#buffer.slice(-held);
    }
    return { text: out, calls: this.#pieces.take() };
  }

  end(): ParsedPiece {
    const rest = this.#buffer;
    this.#buffer = '';
    switch (this.#state) {
      case 'text':
        return { text: this.#flushSpace() + rest, calls: [] };
      case 'opened':
        // Some models end their turn instead of closing the tag.
        return { text: this.#whole(rest, ''), calls: this.#pieces.take() };
      case 'json':
        this.#pieces.add('', true);
        break;
      case 'xml':
        this.#pieces.add(this.#xml.finish(rest), true);
        break;
      case 'ended':
        return { text: /^[\s}]*$/.test(rest) ? '' : rest, calls: [] };
    }
    return { text: '', calls: this.#pieces.take() };
  }

  /** Reads on to the next change of state, and gives the text before it; undefined when more must come first. */
  #read(): string | undefined {
    switch (this.#state) {
      case 'text': {
        const before = this.#upTo(OPEN);
        if (before === undefined) return undefined;
        this.#state = 'opened';
        return this.#text(before);
      }
      case 'opened': {
        const head = callHead(this.#buffer);
        if (head) {
          this.#json = new JsonObjectEnd();
          return this.#begin(head, 'json');
        }
        const xml = xmlHead(this.#buffer);
        if (xml) {
          this.#xml = new XmlArguments(this.#functions.get(xml.name));
          return this.#begin(xml, 'xml');
        }
        const before = this.#upTo(CLOSE);
        if (before === undefined) return undefined;
        this.#state = 'text';
        return this.#whole(before, CLOSE);
      }
      case 'json': {
        const length = this.#json.take(this.#buffer);
        this.#pieces.add(this.#buffer.slice(0, length), this.#json.done);
        this.#buffer = this.#buffer.slice(length);
        if (!this.#json.done) return undefined;
        this.#state = 'ended';
        return '';
      }
      case 'xml': {
        const { json, rest } = this.#xml.take(this.#buffer, CLOSE);
        this.#pieces.add(json, this.#xml.done);
        this.#buffer = rest;
        if (!this.#xml.done) return undefined;
        this.#state = 'ended';
        return '';
      }
      case 'ended': {
        if (this.#upTo(CLOSE) === undefined) return undefined;
        this.#state = 'text';
        return '';
      }
    }
  }

  #begin(head: { readonly name: string; readonly length: number }, state: 'json' | 'xml'): string {
    this.#buffer = this.#buffer.slice(head.length);
    this.#pieces.begin(head.name);
    this.#space = '';
    this.#state = state;
    return '';
  }

  /** What stands before `tag`, which is taken off with it. */
  #upTo(tag: string): string | undefined {
    const at = this.#buffer.indexOf(tag);
    if (at < 0) return undefined;
    const before = this.#buffer.slice(0, at);
    this.#buffer = this.#buffer.slice(at + tag.length);
    return before;
  }

  /** The content of a tag that could not be passed on as it came: calls, or text. */
  #whole(content: string, close: string): string {
    const calls = callsOf(content);
    if (!calls) return this.#flushSpace() + OPEN + content + close;
    for (const call of calls) this.#pieces.whole(call);
    this.#space = '';
    return '';
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
