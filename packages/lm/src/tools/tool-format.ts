import type { ChatTemplate } from '../chat-template/index.js';

/**
 * How a model writes tool calls: `tags` is `<tool_call>{"name", "arguments"}</tool_call>` among text (Hermes, Qwen), or
 * `<function=…><parameter=…>` in the same tags (Qwen3-Coder);
 * `json` is an answer that is nothing but one such object or several (Llama 3, whose arguments are `parameters`, Mistral).
 */
export type ToolFormat = 'tags' | 'json';

/** How a template that takes tools has the model call them; undefined when it takes none, or has its own way. */
export function toolFormatOf({ templates }: Pick<ChatTemplate, 'templates'>): ToolFormat | undefined {
  const template = templates.tool_use ?? templates.default ?? '';
  if (!/\btools\b/.test(template)) return undefined;
  if (template.includes('<tool_call>')) return 'tags';
  // Llama 3.1's own form for functions of one's own.
  if (template.includes('<function=')) return undefined;
  return /["']parameters["']|\[TOOL_CALLS\]/.test(template) ? 'json' : undefined;
}
