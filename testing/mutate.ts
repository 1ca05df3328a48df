/**
 * Seeded damage to files, for fuzzing. Every mutant is a function of the original, the kind, and one whole number, so that
 * a fault can be made again from the two numbers that a report names.
 */

/** `bytes`: any file. `text`: also spans of text. `json`: also values and keys of the document. */
export type MutationKind = 'bytes' | 'text' | 'json';

export interface MutationHints {
  /** Pieces that mean something to the format (delimiters, keywords), which are put in at random places. */
  readonly dictionary?: readonly string[];
}

type Random = () => number;

/** Mulberry32 over a hashed seed: uniform numbers in [0, 1). */
export function seededRandom(seed: number, stream: number): Random {
  let state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(stream + 1, 0xc2b2ae35)) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const below = (random: Random, n: number): number => Math.floor(random() * n);
const pick = <T>(random: Random, from: readonly T[]): T => from[below(random, from.length)]!;

/** Mutant number `index` of a file. */
export function mutate(
  original: Uint8Array,
  kind: MutationKind,
  seed: number,
  index: number,
  hints: MutationHints = {},
): Uint8Array {
  const random = seededRandom(seed, index);
  if (kind === 'json' && random() < 0.7) {
    const changed = mutateJson(original, random);
    if (changed) return changed;
  }
  if (kind !== 'bytes' && random() < 0.7) return mutateText(original, random, hints);
  let bytes: Uint8Array = Uint8Array.from(original);
  for (let times = 1 + below(random, 3); times > 0; times--) bytes = mutateBytes(bytes, random);
  return bytes;
}

const hostileIntegers = [
  0n,
  1n,
  0x7fn,
  0xffn,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

function mutateBytes(bytes: Uint8Array, random: Random): Uint8Array {
  if (bytes.length === 0) return Uint8Array.of(below(random, 256));
  const at = below(random, bytes.length);
  const put = (values: Uint8Array) => bytes.set(values.subarray(0, bytes.length - at), at);
  switch (below(random, 6)) {
    case 0:
      bytes[at]! ^= 1 << below(random, 8);
      return bytes;
    case 1:
      put(Uint8Array.from({ length: 1 + below(random, 12) }, () => below(random, 256)));
      return bytes;
    case 2: {
      const width = pick(random, [1, 2, 4, 8]);
      put(new Uint8Array(BigUint64Array.of(pick(random, hostileIntegers)).buffer).subarray(0, width));
      return bytes;
    }
    case 3:
      return bytes.slice(0, at);
    case 4: {
      const end = Math.min(bytes.length, at + 1 + below(random, 32));
      return Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(end)]);
    }
    default: {
      const piece = bytes.subarray(at, at + 1 + below(random, 32));
      return Uint8Array.from([...bytes.subarray(0, at), ...piece, ...bytes.subarray(at)]);
    }
  }
}

function mutateText(original: Uint8Array, random: Random, { dictionary = [] }: MutationHints): Uint8Array {
  let text = new TextDecoder().decode(original);
  for (let times = 1 + below(random, 4); times > 0; times--) {
    const at = below(random, text.length + 1);
    const end = Math.min(text.length, at + below(random, 24));
    const other = below(random, text.length + 1);
    const pieces = ['\u0000', '\ufeff', '\ud83d\ude00', '\r\n', '\u0085', '"', '\\', 'e\u0301', ...dictionary];
    text = pick(random, [
      () => text.slice(0, at) + text.slice(end),
      () => text.slice(0, at) + pick(random, pieces) + text.slice(at),
      () => text.slice(0, at) + text.slice(other, other + 24) + text.slice(at),
      () => text.slice(0, at) + (text.slice(at, end) || 'x').repeat(2 + below(random, 200)) + text.slice(end),
    ])();
  }
  return new TextEncoder().encode(text);
}

const hostileValues = [
  'null', 'true', 'false', '-1', '0', '1', '0.5', '1e9', '1e308', '-1e308', '9007199254740993', '1e999', '""', '"x"', '[]', '{}',
  '[[]]', '[null]', '{"a":1}', '"\\u0000"', '"\\ud800"', '"__proto__"', '[1,2,3]', '{"__proto__":{"x":1}}',
] as const; // biome-ignore format: a table

/** One place of a JSON document changed: another value, a key left out, renamed or doubled, or an absurd nesting. */
function mutateJson(original: Uint8Array, random: Random): Uint8Array | undefined {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder().decode(original));
  } catch {
    return undefined;
  }
  const places: { holder: Record<string, unknown>; key: string }[] = [];
  const walk = (value: unknown) => {
    if (typeof value !== 'object' || value === null) return;
    for (const key of Object.keys(value)) {
      places.push({ holder: value as Record<string, unknown>, key });
      walk((value as Record<string, unknown>)[key]);
    }
  };
  walk(document);
  if (places.length === 0) return undefined;
  const replacements = new Map<string, string>();
  const raw = (json: string) => {
    const mark = `\u0001${replacements.size}\u0001`;
    replacements.set(JSON.stringify(mark), json);
    return mark;
  };
  for (let times = 1 + below(random, 2); times > 0; times--) {
    // The first levels decide more than the thousandth entry of a vocabulary.
    const { holder, key } = places[Math.floor(places.length * random() ** 2)]!;
    const value = holder[key];
    switch (below(random, 8)) {
      case 0:
        delete holder[key];
        break;
      case 1:
        Object.defineProperty(holder, pick(random, ['__proto__', 'constructor', `${key}x`, '']), {
          value,
          enumerable: true,
          configurable: true,
          writable: true,
        });
        break;
      case 2:
        holder[key] = [value];
        break;
      case 3: {
        const depth = pick(random, [10, 1000, 20_000]);
        holder[key] = raw('['.repeat(depth) + ']'.repeat(depth));
        break;
      }
      case 4:
        holder[key] = raw(JSON.stringify('ab'.repeat(pick(random, [1, 1000, 100_000]))));
        break;
      case 5:
        if (typeof value === 'number') {
          holder[key] = pick(random, [-value, value + 0.5, value * 1e6, value + 1, value / 2]);
          break;
        }
        holder[key] = typeof value === 'string' ? `${value}${value}` : raw(pick(random, hostileValues));
        break;
      default:
        holder[key] = raw(pick(random, hostileValues));
    }
  }
  const text = JSON.stringify(document);
  if (text === undefined) return undefined;
  let out = text;
  for (const [mark, json] of replacements) out = out.replace(mark, () => json);
  return new TextEncoder().encode(out);
}
