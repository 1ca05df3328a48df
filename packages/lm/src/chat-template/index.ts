export { parseJsonText } from '@posttrain/interfaces/jinja';
export type { RenderChatOptions, RenderedChat } from './chat-renderer.js';
export { ChatTemplate } from './chat-template.js';
export type { ChatTemplates } from './chat-templates.js';
export { AssistantMaskError, ChatProvenanceError, ChatTemplateError } from './errors.js';
export { hasGenerationMarkers } from './jinja-template.js';
export type { ChatProvenance } from './provenance.js';
