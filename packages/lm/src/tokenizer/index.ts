export type { StreamDecoder } from './stream-decoder.js';
export { type TokenBytes, TokenBytesError } from './token-bytes.js';
export type { TokenSpan } from './token-offsets.js';
export { TokenAlignmentError } from './token-offsets.js';
export type { DecodeTextOptions, EncodeOptions, TokenizerFiles } from './tokenizer.js';
export { Tokenizer } from './tokenizer.js';
