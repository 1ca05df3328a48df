/**
 * Loading a BPE tokenizer and encoding text, beside the `tokenizers` library by its binding for Node.js: in turns in one
 * process, the best of the repetitions, ids compared. Vocabularies and texts are random: bytes, and joins of two tokens.
 *
 * usage: npx tsx benchmarks/tokenizer.ts [--sizes 32000,128000] [--characters 1000000] [--repetitions 5]
 */
import { parseArgs } from 'node:util';
import { TextTokenizer } from '@posttrain/lm/text';
import { Tokenizer as Reference } from 'tokenizers';
import { renderMarkdown } from './render.js';

const { values: flags } = parseArgs({
  options: {
    sizes: { type: 'string', default: '32000,128000' },
    characters: { type: 'string', default: '1000000' },
    repetitions: { type: 'string', default: '5' },
  },
});
const [characters, repetitions] = [Number(flags.characters), Number(flags.repetitions)];
const LONGEST_TOKEN = 12;
const DOCUMENT = 2000;

/** mulberry32 */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return Math.floor((((z ^ (z >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** The characters of a byte-level vocabulary, the space first. */
const ALPHABET = [
  '\u0120',
  ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)),
  ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(161 + i)).filter((character) => character !== '\u00ad'),
  ...Array.from({ length: 68 }, (_, i) => String.fromCharCode(256 + i)).filter((character) => character !== '\u0120'),
];
const LETTERS = [...'etaoinshrdlucmfywgpbvk'];

/** tokenizer.json of `size` tokens, and the words that its tokens are. */
function randomTokenizer(size: number): { readonly json: string; readonly words: readonly string[] } {
  const random = randomFrom(size);
  const vocab = new Map([...new Set([...ALPHABET, ...LETTERS])].map((token, id) => [token, id]));
  const inner = [...LETTERS];
  const starts = ['\u0120'];
  const merges: [string, string][] = [];
  while (vocab.size < size) {
    // A third of the tokens begin a word.
    const left = random(3) === 0 ? starts[random(starts.length)]! : inner[random(inner.length)]!;
    const right = inner[random(inner.length)]!;
    const token = left + right;
    if (token.length > LONGEST_TOKEN || vocab.has(token)) continue;
    vocab.set(token, vocab.size);
    merges.push([left, right]);
    (token.startsWith('\u0120') ? starts : inner).push(token);
  }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const model = { type: 'BPE', vocab: Object.fromEntries(vocab), merges };
  const json = JSON.stringify({
    version: '1.0',
    added_tokens: [],
    pre_tokenizer: byteLevel,
    decoder: byteLevel,
    model,
  });
  return { json, words: starts.slice(1).map((token) => token.slice(1)) };
}

/** Words, of which some are more frequent than others, numbers and marks. */
function randomText(words: readonly string[], seed: number): string {
  const random = randomFrom(seed);
  const parts: string[] = [];
  for (let length = 0; length < characters; length += parts.at(-1)!.length + 1) {
    const word = words[Math.floor(random(words.length) / (1 + random(20)))]!;
    parts.push(random(12) === 0 ? `${word},` : random(30) === 0 ? String(random(10_000)) : word);
  }
  return parts.join(' ').slice(0, characters);
}

async function timed<T>(work: () => T | Promise<T>): Promise<[value: T, milliseconds: number]> {
  const start = performance.now();
  const value = await work();
  return [value, performance.now() - start];
}

const rows: string[][] = [];
for (const size of flags.sizes.split(',').map(Number)) {
  const { json, words } = randomTokenizer(size);
  const best = new Map<string, [ours: number, theirs: number]>();
  const note = (what: string, ours: number, theirs: number) => {
    const [a, b] = best.get(what) ?? [Infinity, Infinity];
    best.set(what, [Math.min(a, ours), Math.min(b, theirs)]);
  };
  let tokens = 0;
  for (let repetition = 0; repetition < repetitions; repetition++) {
    const [ours, load] = await timed(() => new TextTokenizer({ tokenizer: JSON.parse(json) }));
    const [theirs, theirLoad] = await timed(() => Reference.fromString(json));
    note('load', load, theirLoad);
    const text = randomText(words, repetition + 1);
    const documents = Array.from({ length: Math.ceil(text.length / DOCUMENT) }, (_, i) =>
      text.slice(i * DOCUMENT, (i + 1) * DOCUMENT),
    );
    for (const [what, texts] of [
      [`encode, documents of ${DOCUMENT} characters`, documents],
      ['encode, one text', [text]],
    ] as const) {
      const encodeOurs = () => texts.map((one) => ours.encode(one));
      const encodeTheirs = async () => {
        const ids: number[][] = [];
        for (const one of texts) ids.push((await theirs.encode(one)).getIds());
        return ids;
      };
      const [found, time] = await timed(encodeOurs);
      const [wanted, theirTime] = await timed(encodeTheirs);
      if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error('the ids differ');
      tokens = found.flat().length;
      note(what, time, theirTime);
    }
  }
  for (const [what, [ours, theirs]] of best) {
    const speed = what === 'load' ? '' : `${(tokens / ours / 1000).toFixed(2)} million tokens/s`;
    rows.push([
      String(size),
      what,
      `${ours.toFixed(0)} ms`,
      `${theirs.toFixed(0)} ms`,
      (theirs / ours).toFixed(2),
      speed,
    ]);
  }
}
console.log(renderMarkdown([['vocabulary', 'what', '@posttrain/lm', 'tokenizers', 'theirs / ours', 'ours'], ...rows]));
