import { unknownText } from '../errors.js';
import { type Fields, shown } from '../fields.js';
import { byteTokens } from './bpe.js';
import type { Model, Places } from './model.js';
import { PieceTrie } from './piece-trie.js';

/** How much worse than the worst piece an unknown character is. */
const UNKNOWN_PENALTY = 10;
const CACHED_PIECES = 10_000;
const CACHED_LENGTH = 256;
const encoder = new TextEncoder();

/** `Unigram`: of all ways to cut a text into pieces the one with the best sum of scores; of equal ones the first found. */
export function unigram(fields: Fields): Model {
  const entries = fields.list('vocab').map((entry, i): [string, number] => {
    const isEntry =
      Array.isArray(entry) && entry.length === 2 && typeof entry[0] === 'string' && Number.isFinite(entry[1]);
    return isEntry
      ? (entry as [string, number])
      : fields.fail(`vocab[${i}]`, `is ${shown(entry)}; it must be a piece and its score.`);
  });
  const ids = new Map(entries.map(([piece], id) => [piece, id]));
  const unknown = fields.raw('unk_id') === undefined ? undefined : fields.integer('unk_id', 0);
  if (unknown !== undefined && unknown >= entries.length) {
    fields.fail('unk_id', `is ${unknown}; the vocabulary has ${entries.length} pieces.`);
  }
  const bytes = fields.boolean('byte_fallback', false) ? byteTokens((token) => ids.get(token)) : undefined;
  const worst = entries.reduce((least, [, score]) => Math.min(least, score), Infinity) - UNKNOWN_PENALTY;
  const trie = new PieceTrie(ids);
  const scores = Float64Array.from(entries, ([, score]) => score);
  const cache = new Map<string, readonly number[]>();

  const need = (text: string): number => {
    if (unknown === undefined) throw unknownText(text, 'has no unk_id to stand for it');
    return unknown;
  };

  /** Ends of the pieces of the best cut, the last first, each with its id. */
  const bestCut = (text: string): [starts: Int32Array, pieces: Int32Array] => {
    const best = new Float64Array(text.length + 1);
    const starts = new Int32Array(text.length + 1).fill(-1);
    const pieces = new Int32Array(text.length + 1);
    for (let start = 0; start < text.length; ) {
      const width = text.codePointAt(start)! > 0xffff ? 2 : 1;
      const before = best[start]!;
      let hasSingle = false;
      const offer = (end: number, id: number, score: number) => {
        const candidate = score + before;
        if (starts[end] !== -1 && !(candidate > best[end]!)) return;
        best[end] = candidate;
        starts[end] = start;
        pieces[end] = id;
      };
      trie.prefixes(text, start, (end, id) => {
        offer(end, id, scores[id]!);
        if (end === start + width) hasSingle = true;
      });
      if (!hasSingle) {
        const end = start + width;
        if (starts[end] === -1 || worst + before > best[end]!) offer(end, need(text.slice(start, end)), worst);
      }
      start += width;
    }
    return [starts, pieces];
  };

  const tokenize = (text: string, into: number[], places?: Places): void => {
    const [starts, pieces] = bestCut(text);
    const parts: [start: number, end: number][] = [];
    for (let end = text.length; end > 0; ) {
      const start = starts[end]!;
      const last = parts.at(-1);
      // Unknown characters in a row are one.
      if (pieces[end] === unknown && last && last[0] === end && pieces[last[1]] === unknown) last[0] = start;
      else parts.push([start, end]);
      end = start;
    }
    for (const [start, end] of parts.reverse()) {
      const part = text.slice(start, end);
      const id = ids.get(part);
      const fallback = id === undefined && bytes ? Array.from(encoder.encode(part), (byte) => bytes[byte]) : undefined;
      for (const one of fallback && !fallback.includes(undefined) ? (fallback as number[]) : [id ?? need(part)]) {
        into.push(one);
        places?.push(start, end);
      }
    }
  };

  return {
    size: entries.length,
    largestId: entries.length - 1,
    textId: unknown,
    idOf: (token) => ids.get(token),
    tokenOf: (id) => entries[id]?.[0],
    tokenize(text, into, places) {
      if (places) return tokenize(text, into, places);
      const known = cache.get(text);
      const found: number[] = [];
      if (!known) tokenize(text, found);
      for (const id of known ?? found) into.push(id);
      if (known || text.length >= CACHED_LENGTH) return;
      if (cache.size >= CACHED_PIECES) cache.clear();
      cache.set(text, found);
    },
  };
}
