export { assembleCall, type ToolCall, type ToolCallPiece } from './call-pieces.js';
export { REASONING_PARSERS, ReasoningParser, type ReasoningParserName } from './reasoning.js';
export {
  callOpening,
  callSchema,
  forcedCallParser,
  type OfferedFunctions,
  type ParsedPiece,
  type ToolCallParser,
  toolCallParser,
} from './tool-calls.js';
export { type ToolFormat, toolFormatOf } from './tool-format.js';
