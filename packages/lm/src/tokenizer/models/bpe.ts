import { unknownText } from '../errors.js';
import { type Fields, shown } from '../fields.js';
import { Merger } from './merger.js';
import type { Model, Places } from './model.js';
import { Vocabulary } from './vocabulary.js';

const encoder = new TextEncoder();
const CACHED_PIECES = 10_000;
const CACHED_LENGTH = 256;

/** `<0xXX>` by byte; undefined where the vocabulary has no such token. */
export function byteTokens(idOf: (token: string) => number | undefined): (number | undefined)[] {
  return Array.from({ length: 256 }, (_, byte) => idOf(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`));
}

/** `BPE`: characters, joined pair by pair, the pair of the earliest merge first. */
export function bpe(fields: Fields): Model {
  if (fields.raw('dropout') !== undefined) {
    const dropout = fields.raw('dropout');
    if (typeof dropout !== 'number' || !(dropout >= 0 && dropout <= 1))
      fields.fail('dropout', 'must be a number from 0 to 1.');
    if (dropout !== 0)
      fields.fail('dropout', `is ${dropout}, which makes encoding random; it is supported as null or 0.`);
  }
  const vocabulary = Vocabulary.read(fields);
  const prefix = fields.optionalString('continuing_subword_prefix') ?? '';
  const suffix = fields.optionalString('end_of_word_suffix') ?? '';
  const unknown = fields.optionalString('unk_token');
  const unknownId = unknown === undefined ? undefined : vocabulary.ids.get(unknown);
  const fuses = fields.boolean('fuse_unk', false);
  const bytes = fields.boolean('byte_fallback', false) ? byteTokens((token) => vocabulary.ids.get(token)) : undefined;
  const wholePieces = fields.boolean('ignore_merges', false);
  const merger = readMerges(fields, vocabulary, prefix);
  const cache = new Map<string, readonly number[]>();

  /** The ids of a text's characters, added to `merger`; `places` hears where bytes and characters come apart. */
  const addCharacters = (text: string, places: Places | undefined): void => {
    let waiting: { start: number; end: number } | undefined;
    let drops = false;
    const add = (id: number, start: number, end: number) => {
      if (places && drops) places.differ = true;
      merger.add(id, start, end);
    };
    const addWaiting = () => {
      if (waiting) add(unknownId!, waiting.start, waiting.end);
      waiting = undefined;
    };
    for (let start = 0; start < text.length; ) {
      const end = start + (text.codePointAt(start)! > 0xffff ? 2 : 1);
      const character = text.slice(start, end);
      const name = (start === 0 ? '' : prefix) + character + (end === text.length ? suffix : '');
      const id = vocabulary.ids.get(name);
      const fallback = id === undefined && bytes ? Array.from(encoder.encode(name), (byte) => bytes[byte]) : undefined;
      if (id !== undefined) {
        addWaiting();
        add(id, start, end);
      } else if (fallback && !fallback.includes(undefined)) {
        // An unknown character before them is added behind them, as in the reference implementation.
        if (places && (waiting || name !== character)) places.differ = true;
        for (const byte of fallback) add(byte!, start, end);
      } else if (unknown !== undefined) {
        if (unknownId === undefined)
          throw unknownText(character, `its unk_token ${JSON.stringify(unknown)} is not in the vocabulary`);
        if (waiting && fuses) waiting.end = end;
        else {
          addWaiting();
          waiting = { start, end };
        }
      } else drops = true;
      start = end;
    }
    addWaiting();
  };

  return {
    ...vocabulary.lookups,
    tokenize(text, ids, places) {
      const whole = wholePieces ? vocabulary.ids.get(text) : undefined;
      if (whole !== undefined) {
        ids.push(whole);
        places?.push(0, text.length);
        return;
      }
      const known = places ? undefined : cache.get(text);
      if (known) {
        for (const id of known) ids.push(id);
        return;
      }
      merger.clear();
      addCharacters(text, places);
      merger.mergeAll();
      const first = ids.length;
      merger.take(ids, places);
      if (places || text.length >= CACHED_LENGTH) return;
      if (cache.size >= CACHED_PIECES) cache.clear();
      cache.set(text, ids.slice(first));
    },
  };
}

function readMerges(fields: Fields, vocabulary: Vocabulary, prefix: string): Merger {
  const merges = fields.list('merges');
  const merger = new Merger();
  // As texts a first line may be the version of the file.
  const isText = typeof merges[0] === 'string';
  const prefixBytes = encoder.encode(prefix).length;
  let rank = 0;
  for (const [i, merge] of merges.entries()) {
    if (isText && typeof merge === 'string' && merge.startsWith('#version')) continue;
    const pair = typeof merge === 'string' && isText ? merge.split(' ') : merge;
    if (
      !Array.isArray(pair) ||
      pair.length !== 2 ||
      !pair.every((part) => typeof part === 'string') ||
      Array.isArray(merge) === isText
    ) {
      fields.fail(`merges[${i}]`, `is ${shown(merge)}; it must be a pair of tokens, of the same form as the others.`);
    }
    const [left, right] = pair as [string, string];
    // The reference implementation drops as many bytes as the prefix has, whatever they are.
    const rest = right.startsWith(prefix) ? right.slice(prefix.length) : withoutBytes(right, prefixBytes);
    const joined = left + rest;
    const [a, b, id] = [left, right, joined].map((token) => vocabulary.ids.get(token));
    if (a === undefined || b === undefined || id === undefined) {
      const missing = [left, right, joined].find((token) => !vocabulary.ids.has(token));
      fields.fail(`merges[${i}]`, `needs the token ${shown(missing)}, which is not in the vocabulary.`);
    }
    merger.learn(a as number, b as number, rank++, id as number);
  }
  return merger;
}

function withoutBytes(text: string, count: number): string {
  const bytes = encoder.encode(text);
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(count));
}
