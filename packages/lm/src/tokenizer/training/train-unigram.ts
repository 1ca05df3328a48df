import { type Given, integer, listOf, number, options, text } from '@posttrain/interfaces';
import { TokenizerTrainingError } from '../errors.js';
import { type ScoredPiece, UnigramModel } from './lattice.js';
import { seedPieces } from './seed-pieces.js';

const unigramOptions = options('trainUnigram', {
  /** Tokens at most, with special tokens. Default 8000. */
  vocabSize: integer({ default: 8000, min: 1 }),
  /** The first tokens, which no text is ever cut into. Default: none. */
  specialTokens: listOf(text({}), { default: [] as readonly string[] }),
  /** The token of what no piece is of; it is put before the special tokens where it is none of them. Default: none. */
  unkToken: text({ optional: true }),
  /** Characters that are there in any case; of a longer text the first. Default: none. */
  initialAlphabet: listOf(text({}), { default: [] as readonly string[] }),
  /** The part of the pieces that stays when pieces are left out. Default 0.75. */
  shrinkingFactor: number({ default: 0.75, above: 0, below: 1 }),
  /** The most characters of a piece. Default 16. */
  maxPieceLength: integer({ default: 16, min: 1 }),
  /** Steps of EM between two times that pieces are left out. Default 2. */
  nSubIterations: integer({ default: 2, min: 1 }),
});
/** Options of `trainUnigram`, by the names of the `tokenizers` library. */
export type TrainUnigramOptions = Given<typeof unigramOptions>;

/** Pieces with log-probabilities in the order of their ids, and which is the unknown one. */
export interface UnigramVocabulary {
  readonly pieces: readonly ScoredPiece[];
  readonly unkId: number | undefined;
}

const UNKNOWN: ScoredPiece = ['<UNK>', Number.NaN];
/** Pieces that are expected less often are left out. */
const LEAST_EXPECTED = 0.5;

/**
 * A unigram language model over pieces (arXiv 1804.10959 §3.2), as the `tokenizers` library and SentencePiece learn one: beginning
 * with frequent substrings, EM estimates the probabilities of pieces (with the variational Dirichlet step exp(ψ(c) - ψ(Σ c)) in the place
 * of c / Σ c), then the pieces whose loss lowers the likelihood least are left out, until there are `vocabSize`.
 *
 * @param words how often each occurs: pieces between which no token goes across
 * @throws OptionError; TokenizerTrainingError where there are no words, or more characters than `vocabSize`
 */
export function trainUnigram(words: ReadonlyMap<string, number>, given: TrainUnigramOptions = {}): UnigramVocabulary {
  const settings = unigramOptions.read(given);
  const { vocabSize, shrinkingFactor, maxPieceLength, nSubIterations } = settings;
  if (words.size === 0) throw new TokenizerTrainingError('there is no text to learn from.');
  const required = requiredCharacters(words, settings.initialAlphabet);
  if (required.length > vocabSize) {
    throw new TokenizerTrainingError(
      `vocabSize is ${vocabSize}, and the text has ${required.length} characters, each of which is a token; raise it.`,
    );
  }
  const enough = Math.floor((vocabSize * 11) / 10);
  let model = new UnigramModel([UNKNOWN, ...seedPieces(words, maxPieceLength)]);
  for (;;) {
    for (let i = 0; i < nSubIterations; i++) model = maximized(model, words);
    if (model.pieces.length <= enough) break;
    model = pruned(model, words, Math.max(enough, Math.floor(model.pieces.length * shrinkingFactor)));
  }
  return finished(model, required, settings);
}

function requiredCharacters(words: ReadonlyMap<string, number>, initial: readonly string[]): string[] {
  const found = new Set<string>();
  for (const word of words.keys()) for (const character of word) found.add(character);
  for (const [character] of initial) if (character !== undefined) found.add(character);
  return [...found];
}

/** One step of EM. */
function maximized(model: UnigramModel, words: ReadonlyMap<string, number>): UnigramModel {
  const expected = new Float64Array(model.pieces.length);
  for (const [word, count] of words) model.lattice(word).expect(expected, count);
  const kept = model.pieces.flatMap(([piece], id): [string, number][] =>
    id > 0 && expected[id]! >= LEAST_EXPECTED ? [[piece, expected[id]!]] : [],
  );
  const total = digamma(kept.reduce((sum, [, count]) => sum + count, 0));
  return new UnigramModel([UNKNOWN, ...kept.map(([piece, count]): ScoredPiece => [piece, digamma(count) - total])]);
}

/** ψ: by its recurrence up to 7, and by its asymptotic series around x - 1/2. */
function digamma(given: number): number {
  let [x, result] = [given, 0];
  for (; x < 7; x++) result -= 1 / x;
  const y = 1 / (x - 0.5) ** 2;
  return result + Math.log(x - 0.5) + y / 24 - (7 / 960) * y ** 2 + (31 / 8064) * y ** 3 - (127 / 30720) * y ** 4;
}

/** The `size` pieces without which the likelihood would fall most; pieces that nothing can stand for stay. */
function pruned(model: UnigramModel, words: ReadonlyMap<string, number>, size: number): UnigramModel {
  const { pieces } = model;
  /** What each piece would be cut into without it; undefined where the best cut is not the piece itself. */
  const instead = pieces.map(([piece], id): readonly number[] | undefined => {
    if (id === 0) return undefined;
    const [best, next] = model.lattice(piece).best(2);
    if (next === undefined) return [];
    return best!.length > 1 ? undefined : next;
  });
  const counts = new Float64Array(pieces.length);
  let sentences = 0;
  for (const [word, count] of words) {
    sentences += count;
    for (const id of model.lattice(word).best(1)[0]!) counts[id]! += count;
  }
  const total = counts.reduce((a, b) => a + b, 0);
  const kept: ScoredPiece[] = [pieces[0]!];
  const candidates: { readonly id: number; readonly loss: number }[] = [];
  for (let id = 1; id < pieces.length; id++) {
    const cut = instead[id];
    const count = counts[id]!;
    if (count === 0 && cut === undefined) continue;
    if (cut === undefined || cut.length === 0) {
      kept.push(pieces[id]!);
      continue;
    }
    if (count === 0) continue;
    // As in the library: of all pieces, where SentencePiece has those of the cut.
    const alternative = Math.log(total + count * (pieces.length - 1));
    const replaced = cut.reduce((sum, part) => sum + Math.log(counts[part]! + count) - alternative, 0);
    candidates.push({ id, loss: (count / sentences) * (Math.log(count) - Math.log(total) - replaced) });
  }
  candidates.sort((a, b) => b.loss - a.loss);
  for (const { id } of candidates) {
    if (kept.length === size) break;
    kept.push(pieces[id]!);
  }
  return new UnigramModel(kept);
}

/** The vocabulary: special tokens, then pieces by score, every character of the text among them. */
function finished(
  { pieces: learnt, worst }: UnigramModel,
  required: readonly string[],
  {
    vocabSize,
    specialTokens,
    unkToken,
  }: Pick<ReturnType<typeof unigramOptions.read>, 'vocabSize' | 'specialTokens' | 'unkToken'>,
): UnigramVocabulary {
  const known = new Map(learnt.slice(1));
  let missing = 0;
  const pieces = required.map((character): ScoredPiece => {
    // Characters that no cut had are a little worse than the worst, each more than the one before.
    return [character, known.get(character) ?? worst + 0.0001 * missing++];
  });
  const inserted = new Set([UNKNOWN[0], ...required]);
  const place = unkToken === undefined ? -1 : specialTokens.indexOf(unkToken);
  const special = unkToken === undefined || place >= 0 ? specialTokens : [unkToken, ...specialTokens];
  for (const [piece, score] of learnt) {
    if (inserted.has(piece)) continue;
    inserted.add(piece);
    pieces.push([piece, Number.isNaN(score) ? 0 : score]);
    if (pieces.length === vocabSize - special.length) break;
  }
  pieces.sort(([, a], [, b]) => b - a);
  return {
    pieces: [...special.map((token): ScoredPiece => [token, 0]), ...pieces],
    unkId: unkToken === undefined ? undefined : Math.max(place, 0),
  };
}
