/**
 * Tokenizers and chat templates without Node.js: what a page needs around a model that `exportGenerator` wrote. Give them
 * the parsed files of the folder; `@posttrain/lm` reads those itself.
 */

export { parseJsonText } from '@posttrain/interfaces/jinja';
export { ChatRenderer, type RenderChatOptions, type RenderedChat } from './chat-template/chat-renderer.js';
export { type ChatTemplates, parseChatTemplates } from './chat-template/chat-templates.js';
export { AssistantMaskError, ChatProvenanceError, ChatTemplateError } from './chat-template/errors.js';
export type { ChatProvenance } from './chat-template/provenance.js';
export { InvalidModelFileError, type JsonObject } from './json.js';
export { TokenizerTextError } from './tokenizer/errors.js';
export type { TokenSpan } from './tokenizer/piece.js';
export type { StreamDecoder } from './tokenizer/stream-decoder.js';
export {
  type DecodeTextOptions,
  type EncodeOptions,
  type OffsetOptions,
  TextTokenizer,
  type TokenizerFiles,
} from './tokenizer/text-tokenizer.js';
export { type TokenBytes, TokenBytesError } from './tokenizer/token-bytes.js';
export { TokenIdError } from './tokenizer/token-ids.js';
