export { TokenizerTextError } from './errors.js';
export type { TokenSpan } from './pipeline.js';
export type { StreamDecoder } from './stream-decoder.js';
export { type TokenBytes, TokenBytesError } from './token-bytes.js';
export { assertTokenIds, TokenIdError } from './token-ids.js';
export type { DecodeTextOptions, EncodeOptions, TokenizerFiles } from './tokenizer.js';
export { Tokenizer } from './tokenizer.js';
