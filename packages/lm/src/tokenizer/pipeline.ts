import { type AddedToken, AddedTokens, readAddedToken } from './added-tokens.js';
import { buildDecoder, cleanUpText, type Decoder, decodeAll, stagesOf } from './decoders/decoder.js';
import type { StageChain } from './decoders/stages.js';
import { misplacedText } from './errors.js';
import { Fields, TokenizerComponentError } from './fields.js';
import { buildModel, type Model, Places } from './models/model.js';
import { buildNormalizer } from './normalizers/normalizer.js';
import { type Piece, type TokenSpan, wholePiece } from './piece.js';
import { buildPostProcessor, joined, type PostProcessor, specialPart } from './post-processors/post-processor.js';
import { TrimmedText } from './post-processors/trim-offsets.js';
import { buildPreTokenizer, type PreTokenizer } from './pre-tokenizers/pre-tokenizer.js';

/** How a pipeline is used beyond what tokenizer.json says. */
export interface PipelineOptions {
  /** Tokens that are added to those of the file, or change them. */
  readonly addedTokens?: readonly AddedToken[];
  /** Special tokens spelled out in a text are text. */
  readonly splitSpecialTokens?: boolean;
  /** Spaces before punctuation marks are removed from decoded text. */
  readonly cleanUp?: boolean;
  /** Tokens before and after a text, instead of what the post-processor adds. */
  readonly around?: readonly [before: readonly string[], after: readonly string[]] | undefined;
}

/**
 * What a tokenizer.json says, run as the `tokenizers` library runs it: normalizer, pre-tokenizer, model, post-processor,
 * decoder and added tokens. Runs anywhere: nothing here is of Node.js.
 */
export class TokenizerPipeline {
  readonly added: AddedTokens;
  readonly model: Model;
  readonly decoder: readonly Decoder[] | undefined;
  /** The decoder as tokenizer.json has it. */
  readonly decoderJson: unknown;
  readonly #preTokenizer: PreTokenizer | undefined;
  readonly #postProcessor: PostProcessor | undefined;
  /** Whether ids depend on where a piece begins in the original text. */
  readonly #follows: boolean;
  readonly #cleanUp: boolean;

  /** @param json the parsed tokenizer.json @throws TokenizerComponentError */
  constructor(json: unknown, options: PipelineOptions = {}) {
    const fields = new Fields(json, 'tokenizer.json');
    const version = fields.raw('version');
    if (version !== undefined && version !== '1.0') fields.fail('version', 'must be "1.0".');
    if (fields.raw('model') === undefined) throw new TokenizerComponentError('it', 'has no "model".');
    const normalizer = buildNormalizer(fields.raw('normalizer'));
    this.#preTokenizer = buildPreTokenizer(fields.raw('pre_tokenizer'));
    this.model = buildModel(fields.raw('model'));
    const postProcessor = buildPostProcessor(fields.raw('post_processor'));
    this.decoderJson = fields.raw('decoder');
    this.decoder = buildDecoder(this.decoderJson);
    this.added = new AddedTokens(this.model, normalizer);
    this.added.add(fields.raw('added_tokens') === undefined ? [] : fields.objects('added_tokens').map(readAddedToken));
    if (options.addedTokens && options.addedTokens.length > 0) this.added.add(options.addedTokens);
    this.added.splitSpecialTokens = options.splitSpecialTokens ?? false;
    this.#postProcessor = options.around ? this.#putAround(options.around) : postProcessor;
    this.#cleanUp = options.cleanUp ?? false;
    this.#follows =
      prependsAtStart(fields.raw('pre_tokenizer')) &&
      (normalizer !== undefined || isSequence(fields.raw('pre_tokenizer')));
  }

  /** What the model is given of a text: its pieces between added tokens, normalised and cut. */
  words(text: string): string[] {
    return this.#pieces(text, this.#follows).flatMap(({ id, text: word }) => (id === undefined ? word : []));
  }

  encode(text: string, addSpecialTokens: boolean): number[] {
    const ids: number[] = [];
    for (const piece of this.#pieces(text, this.#follows)) {
      if (piece.id === undefined) this.model.tokenize(piece.text, ids);
      else ids.push(piece.id);
    }
    if (!this.#postProcessor) return ids;
    return [...joined(this.#postProcessor([{ ids }], { addSpecialTokens })).ids];
  }

  /**
   * Ids without special tokens, and where each lies in the text.
   *
   * @param whole whether each character is to be some token's @throws TokenizerTextError where the reference's are others'
   */
  encodeWithOffsets(text: string, whole = false): { readonly ids: number[]; readonly offsets: TokenSpan[] } {
    const ids: number[] = [];
    const offsets: TokenSpan[] = [];
    const tokens: string[] = [];
    for (const piece of this.#pieces(text, true)) {
      const places = new Places();
      if (piece.id === undefined) this.model.tokenize(piece.text, ids, places);
      else {
        ids.push(piece.id);
        places.push(0, piece.text.length);
      }
      if (!whole && places.differ) throw misplacedText(piece.text);
      for (const [i, start] of places.starts.entries()) {
        const end = places.ends[i]!;
        const id = ids[offsets.length]!;
        const isText = piece.id !== undefined || id === this.model.textId;
        tokens.push(isText ? piece.text.slice(start, end) : this.model.tokenOf(id)!);
        offsets.push(spanOf(text, piece, start, end));
      }
    }
    const found = { ids, offsets: whole ? withMarks(text, offsets) : offsets, tokens };
    if (!this.#postProcessor) return { ids, offsets: found.offsets };
    const trims = whole ? undefined : new TrimmedText(text);
    const part = joined(this.#postProcessor([found], { addSpecialTokens: false, trims }));
    return { ids: [...part.ids], offsets: [...(part.offsets ?? [])] };
  }

  decode(ids: readonly number[], skipSpecialTokens: boolean): string {
    const tokens: string[] = [];
    for (const id of ids) {
      const token = this.added.tokenOf(id);
      if (token !== undefined && !(skipSpecialTokens && this.added.isSpecial(token))) tokens.push(token);
    }
    const text = decodeAll(this.decoder, tokens);
    return this.#cleanUp ? cleanUpText(text) : text;
  }

  /** The stages of a streaming detokenizer. */
  stages(): StageChain {
    return stagesOf(this.decoder, this.#cleanUp);
  }

  #putAround([before, after]: readonly [readonly string[], readonly string[]]): PostProcessor {
    const idsOf = (tokens: readonly string[]) =>
      tokens.map(
        (token) => this.added.idOf(token) ?? new Fields({}, 'tokenizer.json').fail('vocab', `has no ${token}.`),
      );
    const [first, last] = [specialPart(idsOf(before)), specialPart(idsOf(after))];
    return (parts, { addSpecialTokens }) => (addSpecialTokens ? [first, ...parts, last] : parts);
  }

  #pieces(text: string, follow: boolean): Piece[] {
    const found = this.added.extract(wholePiece(text, follow));
    if (!this.#preTokenizer) return found;
    const pieces: Piece[] = [];
    for (const piece of found) {
      if (piece.id === undefined) this.#preTokenizer(piece, pieces);
      else pieces.push(piece);
    }
    return pieces;
  }
}

/** From the first character that `[start, end)` of a piece stands for to the last. */
function spanOf(text: string, { source, start: from }: Piece, start: number, end: number): TokenSpan {
  const at = (i: number) => (source ? (source[i] ?? 0) : from + i);
  const first = at(start);
  const last = end > start ? at(end - 1) : first;
  const begin = isSecondHalf(text, first) ? first - 1 : first;
  const after = last + (isSecondHalf(text, last + 1) ? 2 : 1);
  return [begin, Math.min(Math.max(after, begin), text.length)];
}

function isSecondHalf(text: string, at: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === 0xdc00 && (text.charCodeAt(at - 1) & 0xfc00) === 0xd800;
}

const FIRST_MARK = 0x300;
const COMPOSED_MARKS = /^\p{M}+/u;

/** Marks that a normalizer joined to the character before them are of its token: they belong to no other. */
function withMarks(text: string, offsets: readonly TokenSpan[]): TokenSpan[] {
  return offsets.map((span, i): TokenSpan => {
    const [start, end] = span;
    const next = offsets[i + 1]?.[0] ?? text.length;
    if (next <= end || text.charCodeAt(end) < FIRST_MARK) return span;
    return [start, end + (COMPOSED_MARKS.exec(text.slice(end, next))?.[0].length ?? 0)];
  });
}

function isSequence(value: unknown): boolean {
  return typeof value === 'object' && value !== null && (value as { type?: unknown }).type === 'Sequence';
}

/** Whether a Metaspace puts its mark in front of the first piece only. */
function prependsAtStart(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { prepend_scheme: scheme, pretokenizers } = value as { prepend_scheme?: unknown; pretokenizers?: unknown };
  return scheme === 'first' || (Array.isArray(pretokenizers) && pretokenizers.some(prependsAtStart));
}
