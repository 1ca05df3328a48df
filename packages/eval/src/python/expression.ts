import { EvaluationError } from '../errors.js';

/** An expression of Python of literals, names and calls: what `ast.literal_eval` reads, and calls of functions. */
export type PythonNode =
  | { readonly kind: 'none' }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'int' | 'float'; readonly value: number }
  | { readonly kind: 'str'; readonly value: string }
  | { readonly kind: 'list' | 'tuple' | 'set'; readonly items: readonly PythonNode[] }
  | { readonly kind: 'dict'; readonly entries: readonly (readonly [PythonNode, PythonNode])[] }
  | { readonly kind: 'name'; readonly name: string }
  | PythonCall;

/** `name(args, key=value)`. */
export interface PythonCall {
  readonly kind: 'call';
  /** With dots: `math.sqrt`. */
  readonly name: string;
  readonly args: readonly PythonNode[];
  readonly named: readonly (readonly [name: string, value: PythonNode])[];
}

/**
 * Reads a Python expression of literals, names and calls; nothing is run.
 * @throws EvaluationError `PYTHON_EXPRESSION` for anything else (operators, indices, comprehensions, f-strings, bytes)
 */
export function parsePython(text: string): PythonNode {
  const reader = new Reader(text);
  const node = reader.expression();
  reader.end();
  return node;
}

/**
 * `ast.literal_eval(text)` as JSON has it: lists and tuples are arrays, dicts objects.
 * @throws EvaluationError `PYTHON_EXPRESSION`
 */
export const literalEval = (text: string): unknown => pythonValue(parsePython(text.replace(/^[ \t]+/, '')));

/** The value of a literal. @throws EvaluationError `PYTHON_EXPRESSION` for a name, a call or a key that is no text or number */
export function pythonValue(node: PythonNode): unknown {
  switch (node.kind) {
    case 'none':
      return null;
    case 'bool':
    case 'int':
    case 'float':
    case 'str':
      return node.value;
    case 'list':
    case 'tuple':
    case 'set':
      return node.items.map(pythonValue);
    case 'dict':
      return Object.fromEntries(
        node.entries.map(([key, value]) => {
          if (key.kind !== 'str' && key.kind !== 'int') throw wrong('the key of a dict is no text');
          return [String(key.value), pythonValue(value)];
        }),
      );
    default:
      throw wrong(`${node.name} is no literal`);
  }
}

const wrong = (problem: string): EvaluationError =>
  new EvaluationError('PYTHON_EXPRESSION', `An expression of Python: ${problem}.`);

/** Nested brackets; Python's own parser ends at 200. */
const MOST_NESTED = 100;

class Reader {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  end(): void {
    this.#space();
    if (this.#at < this.#text.length) throw this.#unexpected();
  }

  expression(): PythonNode {
    if (++this.#depth > MOST_NESTED) throw wrong(`brackets are nested more than ${MOST_NESTED} deep`);
    const node = this.#value();
    this.#depth--;
    return node;
  }

  #value(): PythonNode {
    this.#space();
    const number = this.#match(
      /[+-]?(?:0[xX][\da-fA-F]+|0[oO][0-7]+|0[bB][01]+|(?:\d[\d_]*)?\.\d[\d_]*(?:[eE][+-]?\d+)?|\d[\d_]*\.?(?:[eE][+-]?\d+)?)/y,
    );
    if (number !== undefined) return numberOf(number);
    const string = this.#strings();
    if (string !== undefined) return { kind: 'str', value: string };
    if (this.#take('[')) return { kind: 'list', items: this.#items(']').items };
    if (this.#take('(')) {
      const { items, comma } = this.#items(')');
      return items.length === 1 && !comma ? items[0]! : { kind: 'tuple', items };
    }
    if (this.#take('{')) return this.#braces();
    const name = this.#match(/[\p{L}_][\p{L}\p{N}_]*(?:\s*\.\s*[\p{L}_][\p{L}\p{N}_]*)*/uy)?.replace(/\s+/g, '');
    if (name === undefined) throw this.#unexpected();
    if (this.#take('(')) return this.#call(name);
    if (name === 'None') return { kind: 'none' };
    if (name === 'True' || name === 'False') return { kind: 'bool', value: name === 'True' };
    return { kind: 'name', name };
  }

  #items(close: string): { items: PythonNode[]; comma: boolean } {
    const items: PythonNode[] = [];
    let comma = false;
    while (!this.#take(close)) {
      if (items.length > 0 && !comma) throw this.#unexpected();
      items.push(this.expression());
      comma = this.#take(',');
    }
    return { items, comma };
  }

  #braces(): PythonNode {
    const entries: (readonly [PythonNode, PythonNode])[] = [];
    const items: PythonNode[] = [];
    let comma = true;
    while (!this.#take('}')) {
      if (!comma) throw this.#unexpected();
      const key = this.expression();
      if (this.#take(':')) entries.push([key, this.expression()]);
      else items.push(key);
      if (items.length > 0 && entries.length > 0) throw this.#unexpected();
      comma = this.#take(',');
    }
    return items.length > 0 ? { kind: 'set', items } : { kind: 'dict', entries };
  }

  #call(name: string): PythonCall {
    const args: PythonNode[] = [];
    const named: (readonly [string, PythonNode])[] = [];
    let comma = true;
    while (!this.#take(')')) {
      if (!comma) throw this.#unexpected();
      this.#space();
      const key = this.#match(/([\p{L}_][\p{L}\p{N}_]*)\s*=(?!=)/uy);
      if (key !== undefined) named.push([key.replace(/\s*=$/, ''), this.expression()]);
      else if (named.length > 0) throw wrong(`a positional argument of ${name} follows one with a name`);
      else args.push(this.expression());
      comma = this.#take(',');
    }
    return { kind: 'call', name, args, named };
  }

  /** Texts that stand behind one another are one. */
  #strings(): string | undefined {
    let result: string | undefined;
    while (true) {
      this.#space();
      const open = this.#match(/[rR]?(?:'''|"""|'|")/y);
      if (open === undefined) return result;
      result = (result ?? '') + this.#string(open);
    }
  }

  #string(open: string): string {
    const isRaw = /^r/i.test(open);
    const quote = isRaw ? open.slice(1) : open;
    let result = '';
    while (!this.#text.startsWith(quote, this.#at)) {
      const one = this.#text[this.#at];
      if (one === undefined || (one === '\n' && quote.length === 1)) throw wrong('a text has no end');
      if (one !== '\\') {
        result += one;
        this.#at++;
        continue;
      }
      const escaped = this.#match(/\\(?:x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|[0-7]{1,3}|[\s\S])/uy);
      if (escaped === undefined) throw wrong('a text has no end');
      result += isRaw ? escaped : unescaped(escaped);
    }
    this.#at += quote.length;
    return result;
  }

  #space(): void {
    this.#match(/(?:\s|#[^\n]*|\\\n)+/y);
  }

  #take(text: string): boolean {
    this.#space();
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined || found === '') return undefined;
    this.#at += found.length;
    return found;
  }

  #unexpected(): EvaluationError {
    const rest = this.#text.slice(this.#at, this.#at + 20);
    return wrong(rest === '' ? 'it ends too early' : `${JSON.stringify(rest)} is not expected at ${this.#at}`);
  }
}

const SIMPLE: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\n': '',
};

function unescaped(sequence: string): string {
  const body = sequence.slice(1);
  if (/^[xuU][\da-fA-F]{2}/.test(body)) {
    const code = Number.parseInt(body.slice(1), 16);
    if (code > 0x10ffff) throw wrong(`the escape \\${body} is no character`);
    return String.fromCodePoint(code);
  }
  if (/^[0-7]/.test(body)) return String.fromCodePoint(Number.parseInt(body, 8));
  if (body === 'N') throw wrong('the escape \\N is not supported');
  if (body === '\\' || body === "'" || body === '"') return body;
  return SIMPLE[body] ?? sequence;
}

function numberOf(text: string): PythonNode {
  const digits = text.replaceAll('_', '');
  const sign = digits.startsWith('-') ? -1 : 1;
  const magnitude = digits.replace(/^[+-]/, '');
  const isFloat = !/^0[xob]/i.test(magnitude) && /[.eE]/.test(magnitude);
  return { kind: isFloat ? 'float' : 'int', value: sign * Number(magnitude) };
}
