export { parseJsonText } from '../jinja/index.js';
export type { RenderChatOptions, RenderedChat } from './chat-renderer.js';
export { ChatTemplate } from './chat-template.js';
export type { ChatTemplates } from './chat-templates.js';
export { AssistantMaskError, ChatTemplateError } from './errors.js';
export { hasGenerationMarkers } from './jinja-template.js';
