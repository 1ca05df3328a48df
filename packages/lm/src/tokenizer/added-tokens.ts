import { type Fields, MAX_ID, TokenizerComponentError } from './fields.js';
import type { Model } from './models/model.js';
import { type Edit, edited, type Piece, part } from './piece.js';
import { rustWord, WHITE_SPACE } from './unicode/unicode.js';

/** A token that is found in the text before the model sees it. */
export interface AddedToken {
  readonly content: string;
  readonly singleWord: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/** An entry of `added_tokens`. The id that it has there is not read: it follows from the order, as in the reference. */
export function readAddedToken(fields: Fields): AddedToken {
  return {
    content: fields.string('content'),
    singleWord: fields.boolean('single_word', false),
    lstrip: fields.boolean('lstrip', false),
    rstrip: fields.boolean('rstrip', false),
    normalized: fields.boolean('normalized', false),
    special: fields.boolean('special', false),
  };
}

/** The added tokens of a tokenizer, and the pieces of a text that they are. */
export class AddedTokens {
  readonly #model: Model;
  readonly #normalizer: Edit | undefined;
  readonly #ids = new Map<string, number>();
  readonly #tokens = new Map<number, AddedToken>();
  /** Normalised contents, of tokens that normalising changes. */
  readonly #normalized = new Map<number, string>();
  readonly #special = new Set<string>();
  #verbatim: Finder | undefined;
  #afterNormalizing: Finder | undefined;
  /** Whether special tokens that the text spells out are text. */
  splitSpecialTokens = false;

  constructor(model: Model, normalizer: Edit | undefined) {
    this.#model = model;
    this.#normalizer = normalizer;
  }

  /** Adds tokens, or changes how known ones are found. A token that has no id yet gets the next one. */
  add(tokens: Iterable<AddedToken>): void {
    const largest = [...this.#tokens.keys()].reduce((a, b) => Math.max(a, b), -1);
    let next = largest >= this.#model.size || (this.#model.size === 0 && largest >= 0) ? largest + 1 : this.#model.size;
    for (const token of tokens) {
      if (token.content === '') continue;
      const id = this.idOf(token.content) ?? next++;
      if (id > MAX_ID) throw new TokenizerComponentError('added_tokens', `gives an id beyond ${MAX_ID}.`);
      const normal = token.normalized && this.#normalizer ? this.#normalizer(token.content) : token.content;
      if (normal !== token.content) this.#normalized.set(id, normal);
      this.#ids.set(token.content, id);
      this.#tokens.set(id, token);
      if (token.special) this.#special.add(token.content);
    }
    this.#verbatim = this.#finder(false);
    this.#afterNormalizing = this.#finder(true);
  }

  entries(): IterableIterator<[number, AddedToken]> {
    return this.#tokens.entries();
  }

  idOf(content: string): number | undefined {
    return this.#ids.get(content) ?? this.#model.idOf(content);
  }

  /** The token's text as decoders see it. */
  tokenOf(id: number): string | undefined {
    const token = this.#tokens.get(id);
    return token ? (this.#normalized.get(id) ?? token.content) : this.#model.tokenOf(id);
  }

  has(id: number): boolean {
    return this.#tokens.has(id);
  }

  get largestId(): number {
    return [...this.#tokens.keys()].reduce((a, b) => Math.max(a, b), this.#model.largestId);
  }

  /** Whether decoding without special tokens leaves a token out, by its text. */
  isSpecial(token: string): boolean {
    return this.#special.has(token);
  }

  /** The pieces of a text: added tokens, which have an id, and normalised text between them. */
  extract(text: Piece): Piece[] {
    const found: Piece[] = [];
    this.#cut(text, this.#verbatim, found);
    const pieces: Piece[] = [];
    for (const piece of found) {
      if (piece.id !== undefined) pieces.push(piece);
      else this.#cut(this.#normalizer ? edited(piece, this.#normalizer) : piece, this.#afterNormalizing, pieces);
    }
    return pieces;
  }

  #finder(normalized: boolean): Finder | undefined {
    const patterns: [string, number][] = [];
    const seen = new Set<string>();
    for (const [id, token] of this.#tokens) {
      if (token.normalized !== normalized) continue;
      const pattern = normalized ? (this.#normalized.get(id) ?? token.content) : token.content;
      if (pattern === '') {
        throw new TokenizerComponentError(
          'added_tokens',
          `has ${JSON.stringify(token.content)}, of which normalizing leaves nothing.`,
        );
      }
      if (seen.has(pattern)) {
        throw new TokenizerComponentError(
          'added_tokens',
          `has several tokens that are ${JSON.stringify(pattern)} once normalized.`,
        );
      }
      seen.add(pattern);
      patterns.push([pattern, id]);
    }
    return patterns.length === 0 ? undefined : new Finder(patterns);
  }

  #cut(piece: Piece, finder: Finder | undefined, into: Piece[]): void {
    const { text } = piece;
    if (text === '') return;
    let done = 0;
    let from = 0;
    for (let match = finder?.find(text, from); match; match = finder!.find(text, from)) {
      let { start, end } = match;
      from = end;
      const token = this.#tokens.get(match.id)!;
      if (this.splitSpecialTokens && this.#special.has(token.content)) continue;
      if (token.singleWord && !isWholeWord(text, start, end)) continue;
      if (token.lstrip) {
        while (start > done && isSpace(text[start - 1]!)) start--;
        // Spaces that the token before took are its own.
        start = Math.max(start, done);
      }
      if (token.rstrip) while (end < text.length && isSpace(text[end]!)) end++;
      if (start > done) into.push(part(piece, done, start));
      if (end > start) into.push({ ...part(piece, start, end), id: match.id });
      done = end;
    }
    if (done < text.length) into.push(part(piece, done, text.length));
  }
}

const spacePattern = new RegExp(`^[${WHITE_SPACE}]$`, 'u');
const isSpace = (unit: string): boolean => spacePattern.test(unit);

function isWholeWord(text: string, start: number, end: number): boolean {
  const isWord = (point: number | undefined) => point !== undefined && rustWord().has(point);
  const pair = start > 1 && text.codePointAt(start - 2)! > 0xffff;
  const before = start === 0 ? undefined : text.codePointAt(start - (pair ? 2 : 1));
  return !isWord(before) && !isWord(text.codePointAt(end));
}

interface Match {
  readonly start: number;
  readonly end: number;
  readonly id: number;
}

interface TrieNode {
  readonly children: Map<number, TrieNode>;
  id: number | undefined;
}

/** Leftmost-longest match of several texts. */
class Finder {
  readonly #root: TrieNode = { children: new Map(), id: undefined };
  readonly #first = new Uint8Array(0x10000);

  constructor(patterns: readonly (readonly [string, number])[]) {
    for (const [pattern, id] of patterns) {
      this.#first[pattern.charCodeAt(0)] = 1;
      let node = this.#root;
      for (let i = 0; i < pattern.length; i++) {
        const unit = pattern.charCodeAt(i);
        let child = node.children.get(unit);
        if (!child) {
          child = { children: new Map(), id: undefined };
          node.children.set(unit, child);
        }
        node = child;
      }
      node.id = id;
    }
  }

  find(text: string, from: number): Match | undefined {
    for (let start = from; start < text.length; start++) {
      if (this.#first[text.charCodeAt(start)] === 0) continue;
      let found: Match | undefined;
      let node: TrieNode | undefined = this.#root;
      for (let at = start; at < text.length && node; at++) {
        node = node.children.get(text.charCodeAt(at));
        if (node?.id !== undefined) found = { start, end: at + 1, id: node.id };
      }
      if (found) return found;
    }
    return undefined;
  }
}
