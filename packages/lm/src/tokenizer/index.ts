export { TokenizerTextError } from './errors.js';
export type { TokenSpan } from './piece.js';
export type { StreamDecoder } from './stream-decoder.js';
export type { DecodeTextOptions, EncodeOptions, OffsetOptions, TokenizerFiles } from './text-tokenizer.js';
export { type TokenBytes, TokenBytesError } from './token-bytes.js';
export { assertTokenIds, TokenIdError } from './token-ids.js';
export { Tokenizer } from './tokenizer.js';
export { vocabularyDifference } from './vocabulary-difference.js';
